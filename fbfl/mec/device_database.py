"""The samples of one device on its disk, and the server that has each of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fbfl.mec.samples import Array, Batch
from fbfl.system.database import Database

_SCHEMA = """
create table if not exists device (
    only integer primary key check (only = 1),
    started real not null,
    source text not null,
    dtype text not null,
    shape text not null
);
create table if not exists labels (dtype text not null);
create table if not exists samples (
    sequence integer primary key,
    x blob not null,
    y integer not null,
    server text,
    confirmed integer not null default 0
);
create index if not exists samples_of_server on samples (server, sequence);
create index if not exists unanswered on samples (server) where server is not null and confirmed = 0;
"""


class DeviceDatabase(Database):
    """An SQLite file; a sample's place in it is its sequence number.

    A sample is here only, or sent to a server that has not answered (and may have it), or confirmed by a server. It is
    sent to another server only if the one before is known not to have it, so that it counts once.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)

    @property
    def source(self) -> str | None:
        """Source of the samples; None while there are none."""
        source: str | None = self._value("select source from device")
        return source

    @property
    def started(self) -> float:
        """Unix time (s) of the device's first start."""
        return float(self._value("select started from device"))

    def fill(self, x: Array, y: Array, source: str, started: float) -> None:
        """Take the samples x [n, ...], y [n] that the device will ever have, all or none. Once."""
        with self.transaction() as connection:
            shape = json.dumps(x.shape[1:])
            connection.execute("insert into device values (1, ?, ?, ?, ?)", (started, source, x.dtype.name, shape))
            connection.execute("insert into labels values (?)", (y.dtype.name,))
            connection.executemany(
                "insert into samples (sequence, x, y) values (?, ?, ?)",
                (
                    (place, sample.tobytes(), label)
                    for place, (sample, label) in enumerate(zip(x, y.tolist(), strict=True))
                ),
            )

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self._value("select count(*) from samples"))

    @property
    def sample_size(self) -> int:
        """Bytes of one sample without its label."""
        return int(self._value("select length(x) from samples limit 1"))

    @property
    def confirmed(self) -> int:
        """Number of samples that servers have."""
        return int(self._value("select count(*) from samples where confirmed"))

    def unsent(self, device: int, *, end: int, most: int) -> Batch | None:
        """Return the first samples, below sequence number `end`, that are only here: at most `most`, in a row."""
        with self.transaction() as connection:
            rows = connection.execute(
                "select sequence, x, y from samples where server is null and sequence < ? order by sequence limit ?",
                (end, most),
            ).fetchall()
            if not rows:
                return None
            dtype, shape = connection.execute("select dtype, shape from device").fetchone()
            of_labels = connection.execute("select dtype from labels").fetchone() or ("int64",)  # as it was before
        first = rows[0][0]
        row = [(x, y) for place, (sequence, x, y) in enumerate(rows) if sequence == first + place]
        x = np.frombuffer(b"".join(content for content, _ in row), dtype).reshape(len(row), *json.loads(shape))
        return Batch(device, first, x, np.array([label for _, label in row], *of_labels))

    def sending(self, server: str, batch: Batch) -> None:
        """Record that the samples of a batch may be at this server from now on."""
        self._mark(batch, server, confirmed=False)

    def sent(self, server: str, batch: Batch) -> None:
        """Record that the samples of a batch are at this server."""
        self._mark(batch, server, confirmed=True)

    def unanswered(self) -> list[str]:
        """Return the servers that have not answered for samples sent to them."""
        with self.transaction() as connection:
            found = connection.execute(
                "select distinct server from samples where server is not null and confirmed = 0 order by server"
            )
            return [server for (server,) in found]

    def agree(self, server: str, held: Sequence[tuple[int, int]]) -> int:
        """Record what a server says that it holds: ranges of sequence numbers in rising order, from, up to but without.

        Samples that it should hold but does not are here only, from now on. Returns their number.
        """
        with self.transaction() as connection:
            connection.execute("create temporary table if not exists held (first integer primary key, stop integer)")
            connection.execute("delete from held")
            connection.executemany("insert or replace into held values (?, ?)", held)
            inside = (
                "sequence < coalesce((select stop from held where first <= sequence order by first desc limit 1), 0)"
            )
            connection.execute(
                f"update samples set server = ?, confirmed = 1 where (server is null or server = ?) and {inside}",
                (server, server),
            )
            lost = connection.execute(
                f"update samples set server = null, confirmed = 0 where server = ? and not {inside}", (server,)
            )
            return lost.rowcount

    def _mark(self, batch: Batch, server: str, *, confirmed: bool) -> None:
        with self.transaction() as connection:
            connection.execute(
                "update samples set server = ?, confirmed = ? where sequence >= ? and sequence < ?",
                (server, confirmed, batch.first, batch.first + len(batch.y)),
            )

    def _value(self, query: str) -> Any:
        """Return the one value that a query finds; None if it finds nothing."""
        with self.transaction() as connection:
            found = connection.execute(query).fetchone()
        return None if found is None else found[0]
