"""Attacks on the update: ``(honest, own, rng) -> update``, all float32.

`honest` [m, P] holds the updates of all m honest clients: the attackers know everything, as the papers' strongest
adversary does. `own` is what the attacker's training gave. With f attackers there are n = m + f updates; n and f come
in as `num_clients` and `num_byzantine` where an attack needs them. Colluding attacks draw nothing at random, so all
attackers send the same update; only Gaussian noise is drawn for each attacker on its own.

Nothing here needs canonical arithmetic: an attacker may compute as it likes.
"""

# ruff: noqa: ARG001 - all attacks have one signature, whatever they use of it

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError, VacuousAttackError, require
from fbfl.learning.attacks.registry import on_updates
from fbfl.tensors import Vector

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


@on_updates()
def model_poisoning(honest: Matrix, own: Vector, rng: np.random.Generator, *, std: float = 1.0) -> Vector:
    """Replace the update by Gaussian noise ``N(0, std^2)``: `gaussian_noise` under the name of the paper.

    Wang and Li 2022 (FBFL), the model poisoning of their experiments, whose parameters are not published. At 1.0 the
    noise is some ten to a hundred times a trained update's entries, enough for one attacker in ten to ruin an average.
    """
    return gaussian_noise(honest, own, rng, std=std)


@on_updates()
def gaussian_noise(
    honest: Matrix, own: Vector, rng: np.random.Generator, *, std: float = 1.0, mode: str = "replace"
) -> Vector:
    """Send noise ``N(0, std^2)`` instead of the update (mode "replace") or on top of it ("add").

    Blanchard et al. 2017 (Krum), section 5 (Gaussian Byzantine workers).
    """
    _positive("std", std)
    require(mode in ("replace", "add"), "mode", mode, "replace or add")
    noise = std * rng.standard_normal(own.shape)
    return _update(noise + own if mode == "add" else noise)


@on_updates()
def sign_flipping(honest: Matrix, own: Vector, rng: np.random.Generator, *, scale: float = 1.0) -> Vector:
    """Send ``-scale * own``: the honest step backwards.

    Li et al. 2019, "RSA: Byzantine-Robust Stochastic Aggregation Methods for Distributed Learning from Heterogeneous
    Datasets", section 5. FedAvg with f of n attackers goes backwards once scale > (n - f) / f.
    """
    return _update(-_positive("scale", scale) * own.astype(np.float64))


@on_updates()
def scaling(honest: Matrix, own: Vector, rng: np.random.Generator, *, factor: float = 10.0) -> Vector:
    """Send ``factor * own``: boosts whatever the attacker's data taught (a backdoor, flipped labels).

    Bagdasaryan et al. 2020, "How To Backdoor Federated Learning", section 4.
    """
    return _update(_positive("factor", factor) * own.astype(np.float64))


@on_updates()
def model_replacement(
    honest: Matrix, own: Vector, rng: np.random.Generator, *, num_clients: int, num_byzantine: int
) -> Vector:
    """Send ``n / f * own``: the plain mean of n updates then moves by the attackers' mean, and the model is theirs.

    Bagdasaryan et al. 2020, "How To Backdoor Federated Learning", section 4.2, equation 3 (gamma = n / eta for one
    attacker; f attackers share it). Honest updates near convergence cancel out; before that they are added.
    """
    return scaling(honest, own, rng, factor=num_clients / _attackers(num_byzantine))


@on_updates()
def neurotoxin(honest: Matrix, own: Vector, rng: np.random.Generator, *, top: float = 0.05) -> Vector:
    """Send the update without the coordinates that honest clients change most, where they would soon undo it.

    Zhang et al. 2022, "Neurotoxin: Durable Backdoors in Federated Learning", section 3, Algorithm 1: 0 at the `top`
    share of all coordinates by |mean(honest)| (the published code keeps 95 %), `own` at the others. It follows a data
    attack such as `backdoor`, to make that last. The paper projects every step of the attacker's training, on what the
    aggregate of the round before tells of the honest; here it is the update, on what they send in this round, so that
    what is left has not learnt to make up for what is cut.
    """
    require(0 < top < 1, "top", top, "above 0 and below 1")
    count = max(1, round(top * own.size))
    largest = np.argsort(-np.abs(_mean(honest)), kind="stable")[:count]
    projected = own.copy()
    projected[largest] = 0
    return projected


@on_updates(colluding=True)
def same_value(honest: Matrix, own: Vector, rng: np.random.Generator, *, value: float = 1.0) -> Vector:
    """Send `value` in every coordinate. Li et al. 2019 (RSA), section 5 (same-value attack)."""
    require(math.isfinite(value), "value", value, "finite numbers")
    return np.full(own.shape, value, np.float32)


@on_updates("ipm", colluding=True)
def inner_product_manipulation(
    honest: Matrix, own: Vector, rng: np.random.Generator, *, epsilon: float = 0.5
) -> Vector:
    """IPM: send ``-epsilon * mean(honest)``, which turns the aggregate against the true direction.

    Xie, Koyejo and Gupta 2020, "Fall of Empires: Breaking Byzantine-tolerant SGD by Inner Product Manipulation",
    section 4. Small epsilon (0.1 to 0.5) hides from distance-based rules; the plain mean only turns round when
    epsilon > (n - f) / f, below that it is merely slowed.
    """
    return _update(-_positive("epsilon", epsilon) * _mean(honest))


