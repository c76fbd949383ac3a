"""Averages: FedAvg (all at once and streamed).

Canonical order: clients in the order of the rows, each coordinate on its own, in IEEE float64:
``(((0 + w_0 u_0) + w_1 u_1) + ...) / (((0 + w_0) + w_1) + ...)``, every product rounded before it is added, and one
rounding to float32 at the end. NumPy's own `sum` and `@` would leave the order to the processor.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from fbfl.errors import AggregationError, NonFiniteUpdateError, require
from fbfl.learning.aggregation.inputs import (
    Floats,
    Matrix,
    Updates,
    Weights,
    as_matrix,
    as_weights,
    require_finite,
)
from fbfl.learning.aggregation.rule_function import Aggregate, answer, registered
from fbfl.tensors import Vector

CHUNK = 16_384
"""Columns handled at a time: the float64 accumulator and the product stay in a core's cache."""


def weighted_sum(matrix: Matrix, factors: Sequence[float]) -> Floats:
    """Return sum_i factors[i] * matrix[i] as float64 [P], in canonical order."""
    total = np.zeros(matrix.shape[1])
    product = np.empty(min(CHUNK, matrix.shape[1]))
    for start in range(0, matrix.shape[1], CHUNK):
        part = total[start : start + CHUNK]
        for row, factor in zip(matrix[:, start : start + CHUNK], factors, strict=True):
            _add_product(part, row, factor, product[: part.size])
    return total


def _add_product(total: Floats, row: Vector, factor: float, product: Floats) -> None:
    if factor == 1.0:
        total += row  # the same bits, one pass less
    else:
        product[:] = row
        product *= factor
        total += product


def sum_in_order(values: Iterable[float]) -> float:
    """Return the float64 sum from first to last (Python's `sum` compensates from 3.12 on, NumPy's works pairwise)."""
    total = 0.0
    for value in values:
        total += float(value)
    return total


def mean_of_rows(matrix: Matrix, rows: Sequence[int]) -> Floats:
    """Return the plain mean of some rows, added in the order given."""
    return weighted_sum(matrix[list(rows)], [1.0] * len(rows)) / len(rows)


@registered()
def fedavg(updates: Updates, weights: Weights = None) -> Aggregate:
    """Federated averaging: ``sum_i w_i u_i / sum_i w_i``, weights being sample counts.

    McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from Decentralized Data", Algorithm 1.
    Breaks with a single Byzantine client, which can move the result anywhere. Cost: n P. An inflated sample
    count gives its update the share w_i / sum_j w_j of the result: only a cap bounds it (`max_samples` of a task).
    """
    matrix = as_matrix(updates)
    factors = as_weights(weights, len(matrix))
    with np.errstate(invalid="ignore"):
        mean = weighted_sum(matrix, factors.tolist()) / sum_in_order(factors)
    if not np.isfinite(mean).all():
        # Finite float32 cannot overflow here, so a NaN or Inf came in with an update.
        require_finite(matrix)
    return answer(mean)


class StreamingFedAvg:
    """FedAvg of updates that arrive one by one: the bytes of `fedavg`, holding no update.

    It keeps one float64 [P] and a product of one chunk, whatever n is. The order of `add` is the order of the rows.
    """

    def __init__(self) -> None:
        self.count = 0
        self._total: Floats | None = None
        self._weight = 0.0
        self._product = np.empty(CHUNK)

    def add(self, update: Vector, weight: float = 1.0) -> None:
        """Add one update. NaN and Inf are refused by number and leave the sum as it was, so that one can go on."""
        matrix = as_matrix(np.asarray(update)[np.newaxis])
        factor = float(weight)
        require(0 <= factor < np.inf, "weight", weight, "finite numbers from 0", AggregationError)
        if not np.isfinite(matrix).all():
            raise NonFiniteUpdateError(f"NaN or Inf in the update of client {self.count}", (self.count,))
        if self._total is None:
            self._total = np.zeros(matrix.shape[1])
        if matrix.shape[1] != self._total.size:
            raise AggregationError(f"update {self.count} has {matrix.shape[1]} coordinates, not {self._total.size}")
        for start in range(0, self._total.size, CHUNK):
            part = self._total[start : start + CHUNK]
            _add_product(part, matrix[0, start : start + CHUNK], factor, self._product[: part.size])
        self._weight += factor
        self.count += 1

    def result(self) -> Vector:
        """Return the weighted mean of what was added."""
        if self._total is None or self._weight == 0:
            raise AggregationError("no update with a positive weight to average")
        return answer(self._total / self._weight).vector


def streaming_fedavg(updates: Iterable[tuple[Vector, float]]) -> Vector:
    """FedAvg over an iterator of (update, weight), read once and held one at a time."""
    average = StreamingFedAvg()
    for update, weight in updates:
        average.add(update, weight)
    return average.result()
