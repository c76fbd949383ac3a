"""Data sets by name, or from files and functions of one's own, as NumPy arrays.

Only what Keras loads imports TensorFlow.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fbfl.errors import DataUnavailableError, InvalidInputError
from fbfl.learning import plugins
from fbfl.learning.datasets import emnist, from_keras, har, hugging_face, npz, pictures, svhn, table
from fbfl.learning.datasets.dataset import Dataset, dataset_of
from fbfl.learning.datasets.npz import load_samples

__all__ = ["FILES", "LOADERS", "NAMES", "Dataset", "files_of", "load", "load_samples"]

LOADERS: dict[str, Callable[..., Dataset]] = {
    "mnist": pictures.mnist,
    "mnist-5k": pictures.mnist_5k,
    "fashion-mnist": pictures.fashion_mnist,
    "digits": pictures.digits,
    "emnist": emnist.emnist,
    "svhn": svhn.svhn,
    "cifar10": from_keras.cifar10,
    "cifar100": from_keras.cifar100,
    "imdb": from_keras.imdb,
    "reuters": from_keras.reuters,
    "california-housing": from_keras.california_housing,
    "har": har.har,
}
"""The data sets of a name."""

_BY_SUFFIX: dict[str, Callable[..., Dataset]] = {
    ".npz": npz.load,
    ".csv": table.load,
    ".csv.gz": table.load,
    ".parquet": table.load,
}

NAMES = tuple(LOADERS)
"""Names of the data sets that `load` knows."""

FILES = tuple(_BY_SUFFIX)
"""Endings of the files that `load` reads."""


def files_of(name: str) -> tuple[Path, ...]:
    """Return the user's files that a data set consists of: a file, or those of a folder; none for other names."""
    if name.endswith(FILES):
        return (Path(name),)
    if name not in LOADERS and hugging_face.is_saved(Path(name)):
        return hugging_face.files(Path(name))
    return ()


def load(
    name: str | Path,
    args: Mapping[str, Any] | None = None,
    *,
    fallback: bool = False,
    num_classes: int | None = None,
) -> Dataset:
    """Load a data set: a name of `NAMES`, the path of a file, or ``package.module:function``; `args` are its settings.

    A function returns a `Dataset`, or x_train, y_train, x_test and y_test. `num_classes` is the number of classes
    (None: the labels tell), or 0 where labels are numbers; a function with a parameter of this name is told. With
    `fallback`, `mnist` becomes `mnist-5k` (with a `note`) where it can be had neither from disk nor from the network.
    Raises `InvalidInputError` for unknown
    names and settings and for a file that is not what it should be, `DataUnavailableError` where the data cannot be
    had, and `UserCodeError` for what a function of the user raises.
    """
    loader = plugins.resolve("dataset", *_found(str(name)), args or {}, data=0, context=("num_classes",))
    try:
        return dataset_of(loader(num_classes=num_classes), str(name), num_classes)
    except DataUnavailableError as error:
        if not (fallback and name == "mnist"):
            raise
        note = f"mnist-5k (5,000 digits) stands in for the full MNIST: {error}"
        return replace(pictures.mnist_5k(), note=note)


def _found(name: str) -> tuple[str, dict[str, Callable[..., Dataset]]]:
    """Return the name of a loader, and the table that has it."""
    for suffix, loader in _BY_SUFFIX.items():
        if name.endswith(suffix):
            return name, {name: partial(loader, Path(name))}
    if name not in LOADERS and hugging_face.is_saved(Path(name)):
        return name, {name: partial(hugging_face.load, Path(name))}
    if name not in LOADERS and ":" not in name:
        raise InvalidInputError(
            f"dataset is {name!r}; allowed: {', '.join(NAMES)}, a file ({', '.join(FILES)}), a folder that "
            "Hugging Face's datasets saved, or package.module:function"
        )
    return name, LOADERS
