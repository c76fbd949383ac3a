"""Attacks on the training data: ``(x, y, rng) -> (x, y)``. The arrays given are never changed.

`fraction` is the share of an attacker's samples that are poisoned, chosen at random. `sample_range` and `num_classes`
are those of all training data, which a federation fills in; None: of the samples given.
"""

import math

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError
from fbfl.learning.attacks.registry import on_data
from fbfl.learning.noise import Images, add_noise
from fbfl.learning.samples import MAX_CLASSES, Range, range_of

Labels = npt.NDArray[np.integer]
Samples = tuple[Images, Labels]


@on_data(classes=False)
def data_poisoning(
    x: Images,
    y: Labels,
    rng: np.random.Generator,
    *,
    std: float = 0.5,
    fraction: float = 1.0,
    sample_range: Range | None = None,
) -> Samples:
    """Noise on the samples: ``x + N(0, std^2)``, with the range of the data as the unit, and cut to it.

    Wang and Li 2022 (FBFL), the data poisoning of their experiments, whose parameters are not published. At 0.5 the
    noise is about as strong as a digit's ink. Keeps the labels, so that it slows learning rather than misleads it.
    """
    _require(0 < std < math.inf, f"std is {std}; allowed: finite numbers above 0")
    chosen = choose(np.arange(len(y)), fraction, rng)
    poisoned = x.copy()
    poisoned[chosen] = add_noise(x[chosen], std, rng, sample_range or range_of([x]))
    return poisoned, y


@on_data()
def label_flipping(
    x: Images, y: Labels, rng: np.random.Generator, *, num_classes: int | None = None, fraction: float = 1.0
) -> Samples:
    """Flip every label l to ``num_classes - 1 - l``.

    Fang et al. 2020, "Local Model Poisoning Attacks to Byzantine-Robust Federated Learning", section V-A (label
    flipping); also the label flipping of Wang and Li 2022 (FBFL). All attackers flip alike, so they push together.
    """
    count = _class_count(y, num_classes)
    labels = holding(y, count - 1)
    return x, _changed(labels, count - 1 - labels, choose(np.arange(len(y)), fraction, rng))


@on_data()
def targeted_label_flipping(
    x: Images, y: Labels, rng: np.random.Generator, *, source: int, target: int, fraction: float = 1.0
) -> Samples:
    """Give samples of the class `source` the label `target`: the source's recall falls, the other classes stay.

    Tolpegin et al. 2020, "Data Poisoning Attacks Against Federated Learning Systems", section 3.
    Vacuous for an attacker without samples of the source class: its data stay as they are.
    """
    _require(source != target, f"source = target = {source}: the labels would stay as they are")
    chosen = choose(np.flatnonzero(y == source), fraction, rng)
    return x, relabelled(y, chosen, target)


@on_data()
def random_label_flipping(
    x: Images, y: Labels, rng: np.random.Generator, *, num_classes: int | None = None, fraction: float = 1.0
) -> Samples:
    """Replace labels by others drawn uniformly from the remaining classes (symmetric label noise).

    Zhang et al. 2017, "Understanding Deep Learning Requires Rethinking Generalization", section 2, per sample and
    never the true label.
    """
    count = _class_count(y, num_classes)
    _require(count > 1, "num_classes = 1: there is no other label")
    labels = holding(y, count - 1)
    others = (labels.astype(np.int64) + rng.integers(1, count, size=len(y))) % count
    return x, _changed(labels, others.astype(labels.dtype), choose(np.arange(len(y)), fraction, rng))


def choose(candidates: npt.NDArray[np.intp], fraction: float, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return round(fraction * candidates) of them at random, ascending."""
    _require(0 < fraction <= 1, f"fraction is {fraction}; allowed: above 0 and at most 1")
    return np.sort(rng.permutation(candidates)[: round(fraction * candidates.size)])


def relabelled(y: Labels, chosen: npt.NDArray[np.intp], target: int) -> Labels:
    """Return the labels with `target` in the chosen places; one that cannot be a label raises `InvalidInputError`."""
    _require(0 <= target < MAX_CLASSES, f"target is {target}; allowed: a label, 0 to {MAX_CLASSES - 1}")
    labels = holding(y, target)
    labels[chosen] = target
    return labels


def holding(y: Labels, label: int) -> Labels:
    """Return a copy of the labels, in their own type if that can hold another label, too, else in int64."""
    return y.astype(y.dtype if label <= np.iinfo(y.dtype).max else np.int64)


def _class_count(y: Labels, num_classes: int | None) -> int:
    count = 1 + int(np.max(y, initial=0)) if num_classes is None else num_classes
    _require(1 <= count <= MAX_CLASSES, f"num_classes is {count}; allowed: 1 to {MAX_CLASSES}")
    _require(
        y.size == 0 or (y.min() >= 0 and y.max() < count),
        f"labels do not fit num_classes {count}; allowed: 0 to {count - 1}",
    )
    return count


def _changed(y: Labels, new: Labels, chosen: npt.NDArray[np.intp]) -> Labels:
    changed = y.copy()
    changed[chosen] = new[chosen]
    return changed


def _require(condition: bool | np.bool_, message: str) -> None:
    if not condition:
        raise InvalidInputError(message)
