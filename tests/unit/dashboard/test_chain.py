"""What is known of a task on a network, read through its ledger."""

from pathlib import Path
from typing import Any

import pytest

from fbfl.chain.queries import round_records, server_records
from fbfl.dashboard.sources import Chain, NetworkSource
from fbfl.dashboard.where import Where
from fbfl.errors import NodeUnavailableError
from fbfl.runs.folder import StoredRun
from tests.support.federations import federation


def test_a_network_is_read_as_it_goes_and_what_was_known_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: Any = federation(tmp_path)
    task = fed.task.id
    monkeypatch.setattr(Where, "open", lambda where: StoredRun(fed.ledger, fed.store, fed.task))
    chain = Chain(Where(network="http://127.0.0.1:1"))
    chain.check()
    assert fed.play_round().record.status == "final"
    first = chain.known()
    assert first.records is not None
    assert (list(first.records.rounds), first.trouble) == (list(round_records(fed.ledger, task)), False)
    assert first.records.servers == server_records(fed.ledger)
    assert chain.open_round() is None

    fed.owner.open_round(task)
    fed.servers[0].step()
    opened = chain.open_round()
    assert opened is not None
    assert [opened[key] for key in ("number", "phase", "expected", "leader")] == [2, "submit", 4, None]
    assert opened["submitted"] == (fed.servers[0].address,)
    second = chain.known().records
    assert second is not None
    assert [record.status for record in second.rounds] == ["final", "open"]
    assert second.rounds[0] is first.records.rounds[0], "what has not changed is not read again"

    source = NetworkSource(Where(network="http://127.0.0.1:1/secret"))
    assert source.label == "http://127.0.0.1:1"
    assert [line["round"] for line in source.metrics()] == [1]

    def gone(*_: object) -> None:
        raise NodeUnavailableError("no node answers")

    monkeypatch.setattr(fed.ledger, "round_events", gone)
    monkeypatch.setattr(fed.ledger, "state", gone)
    left = chain.known()
    assert (left.records, left.note, left.trouble) == (second, "no node answers", True)
    assert chain.open_round() is None
