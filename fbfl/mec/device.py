"""Local devices: they collect samples, are attached to one MEC server at a time, and upload to it."""

from collections.abc import Iterator

from fbfl.mec.samples import Array, Batch


class LocalDevice:
    """A device with its local database of samples x [n, ...], y [n]; a sample's place in it is its sequence number."""

    def __init__(self, device: int, x: Array, y: Array) -> None:
        self.id = device
        self._x = x
        self._y = y
        self._uploaded = 0

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._y)

    def upload(self, batch_size: int = 1000, *, collected: int | None = None) -> Iterator[Batch]:
        """The samples that are not uploaded yet, batch by batch; of the first `collected` only, if that is given."""
        end = len(self._y) if collected is None else min(collected, len(self._y))
        while self._uploaded < end:
            first = self._uploaded
            last = min(first + batch_size, end)
            yield Batch(self.id, first, self._x[first:last], self._y[first:last])
            self._uploaded = last
