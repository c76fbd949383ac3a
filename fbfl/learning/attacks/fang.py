"""The attacks of Fang, Cao, Jia and Gong 2020, "Local Model Poisoning Attacks to Byzantine-Robust Federated Learning".

Theirs push the aggregate against s, the sign of the direction in which it would move without attack, estimated from
the updates that the attackers know: those of all honest clients (`honest`, full knowledge), or those that the attackers
themselves trained honestly (`compromised`, partial knowledge). The paper writes global models; here updates, so the
received model w_Re is 0. `fang_gaussian` is what they compare with.
"""

# ruff: noqa: ARG001 - all attacks have one signature, whatever they use of it

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError, VacuousAttackError, require
from fbfl.learning.aggregation.nearest import krum_scores
from fbfl.learning.attacks.registry import on_updates
from fbfl.tensors import Vector

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


@on_updates(colluding=True)
def fang_krum(
    honest: Matrix, own: Vector, rng: np.random.Generator, *, num_byzantine: int, threshold: float = 1e-5
) -> Vector:
    """Full knowledge against Krum: ``-lambda s`` with the largest lambda that Krum still picks.

    Section IV-B: lambda starts at its upper bound (equation 4) and is halved until Krum picks the crafted update, which
    all attackers send, or it falls below `threshold`, when Krum resists and the last one is sent. Needs n >= 2f+3.
    """
    n, f = len(honest) + num_byzantine, num_byzantine
    if f < 1 or n < 2 * f + 3:
        raise VacuousAttackError(f"needs f >= 1 and n >= 2f+3 clients, as Krum does; n={n}, f={f}")
    direction, products = _direction(honest)
    along = honest @ direction
    for size in _halved(_upper_bound(products, n - f - 2, n - 2 * f - 1, own.size), threshold):
        if _krum_picks_crafted(products, direction, along, size, copies=f, f=f):
            break
    return (-size * direction).astype(np.float32)


@on_updates(knows="compromised", colluding=True)
def fang_krum_partial(
    compromised: Matrix, own: Vector, rng: np.random.Generator, *, num_byzantine: int, threshold: float = 1e-5
) -> Vector:
    """Partial knowledge against Krum: the attackers' own honest updates stand for those of everybody.

    Section IV-B: Krum on one crafted update and the f that the attackers trained; when no lambda above `threshold` is
    picked, with two crafted ones, then three, up to f. Krum counts the f-2 nearest there, at least one.
    """
    f = num_byzantine
    if f < 1 or len(compromised) != f:
        raise InvalidInputError(f"needs one update of each of f={f} attackers, not {len(compromised)}")
    direction, products = _direction(compromised)
    along = compromised @ direction
    bound = _upper_bound(products, max(1, f - 2), 1, own.size)
    for copies in range(1, f + 1):
        for size in _halved(bound, threshold):
            # f + copies updates and a Krum that tolerates `copies`: f - 2 neighbours, or 1 if that is more.
            if _krum_picks_crafted(products, direction, along, size, copies, min(copies, f + copies - 3)):
                return (-size * direction).astype(np.float32)
    return (-size * direction).astype(np.float32)


@on_updates()
def fang_trim(honest: Matrix, own: Vector, rng: np.random.Generator, *, b: float = 2.0) -> Vector:
    """Full knowledge against trimmed mean and median: values just beyond the farthest honest one, against s.

    Section IV-C: where s_j = -1 uniform in [max_j, b max_j] (in [max_j, max_j / b] if max_j < 0), where s_j = 1 uniform
    in [min_j / b, min_j] (in [b min_j, min_j] if min_j < 0). Each attacker draws its own values.
    """
    require(b > 1, "b", b, "above 1")
    direction, _ = _direction(honest)
    top, bottom = honest.max(axis=0).astype(np.float64), honest.min(axis=0).astype(np.float64)
    above = np.where(top > 0, b * top, top / b)
    below = np.where(bottom > 0, bottom / b, b * bottom)
    return _between(direction, (top, above), (below, bottom), rng)


