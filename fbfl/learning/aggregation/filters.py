"""Rules that filter clients by statistics of random coordinates: DnC and SignGuard; and random selection.

Draws depend on (seed, round) alone, through `sampling.draw`. An attacker that knows them beforehand lies at coordinates
that are not looked at, so the seed has to be unknown while updates are made: on a chain it is.
"""

import math

import numpy as np

from fbfl.errors import AggregationError, require
from fbfl.learning.aggregation.averages import mean_of_rows, weighted_sum
from fbfl.learning.aggregation.inputs import (
    Floats,
    Matrix,
    Passes,
    Updates,
    as_finite_matrix,
    as_integer,
    as_positive,
    require_count,
)
from fbfl.learning.aggregation.norms import norms
from fbfl.learning.aggregation.rule_function import Aggregate, answer, registered
from fbfl.learning.exact_gram import exact_gram
from fbfl.learning.sampling import draw
from fbfl.randomness import seed_sequence

POWER_STEPS = 64
MEAN_SHIFT_STEPS = 100


@registered()
def random_selection(updates: Updates, seed: int, num_selected: int = 1, round_number: int = 0) -> Aggregate:
    """The mean of `num_selected` updates drawn uniformly: a baseline without any defence.

    Wang and Li 2022, "FBFL: A Flexible Blockchain-based Federated Learning Framework in Mobile Edge Computing", Fig. 5.
    Breaks with a single Byzantine client, in the rounds that draw it. Cost: P. An inflated sample count
    does nothing.
    """
    matrix = as_finite_matrix(updates)
    count = as_integer("num_selected", num_selected, minimum=1)
    require(count <= len(matrix), "num_selected", count, f"1 to n={len(matrix)} updates", AggregationError)
    sequence = seed_sequence(as_integer("seed", seed, minimum=0), "random selection", round_number=round_number)
    selected = tuple(int(i) for i in draw(len(matrix), count, sequence))
    return answer(mean_of_rows(matrix, selected), selected)


@registered()
def dnc(
    updates: Updates,
    num_byzantine: int,
    seed: int = 0,
    iterations: Passes = 1,
    coordinates: int = 10_000,
    filter_fraction: float = 1.0,
    round_number: int = 0,
) -> Aggregate:
    """Divide and conquer: drops the updates that stick out along the direction in which all vary most.

    `iterations` times: on `coordinates` random coordinates, with mu the mean and v the top right singular vector of
    the centred updates, drop the floor(filter_fraction * f) updates with the largest ``<u_i - mu, v>^2``. The result is
    the mean of the updates never dropped. Shejwalkar and Houmansadr 2021, "Manipulating the Byzantine: Optimizing
    Model Poisoning Attacks and Defenses for Federated Learning", section VI, Algorithm 2. Needs n >= 2f+1; many
    iterations may drop everybody, which is refused. Breaks when attackers stay inside the honest variance.
    Cost: iterations (n^2 coordinates + 64 n^2) + n P. An inflated sample count does nothing.

    Canonical: the scores are those of the top eigenvector of the centred exact Gram matrix (the same ones up to a
    factor), by 64 power steps that start at the column of the client farthest from the mean.
    """
    matrix = as_finite_matrix(updates)
    n, width = matrix.shape
    f = require_count("dnc", n, num_byzantine, 2, 1)
    count = min(width, as_integer("coordinates", coordinates, minimum=1))
    share = as_positive("filter_fraction", filter_fraction) * f
    if share >= n:
        raise AggregationError(
            f"filter_fraction is {filter_fraction}, which drops {share:g} of n={n} updates; allowed: fewer"
        )
    drop = math.floor(share)
    good = set(range(n))
    sequence = seed_sequence(as_integer("seed", seed, minimum=0), "dnc", round_number=round_number)
    for of_pass in sequence.spawn(iterations):
        scores = _variance_scores(matrix[:, draw(width, count, of_pass)])
        good &= {int(i) for i in np.argsort(scores, kind="stable")[: n - drop]}
    if not good:
        raise AggregationError(f"dnc dropped every update in {iterations} iterations of {drop}; use fewer iterations")
    selected = tuple(sorted(good))
    return answer(mean_of_rows(matrix, selected), selected)


