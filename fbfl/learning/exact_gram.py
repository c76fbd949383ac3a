"""Inner products and distances of float32 updates whose bits no processor, thread count or BLAS library can change.

Every row is split into two integer slices with a power-of-two scale of its own,

    u_i = 2^(e_i - 36) * (2^18 h_i + l_i),    |h_i| <= 2^18,  |l_i| <= 2^17,    error below 2^(e_i - 37),

(error-free transformation of a matrix product: Ozaki, Ogita, Oishi and Rump 2012, "Error-free transformations of
matrix multiplication by using fast routines of matrix multiplication and its applications"). A float64 matrix product
of slices over a block of columns has only integer partial sums below 2^53: it is exact, so its value does not depend
on order, and it still runs at the speed of BLAS. Block results are added as 64-bit integers, then as Python integers.

The result is therefore the exact Gram matrix of the rows rounded to 36 bits of their own largest entry (float32 has
24), and every number taken from it is rounded once. A scale per row matters: with one scale for all, a single huge
malicious update would wipe out the resolution of the honest ones.

Cost: 3 symmetric n^2 P products in BLAS, n^2 operations on Python integers, O(n 2048 + n^2) memory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BITS = 18
MAX_BLOCK = 2**14
"""Columns per matrix product at most: with |h + l| <= 2^18 + 2^17 partial sums stay below 2^(38 + 14)."""
FLUSH = 2**24
"""Columns after which 64-bit sums, below 2^(38 + 24), move into Python integers."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Gram:
    """The inner products of n rows: ``integers[i, j] * 2**exponent``, exact Python integers."""

    integers: Integers
    exponent: int

    def products(self) -> Floats:
        """Return the inner products, each correctly rounded to float64."""
        return _rounded(self.integers, self.exponent)

    def squared_distances(self) -> Floats:
        """Return the squared distances between rows, each correctly rounded; the diagonal is 0."""
        n = len(self.integers)
        i, j = np.triu_indices(n, 1)
        norms = np.diagonal(self.integers)
        distances = np.zeros((n, n))
        distances[i, j] = _rounded(norms[i] + norms[j] - 2 * self.integers[i, j], self.exponent)
        distances[j, i] = distances[i, j]
        return distances

    def distances_to(self, coefficients: Sequence[float]) -> Floats:
        """Return ``|x_i - sum_j c_j x_j|`` for every row i, for finite coefficients c.

        The combination is never formed and nothing is rounded before the square root, so that neither huge rows nor
        nearly equal ones cost any accuracy: an iteration of a rule takes n^2 integer products instead of n P.
        """
        ratios = [float(c).as_integer_ratio() for c in coefficients]
        bits = max(denominator for _, denominator in ratios).bit_length() - 1
        c = _objects([numerator << bits - (denominator.bit_length() - 1) for numerator, denominator in ratios])
        cross = self.integers @ c
        squares = (np.diagonal(self.integers) << 2 * bits) - (cross << bits + 1) + c @ cross
        return np.sqrt(_rounded(squares, self.exponent - 2 * bits))

    def centred(self) -> "Gram":
        """Return the Gram matrix of n (x_i - mean of all x): exact, because of the factor n."""
        n = len(self.integers)
        sums = self.integers.sum(axis=1)
        products = n * n * self.integers - n * (sums[:, np.newaxis] + sums[np.newaxis, :]) + sums.sum()
        return Gram(products, self.exponent)


def exact_gram(matrix: npt.NDArray[np.float32]) -> Gram:
    """Return the Gram matrix of finite float32 rows [n, P]."""
    exponents = _exponents(matrix)
    high, mixed, low = _slice_products(matrix, exponents)
    integers = (high << 2 * BITS) + (mixed << BITS) + low
    smallest = min(exponents)
    shifts = _objects([e - smallest for e in exponents])
    return Gram((integers << shifts[:, np.newaxis]) << shifts, 2 * smallest - 4 * BITS)


def _exponents(matrix: npt.NDArray[np.float32]) -> list[int]:
    """Return e_i with max_p |u_ip| < 2^e_i. A row of zeros takes the smallest of the others."""
    tops = [max(abs(float(row.max())), abs(float(row.min()))) for row in matrix]
    exponents = [math.frexp(top)[1] if top else None for top in tops]
    smallest = min((e for e in exponents if e is not None), default=0)
    return [smallest if e is None else e for e in exponents]


def _slice_products(matrix: npt.NDArray[np.float32], exponents: list[int]) -> Integers:
    """Return h_i h_j, h_i l_j + l_i h_j and l_i l_j summed over the columns, [3, n, n].

    The middle one is what (h_i + l_i)(h_j + l_j) has more than the others: three symmetric products, not four halves.
    """
    n, width = matrix.shape
    size = _block_size(n)
    scale = np.ldexp(1.0, BITS - np.array(exponents))[:, np.newaxis]
    buffers = np.empty((3, n * min(size, width)))
    exact = np.zeros((3, n, n), dtype=object)
    sums = np.zeros((3, n, n), dtype=np.int64)
    for start in range(0, width, size):
        block = matrix[:, start : start + size]
        high, low, both = (buffer[: block.size].reshape(block.shape) for buffer in buffers)
        np.multiply(block, scale, out=both)
        np.rint(both, out=high)
        np.subtract(both, high, out=low)
        low *= 2.0**BITS
        np.rint(low, out=low)
        np.add(high, low, out=both)
        for total, part in zip(sums, (high, both, low), strict=True):
            total += (part @ part.T).astype(np.int64)
        if (start + size) % FLUSH == 0 or start + size >= width:
            sums[1] -= sums[0] + sums[2]
            exact += sums.astype(object)
            sums[:] = 0
    return exact


def _block_size(n: int) -> int:
    """Return a power of two that keeps the slices of n rows in cache and the products large enough for BLAS."""
    return max(2_048, min(MAX_BLOCK, 1 << max(0, 18 - n.bit_length())))


def _objects(values: list[int]) -> Integers:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _rounded(integers: Integers, exponent: int) -> Floats:
    """Return integers * 2**exponent, each rounded once (Python divides integers of any size correctly rounded)."""
    if exponent < 0:
        unit = 1 << -exponent
        values = [integer / unit for integer in integers.ravel().tolist()]
    else:
        values = [float(integer << exponent) for integer in integers.ravel().tolist()]
    return np.array(values).reshape(integers.shape)
