"""Servers keep the payloads of some rounds, and an audit says so of the rest."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fbfl.audit import audit
from fbfl.errors import StorageError
from fbfl.mec.retention import Retention
from fbfl.storage.local import LocalStore
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


def test_what_another_task_has_too_is_kept(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"servers": 2, "devices": 2, "consensus": "pbft", "rounds": 3}
    first = federation(tmp_path, **settings, simulation={"lanes": 1})
    second = federation(tmp_path, **settings, simulation={"lanes": 1, "devnet": first.devnet})
    for fed in (first, second):
        for _ in fed.rounds():
            pass
    assert isinstance(first.store, LocalStore)
    for _ in range(2):  # a second server, or the same one after a restart
        retention = Retention(first.ledger, first.store, first.task, rounds=1)
        while retention.release(first.ledger.state(first.task.id)):
            pass
    assert audit(second.ledger, second.store, second.task).passed
