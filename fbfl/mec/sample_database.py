"""The samples of one MEC server on its disk: its devices' uploads, and the training set of each round."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fbfl.mec.request_body import RequestRefusedError
from fbfl.mec.samples import Array, Batch
from fbfl.system.database import Database

DEVICE_SAMPLES = 100_000
"""Default number of samples that a server takes from one device."""

_SCHEMA = """
create table if not exists samples (
    arrival integer primary key,
    device integer not null,
    sequence integer not null,
    dtype text not null,
    x blob not null,
    y integer not null,
    unique (device, sequence)
);
create table if not exists rounds (round integer primary key, last_arrival integer not null);
"""


class SampleDatabase(Database):
    """A `SampleStore` in an SQLite file, of samples of one `shape` with labels of a type. It outlasts its process.

    A sample is (device, sequence number): the same one may arrive often, in whatever batches, and counts once.
    Sequence numbers are below `most`. Samples stay; so a round's training set is all that arrived before it was frozen.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        most: int = DEVICE_SAMPLES,
        *,
        label_type: type[np.generic] = np.int64,
    ) -> None:
        super().__init__(path, _SCHEMA)
        self._shape = shape
        self._label_type = label_type
        self._most = most
        self._counting = threading.Lock()
        self._count = 0
        with self.transaction() as connection:
            (self._count,) = connection.execute("select count(*) from samples").fetchone()
        self._read: tuple[int, tuple[Array, Array]] | None = None

    @property
    def count(self) -> int:
        """Number of samples."""
        return self._count

    def receive(self, batch: Batch) -> int:
        """Keep the new samples of a batch; return their number.

        A sample that is here already with another content, or a sequence number beyond the limit, raises
        `RequestRefusedError` (409, 507), and nothing of the batch is kept.
        """
        end = batch.first + len(batch.y)
        if end > self._most:
            raise RequestRefusedError(507, f"a device has at most {self._most} samples here, numbered from 0")
        labels = batch.y.tolist()
        rows = {
            batch.first + place: (batch.x.dtype.name, x.tobytes(), labels[place]) for place, x in enumerate(batch.x)
        }
        with self.transaction() as connection:
            known = connection.execute(
                "select sequence, dtype, x, y from samples where device = ? and sequence >= ? and sequence < ?",
                (batch.device, batch.first, end),
            )
            for sequence, *content in known:
                if tuple(content) != rows.pop(sequence):
                    raise RequestRefusedError(409, f"sample {sequence} is here already, and is another one")
            connection.executemany(
                "insert into samples (device, sequence, dtype, x, y) values (?, ?, ?, ?, ?)",
                [(batch.device, sequence, *content) for sequence, content in rows.items()],
            )
        with self._counting:
            self._count += len(rows)
        return len(rows)

    def held(self, device: int) -> list[tuple[int, int]]:
        """Return the sequence numbers of a device's samples that are here, as ranges: from, up to but without."""
        with self.transaction() as connection:
            found = connection.execute(
                """
                select min(sequence), max(sequence) + 1
                from (
                    select sequence, sequence - row_number() over (order by sequence) as run
                    from samples where device = ?
                )
                group by run order by 1
                """,
                (device,),
            )
            return [(first, end) for first, end in found]

    def training_set(self, round_number: int) -> tuple[Array, Array]:
        """Return the training set of a round; the same after a restart, and the same arrays as long as nothing arrives.

        If some samples are bytes and others floats, all become float32 in [0, 1].
        """
        with self.transaction() as connection:
            frozen = connection.execute("select last_arrival from rounds where round = ?", (round_number,)).fetchone()
            if frozen is None:
                frozen = connection.execute("select coalesce(max(arrival), 0) from samples").fetchone()
                connection.execute("insert into rounds values (?, ?)", (round_number, *frozen))
            (last,) = frozen
            if self._read is None or self._read[0] != last:
                rows = connection.execute(
                    "select dtype, x, y from samples where arrival <= ? order by device, sequence", (last,)
                ).fetchall()
                self._read = last, self._arrays(rows)
            return self._read[1]

    def _arrays(self, rows: Sequence[tuple[str, bytes, float]]) -> tuple[Array, Array]:
        if not rows:
            return np.zeros((0,), np.uint8), np.zeros((0,), self._label_type)
        y = np.array([label for *_, label in rows], self._label_type)
        if len({dtype for dtype, *_ in rows}) == 1:
            content = b"".join(x for _, x, _ in rows)
            return np.frombuffer(content, rows[0][0]).reshape(len(rows), *self._shape), y
        return np.stack([self._scaled(dtype, x) for dtype, x, _ in rows]), y

    def _scaled(self, dtype: str, content: bytes) -> Array:
        x = np.frombuffer(content, dtype).reshape(self._shape)
        return x.astype(np.float32) / np.float32(255) if dtype == "uint8" else x  # as training does
