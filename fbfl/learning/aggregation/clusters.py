"""FLAME: the cluster that holds a majority of the updates, cut to an ordinary length and blurred."""

import numpy as np

from fbfl.errors import AggregationError, require
from fbfl.learning.aggregation.averages import weighted_sum
from fbfl.learning.aggregation.inputs import Floats, Matrix, Updates, as_finite_matrix, as_integer
from fbfl.learning.aggregation.norms import norms
from fbfl.learning.aggregation.rule_function import Aggregate, answer, registered
from fbfl.learning.exact_gram import exact_gram
from fbfl.learning.gaussian import standard_normal
from fbfl.randomness import seed_sequence


@registered()
def flame(updates: Updates, seed: int = 0, noise: float = 0.001, round_number: int = 0) -> Aggregate:
    """FLAME: clusters by direction, cuts to the median length, averages, and adds noise against what is left.

    Let in are the L updates of the majority's cluster (`majority`) by cosine distance. With S the median of all |u_i|:
    ``1/L sum_l u_l min(1, S / |u_l|) + N(0, (noise S)^2)``, noise in every coordinate. Nguyen et al. 2022, "FLAME:
    Taming Backdoors in Federated Learning", section 4, Algorithm 1; `noise` is their lambda, 0.001 as for pictures
    there, and 0 adds none. (The paper compares models; here it is their updates, whose directions differ more.) Breaks
    with n/2 Byzantine clients or more, and with attackers that stay as near to the others as these to each other.
    Moving statistics such as BatchNorm's get noise, too. Cost: n^2 P. An inflated sample count does nothing.

    Canonical: cosines come from the exact Gram matrix, the noise from `gaussian.standard_normal`. An update of zeros
    has no direction: its distance to all others is 1.
    """
    matrix = as_finite_matrix(updates)
    require(0 <= noise < np.inf, "noise", noise, "finite numbers from 0", AggregationError)
    selected = majority(_cosine_distances(matrix))
    lengths = norms(matrix)
    middle = float(np.median(lengths))
    factors = [min(1.0, middle / length) if length > 0 else 1.0 for length in lengths[list(selected)].tolist()]
    mean = weighted_sum(matrix[list(selected)], factors) / len(selected)
    sequence = seed_sequence(as_integer("seed", seed, minimum=0), "flame", round_number=round_number)
    with np.errstate(over="ignore"):  # refused by `answer`
        return answer(mean + noise * middle * standard_normal(mean.size, sequence), selected)


def majority(distances: Floats) -> tuple[int, ...]:
    """Return the first single-linkage cluster of more than half of the points, by their distances [n, n].

    That is what HDBSCAN finds (Campello, Moulavi and Sander 2013, "Density-Based Clustering Based on Hierarchical
    Density Estimates") with FLAME's settings, clusters of at least floor(n/2) + 1 and one neighbour to count as dense:
    then the mutual reachability is the distance itself, and no cluster has two children of that size. Equal distances
    link together, so that the answer does not depend on the order of the points.
    """
    n = len(distances)
    left, right = np.triu_indices(n, 1)
    lengths = distances[left, right]
    groups = [[point] for point in range(n)]  # of each point; its members share the list
    reach = np.inf
    for pair in np.argsort(lengths, kind="stable"):
        if lengths[pair] > reach:
            break
        one, other = groups[left[pair]], groups[right[pair]]
        if one is not other:
            one += other
            for point in other:
                groups[point] = one
            if len(one) > n // 2:
                reach = lengths[pair]
    largest = max(groups, key=len)
    return tuple(sorted(largest))


def _cosine_distances(matrix: Matrix) -> Floats:
    """Return 1 - cos of every pair of rows; 1 where a row is 0."""
    products = exact_gram(matrix).products()
    squares = np.diagonal(products)
    lengths = np.sqrt(squares[:, np.newaxis] * squares)  # of the product, so that rows that are alike get exactly 0
    distances: Floats = 1 - np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1.0), 0.0)
    return distances
