"""Data sets that Keras downloads and checks: pictures in colour, texts as numbers of words, houses."""

import contextlib
import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from fbfl.errors import DataUnavailableError, require
from fbfl.learning.backend import load_tensorflow
from fbfl.learning.datasets import origin
from fbfl.learning.datasets.dataset import Dataset

# What Keras calls each file in its cache, and where it gets it.
_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_FILES = {
    "cifar10": ("cifar-10-batches-py-target_archive", _TORONTO + "cifar-10-python.tar.gz"),
    "cifar100": ("cifar-100-python-target_archive", _TORONTO + "cifar-100-python.tar.gz"),
    "imdb": ("imdb.npz", origin.ORIGIN + "imdb.npz"),
    "reuters": ("reuters.npz", origin.ORIGIN + "reuters.npz"),
    "california_housing": ("california_housing.npz", origin.ORIGIN + "california_housing.npz"),
}


def cifar10() -> Dataset:
    """Load 50,000 + 10,000 pictures of ten classes, 32 x 32 in colour (Krizhevsky 2009)."""
    return _dataset("cifar10", "cifar10")


def cifar100(labels: str = "fine") -> Dataset:
    """Load 50,000 + 10,000 pictures, 32 x 32 in colour, of 100 `fine` or 20 `coarse` classes (Krizhevsky 2009)."""
    require(labels in ("fine", "coarse"), "dataset cifar100: labels", labels, "fine, coarse")
    return _dataset("cifar100", "cifar100", label_mode=labels)


def imdb(words: int = 10_000, length: int = 200) -> Dataset:
    """Load 25,000 + 25,000 film reviews, good or bad, int32 [n, length] (Maas et al. 2011).

    Words are numbered by how frequent they are, those beyond `words` are 2. Of a longer review the last `length` words
    count; in front of a shorter one there are zeros.
    """
    return _texts("imdb", words, length)


def reuters(words: int = 10_000, length: int = 200) -> Dataset:
    """Load 8,982 + 2,246 news of 46 topics, int32 [n, length]; the parameters are those of `imdb`."""
    return _texts("reuters", words, length)


def california_housing() -> Dataset:
    """Load 16,512 + 4,128 districts with the median price of a house, in dollars, float32 [n, 8] (Pace and Barry 1997).

    Labels are numbers: it takes a loss such as mean_squared_error. Columns are of very different scales.
    """
    return _dataset("california-housing", "california_housing")


def _texts(name: str, words: int, length: int) -> Dataset:
    for setting, value, least in (("words", words, 4), ("length", length, 1)):
        require(value >= least, f"dataset {name}: {setting}", value, f"{least} or more")

    def padded(texts: Any) -> Any:
        import keras

        return keras.utils.pad_sequences(texts, maxlen=length, dtype="int32")

    return _dataset(name, name, padded, num_words=words)


def _dataset(name: str, module: str, of_samples: Callable[[Any], Any] = np.asarray, **options: Any) -> Dataset:
    """Return the data set that a module of `keras.datasets` loads."""
    file, url = _FILES[module]
    path = origin.keras_cache() / file
    advice = f"put {url.rpartition('/')[2]} there as {path}"
    if not path.exists():
        origin.require(url, advice)  # Keras itself would wait for minutes where there is no network
    load_tensorflow()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # it shows the progress of a download
            parts = importlib.import_module(f"keras.datasets.{module}").load_data(**options)
    except Exception as error:  # of the network, of a file that is not what it should be
        said = " ".join(str(error).split())
        raise DataUnavailableError(f"{url} cannot be had ({said}): {advice}") from error
    (x_train, y_train), (x_test, y_test) = parts
    x_train, x_test = (_samples(of_samples(x)) for x in (x_train, x_test))
    y_train, y_test = (_labels(np.asarray(y)) for y in (y_train, y_test))
    return Dataset(name, x_train, y_train, x_test, y_test, str(path))


def _samples(x: Any) -> Any:
    return x if x.dtype in (np.uint8, np.int32) else x.astype(np.float32)


def _labels(y: Any) -> Any:
    return y.reshape(-1).astype(np.float32 if y.dtype.kind == "f" else np.int64)
