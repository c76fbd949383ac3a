"""A store that fails as it is told to."""

from pathlib import Path

from fbfl.errors import PayloadNotFoundError, StorageError
from fbfl.storage.local import LocalStore
from fbfl.storage.store import Reference


class FaultyStore(LocalStore):
    """Raises what it is told to raise, and remembers what it was asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.absent: dict[Reference, int] = {}
        """Times that each payload is not found before it is."""
        self.busy = 0
        """Times that it cannot pin."""
        self.fetched: list[Reference] = []
        self.pinned: list[Reference] = []

    def get(self, reference: Reference) -> bytes:
        self.fetched.append(reference)
        if self.absent.get(reference, 0):
            self.absent[reference] -= 1
            raise PayloadNotFoundError("nobody answers in time")
        return super().get(reference)

    def pin(self, reference: Reference) -> None:
        if self.busy:
            self.busy -= 1
            raise StorageError("busy")
        self.pinned.append(reference)
