"""A data set in memory."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError
from fbfl.learning.samples import absent_labels, checked, labels_of, type_of, unlearnt_labels
from fbfl.randomness import generator

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Dataset:
    """Training and test samples of one task.

    `x_train` and `x_test` are [n, height, width] (any shape behind n is allowed in files of one's own), uint8 in
    0..255, which stand for 0 to 1, finite float32, or int32, whole numbers such as those of words; `y_train` and
    `y_test` are int64 [n], classes counted from 0, or float32 [n], numbers. `source` names the origin of the arrays;
    `note` is one line for the user when it is not what they asked for, else None. `device_of` int64 [n] has the device
    of each training sample, from 0, if the data tell; else None.
    """

    name: str
    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    source: str
    note: str | None = None
    device_of: Array | None = None
    given_classes: int | None = None
    """Number of classes, if it is given; 0: labels are numbers."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x_train.shape[1:])

    @property
    def num_classes(self) -> int:
        """Number of classes: as given, or the largest label plus one; 0 if labels are numbers."""
        if self.given_classes is not None:
            return self.given_classes
        return int(max(self.y_train.max(), self.y_test.max())) + 1

    @property
    def warnings(self) -> tuple[str, ...]:
        """Lines for the user on what cannot be learnt: classes without a sample, or none to train on, and one alone.

        Classes may have no sample at all where their number was given.
        """
        if not self.num_classes:
            return ()
        absent = () if self.given_classes is not None else absent_labels(self.num_classes, (self.y_train, self.y_test))
        return absent + unlearnt_labels(self.y_train, self.y_test)


def dataset_of(loaded: object, where: str, num_classes: int | None = None) -> Dataset:
    """Return a data set, also from the four arrays of a user's function: x_train, y_train, x_test, y_test.

    Its labels are those of `num_classes` classes (None: as many as they say), or numbers (0), else `InvalidInputError`
    is raised.
    """
    if isinstance(loaded, Dataset):
        train = labels_of(loaded.y_train, f"{where}: y_train", num_classes)
        test = labels_of(loaded.y_test, f"{where}: y_test", num_classes)
        if num_classes is None:
            return loaded
        return replace(loaded, y_train=train, y_test=test, given_classes=num_classes)
    if not isinstance(loaded, tuple | list) or len(loaded) != 4:
        raise InvalidInputError(
            f"{where} returned a {type(loaded).__name__}; needed: a Dataset, or x_train, y_train, x_test, y_test"
        )
    return whole(where.rpartition(":")[2], where, *loaded, num_classes=num_classes)


def whole(
    name: str,
    where: str,
    x_train: object,
    y_train: object,
    x_test: object,
    y_test: object,
    *,
    num_classes: int | None,
) -> Dataset:
    """Return a data set of arrays as a user has them; `where` begins the message of the `InvalidInputError`."""
    x_train, y_train = samples_of_part(x_train, y_train, where, "train", num_classes)
    x_test, y_test = samples_of_part(x_test, y_test, where, "test", num_classes)
    if x_train.shape[1:] != x_test.shape[1:]:
        raise InvalidInputError(
            f"{where}: samples of x_train have the shape {x_train.shape[1:]}, of x_test {x_test.shape[1:]}"
        )
    if type_of(x_train) != type_of(x_test):
        raise InvalidInputError(
            f"{where}: x_train is {x_train.dtype}, x_test {x_test.dtype}; needed: whole numbers in both, or in none"
        )
    return Dataset(name, x_train, y_train, x_test, y_test, source=where, given_classes=num_classes)


def samples_of_part(x: object, y: object, where: str, part: str, num_classes: int | None = None) -> tuple[Array, Array]:
    """Return x_`part` and y_`part` as `Dataset` has them, else raise `InvalidInputError`."""
    samples, labels = checked((x, y), where, f"x_{part}", f"y_{part}", num_classes)
    if not len(labels):
        raise InvalidInputError(f"{where}: x_{part} holds no sample; needed: at least 1")
    samples = samples if samples.dtype == np.uint8 else samples.astype(type_of(samples), copy=False)
    return samples, labels.astype(np.float32 if num_classes == 0 else np.int64)


def share_held_out(
    name: str, x: Array, y: Array, test: float, path: Path, *, device_of: Array | None = None
) -> Dataset:
    """Hold out the share `test` of the rows of a file; one that leaves nothing raises `InvalidInputError`."""
    count = round(test * len(y))
    if not 0 < count < len(y):
        raise InvalidInputError(
            f"{path}: test is {test}, which is {count} of {len(y)} rows; needed: at least 1 to test and to train"
        )
    return held_out(name, x, y, count, str(path), purpose="hold-out of a table", device_of=device_of)


def held_out(
    name: str, x: Array, y: Array, num_test: int, source: str, *, purpose: str, device_of: Array | None = None
) -> Dataset:
    """Shuffle, always in the same way (many files are sorted by label), and hold out the last `num_test`."""
    order = generator(0, purpose).permutation(len(y))
    train, test = order[:-num_test], order[-num_test:]
    labels = y.astype(np.float32 if y.dtype.kind == "f" else np.int64)
    # Numbered without gaps: all samples of one may have been held out.
    devices = None if device_of is None else np.unique(device_of[train], return_inverse=True)[1].astype(np.int64)
    return Dataset(name, x[train], labels[train], x[test], labels[test], source, device_of=devices)
