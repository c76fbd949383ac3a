"""Rules that work on each coordinate alone: the median and the trimmed mean.

Both depend on the sorted values only, so that they do not even depend on the order of the clients.
"""

from collections.abc import Iterator

import numpy as np

from fbfl.errors import AggregationError
from fbfl.learning.aggregation.inputs import Floats, Matrix, Updates, as_integer, as_matrix, require_finite
from fbfl.learning.aggregation.rule_function import Aggregate, answer, registered

SORTED = 100_000
"""Values sorted at a time: small blocks stay in cache while they are transposed, large ones need fewer calls."""
COLUMNS = 1_024
"""Columns handled at a time by what comes after the sorting."""


@registered()
def median(updates: Updates) -> Aggregate:
    """Coordinate-wise median; with an even n the mean of the two middle values.

    Yin et al. 2018, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", section 4, option I.
    Breaks with n/2 Byzantine clients or more. Cost: n P log n. An inflated sample count does nothing.
    """
    matrix = as_matrix(updates)
    n, width = matrix.shape
    result = np.empty(width)
    for part, values in _sorted_blocks(matrix):
        result[part] = (values[:, (n - 1) // 2].astype(np.float64) + values[:, n // 2]) / 2
    return answer(result)


@registered()
def trimmed_mean(updates: Updates, trim: int) -> Aggregate:
    """Coordinate-wise trimmed mean: drop the `trim` largest and `trim` smallest values, average the rest.

    ``sum_{i=b+1}^{n-b} u_(i) / (n-2b)``, u_(i) being the i-th smallest value of the coordinate, added in that order.
    Yin et al. 2018, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", section 4, option II.
    Needs 2 trim < n. Breaks with more than `trim` Byzantine clients. Cost: n P log n. An inflated sample
    count does nothing.
    """
    matrix = as_matrix(updates)
    n, width = matrix.shape
    b = as_integer("trim", trim, minimum=0)
    if 2 * b >= n:
        raise AggregationError(f"trimmed_mean needs n > 2 trim updates; n={n}, trim={b} needs {2 * b + 1}")
    result = np.zeros(width)
    for part, values in _sorted_blocks(matrix):
        for row in np.ascontiguousarray(values[:, b : n - b].T, dtype=np.float64):
            result[part] += row
    return answer(result / (n - 2 * b))


def sorted_columns(block: Matrix) -> Floats:
    """Return a block [n, columns] with every column ascending, as float64."""
    result = np.empty(block.shape)
    for part, values in _sorted_blocks(block):
        result[:, part] = values.T
    return result


def _sorted_blocks(matrix: Matrix) -> Iterator[tuple[slice, Matrix]]:
    """Yield some columns and their values as [columns, n], each row ascending: contiguous memory sorts fastest."""
    n, width = matrix.shape
    size = max(256, SORTED // n)
    for start in range(0, width, size):
        part = slice(start, start + size)
        values = matrix[:, part].copy().T.copy()  # rows first: the transposition then reads from the cache
        values.sort(axis=1)
        if not (np.isfinite(values[:, 0]).all() and np.isfinite(values[:, -1]).all()):  # where NaN and Inf end up
            require_finite(matrix)
        yield part, values
