"""Digits of house numbers, cut out of photographs of streets: SVHN."""

import numpy as np

from fbfl.learning.datasets import origin
from fbfl.learning.datasets.dataset import Array, Dataset

_ORIGIN = "http://ufldl.stanford.edu/housenumbers/"
_FILES = {
    "train": origin.Published(
        _ORIGIN + "train_32x32.mat",
        182_040_794,
        "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    ),
    "test": origin.Published(
        _ORIGIN + "test_32x32.mat",
        64_275_384,
        "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
    ),
}


def svhn() -> Dataset:
    """Load 73,257 + 26,032 digits, 32 x 32 in colour (Netzer et al. 2011), without the easier `extra` ones."""
    (x_train, y_train, source), (x_test, y_test, _) = (_part(_FILES[part]) for part in ("train", "test"))
    return Dataset("svhn", x_train, y_train, x_test, y_test, source)


def _part(file: origin.Published) -> tuple[Array, Array, str]:
    """Return samples [n, 32, 32, 3], which lie the other way round in the file, and classes, of which 0 is 10 there."""
    from scipy.io import loadmat

    content, source = origin.obtained(file, "svhn")
    arrays = loadmat(content, variable_names=("X", "y"))
    return (
        np.ascontiguousarray(arrays["X"].transpose(3, 0, 1, 2)),
        arrays["y"].reshape(-1).astype(np.int64) % 10,
        source,
    )
