"""Locks between processes: a file in a folder, released even by a crash."""

import contextlib
import fcntl
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from fbfl.errors import FbflError, InvalidInputError, StorageError

LOCK = "lock"
"""Name of the file in the folder."""


@contextlib.contextmanager
def alone_in(folder: Path, otherwise: FbflError) -> Iterator[None]:
    """Make the folder and hold its lock; raise `otherwise` if another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("w")
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise otherwise from error
        yield


def only_process(folder: Path, who: str) -> AbstractContextManager[None]:
    """Hold the folder's lock; if another process does, raise `InvalidInputError`: `who` runs already."""
    return alone_in(folder, InvalidInputError(f"{who} runs already: it holds {folder / LOCK}"))
