"""Norms and inner products of single rows, in a stated order.

The P products, exact in float64, are added in 1,024 lanes: lane k takes the coordinates k, k + 1024, ... in this order,
one elementwise addition after the other; then the upper half of the lanes is added to the lower until one is left.
NumPy's own sums and BLAS would leave the order to the processor. Cost: n P.
"""

import numpy as np

from fbfl.learning.aggregation.inputs import Floats, Matrix
from fbfl.tensors import Vector

LANES = 1_024


def norms(matrix: Matrix) -> Floats:
    """Return the Euclidean norm of every row."""
    return np.sqrt(_lane_sums(matrix, None))


def inner_products(matrix: Matrix, vector: Vector) -> Floats:
    """Return the inner product of every row with one vector."""
    return _lane_sums(matrix, vector)


def _lane_sums(matrix: Matrix, vector: Vector | None) -> Floats:
    n, width = matrix.shape
    lanes = np.zeros((n, LANES))
    buffer = np.empty((n, LANES))
    for start in range(0, width, LANES):
        block = matrix[:, start : start + LANES]
        products = buffer[:, : block.shape[1]]
        products[:] = block
        products *= products if vector is None else vector[start : start + LANES]
        lanes[:, : block.shape[1]] += products
    half = LANES // 2
    while half:
        lanes[:, :half] += lanes[:, half : 2 * half]
        half //= 2
    return lanes[:, 0].copy()