@on_updates(knows="compromised")
def fang_trim_partial(compromised: Matrix, own: Vector, rng: np.random.Generator) -> Vector:
    """Partial knowledge against trimmed mean and median: 3 to 4 standard deviations from the mean, against s.

    Section IV-C: where s_j = -1 uniform in [mu_j + 3 sigma_j, mu_j + 4 sigma_j], where s_j = 1 uniform in
    [mu_j - 4 sigma_j, mu_j - 3 sigma_j], both estimated from the attackers' own honest updates. Vacuous, and refused,
    with a single attacker: sigma would be 0.
    """
    if len(compromised) < 2:
        raise VacuousAttackError("needs at least 2 attackers to estimate a standard deviation")
    direction, _ = _direction(compromised)
    mean, std = compromised.mean(axis=0, dtype=np.float64), compromised.std(axis=0, dtype=np.float64)
    return _between(direction, (mean + 3 * std, mean + 4 * std), (mean - 4 * std, mean - 3 * std), rng)


@on_updates(knows="everybody")
def fang_gaussian(everybody: Matrix, own: Vector, rng: np.random.Generator) -> Vector:
    """Draw each coordinate from the Gaussian with the mean and standard deviation of all updates as trained.

    Section 4.1 of the USENIX version (Gaussian attack). Each attacker draws its own values. In each coordinate they
    look like anybody's, so that robust rules hardly suffer.
    """
    mean, std = everybody.mean(axis=0, dtype=np.float64), everybody.std(axis=0, dtype=np.float64)
    drawn: Floats = mean + std * rng.standard_normal(own.size)
    return drawn.astype(np.float32)


def _between(
    direction: Floats, upper: tuple[Floats, Floats], lower: tuple[Floats, Floats], rng: np.random.Generator
) -> Vector:
    low = np.where(direction < 0, upper[0], lower[0])
    high = np.where(direction < 0, upper[1], lower[1])
    return (low + (high - low) * rng.random(low.size)).astype(np.float32)


def _direction(known: Matrix) -> tuple[Floats, Floats]:
    """Return the sign of the mean and the inner products of the updates.

    A coordinate that does not move stays 0: pushing it would cost distance and gain nothing.
    """
    if len(known) == 0:
        raise VacuousAttackError("the attack estimates the honest direction from updates and there are none")
    rows = known.astype(np.float64)
    return np.sign(rows.mean(axis=0)), rows @ rows.T


def _squared_distances(products: Floats) -> Floats:
    norms = np.diagonal(products)
    return np.maximum(norms[:, np.newaxis] + norms - 2 * products, 0.0)


def _upper_bound(products: Floats, neighbours: int, divisor: int, size: int) -> float:
    """Return the bound of equation 4: sqrt(min_l sum of the nearest D^2 / (divisor d)) + max_l |u_l| / sqrt(d)."""
    nearest = np.sort(_squared_distances(products), axis=1)[:, 1 : neighbours + 1].sum(axis=1).min()
    return float(np.sqrt(nearest / (divisor * size)) + np.sqrt(np.diagonal(products).max() / size))


def _halved(size: float, threshold: float) -> Iterator[float]:
    """Yield a size and its halves down to the threshold; at least one."""
    yield size
    while size / 2 > threshold:
        size /= 2
        yield size


def _krum_picks_crafted(products: Floats, direction: Floats, along: Floats, size: float, copies: int, f: int) -> bool:
    """Tell whether Krum on `copies` of -size * direction and the known updates picks one of the copies.

    Of the known updates it takes their inner products with each other, and `along` the direction.
    """
    crafted = size * size * (direction @ direction) + 2 * size * along + np.diagonal(products)
    n = copies + len(products)
    distances = np.zeros((n, n))
    distances[:copies, copies:] = crafted
    distances[copies:, :copies] = crafted[:, np.newaxis]
    distances[copies:, copies:] = _squared_distances(products)
    return bool(np.argmin(krum_scores(distances, f)) < copies)
