"""Servers keep the payloads of some rounds, and an audit says so of the rest."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fbfl.audit import audit
from fbfl.chain.ledger import Ledger
from fbfl.errors import StorageError
from fbfl.mec.retention import Retention
from fbfl.simulation import Simulation
from fbfl.storage.local import LocalStore
from fbfl.storage.shared import SharedStore
from fbfl.storage.store import Reference
from tests.support.federations import federation


def test_the_last_rounds_stay_and_the_others_expire(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "servers": 2,
        "devices": 2,
        "consensus": "pbft",
        "rounds": 4,
        "simulation": {"lanes": 1},
    }
    fed = federation(tmp_path, **settings)
    models = [fed.task.model]
    retention = Retention(fed.ledger, fed.store, fed.task, rounds=2)
    for _ in fed.rounds():
        state = fed.ledger.state(fed.task.id)
        while retention.release(state):
            pass
        models.append(state.model)
    updates = {number: [u.payload for u in fed.ledger.recorded(fed.task.id, number)] for number in range(1, 5)}
    kept = {*models[2:], *updates[3], *updates[4]}
    gone = {*models[:2], *updates[1], *updates[2]}
    assert {path.name for path in tmp_path.iterdir()} == {reference.cid for reference in kept}

    told = replace(fed.task, definition={**fed.task.definition, "retention": 2})
    report = audit(fed.ledger, fed.store, told)
    assert (report.passed, report.expired) == (True, len(gone))
    # What is within the retention is missed, and so is everything where there is none.
    fed.store.unpin(updates[3][0])
    report = audit(fed.ledger, fed.store, told)
    assert [finding.round for finding in report.findings] == [3]
    assert len(audit(fed.ledger, fed.store, fed.task).findings) > len(gone)


def test_what_could_not_be_let_go_of_is_tried_again(tmp_path: Path) -> None:
    fed = federation(tmp_path, simulation={"lanes": 1}, servers=2, devices=2, consensus="pbft", rounds=2)
    for _ in fed.rounds():
        pass
    store = BusyStore(tmp_path)
    retention = Retention(fed.ledger, store, fed.task, rounds=1)
    for _ in range(2):
        store.busy = True
        with pytest.raises(StorageError, match="busy"):
            retention.release(fed.ledger.state(fed.task.id))
    assert retention.release(fed.ledger.state(fed.task.id))
    assert not any(store.has(update.payload) for update in fed.ledger.recorded(fed.task.id, 1))
    assert not store.has(fed.task.model)


class BusyStore(LocalStore):
    """Fails once, after it let go of one payload."""

    busy = False
    released = 0

    def unpin(self, reference: Reference) -> None:
        self.released += 1
        if self.busy and self.released % 2 == 0:
            self.busy = False
            raise StorageError("busy")
        super().unpin(reference)


def shared_by(folder: Path, *, holders: str, **settings: Any) -> Simulation:
    """A federation of two whose servers share a store and its record with whoever else uses `folder`."""
    stores = {n: SharedStore(LocalStore(folder), folder.parent / "state", f"{holders} {n}") for n in range(2)}
    options = {"lanes": 1, "stores": stores, **settings.pop("simulation", {})}
    return federation(folder, servers=2, devices=2, consensus="pbft", **settings, simulation=options)


def let_go(fed: Simulation, server: int) -> None:
    """As an agent does, which reads the events of its own task alone."""
    ledger = Ledger(fed.ledger.w3, fed.ledger.addresses, task=fed.task.id)
    retention = Retention(ledger, fed.servers[server].store, fed.task, rounds=1)
    while retention.release(ledger.state(fed.task.id)):
        pass


def test_what_another_task_has_too_is_kept(tmp_path: Path) -> None:
    """Tasks with the same settings have the same payloads, and a liar may record those of any."""
    folder = tmp_path / "payloads"
    first = shared_by(folder, holders="first", rounds=3)
    second = shared_by(folder, holders="second", rounds=3, simulation={"devnet": first.devnet})
    for fed in (first, second):
        for _ in fed.rounds():
            pass
    old = {update.payload for update in first.ledger.recorded(first.task.id, 1)}
    for server in (0, 0, 1):  # once more after a restart
        let_go(first, server)
    assert audit(second.ledger, second.store, second.task).passed
    let_go(second, 0)
    assert all(second.store.has(payload) for payload in old)
    let_go(second, 1)
    assert not any(second.store.has(payload) for payload in old)


def test_a_liar_has_others_let_go_of_nothing_that_their_operators_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It records the digest of something that they have anyway: when the round's time is over, that must stay."""
    folder = tmp_path / "payloads"
    kept = LocalStore(folder).put(b"an operator's own file")
    fed = shared_by(folder, holders="task", rounds=3)
    liar, honest = fed.servers
    monkeypatch.setattr(liar, "_publish", lambda payload: kept)
    for _ in fed.rounds():
        pass
    assert kept in {update.payload for update in fed.ledger.recorded(fed.task.id, 1)}
    (own,) = (update.payload for update in fed.ledger.recorded(fed.task.id, 1) if update.server == honest.address)
    let_go(fed, 1)
    let_go(fed, 0)
    assert (fed.store.has(own), fed.store.has(kept)) == (False, True)
