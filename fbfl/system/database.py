"""SQLite files: each transaction is on the disk, whole or not at all, whatever ends the process."""

import contextlib
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

from fbfl.errors import StorageError

_BUSY_SECONDS = 10.0  # that another process may hold the file


class Database:
    """One file; one transaction at a time. Safe to use from several threads.

    `schema` is SQL that is run each time: `create table if not exists ...`. A disk or file that fails raises
    `StorageError`.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._failures_named():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            # Votes that were signed have no end of their own: the file is closed with the last who asks them.
            weakref.finalize(self, self._connection.close)
            # What others were told is kept must outlast a power failure, too.
            self._connection.execute("pragma journal_mode = wal")
            self._connection.execute("pragma synchronous = full")
            self._connection.executescript(schema)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do all of what is inside or, if it raises, nothing."""
        with self._lock, self._failures_named():
            self._connection.execute("begin immediate")
            try:
                yield self._connection
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"{self.path} cannot be used: {error}") from error
