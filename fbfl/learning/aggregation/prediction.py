"""FLDetector: removes the clients whose updates do not follow from what they have sent before."""

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt

from fbfl.errors import AggregationError
from fbfl.learning.aggregation.averages import sum_in_order, weighted_sum
from fbfl.learning.aggregation.coordinates import median
from fbfl.learning.aggregation.inputs import Floats, Matrix, Updates, as_finite_matrix, registry_numbers, with_room
from fbfl.learning.aggregation.norms import norms
from fbfl.learning.aggregation.rule_function import Aggregate, State, registered
from fbfl.learning.exact_gram import exact_gram
from fbfl.learning.gaussian import logarithm
from fbfl.randomness import seed_sequence
from fbfl.values.checks import Within

Window = Annotated[int, Within(1, 30)]
"""Rounds that a rule looks back at: bounded, since it keeps a vector and a score of each client for every one."""

LARGEST = np.finfo(np.float32).max
REFERENCES = 20
"""Draws of uniform scores that the gap statistic compares with."""
_LEAST = 2.0**-106
"""Least sum of squares of scores within 0 to 1: below it all that is left is rounding."""


@registered(history="window")
def fldetector(
    updates: Updates, window: Window = 10, state: State | None = None, clients: Sequence[int] | None = None
) -> Aggregate:
    """FLDetector: the median without the clients whose updates were foretold worst in the last `window` rounds.

    With H the Hessian as L-BFGS sees it in the last aggregates (`hessian_step`), a client's update is foretold as its
    last one plus H (w_t - w_(t-1)); its score is the mean over the window of its distance to that, as a share of all
    clients' distances in the round. Once `window` rounds have scores, and if the gap statistic sees more than one
    cluster in them (`two_clusters`), the worse one of two is removed for good. Zhang, Cao, Jia and Gong 2022,
    "FLDetector: Defending Federated Learning Against Model Poisoning Attacks via Detecting Malicious Clients", section
    4, Algorithms 1 to 3; the median is the default of its authors' code. (They start the training anew without those
    removed, which a chain cannot; and here no more than a minority is ever removed, so that nobody can have the honest
    ones removed.) Breaks with attackers as consistent as the honest, and where honest updates vary much from round to
    round, as after epochs of local training. An inflated sample count does nothing. Cost: n P log n + window^2 P.

    What a server optimizer makes of the aggregates is not known to the rule: it takes them for the steps of the model.
    `state` holds the last update of every client, the last window + 1 aggregates, the scores and who was removed;
    `clients` tells whose the rows are, by default 0..n-1. Canonical: all is elementwise float64, sums in order, the
    exact Gram matrix, and k-means on a line, of which the best is found without draws.
    """
    matrix = as_finite_matrix(updates)
    n, width = matrix.shape
    numbers = registry_numbers(clients, n)
    memory = _Memory(state or {}, max(numbers) + 1, width, window)
    memory.score(matrix, numbers)
    memory.remove()
    kept = [row for row, client in enumerate(numbers) if not memory.removed[client]] or [*range(n)]
    vector = median(matrix[kept])
    return Aggregate(vector, memory.after(matrix, numbers, vector), tuple(kept))


class _Memory:
    """What the rule remembers, per client where not said otherwise."""

    def __init__(self, state: State, clients: int, width: int, window: int) -> None:
        self.window = window
        self.steps: Matrix = state.get("steps", np.zeros((0, width), np.float32))
        """The last aggregates, float32 [at most window + 1, P], the newest last."""
        self.updates: Matrix = with_room(state.get("updates", np.zeros((0, width), np.float32)), clients)
        """The last update of each, float32 [clients, P]."""
        self.present: npt.NDArray[np.int64] = with_room(state.get("present", np.zeros(0, np.int64)), clients)
        """1 for those that sent an update in the last round, int64 [clients]."""
        self.scores: Floats = with_room(state.get("scores", np.zeros((0, window))), clients, -1)
        """Shares of the distances, float64 [clients, window], the newest last; -1 where there is none."""
        self.removed: npt.NDArray[np.int64] = with_room(state.get("removed", np.zeros(0, np.int64)), clients)
        """1 for those that were removed, int64 [clients]."""
        for name, array, shape in (
            ("steps", self.steps, (min(len(self.steps), window + 1), width)),
            ("updates", self.updates, (len(self.updates), width)),
            ("scores", self.scores, (len(self.scores), window)),
        ):
            if array.shape != shape:
                raise AggregationError(f"state[{name!r}] has the shape {array.shape}, not {shape}")

    def score(self, matrix: Matrix, numbers: Sequence[int]) -> None:
        """Add a column of scores, of those that sent an update in the last round, too."""
        known = [row for row, client in enumerate(numbers) if self.present[client] and not self.removed[client]]
        if len(self.steps) < 2 or not known:
            return
        shift = hessian_step(self.steps)
        distances = []
        for row in known:
            change = matrix[row].astype(np.float64) - self.updates[numbers[row]] - shift
            distances.append(float(norms(change[np.newaxis])[0]))
        total = sum_in_order(distances)
        self.scores = np.concatenate([self.scores[:, 1:], np.full((len(self.scores), 1), -1.0)], axis=1)
        for row, distance in zip(known, distances, strict=True):
            self.scores[numbers[row], -1] = distance / total if total else 0.0

    def remove(self) -> None:
        """Remove the worse of two clusters of scores, if they are two, the window is full and they are a minority."""
        scored = self.scores >= 0
        judged = np.flatnonzero(scored.any(axis=1) & (self.removed == 0))
        if not scored.any(axis=0).all() or len(judged) < 3:
            return
        sums = np.add.accumulate(np.where(scored, self.scores, 0.0)[judged], axis=1)[:, -1]
        worse = judged[two_clusters(sums / scored[judged].sum(axis=1))]
        if 2 * (self.removed.sum() + len(worse)) < len(self.removed):
            self.removed[worse] = 1

    def after(self, matrix: Matrix, numbers: Sequence[int], vector: npt.NDArray[np.float32]) -> State:
        """Return the state after a round."""
        updates, present = self.updates.copy(), np.zeros_like(self.present)
        updates[numbers], present[numbers] = matrix, 1
        steps = np.concatenate([self.steps, vector[np.newaxis]])[-self.window - 1 :]
        return {
            "updates": updates,
            "present": present,
            "steps": steps,
            "scores": self.scores,
            "removed": self.removed,
        }


