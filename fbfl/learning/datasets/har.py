"""Six activities of thirty people, from the accelerometer and the gyroscope of the phone at their waist."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fbfl.errors import DataUnavailableError, InvalidInputError, require
from fbfl.learning.datasets import origin
from fbfl.learning.datasets.dataset import Array, Dataset

SIGNALS = ("body_acc", "body_gyro", "total_acc")
"""Signals, each along x, y and z."""

FORMS = ("signals", "features")
"""What a sample is: the signals of a window, or the figures that their publishers computed of them."""

_STEPS = 128
_FEATURES = 561
_CLASSES = 6
_ADVICE = "unpack 'UCI HAR Dataset.zip' of the UCI Machine Learning Repository into $FBFL_DATA/har"


def har(form: str = FORMS[0], signals: str | Sequence[str] = SIGNALS) -> Dataset:
    """Load 7,352 + 2,947 windows of 128 steps at 50 Hz, float32 [n, 128, 3 per signal] (Anguita et al. 2013).

    `signals` are some of `SIGNALS`: acceleration without gravity and with it, in g, and angular velocity in rad/s. With
    `form` "features" a window is its 561 features, float32 [n, 561], from -1 to 1. Classes 0 to 5 are walking,
    upstairs, downstairs, sitting, standing, lying. Every person is a device of the partition `by_device`. The published
    split of people into training and test is kept.
    """
    require(form in FORMS, "dataset har: form", form, ", ".join(FORMS))
    chosen = [signals] if isinstance(signals, str) else list(signals)
    for signal in chosen:
        if signal not in SIGNALS:
            raise InvalidInputError(f"dataset har: signals has {signal!r}; allowed: {', '.join(SIGNALS)}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise InvalidInputError(f"dataset har: signals is {signals!r}; allowed: each of {', '.join(SIGNALS)} once")
    if form == "features" and set(chosen) != set(SIGNALS):
        raise InvalidInputError(f"dataset har: signals is {signals!r}; allowed with form=features: all, as it is")
    folder = _folder()
    x_train, y_train, people = _part(folder, "train", form, chosen)
    x_test, y_test, _ = _part(folder, "test", form, chosen)
    device_of = np.unique(people, return_inverse=True)[1]
    return Dataset("har", x_train, y_train, x_test, y_test, str(folder), device_of=device_of.astype(np.int64))


def _folder() -> Path:
    for folder in origin.user_folder("har"):
        for place in (folder, folder / "UCI HAR Dataset"):
            if (place / "train").is_dir() and (place / "test").is_dir():
                return place
    raise DataUnavailableError(f"har is not on this machine: {_ADVICE}")


def _part(folder: Path, part: str, form: str, signals: Sequence[str]) -> tuple[Array, Array, Array]:
    """Return samples, classes and people of the training or the test part."""
    labels = _numbers(folder / part / f"y_{part}.txt", 1)[:, 0].astype(np.int64) - 1
    people = _numbers(folder / part / f"subject_{part}.txt", 1)[:, 0].astype(np.int64)
    if form == "features":
        read = [_numbers(folder / part / f"X_{part}.txt", _FEATURES)]
    else:
        inertial = folder / part / "Inertial Signals"
        read = [_numbers(inertial / f"{signal}_{axis}_{part}.txt", _STEPS) for signal in signals for axis in "xyz"]
    if {len(rows) for rows in (people, *read)} != {len(labels)}:
        raise InvalidInputError(f"{folder / part}: files have different numbers of lines; needed: a line per window")
    if labels.min() < 0 or labels.max() >= _CLASSES:
        raise InvalidInputError(f"{folder / part / f'y_{part}.txt'}: holds another label than 1 to {_CLASSES}")
    samples = read[0] if form == "features" else np.stack(read, axis=-1)
    return samples.astype(np.float32), labels, people


def _numbers(path: Path, columns: int) -> Array:
    """Return a file of numbers, a row per line."""
    try:
        rows = np.loadtxt(path, ndmin=2)
    except OSError as error:
        raise DataUnavailableError(f"{path} cannot be read ({error.strerror or error}): {_ADVICE}") from error
    except ValueError as error:
        raise InvalidInputError(f"{path}: not lines of {columns} numbers: {error}") from error
    if rows.shape[1] != columns or not len(rows) or not np.isfinite(rows).all():
        raise InvalidInputError(f"{path}: not lines of {columns} numbers")
    return rows
