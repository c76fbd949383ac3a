"""Rules that select clients by their distances to each other: Krum, Multi-Krum and Bulyan.

Squared distances come exact from `exact_gram`, each rounded once; a score adds them from the smallest up. Tied scores
go to the lowest row.
"""

import numpy as np
import numpy.typing as npt

from fbfl.errors import AggregationError, require
from fbfl.learning.aggregation.averages import mean_of_rows
from fbfl.learning.aggregation.coordinates import COLUMNS, sorted_columns
from fbfl.learning.aggregation.inputs import Floats, Matrix, Updates, as_finite_matrix, as_integer, require_count
from fbfl.learning.aggregation.rule_function import Aggregate, answer, registered
from fbfl.learning.exact_gram import exact_gram


@registered()
def krum(updates: Updates, num_byzantine: int) -> Aggregate:
    """Krum: the one update whose n-f-2 nearest neighbours are nearest.

    ``argmin_i sum_{j in N(i)} |u_i - u_j|^2``, N(i) being the n-f-2 updates nearest to u_i other than itself.
    Blanchard et al. 2017, "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", section 4.
    Needs n >= 2f+3. Breaks with more than f Byzantine clients, and with few when honest clients differ a lot
    (it copies one of them). Cost: n^2 P. An inflated sample count does nothing.
    """
    matrix = as_finite_matrix(updates)
    f = require_count("krum", len(matrix), num_byzantine, 2, 3)
    best = int(np.argmin(krum_scores(exact_gram(matrix).squared_distances(), f)))
    return answer(matrix[best].astype(np.float64), (best,))


@registered()
def multi_krum(updates: Updates, num_byzantine: int, num_selected: int) -> Aggregate:
    """Multi-Krum: the mean of the `num_selected` updates with the best Krum scores.

    Blanchard et al. 2017, section 4 (m-Krum): 1 is Krum, n is the mean. Needs n >= 2f+3 and num_selected <= n;
    only num_selected <= n-f-2 is proven to keep Byzantine updates harmless (El Mhamdi et al. 2018, section 2.3),
    and above n-f one of them is certainly in. Cost: n^2 P. An inflated sample count does nothing.
    """
    matrix = as_finite_matrix(updates)
    n = len(matrix)
    f = require_count("multi_krum", n, num_byzantine, 2, 3)
    m = as_integer("num_selected", num_selected, minimum=1)
    require(m <= n, "num_selected", m, f"1 to n={n} updates", AggregationError)
    order = np.argsort(krum_scores(exact_gram(matrix).squared_distances(), f), kind="stable")
    selected = tuple(sorted(int(i) for i in order[:m]))
    return answer(mean_of_rows(matrix, selected), selected)


@registered(version=2)
def bulyan(updates: Updates, num_byzantine: int) -> Aggregate:
    """Bulyan of Krum: theta = n-2f updates chosen by Krum one after the other, then a trimmed mean around the median.

    Krum picks from what is left (m updates, m-f-2 neighbours) until theta are picked; each coordinate of the result is
    the mean of the theta-2f values nearest to the median of the picked ones.
    El Mhamdi, Guerraoui and Rouault 2018, "The Hidden Vulnerability of Distributed Learning in Byzantium", section 4.
    Needs n >= 4f+3. Breaks with more than f Byzantine clients. Cost: n^2 P + n P log n + n^3 log n.
    An inflated sample count does nothing.

    With f = 1 the last pick, of 3 updates, would have no neighbours: it has one. In version 1 it was the lowest row.

    Canonical: values equally far from the median go to the lowest client; what is kept is added from the smallest up.
    """
    matrix = as_finite_matrix(updates)
    f = require_count("bulyan", len(matrix), num_byzantine, 4, 3)
    selected = _picked_by_krum(exact_gram(matrix).squared_distances(), f)
    chosen = matrix[list(selected)]
    width = chosen.shape[1]
    parts = [_mean_near_median(chosen[:, start : start + COLUMNS], 2 * f) for start in range(0, width, COLUMNS)]
    return answer(np.concatenate(parts), selected)


def krum_scores(squared_distances: Floats, f: int) -> Floats:
    """Return for each of n updates the sum of its n-f-2, at least 1, smallest squared distances to others."""
    neighbours = max(1, len(squared_distances) - f - 2)
    others = squared_distances.copy()
    np.fill_diagonal(others, np.inf)
    others.sort(axis=1)
    return np.add.accumulate(others[:, :neighbours], axis=1)[:, -1]  # `accumulate` is sequential by definition


def _picked_by_krum(squared_distances: Floats, f: int) -> tuple[int, ...]:
    rest = np.arange(len(squared_distances))
    picked = []
    for _ in range(len(squared_distances) - 2 * f):
        best = int(np.argmin(krum_scores(squared_distances[np.ix_(rest, rest)], f)))
        picked.append(int(rest[best]))
        rest = np.delete(rest, best)
    return tuple(sorted(picked))


def _mean_near_median(block: Matrix, drop: int) -> Floats:
    """Return per column the mean of all but the `drop` values farthest from the median.

    In a sorted column the values kept are a window; it starts where its left neighbour is farther from the median
    than its right end. Only where that leaves a tie between two clients does a column need its own sorting.
    """
    keep = len(block) - drop
    values = sorted_columns(block)
    middle = (values[(len(block) - 1) // 2] + values[len(block) // 2]) / 2
    start = (middle - values[:drop] > values[keep:] - middle).sum(axis=0)
    total = np.zeros(block.shape[1])
    position = start * block.shape[1] + np.arange(block.shape[1])
    for _ in range(keep):
        total += values.ravel()[position]
        position += block.shape[1]
    if drop:
        tied = _tied_columns(values, middle, start, keep)
        total[tied] = _sum_near_by_client(block[:, tied], middle[tied], keep)
    return total / keep


def _tied_columns(values: Floats, middle: Floats, start: npt.NDArray[np.int64], keep: int) -> npt.NDArray[np.int64]:
    """Return the columns where a dropped value is as far from the median as a kept one (but not equal to it)."""

    width = len(middle)
    distances = np.full((len(values) + 2, width), np.inf)  # a row of no value above and below
    np.abs(values - middle, out=distances[1:-1])
    flat, before = distances.ravel(), start * width + np.arange(width)
    kept = np.maximum(flat[before + width], flat[before + keep * width])
    dropped = np.minimum(flat[before], flat[before + (keep + 1) * width])
    return np.flatnonzero((kept == dropped) & (kept > 0))


def _sum_near_by_client(block: Matrix, middle: Floats, keep: int) -> Floats:
    """Return per column the sum of the `keep` values nearest to the median, ties to the lowest client."""
    order = np.argsort(np.abs(block.astype(np.float64) - middle), axis=0, kind="stable")[:keep]
    kept = np.sort(np.take_along_axis(block, order, axis=0).astype(np.float64), axis=0)
    total = np.zeros(block.shape[1])
    for row in kept:
        total += row
    return total
