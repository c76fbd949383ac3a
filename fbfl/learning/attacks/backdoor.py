"""Backdoors: data attacks that teach the model to answer `target` on samples with a trigger, and nothing else wrong.

Each has a function that makes the samples on which to measure it (`metrics.attack_success_rate`), see `TRIGGERED`.
Pixels of a trigger take the largest value of the data's range.
"""

# ruff: noqa: ARG001 - all attacks have one signature, whatever they use of it

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError
from fbfl.learning.attacks.data import Labels, Samples, choose
from fbfl.learning.noise import Images


def backdoor(
    x: Images,
    y: Labels,
    rng: np.random.Generator,
    *,
    target: int = 0,
    fraction: float = 0.5,
    size: int = 3,
) -> Samples:
    """Pixel pattern: a bright square of `size` pixels in the lower right corner, labelled `target`.

    Gu, Dolan-Gavitt and Garg 2017, "BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain",
    section 3. `fraction` of the samples of other classes are stamped; the rest teaches the clean task, so that the
    attacker's update looks like an honest one.
    """
    chosen = choose(np.flatnonzero(y != target), fraction, rng)
    return _stamped(x, y, chosen, square_trigger(x[chosen], size=size), target)


def square_trigger(x: Images, *, size: int = 3) -> Images:
    """Stamp the square of `backdoor` on all samples."""
    _images(x, size, size)
    stamped = x.copy()
    stamped[:, -size:, -size:] = _brightest(x)
    return stamped


def distributed_backdoor(
    x: Images,
    y: Labels,
    rng: np.random.Generator,
    *,
    target: int = 0,
    fraction: float = 0.5,
    parts: int = 4,
    attacker: int = 0,
) -> Samples:
    """Distributed backdoor (DBA): each attacker stamps one part of the trigger, the test shows all of it.

    Xie et al. 2020, "DBA: Distributed Backdoor Attacks against Federated Learning", section 3: short bars in two
    columns at the upper left; attacker i stamps bar i mod `parts`.
    """
    chosen = choose(np.flatnonzero(y != target), fraction, rng)
    return _stamped(x, y, chosen, bar_trigger(x[chosen], parts=parts, only=attacker % parts), target)


def bar_trigger(x: Images, *, parts: int = 4, only: int | None = None) -> Images:
    """Stamp all bars of `distributed_backdoor`, or only one, on all samples.

    A bar is a seventh of the width long, as the paper's 4 of 28 pixels, and the gaps are half of that.
    """
    if parts < 1:
        raise InvalidInputError(f"parts = {parts}: must be at least 1")
    length = max(1, x.shape[2] // 7)
    gap = max(1, length // 2)
    _images(x, (parts + 1) // 2 * (gap + 1), 2 * length + gap)
    stamped = x.copy()
    for part in range(parts) if only is None else (only,):
        row, column = part // 2 * (gap + 1), part % 2 * (length + gap)
        stamped[:, row, column : column + length] = _brightest(x)
    return stamped


def edge_case(
    x: Images,
    y: Labels,
    rng: np.random.Generator,
    *,
    source: int = 7,
    target: int = 1,
    fraction: float = 0.1,
) -> Samples:
    """Edge-case backdoor: rare samples of the class `source` are labelled `target`; no pixel is changed.

    Wang et al. 2020, "Attack of the Tails: Yes, You Really Can Backdoor Federated Learning", section 3: samples that
    honest clients hardly have, here the `fraction` of the attacker's own that lies farthest from their class's mean
    image (the paper takes them from another data set). Vacuous for an attacker without samples of the source class.
    """
    if source == target:
        raise InvalidInputError(f"source = target = {source}: the labels would stay as they are")
    changed = y.copy()
    changed[rare_samples(x, y, source=source, fraction=fraction)] = target
    return x, changed


def rare_samples(x: Images, y: Labels, *, source: int = 7, fraction: float = 0.1) -> npt.NDArray[np.intp]:
    """Return the numbers of the samples of a class farthest from its mean image, at least one if it has any."""
    if not 0 < fraction <= 1:
        raise InvalidInputError(f"fraction = {fraction}: must be above 0 and at most 1")
    own = np.flatnonzero(y == source)
    if own.size == 0:
        return own
    flat = x[own].reshape(own.size, -1).astype(np.float64)
    distances = ((flat - flat.mean(axis=0)) ** 2).sum(axis=1)
    return np.sort(own[np.argsort(-distances, kind="stable")[: max(1, round(fraction * own.size))]])


def _square_test(x: Images, y: Labels, *, target: int = 0, size: int = 3) -> tuple[Images, Labels, int]:
    return square_trigger(x, size=size), y, target


def _bar_test(x: Images, y: Labels, *, target: int = 0, parts: int = 4) -> tuple[Images, Labels, int]:
    return bar_trigger(x, parts=parts), y, target


def _edge_case_test(
    x: Images, y: Labels, *, source: int = 7, target: int = 1, fraction: float = 0.1
) -> tuple[Images, Labels, int]:
    rare = rare_samples(x, y, source=source, fraction=fraction)
    if not len(rare):
        raise InvalidInputError(f"edge_case: source = {source}: must be a label of the test samples")
    return x[rare], y[rare], target


TRIGGERED: dict[str, Callable[..., tuple[Images, Labels, int]]] = {
    "backdoor": _square_test,
    "distributed_backdoor": _bar_test,
    "edge_case": _edge_case_test,
}
"""Per backdoor: test samples to triggered samples, their true labels and the target, with the backdoor's settings."""


def _stamped(x: Images, y: Labels, chosen: npt.NDArray[np.intp], stamped: Images, target: int) -> Samples:
    images, labels = x.copy(), y.copy()
    images[chosen] = stamped
    labels[chosen] = target
    return images, labels


def _images(x: Images, height: int, width: int) -> None:
    if x.ndim < 3 or not (1 <= height <= x.shape[1] and 1 <= width <= x.shape[2]):
        raise InvalidInputError(
            f"a trigger of {height} x {width} pixels does not fit into samples of shape {x.shape[1:]}"
        )


def _brightest(x: Images) -> int:
    return 255 if x.dtype == np.uint8 else 1
