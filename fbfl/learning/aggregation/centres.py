"""Rules around norms and centres: norm clipping, centred clipping and the geometric median.

Norm clipping bounds what an update can do, and the geometric median how many of them count: whoever could say itself
how often its update counts would undo both. So sample counts, which are what a client claims, count only where somebody
asks for them. In a call of the function that is whoever passes `weights`: they count. By name (`resolve`; in a
federation, on a chain) sample counts come with every call, and the setting `weighted=True` asks for them.

The iterative ones keep their centre as coefficients of the updates: distances to it come exact from the Gram matrix
(`Gram.distances_to`), an iteration costs n^2 instead of n P, and only the last centre is formed, as a weighted sum in
row order. The number of iterations is fixed, because a stopping criterion would be one more thing to agree on.
"""

import numpy as np

from fbfl.errors import AggregationError
from fbfl.learning.aggregation.averages import sum_in_order, weighted_sum
from fbfl.learning.aggregation.inputs import (
    Floats,
    Iterations,
    Updates,
    Weights,
    as_finite_matrix,
    as_positive,
    as_weights,
    require_finite,
)
from fbfl.learning.aggregation.norms import norms
from fbfl.learning.aggregation.rule_function import Aggregate, State, answer, registered
from fbfl.learning.exact_gram import exact_gram


@registered(version=2)
def norm_clipping(
    updates: Updates, max_norm: float, weights: Weights = None, weighted: bool | None = None
) -> Aggregate:
    """Averages updates after shortening those longer than `max_norm`: ``sum_i w_i u_i min(1, C/|u_i|) / sum_i w_i``.

    Sun et al. 2019, "Can You Really Backdoor Federated Learning?", section 4 (norm thresholding).
    Bounds what f clients can do to C f/n, does not remove it: breaks with patience or many of them. Cost: n P.

    `weights` count unless `weighted` is False; by name they are sample counts, and count only if it is True. In
    version 1 they always counted. An inflated sample count does nothing; with `weighted` it lets its update move the
    result by C w_i / sum_j w_j instead of C/n.
    """
    matrix = as_finite_matrix(updates)
    bound = as_positive("max_norm", max_norm)
    w = as_weights(None if weighted is False else weights, len(matrix))
    factors = w * _shortening(norms(matrix), bound)
    return answer(weighted_sum(matrix, factors.tolist()) / sum_in_order(w))


@registered()
def centered_clipping(
    updates: Updates, radius: float | None = None, iterations: Iterations = 3, state: State | None = None
) -> Aggregate:
    """Centred clipping: moves a centre v by the mean of the updates' deviations from it, each cut to a radius.

    ``v <- v + 1/n sum_i (u_i - v) min(1, tau / |u_i - v|)``, `iterations` times, v starting at the last round's result
    (`state["centre"]`), in the first round at 0. Karimireddy, He and Jaggi 2021, "Learning from History for Byzantine
    Robust Optimization", section 4, Algorithm 2. The radius tau has to match the honest updates' spread; by default
    it is the median of the |u_i - v| of the iteration, which a minority cannot push beyond the honest ones.
    Breaks with n/2 Byzantine clients or more, and slowly with a constant push: the centre remembers. An inflated sample
    count does nothing. Cost: n^2 P.
    """
    matrix = as_finite_matrix(updates)
    n, width = matrix.shape
    if radius is not None:
        radius = as_positive("radius", radius)
    centre = (state or {}).get("centre", np.zeros(width, np.float32))
    if centre.shape != (width,):
        raise AggregationError(f"state['centre'] has the shape {centre.shape}, the updates have ({width},)")
    rows = np.vstack([matrix, centre.astype(np.float32, copy=False)])
    require_finite(rows[n:])
    gram = exact_gram(rows)
    coefficients = np.append(np.zeros(n), 1.0)
    for _ in range(iterations):
        distances = gram.distances_to(coefficients.tolist())[:n]
        pulls = _shortening(distances, float(np.median(distances)) if radius is None else radius)
        coefficients *= 1 - sum_in_order(pulls) / n
        coefficients[:n] += pulls / n
    result = answer(weighted_sum(rows, coefficients.tolist()))
    return Aggregate(result.vector, {"centre": result.vector})


@registered(version=2)
def geometric_median(
    updates: Updates,
    weights: Weights = None,
    iterations: Iterations = 20,
    smoothing: float = 1e-6,
    weighted: bool | None = None,
) -> Aggregate:
    """Geometric median (RFA): the point with the smallest (weighted) sum of distances to the updates.

    ``argmin_v sum_i w_i |v - u_i|`` by the smoothed Weiszfeld algorithm, ``v <- sum_i b_i u_i / sum_i b_i`` with
    ``b_i = w_i / max(smoothing, |v - u_i|)``; |v - u_i| is at first the weighted median of the distances of u_i to all,
    which spares the iterations that a start at the mean needs to leave an outlier of any size behind.
    Pillutla, Kakade and Harchaoui 2022, "Robust Aggregation for Federated Learning", section 3, Algorithm 2.
    Breaks when Byzantine clients hold half of the weight. Cost: n^2 P + iterations n^2.

    `weights` count unless `weighted` is False; by name they are sample counts, and count only if it is True. In
    version 1 they always counted. An inflated sample count does nothing; with `weighted`, whoever claims as many
    samples as all others together has the aggregate to itself.
    """
    matrix = as_finite_matrix(updates)
    w = as_weights(None if weighted is False else weights, len(matrix))
    floor = as_positive("smoothing", smoothing)
    gram = exact_gram(matrix)
    distances = _weighted_medians(np.sqrt(gram.squared_distances()), w)
    coefficients = w
    for _ in range(iterations):
        pulls = w / np.maximum(distances, floor)
        coefficients = pulls / sum_in_order(pulls)
        distances = gram.distances_to(coefficients.tolist())
    return answer(weighted_sum(matrix, coefficients.tolist()))


def _weighted_medians(distances: Floats, weights: Floats) -> Floats:
    """Return per row of [n, n] the median of the distances, each counted by its weight; of equal weights NumPy's."""
    medians = np.empty(len(distances))
    for i, row in enumerate(distances):
        order = np.argsort(row, kind="stable")
        reached = np.add.accumulate(weights[order])  # one after the other, as everything that has to be canonical
        low, high = (int(np.searchsorted(reached, reached[-1] / 2, side=side)) for side in ("left", "right"))
        medians[i] = (row[order[low]] + row[order[high]]) / 2
    return medians


def _shortening(lengths: Floats, bound: float) -> Floats:
    """Return min(1, bound / length), 1 for length 0."""
    return np.where(lengths > bound, bound / np.where(lengths > bound, lengths, 1.0), 1.0)
