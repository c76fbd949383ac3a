"""Attacks on the training data: ``(x, y, rng) -> (x, y)``. The arrays given are never changed.

`fraction` is the share of an attacker's samples that are poisoned, chosen at random.
"""

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError
from fbfl.learning.noise import Images, add_noise

Labels = npt.NDArray[np.integer]
Samples = tuple[Images, Labels]


def data_poisoning(
    x: Images, y: Labels, rng: np.random.Generator, *, std: float = 0.5, fraction: float = 1.0
) -> Samples:
    """Noise on the samples: ``x + N(0, std^2)`` on the scale [0, 1], cut to the range of the data.

    Wang and Li 2022 (FBFL), the data poisoning of their experiments, whose parameters are not published. At 0.5 the
    noise is about as strong as a digit's ink. Keeps the labels, so that it slows learning rather than misleads it.
    """
    _require(std > 0, f"std = {std}: must be above 0")
    chosen = choose(np.arange(len(y)), fraction, rng)
    poisoned = x.copy()
    poisoned[chosen] = add_noise(x[chosen], std, rng)
    return poisoned, y


def label_flipping(
    x: Images, y: Labels, rng: np.random.Generator, *, num_classes: int = 10, fraction: float = 1.0
) -> Samples:
    """Flip every label l to ``num_classes - 1 - l``.

    Fang et al. 2020, "Local Model Poisoning Attacks to Byzantine-Robust Federated Learning", section V-A (label
    flipping); also the label flipping of Wang and Li 2022 (FBFL). All attackers flip alike, so they push together.
    """
    require_labels(y, num_classes)
    return x, _changed(y, num_classes - 1 - y, choose(np.arange(len(y)), fraction, rng))


def targeted_label_flipping(
    x: Images, y: Labels, rng: np.random.Generator, *, source: int, target: int, fraction: float = 1.0
) -> Samples:
    """Give samples of the class `source` the label `target`: the source's recall falls, the other classes stay.

    Tolpegin et al. 2020, "Data Poisoning Attacks Against Federated Learning Systems", section 3.
    Vacuous for an attacker without samples of the source class: its data stay as they are.
    """
    _require(source != target, f"source = target = {source}: the labels would stay as they are")
    chosen = choose(np.flatnonzero(y == source), fraction, rng)
    return x, _changed(y, np.full_like(y, target), chosen)


def random_label_flipping(
    x: Images, y: Labels, rng: np.random.Generator, *, num_classes: int = 10, fraction: float = 1.0
) -> Samples:
    """Replace labels by others drawn uniformly from the remaining classes (symmetric label noise).

    Zhang et al. 2017, "Understanding Deep Learning Requires Rethinking Generalization", section 2, per sample and
    never the true label.
    """
    require_labels(y, num_classes)
    _require(num_classes > 1, "num_classes = 1: there is no other label")
    others = (y + rng.integers(1, num_classes, size=len(y))) % num_classes
    return x, _changed(y, others.astype(y.dtype), choose(np.arange(len(y)), fraction, rng))


def choose(candidates: npt.NDArray[np.intp], fraction: float, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return round(fraction * candidates) of them at random, ascending."""
    _require(0 < fraction <= 1, f"fraction = {fraction}: must be above 0 and at most 1")
    return np.sort(rng.permutation(candidates)[: round(fraction * candidates.size)])


def require_labels(y: Labels, num_classes: int) -> None:
    """Refuse labels outside 0 .. num_classes - 1."""
    _require(
        y.size == 0 or (y.min() >= 0 and y.max() < num_classes),
        f"num_classes = {num_classes}: labels must be 0 to {num_classes - 1}",
    )


def _changed(y: Labels, new: Labels, chosen: npt.NDArray[np.intp]) -> Labels:
    changed = y.copy()
    changed[chosen] = new[chosen]
    return changed


def _require(condition: bool | np.bool_, message: str) -> None:
    if not condition:
        raise InvalidInputError(message)
