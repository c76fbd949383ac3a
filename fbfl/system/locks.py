"""Locks between processes: a file in a folder, released even by a crash."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout

from fbfl.errors import FbflError, InvalidInputError, StorageError

LOCK = "lock"
"""Name of the file in the folder."""


@contextlib.contextmanager
def alone_in(folder: Path, otherwise: FbflError | None) -> Iterator[None]:
    """Make the folder and hold its lock; if another process holds it, raise `otherwise`, or wait if that is None."""
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=otherwise is None)
    except OSError as error:
        if isinstance(error, Timeout) and otherwise is not None:
            raise otherwise from error
        raise StorageError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def only_process(folder: Path, who: str) -> AbstractContextManager[None]:
    """Hold the folder's lock; if another process does, raise `InvalidInputError`: `who` runs already."""
    return alone_in(folder, InvalidInputError(f"{who} runs already: it holds {folder / LOCK}"))
