"""The embedded store: one file per payload, named by its CID."""

import contextlib
import errno
import os
import threading
from pathlib import Path

from fbfl.errors import PayloadNotFoundError, PayloadRefusedError, StorageError
from fbfl.storage.store import Reference
from fbfl.system.atomic import write_atomically

KEPT = 64 << 20
"""Bytes of payloads that a store keeps in memory to compare others with."""


class LocalStore:
    """A store in one folder, which it makes if missing. A folder that cannot be made raises `StorageError`.

    What others rely on is `durable`: payloads outlast a crash of the machine, and not only of the process.
    """

    waits = False

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder = folder
        self._durable = durable
        self._verified = _Verified()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _failure("make the payload folder", folder, error) from error

    @property
    def place(self) -> str:
        """The folder's absolute path."""
        return str(self.folder.resolve())

    def put(self, data: bytes) -> Reference:
        """Keep these bytes, whole or not at all; a damaged copy of them is replaced."""
        reference = Reference.to(data)
        path = f"{self.folder}/{reference.cid}"
        try:
            kept = None
            with contextlib.suppress(FileNotFoundError):
                kept = _read(path, reference.size)
            if kept != data:
                write_atomically(path, data, durable=self._durable)
        except OSError as error:
            raise _failure("write the payload", path, error) from error
        self._verified.keep(reference, data)
        return reference

    def get(self, reference: Reference) -> bytes:
        """Return the payload, verified: by its digest, or as the same bytes that had it before."""
        path = f"{self.folder}/{reference.cid}"
        try:
            data = _read(path, reference.size)
        except FileNotFoundError as error:
            raise PayloadNotFoundError(f"payload {reference.cid} is not in {self.folder}") from error
        except OSError as error:
            raise _failure("read the payload", path, error) from error
        if len(data) > reference.size:
            raise PayloadRefusedError(f"payload {reference.cid} is longer than the {reference.size} bytes on record")
        return self._verified.verify(reference, data)

    def has(self, reference: Reference) -> bool:
        """Return True if a file of this name exists; only `get` verifies its content."""
        return self._path(reference).is_file()

    def is_pinned(self, reference: Reference) -> bool:
        """Return True if a file of this name exists: files in the folder stay."""
        return self.has(reference)

    def pin(self, reference: Reference) -> None:
        """Do nothing: files in the folder stay."""

    def unpin(self, reference: Reference) -> None:
        """Delete the payload."""
        try:
            self._path(reference).unlink(missing_ok=True)
        except OSError as error:
            raise _failure("delete the payload", self._path(reference), error) from error

    def _path(self, reference: Reference) -> Path:
        return self.folder / reference.cid


class _Verified:
    """The payloads that were written or read last. To compare bytes with them takes a tenth of hashing them."""

    def __init__(self) -> None:
        self._known: dict[Reference, bytes] = {}
        self._size = 0
        self._lock = threading.Lock()

    def verify(self, reference: Reference, data: bytes) -> bytes:
        """Return the bytes if they are the payload; else raise `PayloadRefusedError`."""
        known = self._known.get(reference)
        if known == data:
            return known
        self.keep(reference, reference.verify(data))
        return data

    def keep(self, reference: Reference, data: bytes) -> None:
        """Take note of bytes that are the payload."""
        with self._lock:
            if reference in self._known or len(data) > KEPT:
                return
            while self._size + len(data) > KEPT:
                self._size -= len(self._known.pop(next(iter(self._known))))
            self._known[reference] = data
            self._size += len(data)


def _read(path: str, size: int) -> bytes:
    """Return a file of this size, or a byte more of a longer one; in few calls: 100 servers read 10,000 in a round."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        data = os.read(handle, size + 1)
        while len(data) < size and (more := os.read(handle, size + 1 - len(data))):
            data += more  # systems read 2 GiB at a time at most
        return data
    finally:
        os.close(handle)


def _failure(action: str, path: Path | str, error: OSError) -> StorageError:
    reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
    return StorageError(f"cannot {action} {path}: {reason}")
