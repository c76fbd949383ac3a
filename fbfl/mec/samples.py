"""Samples that local devices upload and a MEC server keeps."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """Samples on their way from a device to a server; `first` is the sequence number of the first of them."""

    device: int
    first: int
    x: Array
    y: Array


class SampleStore(Protocol):
    """The samples that one MEC server holds."""

    @property
    def count(self) -> int:
        """Number of samples."""

    def training_set(self, round_number: int) -> tuple[Array, Array]:
        """Return the training set of a round: x [n, ...] and y [n], ordered by (device, sequence number).

        The first call for a round freezes it: samples that arrive later count from the next round on. The order of
        arrival does not matter. Without samples the arrays are empty.
        """


class MemorySampleStore:
    """A `SampleStore` in memory; a batch that arrives twice counts once."""

    def __init__(self) -> None:
        self._batches: dict[tuple[int, int], Batch] = {}
        self._ordered: tuple[Array, Array] | None = None
        self._frozen: tuple[int, tuple[Array, Array]] | None = None

    @property
    def count(self) -> int:
        """Number of samples."""
        return sum(len(batch.y) for batch in self._batches.values())

    def receive(self, batch: Batch) -> None:
        """Keep a batch."""
        if self._batches.setdefault((batch.device, batch.first), batch) is batch:
            self._ordered = None

    def training_set(self, round_number: int) -> tuple[Array, Array]:
        """Return the training set of a round; the same arrays as long as nothing arrives."""
        if self._frozen is None or self._frozen[0] != round_number:
            self._frozen = round_number, self._all()
        return self._frozen[1]

    def _all(self) -> tuple[Array, Array]:
        if self._ordered is None:
            batches = [self._batches[key] for key in sorted(self._batches)]
            if not batches:
                return np.zeros((0,), np.uint8), np.zeros((0,), np.int64)
            self._ordered = np.concatenate([b.x for b in batches]), np.concatenate([b.y for b in batches])
        return self._ordered