def hessian_step(steps: Matrix) -> Floats:
    """Return H (w_t - w_(t-1)), float64 [P], from the last m + 1 >= 2 steps of the model, the newest last.

    L-BFGS in its compact form (Byrd, Nocedal and Schnabel 1994, "Representations of quasi-Newton matrices and their use
    in limited memory methods", formula 3.5), which FLDetector uses: with a step s_j as the change of the model, and
    s_j - s_(j-1) as that of the gradient at it, ``H v = sigma v - [sigma S, Y] M^-1 [sigma S^T v; Y^T v]``,
    ``M = [[sigma S^T S, L], [L^T, -D]]``, L and D the lower triangle and the diagonal of S^T Y and sigma the ratio
    ``y^T s / s^T s`` of the newest pair. All of it are combinations of the steps, so it takes their Gram matrix alone.
    0 where the pairs do not determine H, and where H would lead out of the range of float32.
    """
    count = len(steps) - 1
    gram = exact_gram(steps).products()
    if not gram[count - 1, count - 1]:
        return np.zeros(steps.shape[1])
    ss = gram[:-1, :-1]
    sy = gram[:-1, 1:] - gram[:-1, :-1]
    sigma = sy[-1, -1] / ss[-1, -1]
    lower = np.tril(sy, -1)
    with np.errstate(all="ignore"):
        m = np.block([[sigma * ss, lower], [lower.T, -np.diag(np.diagonal(sy))]])
        right = np.concatenate([sigma * gram[:-1, -1], gram[1:, -1] - gram[:-1, -1]])
        solved = _solved(m, right)
        of_s, of_y = solved[:count], solved[count:]
        coefficients = np.zeros(count + 1)
        coefficients[-1] = sigma
        coefficients[:-1] -= sigma * of_s
        coefficients[1:] -= of_y
        coefficients[:-1] += of_y
        product = weighted_sum(steps, coefficients.tolist())
        return product if (np.abs(product) <= LARGEST).all() else np.zeros(steps.shape[1])


def _solved(matrix: Floats, right: Floats) -> Floats:
    """Return x with matrix x = right, by elimination with the largest pivot of a column; NaN if there is none."""
    rows = np.concatenate([matrix, right[:, np.newaxis]], axis=1)
    size = len(right)
    for column in range(size):
        pivot = column + int(np.argmax(np.abs(rows[column:, column])))
        rows[[column, pivot]] = rows[[pivot, column]]
        for row in range(size):
            if row != column:
                rows[row] -= rows[row, column] / rows[column, column] * rows[column]
    x: Floats = rows[:, -1] / np.diagonal(rows)
    return x


def two_clusters(scores: Floats) -> npt.NDArray[np.intp]:
    """Return the places of the larger scores, float64 [n], if they fall into more than one cluster; else none.

    The gap statistic (Tibshirani, Walther and Hastie 2001, "Estimating the number of clusters in a data set via the gap
    statistic", section 3) says one cluster if ``Gap(1) >= Gap(2) - s_2``, with ``Gap(k) = E log W_k' - log W_k``: W_k
    is the sum of squares within k clusters of the scores, scaled to 0 to 1, and W_k' that of uniform ones, of which
    `REFERENCES` draws, the same for the same n, take the place of the expectation.
    """
    low, high = scores.min(), scores.max()
    if low == high:
        return np.zeros(0, np.intp)
    scaled: Floats = (scores - low) / (high - low)
    words = np.asarray(
        np.random.PCG64(seed_sequence(0, "gap statistic", server=len(scores))).random_raw(REFERENCES * len(scores)),
        dtype=np.uint64,
    )
    uniform = ((words >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(REFERENCES, -1)
    of_uniform = logarithm(np.array([_within(row)[:2] for row in uniform]))
    one, two, cut = _within(scaled)
    means = [sum_in_order(column) / REFERENCES for column in of_uniform.T]
    variance = sum_in_order((each - means[1]) * (each - means[1]) for each in of_uniform[:, 1]) / REFERENCES
    spread = math.sqrt(variance * (1 + 1 / REFERENCES))
    gap_one, gap_two = (mean - float(logarithm(within)) for mean, within in zip(means, (one, two), strict=True))
    return np.flatnonzero(scaled >= cut) if gap_one < gap_two - spread else np.zeros(0, np.intp)


def _within(points: Floats) -> tuple[float, float, float]:
    """Return the sums of squares within one and within the best two clusters on a line, and where the second begins."""
    ordered = np.sort(points)
    n = len(ordered)
    sums, squares = np.add.accumulate(ordered), np.add.accumulate(ordered * ordered)
    left = np.arange(1, n)
    rest = sums[-1] - sums[:-1]
    below = squares[:-1] - sums[:-1] * sums[:-1] / left
    above = (squares[-1] - squares[:-1]) - rest * rest / (n - left)
    best = int(np.argmin(below + above))
    whole = float(squares[-1] - sums[-1] * sums[-1] / n)
    return max(whole, _LEAST), max(float(below[best] + above[best]), _LEAST), float(ordered[best + 1])
