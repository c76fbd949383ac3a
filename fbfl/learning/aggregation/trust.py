"""Rules that weigh clients by direction: FLTrust (against a trusted update) and FoolsGold (against each other)."""

import decimal
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fbfl.errors import AggregationError
from fbfl.learning.aggregation.averages import sum_in_order, weighted_sum
from fbfl.learning.aggregation.inputs import Floats, Updates, as_finite_matrix, as_matrix, registry_numbers, with_room
from fbfl.learning.aggregation.norms import inner_products, norms
from fbfl.learning.aggregation.rule_function import Aggregate, State, answer, registered
from fbfl.learning.exact_gram import exact_gram

LN_CONTEXT = decimal.Context(prec=40)
LARGEST = np.finfo(np.float32).max


@registered()
def fltrust(updates: Updates, root_update: npt.ArrayLike) -> Aggregate:
    """FLTrust: averages updates by their agreement with the update of a trusted root data set.

    ``sum_i t_i (|u_0| / |u_i|) u_i / sum_i t_i`` with ``t_i = max(0, cos(u_i, u_0))``, u_0 being the root update.
    Cao, Fang, Liu and Gong 2021, "FLTrust: Byzantine-robust Federated Learning via Trust Bootstrapping", section IV.
    Withstands any number of Byzantine clients while the root data are clean and like the clients'. When no client
    agrees with the root the weights are all 0 and the round is refused. Cost: n P. An inflated sample count does
    nothing.
    """
    matrix = as_finite_matrix(updates)
    root = as_matrix(np.asarray(root_update)[np.newaxis])
    if root.shape[1] != matrix.shape[1]:
        raise AggregationError(f"root_update has {root.shape[1]} coordinates, the updates have {matrix.shape[1]}")
    if not np.isfinite(root).all():
        raise AggregationError("root_update holds NaN or Inf")
    lengths, root_length = norms(matrix), norms(root)[0]
    cosines = _divide(inner_products(matrix, root[0]), lengths * root_length)
    trust = np.maximum(cosines, 0.0)
    total = sum_in_order(trust)
    if total == 0:
        raise AggregationError("fltrust trusts nobody: no update points in the direction of root_update")
    factors = trust * _divide(root_length, lengths)
    return answer(weighted_sum(matrix, factors.tolist()) / total, _positive(trust))


@registered()
def foolsgold(updates: Updates, state: State | None = None, clients: Sequence[int] | None = None) -> Aggregate:
    """FoolsGold: gives less weight to clients whose updates, summed over all rounds, are alike (Sybils).

    With cs_ij the cosine of the histories of i and j and ``v_i = max_j cs_ij``: pardoning ``cs_ij *= v_i / v_j`` where
    v_j > v_i; ``a_i = 1 - max_j cs_ij`` within 0..1, divided by the largest; ``a_i = ln(a_i / (1 - a_i)) + 0.5`` within
    0..1; result ``sum_i a_i u_i / sum_i a_i``. (The paper adds up gradients; updates of local training are averaged.)
    Fung, Yoon and Beschastnikh 2020, "The Limitations of Federated Learning in Sybil Settings", Algorithm 1, with all
    coordinates as features and confidence 1. Breaks with a single attacker, and with Sybils that send different
    updates; punishes honest clients with the same data. All alike: all weights are 0 and the round is refused.
    Cost: n^2 P. An inflated sample count does nothing.

    `state["history"]` holds the summed updates [clients, P] by client, so that it fits when some are missing;
    `clients` tells whose the rows are, by default 0..n-1. Sums are cut to float32's range. Canonical: the logarithm is
    that of `decimal`, which is correctly rounded, unlike those of C libraries.
    """
    matrix = as_finite_matrix(updates)
    n, width = matrix.shape
    numbers = registry_numbers(clients, n)
    history = (state or {}).get("history", np.zeros((0, width), np.float32))
    if history.ndim != 2 or history.shape[1] != width:
        raise AggregationError(f"state['history'] has the shape {history.shape}, not (clients, {width})")
    history = with_room(history, max(numbers) + 1).astype(np.float32)
    with np.errstate(over="ignore"):
        history[numbers] += matrix
    # Otherwise a client that sends float32's largest value twice would stop all later rounds.
    np.clip(history, -LARGEST, LARGEST, out=history)
    weights = _foolsgold_weights(history[numbers])
    total = sum_in_order(weights)
    if total == 0:
        raise AggregationError("foolsgold takes every client for a Sybil: all histories point in the same direction")
    result = answer(weighted_sum(matrix, weights.tolist()) / total, _positive(weights))
    return Aggregate(result.vector, {"history": history}, result.selected)


def _foolsgold_weights(history: npt.NDArray[np.float32]) -> Floats:
    n = len(history)
    if n == 1:
        return np.ones(1)
    products = exact_gram(history).products()
    squares = np.diagonal(products)
    # The root of the product, not the product of roots: rows that are alike get exactly 1.
    similarity = _divide(products, np.sqrt(squares[:, np.newaxis] * squares))
    np.fill_diagonal(similarity, -np.inf)
    nearest = similarity.max(axis=1)
    own, other = nearest[:, np.newaxis], nearest[np.newaxis, :]
    with np.errstate(invalid="ignore"):  # Inf times 0 on the diagonal, which is not taken
        scaled = similarity * _divide(own, other)
    similarity = np.where((other > own) & ~np.eye(n, dtype=bool), scaled, similarity)
    weights: Floats = np.clip(1 - similarity.max(axis=1), 0.0, 1.0)
    top = weights.max()
    if top == 0:
        return weights
    return np.array([_logit(float(weight / top)) for weight in weights])


def _logit(weight: float) -> float:
    """Return ln(w / (1 - w)) + 0.5 within 0..1."""
    if weight in (0.0, 1.0):
        return weight
    odds = decimal.Decimal(weight / (1 - weight))
    return min(1.0, max(0.0, float(odds.ln(LN_CONTEXT)) + 0.5))


def _divide(numerator: Floats | float, denominator: Floats) -> Floats:
    """Return numerator / denominator, 0 where the denominator is 0."""
    safe = np.where(denominator == 0, 1.0, denominator)
    return np.where(denominator == 0, 0.0, numerator / safe)


def _positive(weights: Floats) -> tuple[int, ...]:
    return tuple(int(i) for i in np.flatnonzero(weights > 0))
