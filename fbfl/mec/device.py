"""Local devices: they collect samples, are attached to one MEC server at a time, and upload to it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fbfl.learning.partition import Indices, Partition
from fbfl.mec.mobility import Mobility
from fbfl.mec.samples import Array, Batch


class LocalDevice:
    """A device with its local database of samples x [n, ...], y [n]; a sample's place in it is its sequence number."""

    def __init__(self, device: int, x: Array, y: Array) -> None:
        self.id = device
        self._x = x
        self._y = y
        self._uploaded = 0

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._y)

    def upload(self, batch_size: int = 1000, *, collected: int | None = None) -> Iterator[Batch]:
        """Yield the samples that are not uploaded yet, batch by batch; if given, only of the first `collected`."""
        end = len(self._y) if collected is None else min(collected, len(self._y))
        while self._uploaded < end:
            first = self._uploaded
            last = min(first + batch_size, end)
            yield Batch(self.id, first, self._x[first:last], self._y[first:last])
            self._uploaded = last


@dataclass(frozen=True)
class Journey:
    """Place and collected samples of one device, by the seconds since it started: at the start of round 1."""

    device: int
    servers: Sequence[str]
    """The URL of the server of each cell."""
    mobility: Mobility | None = None
    """Mobility; None if it stays with the first server and has all its samples from the start."""
    seed: int = 0

    def server(self, seconds: float) -> str:
        """Return the server to which the device is attached."""
        if self.mobility is None:
            return self.servers[0]
        return self.servers[self.mobility.server_of(self.seed, self.device, self._round(self.mobility, seconds))]

    def collected(self, samples: int, seconds: float) -> int:
        """Return the number of its samples that the device has collected."""
        if self.mobility is None:
            return samples
        return self.mobility.collected(samples, int(self._round(self.mobility, seconds)))

    def _round(self, mobility: Mobility, seconds: float) -> float:
        return 1 + max(0.0, seconds) / mobility.round_seconds


def device_shares(
    labels: Array,
    partition: Partition,
    servers: int,
    devices: int,
    seed: int,
    device_of: Array | None = None,
) -> list[Indices]:
    """Return the places of each device's samples in a data set with these labels [n].

    The partition gives each server a share; device d has a part of that of server d mod `servers`, all parts equal. One
    that goes by the devices `device_of` [n] of the data gives each of them its own.
    """
    if partition.is_by_device:
        return partition(labels, devices, seed=seed, device_of=device_of)
    shares = partition(labels, servers, seed=seed)
    parts = [np.array_split(share, len(range(server, devices, servers))) for server, share in enumerate(shares)]
    return [parts[device % servers][device // servers] for device in range(devices)]