def _variance_scores(matrix: Matrix) -> Floats:
    """Return the squared entries of the top eigenvector of the centred Gram matrix, up to a common factor."""
    products = exact_gram(matrix).centred().products()
    spread: Floats = np.diagonal(products)
    if spread.max() == 0:
        return np.zeros(len(matrix))
    products = products / spread.max()
    vector = products[:, np.argmax(spread)].copy()
    for _ in range(POWER_STEPS):
        image = np.zeros(len(vector))
        for column, factor in zip(products.T, vector, strict=True):
            image += column * factor
        vector = image / np.abs(image).max()
    scores: Floats = vector * vector
    return scores


@registered()
def signguard(
    updates: Updates,
    seed: int = 0,
    fraction: float = 0.1,
    lower: float = 0.1,
    upper: float = 3.0,
    round_number: int = 0,
) -> Aggregate:
    """SignGuard: keeps updates of ordinary length whose signs are distributed like those of the largest cluster.

    With M the median of the norms: ``lower <= |u_i| / M <= upper``, and the shares of positive, zero and negative
    values among a random fraction of the coordinates lie in the largest cluster (mean shift, flat kernel; bandwidth:
    the mean distance to the n/2-th nearest). The result is the mean of the kept updates, those longer than M cut to M.
    Xu, Huang, Song and Lan 2022, "Byzantine-robust Federated Learning through Collaborative Malicious Gradient
    Filtering", section IV, Algorithm 2 (plain variant, without similarity). Breaks with n/2 Byzantine clients or
    more, and with attacks that keep the signs. Nobody left is refused. Cost: n P + 100 n^2. An inflated sample
    count does nothing.
    """
    matrix = as_finite_matrix(updates)
    n, width = matrix.shape
    require(0 < fraction <= 1, "fraction", fraction, "above 0 and at most 1", AggregationError)
    lengths = norms(matrix)
    middle = float(np.median(lengths))
    ordinary = (lengths >= as_positive("lower", lower) * middle) & (lengths <= as_positive("upper", upper) * middle)
    sequence = seed_sequence(as_integer("seed", seed, minimum=0), "signguard", round_number=round_number)
    sample = matrix[:, draw(width, max(1, math.floor(fraction * width)), sequence)]
    counts = np.stack([(sample > 0).sum(axis=1), (sample == 0).sum(axis=1), (sample < 0).sum(axis=1)], axis=1)
    cluster = largest_cluster(counts / sample.shape[1])
    selected = tuple(i for i in cluster if ordinary[i])
    if not selected:
        raise AggregationError(f"signguard kept none of n={n} updates: the largest cluster has no ordinary norm")
    factors = [min(1.0, middle / length) if length > 0 else 1.0 for length in lengths[list(selected)].tolist()]
    return answer(weighted_sum(matrix[list(selected)], factors) / len(selected), selected)


def largest_cluster(points: Floats) -> tuple[int, ...]:
    """Return the members of the largest mean-shift cluster of points [n, d]; a tie goes to the lowest member.

    Comaniciu and Meer 2002, "Mean Shift: A Robust Approach Toward Feature Space Analysis", with a flat kernel.
    """
    n = len(points)
    distances = np.sqrt(_squared_distances(points, points))
    distances.sort(axis=1)
    reach = distances[:, max(1, n // 2) - 1]
    bandwidth = float(np.add.accumulate(reach)[-1]) / n
    centres = points
    for _ in range(MEAN_SHIFT_STEPS):
        near = _squared_distances(centres, points) <= bandwidth * bandwidth
        shifted = np.zeros_like(points)
        for i, point in enumerate(points):
            shifted += near[:, i, np.newaxis] * point
        shifted /= np.maximum(near.sum(axis=1), 1)[:, np.newaxis]
        if (shifted == centres).all():
            break
        centres = shifted
    # Centres that met within the bandwidth are one: the densest leads, then the lowest.
    density = (_squared_distances(centres, points) <= bandwidth * bandwidth).sum(axis=1)
    leaders: list[int] = []
    between = _squared_distances(centres, centres)
    for i in np.argsort(-density, kind="stable"):
        if all(between[i, leader] > bandwidth * bandwidth for leader in leaders):
            leaders.append(int(i))
    nearest = np.argmin(_squared_distances(points, centres[leaders]), axis=1)
    members = [tuple(int(i) for i in np.flatnonzero(nearest == k)) for k in range(len(leaders))]
    return max(members, key=lambda cluster: (len(cluster), [-i for i in cluster]))


def _squared_distances(left: Floats, right: Floats) -> Floats:
    total = np.zeros((len(left), len(right)))
    for a, b in zip(left.T, right.T, strict=True):
        difference = a[:, np.newaxis] - b
        total += difference * difference
    return total
