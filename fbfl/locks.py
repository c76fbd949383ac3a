"""Locks between processes: a file in a folder, let go of even by a crash."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from fbfl.errors import InvalidInputError, StorageError


@contextlib.contextmanager
def only_process(folder: Path, who: str) -> Iterator[None]:
    """Inside, no other process is in here for this folder; if one is, `InvalidInputError`: `who` runs already."""
    path = folder / "lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidInputError(f"{who} runs already: it holds {path}") from error
        yield