@on_updates("alie", colluding=True)
def a_little_is_enough(
    honest: Matrix, own: Vector, rng: np.random.Generator, *, num_byzantine: int, z: float | None = None
) -> Vector:
    """ALIE: send ``mean(honest) - z std(honest)`` per coordinate, a shift that hides within the honest spread.

    Baruch, Baruch and Goldberg 2019, "A Little Is Enough: Circumventing Defenses For Distributed Learning", section
    3, Algorithm 3: with ``s = floor(n/2 + 1) - f`` supporters needed for a majority, by default
    ``z = Phi^-1((n - f - s) / (n - f))``. Vacuous, and refused, when that is not positive (n = 10, f = 2 gives 0):
    then the attackers would need more than half of the honest clients on their side.
    """
    f = _attackers(num_byzantine)
    shift = _alie_shift(len(honest) + f, f) if z is None else _positive("z", z)
    return _update(_mean(honest) - shift * honest.std(axis=0, dtype=np.float64))


def _alie_shift(n: int, f: int) -> float:
    supporters = n // 2 + 1 - f
    if supporters < 1:
        raise VacuousAttackError(f"needs fewer attackers than a majority: n={n}, f={f}")
    share = (n - f - supporters) / (n - f)
    z = NormalDist().inv_cdf(share) if share > 0 else -math.inf
    if z <= 0:
        raise VacuousAttackError(f"vacuous at n={n}, f={f}: z = {z:.2g} is not positive; use more attackers or set z")
    return z


@on_updates(colluding=True)
def min_max(honest: Matrix, own: Vector, rng: np.random.Generator, *, deviation: str = "std") -> Vector:
    """Min-Max: go as far from the mean as no honest update is farther away than the two farthest honest ones are.

    ``mean + g p`` with the largest g such that ``max_i |mean + g p - u_i| <= max_ij |u_i - u_j|``; p is minus the
    honest "std", the "sign" of their mean, or its "unit" vector. Shejwalkar and Houmansadr 2021, "Manipulating the
    Byzantine", section IV-C, equation 8. (The paper searches for g by halving; each condition is a quadratic in g, so
    it is solved here.) Needs two honest updates that differ.
    """
    mean, p, offsets, squared_distances = _around_mean(honest, deviation)
    a, b = p @ p, offsets @ p
    c = np.einsum("ij,ij->i", offsets, offsets) - squared_distances.max()
    # a g^2 + 2 b g + c <= 0 holds at g = 0, so its larger root bounds g.
    bounds = (-b + np.sqrt(np.maximum(b * b - a * c, 0.0))) / a
    return _update(mean + bounds.min() * p)


@on_updates(colluding=True)
def min_sum(honest: Matrix, own: Vector, rng: np.random.Generator, *, deviation: str = "std") -> Vector:
    """Min-Sum: like `min_max`, with the sum of squared distances to the honest updates bounded by their own largest.

    ``sum_i |mean + g p - u_i|^2 <= max_i sum_j |u_i - u_j|^2``. Shejwalkar and Houmansadr 2021, section IV-C,
    equation 9; solved for g. Needs two honest updates that differ.
    """
    mean, p, offsets, squared_distances = _around_mean(honest, deviation)
    slack = squared_distances.sum(axis=1).max() - (offsets * offsets).sum()
    return _update(mean + math.sqrt(max(slack, 0.0) / (len(honest) * (p @ p))) * p)


@on_updates(colluding=True)
def mimic(honest: Matrix, own: Vector, rng: np.random.Generator, *, victim: int | None = None) -> Vector:
    """Copy one honest client, so that its data count many times over; harms with non-IID data only.

    Karimireddy, He and Jaggi 2022, "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing", section 3.2:
    the victim is ``argmax_i |z . u_i|``, z being the direction of the largest variance of the honest updates (taken
    from this round; the paper averages over a warm-up), or the row given.
    """
    _require_some(honest)
    if victim is None:
        rows = honest.astype(np.float64)
        centred = rows - rows.mean(axis=0)
        _, vectors = np.linalg.eigh(centred @ centred.T)
        victim = int(np.argmax(np.abs(rows @ (centred.T @ vectors[:, -1]))))
    require(0 <= victim < len(honest), "victim", victim, f"0 to {len(honest) - 1}", VacuousAttackError)
    copied: Vector = honest[victim].copy()
    return copied


def _around_mean(honest: Matrix, deviation: str) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the mean, the direction p, mean - u_i, and the squared distances between the honest updates."""
    mean = _mean(honest)
    if deviation == "std":
        p = -honest.std(axis=0, dtype=np.float64)
    elif deviation == "sign":
        p = -np.sign(mean)
    elif deviation == "unit":
        p = -mean / max(float(np.sqrt(mean @ mean)), np.finfo(np.float64).tiny)
    else:
        raise InvalidInputError(f"deviation is {deviation!r}; allowed: std, sign or unit")
    offsets = mean - honest
    products = offsets @ offsets.T
    norms = np.diagonal(products)
    squared_distances = np.maximum(norms[:, np.newaxis] + norms - 2 * products, 0.0)
    if squared_distances.max() == 0 or not p.any():
        raise VacuousAttackError("needs two honest updates that differ, and a mean that is not 0")
    return mean, p, offsets, squared_distances


def _mean(honest: Matrix) -> Floats:
    _require_some(honest)
    mean: Floats = honest.mean(axis=0, dtype=np.float64)
    return mean


def _require_some(honest: Matrix) -> None:
    if len(honest) == 0:
        raise VacuousAttackError("the attack imitates honest updates and there are none")


def _attackers(num_byzantine: int) -> int:
    require(num_byzantine >= 1, "num_byzantine", num_byzantine, "at least 1 attacker")
    return num_byzantine


def _positive(name: str, value: float) -> float:
    require(0 < value < math.inf, name, value, "finite numbers above 0")
    return value


def _update(vector: Floats) -> Vector:
    """Round to float32, cut to its range: a server would throw Inf away without a look."""
    limit = np.finfo(np.float32).max
    return np.clip(vector, -limit, limit).astype(np.float32)
