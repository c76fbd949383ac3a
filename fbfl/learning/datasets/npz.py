"""Samples in `.npz` files: NumPy's archives of plain arrays."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fbfl.errors import InvalidInputError
from fbfl.learning.datasets.dataset import Array, Dataset, samples_of_part, whole

PARTS = ("x_train", "y_train", "x_test", "y_test")
"""Arrays of a whole data set."""


def load(path: Path, num_classes: int | None = None) -> Dataset:
    """Load x_train, y_train, x_test and y_test; a file without them raises `InvalidInputError`."""
    arrays = read(path)
    return whole(path.stem, str(path), *(arrays[part] for part in PARTS), num_classes=num_classes)


def load_samples(path: Path, num_classes: int | None = None) -> tuple[Array, Array]:
    """Load x_train and y_train, as in `Dataset`; any other file raises `InvalidInputError`.

    Whether labels are classes or numbers is told by `num_classes` (0: numbers), or else by their type.
    """
    arrays = read(path, parts=PARTS[:2])
    if num_classes is None and arrays["y_train"].dtype.kind == "f":
        num_classes = 0
    return samples_of_part(arrays["x_train"], arrays["y_train"], str(path), "train", num_classes)


def read(file: Path | io.BytesIO, source: str | None = None, parts: Sequence[str] = PARTS) -> dict[str, Array]:
    """Return arrays as they are in the file; `source` names it in the message of the `InvalidInputError`."""
    source = source or str(file)
    try:
        with file.open("rb") if isinstance(file, Path) else file as opened:
            if not zipfile.is_zipfile(opened):  # NumPy would load other files of its own, too
                raise InvalidInputError(f"{source}: not a whole .npz file, which np.savez writes")
            opened.seek(0)
            with np.load(opened, allow_pickle=False) as content:
                missing = [part for part in parts if part not in content]
                if missing:
                    raise InvalidInputError(f"{source}: no array {', '.join(missing)}; needed: {', '.join(parts)}")
                return {part: content[part] for part in parts}
    except InvalidInputError:
        raise
    except OSError as error:
        raise InvalidInputError(f"{source}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise InvalidInputError(f"{source}: does not fit into memory: {error}") from error
    except Exception as error:  # for a damaged file NumPy raises the errors of zip, header and parser
        raise InvalidInputError(f"{source}: not a whole .npz file of plain arrays: {error}") from error
