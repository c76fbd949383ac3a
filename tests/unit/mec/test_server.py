"""One server where its own store fails."""

from pathlib import Path

import pytest

from fbfl.chain.ledger import Phase
from fbfl.errors import StorageError
from fbfl.storage.local import LocalStore
from fbfl.storage.store import Reference
from tests.e2e.federations import federation


class BusyStore(LocalStore):
    """Cannot pin at first."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.fetched: list[Reference] = []
        self.pinned: list[Reference] = []
        self.busy = True

    def get(self, reference: Reference) -> bytes:
        self.fetched.append(reference)
        return super().get(reference)

    def pin(self, reference: Reference) -> None:
        if self.busy:
            self.busy = False
            raise StorageError("busy")
        self.pinned.append(reference)


def test_a_payload_that_could_not_be_pinned_accuses_nobody_and_is_pinned_later(tmp_path: Path) -> None:
    store = BusyStore(tmp_path)
    fed = federation(tmp_path, servers=2, devices=2, consensus="pbft", simulation={"stores": {1: store}, "lanes": 1})
    fed.owner.open_round(fed.task.id)
    for server in fed.servers:
        assert server.step()
    fed.owner.poke(fed.task.id)
    assert fed.ledger.state(fed.task.id).phase is Phase.DECIDE
    (other,) = (u.payload for u in fed.ledger.recorded(fed.task.id, 1) if u.server == fed.servers[0].address)
    with pytest.raises(StorageError, match="busy"):
        fed.servers[1].step()
    fed.servers[1].step()
    assert store.fetched.count(other) == 1
    assert store.pinned == [other]
    assert not list(fed.ledger.round_events(fed.task.id, 1, "PayloadReported"))
