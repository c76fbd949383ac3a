"""A store that waits for what nobody serves."""

import threading
from pathlib import Path

from fbfl.errors import PayloadNotFoundError
from fbfl.storage.local import LocalStore
from fbfl.storage.store import Reference

PATIENCE = 10
"""Seconds after which a request that others should have joined fails."""


class WaitingStore(LocalStore):
    """Waits with each payload that is not there until as many are waited for as it is told."""

    waits = True

    def __init__(self, folder: Path, together: int) -> None:
        super().__init__(folder)
        self._all = threading.Barrier(together)

    def get(self, reference: Reference) -> bytes:
        try:
            return super().get(reference)
        except PayloadNotFoundError:
            self._all.wait(PATIENCE)  # raises what no server expects if they are asked for one after another
            raise
