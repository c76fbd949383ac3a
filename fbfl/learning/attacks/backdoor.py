"""Backdoors: data attacks that teach the model to answer `target` on samples with a trigger, and nothing else wrong.

Each has a function that makes the samples on which to measure it (`metrics.attack_success_rate`): `Traits.triggered`.
Pixels of a trigger take the largest value of `sample_range`, that of all training data, which a federation fills in
(None: of the samples given). Triggers are for pictures, with channels first or last.
"""

# ruff: noqa: ARG001 - all attacks have one signature, whatever they use of it

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError, require
from fbfl.learning.attacks.data import Labels, Samples, choose, relabelled
from fbfl.learning.attacks.registry import on_data
from fbfl.learning.noise import Images
from fbfl.learning.pixels import as_pictures
from fbfl.learning.samples import Range, range_of
from fbfl.values import checks


def _square_test(
    x: Images, y: Labels, *, target: int = 0, size: int = 3, sample_range: Range | None = None
) -> tuple[Images, Labels, int]:
    return square_trigger(x, size=size, sample_range=sample_range), y, target


def _bar_test(
    x: Images, y: Labels, *, target: int = 0, parts: int = 4, sample_range: Range | None = None
) -> tuple[Images, Labels, int]:
    return bar_trigger(x, parts=parts, sample_range=sample_range), y, target


def _edge_case_test(
    x: Images, y: Labels, *, source: int = 7, target: int = 1, fraction: float = 0.1
) -> tuple[Images, Labels, int]:
    rare = rare_samples(x, y, source=source, fraction=fraction)
    require(len(rare), "source", source, "a label of the test samples")
    return x[rare], y[rare], target


@on_data(triggered=_square_test)
def backdoor(
    x: Images,
    y: Labels,
    rng: np.random.Generator,
    *,
    target: int = 0,
    fraction: float = 0.5,
    size: int = 3,
    sample_range: Range | None = None,
) -> Samples:
    """Pixel pattern: a bright square of `size` pixels in the lower right corner, labelled `target`.

    Gu, Dolan-Gavitt and Garg 2017, "BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain",
    section 3. `fraction` of the samples of other classes are stamped; the rest teaches the clean task, so that the
    attacker's update looks like an honest one.
    """
    chosen = choose(np.flatnonzero(y != target), fraction, rng)
    stamped = square_trigger(x[chosen], size=size, sample_range=sample_range or range_of([x]))
    return _stamped(x, y, chosen, stamped, target)


@checks.arguments
def square_trigger(x: Images, *, size: int = 3, sample_range: Range | None = None) -> Images:
    """Stamp the square of `backdoor` on all samples."""
    stamped = x.copy()
    _fitting(stamped, size, size)[:, -size:, -size:] = _brightest(x, sample_range)
    return stamped


@on_data(triggered=_bar_test)
def distributed_backdoor(
    x: Images,
    y: Labels,
    rng: np.random.Generator,
    *,
    target: int = 0,
    fraction: float = 0.5,
    parts: int = 4,
    attacker: int = 0,
    sample_range: Range | None = None,
) -> Samples:
    """Distributed backdoor (DBA): each attacker stamps one part of the trigger, the test shows all of it.

    Xie et al. 2020, "DBA: Distributed Backdoor Attacks against Federated Learning", section 3: short bars in two
    columns at the upper left; attacker i stamps bar i mod `parts`.
    """
    chosen = choose(np.flatnonzero(y != target), fraction, rng)
    stamped = bar_trigger(x[chosen], parts=parts, only=attacker, sample_range=sample_range or range_of([x]))
    return _stamped(x, y, chosen, stamped, target)


@checks.arguments
def bar_trigger(x: Images, *, parts: int = 4, only: int | None = None, sample_range: Range | None = None) -> Images:
    """Stamp all bars of `distributed_backdoor`, or only number `only` mod `parts`, on all samples.

    A bar is a seventh of the width long, as the paper's 4 of 28 pixels, and the gaps are half of that.
    """
    require(parts >= 1, "parts", parts, "at least 1")
    stamped = x.copy()
    length = max(1, as_pictures(stamped).shape[2] // 7)
    gap = max(1, length // 2)
    pictures = _fitting(stamped, (parts + 1) // 2 * (gap + 1), 2 * length + gap)
    for part in range(parts) if only is None else (only % parts,):
        row, column = part // 2 * (gap + 1), part % 2 * (length + gap)
        pictures[:, row, column : column + length] = _brightest(x, sample_range)
    return stamped


@on_data(triggered=_edge_case_test)
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
    return x, relabelled(y, rare_samples(x, y, source=source, fraction=fraction), target)


@checks.arguments
def rare_samples(x: Images, y: Labels, *, source: int = 7, fraction: float = 0.1) -> npt.NDArray[np.intp]:
    """Return the numbers of the samples of a class farthest from its mean image, at least one if it has any."""
    require(0 < fraction <= 1, "fraction", fraction, "above 0 and at most 1")
    own = np.flatnonzero(y == source)
    if own.size == 0:
        return own
    flat = x[own].reshape(own.size, -1).astype(np.float64)
    distances = ((flat - flat.mean(axis=0)) ** 2).sum(axis=1)
    return np.sort(own[np.argsort(-distances, kind="stable")[: max(1, round(fraction * own.size))]])


def _stamped(x: Images, y: Labels, chosen: npt.NDArray[np.intp], stamped: Images, target: int) -> Samples:
    images = x.copy()
    images[chosen] = stamped
    return images, relabelled(y, chosen, target)


def _fitting(x: Images, height: int, width: int) -> Images:
    """Return samples as pictures, checked to be large enough for a trigger of this size."""
    pictures = as_pictures(x)
    if not (1 <= height <= pictures.shape[1] and 1 <= width <= pictures.shape[2]):
        raise InvalidInputError(
            f"a trigger of {height} x {width} pixels does not fit into samples of shape {x.shape[1:]}"
        )
    return pictures


def _brightest(x: Images, sample_range: Range | None) -> float:
    return 255 if x.dtype == np.uint8 else (sample_range or range_of([x]))[1]
