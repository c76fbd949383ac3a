"""Files that are whole or absent, whatever interrupts the writing."""

import contextlib
import os
import secrets
from pathlib import Path

from fbfl.errors import StorageError, failures_as

PRIVATE = 0o600
"""The mode of a file that only its owner may read: a key."""


def write_atomically(path: Path | str, data: bytes, mode: int = 0o666, *, durable: bool = True) -> None:
    """Write `data` to `path` so that a reader, or a crash, sees the old content or all of the new one.

    `mode` is narrowed by the umask, as for any new file. If not `durable`, that holds for crashes of the process, not
    of the machine, and nobody waits for the disk. Raises `OSError` (disk full, read-only, missing folder) and then
    leaves nothing behind.
    """
    folder, name = os.path.split(path)  # text: paths take as long as the writing
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(8)}")  # noqa: PTH118
    as_it_is = getattr(os, "O_BINARY", 0)  # Windows would write other ends of lines
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | as_it_is, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def write_file(path: Path, data: bytes) -> None:
    """Write as `write_atomically`; a disk that fails raises `StorageError`, which names the file."""
    with failures_as(StorageError, f"{path}: cannot be written"):
        write_atomically(path, data)
