"""Handwritten letters and digits in the format of MNIST: EMNIST."""

import zipfile

import numpy as np

from fbfl.errors import require
from fbfl.learning.datasets import idx, origin
from fbfl.learning.datasets.dataset import Array, Dataset

SPLITS = ("balanced", "byclass", "bymerge", "letters", "digits", "mnist")
"""Selections of the characters; each has its own classes."""

_FILE = origin.Published(
    "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
    561_753_746,
    "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
)


def emnist(split: str = "balanced") -> Dataset:
    """Load handwritten characters, 28 x 28 (Cohen et al. 2017), of one of `SPLITS`, each with its own test samples.

    `byclass`: 697,932 + 116,323 of 62 classes, digits, capitals, small letters; `bymerge`: the same with 47 classes, of
    which letters that look alike share one; `balanced`: 112,800 + 18,800 of these 47; `letters`: 124,800 + 20,800 of
    26; `digits`: 240,000 + 40,000; `mnist`: 60,000 + 10,000 digits.
    """
    require(split in SPLITS, "dataset emnist: split", split, ", ".join(SPLITS))
    content, source = origin.obtained(_FILE, "emnist")
    with zipfile.ZipFile(content) as archive:

        def part(name: str) -> Array:
            file = f"gzip/emnist-{split}-{name}-ubyte.gz"
            return idx.read(archive.read(file), f"{source}: {file}")

        # Pictures lie by columns in the files; letters count from 1.
        x_train, x_test = (
            np.ascontiguousarray(part(f"{half}-images-idx3").transpose(0, 2, 1)) for half in ("train", "test")
        )
        y_train, y_test = (
            part(f"{half}-labels-idx1").astype(np.int64) - (split == "letters") for half in ("train", "test")
        )
    return Dataset(f"emnist-{split}", x_train, y_train, x_test, y_test, source)
