"""Local devices: they collect samples, are attached to one MEC server at a time, and upload to it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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


class LocalDevice:
    """A device with its local database of samples x [n, ...], y [n]; a sample's place in it is its sequence number."""

    def __init__(self, device: int, x: Array, y: Array) -> None:
        self.id = device
        self._x = x
        self._y = y
        self._uploaded = 0

    def upload(self, batch_size: int = 1000) -> Iterator[Batch]:
        """The samples that are not uploaded yet, batch by batch."""
        while self._uploaded < len(self._y):
            first = self._uploaded
            last = min(first + batch_size, len(self._y))
            yield Batch(self.id, first, self._x[first:last], self._y[first:last])
            self._uploaded = last


class SampleStore:
    """What the devices have uploaded to one MEC server.

    The training set is ordered by (device, sequence number), so it does not depend on the order of arrival; a batch
    that arrives twice counts once.
    """

    def __init__(self) -> None:
        self._batches: dict[tuple[int, int], Batch] = {}
        self._frozen: tuple[Array, Array] | None = None

    def receive(self, batch: Batch) -> None:
        """Keep a batch."""
        if self._batches.setdefault((batch.device, batch.first), batch) is batch:
            self._frozen = None

    def training_set(self) -> tuple[Array, Array]:
        """All samples, x [n, ...] and y [n]; the same arrays until more arrive. Empty arrays without any."""
        if self._frozen is None:
            batches = [self._batches[key] for key in sorted(self._batches)]
            if not batches:
                return np.zeros((0,), np.uint8), np.zeros((0,), np.int64)
            self._frozen = np.concatenate([b.x for b in batches]), np.concatenate([b.y for b in batches])
        return self._frozen
