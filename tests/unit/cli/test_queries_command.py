"""`fbfl rounds --follow` in this process, beside a federation that plays."""

import time
from pathlib import Path

import pytest

from fbfl.cli import main, queries
from fbfl.runs.folder import StoredRun
from tests.support.federations import federation


def test_every_round_gets_its_line_as_soon_as_it_is_over_until_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fed = federation(tmp_path, servers=2, devices=2)
    fed.play_round()
    seen: list[str] = []

    def wait(seconds: float) -> None:
        seen.append(capsys.readouterr().out)
        state = fed.ledger.state(fed.task.id)
        if len(seen) == 4:
            raise KeyboardInterrupt
        if len(seen) == 1:
            fed.owner.open_round(fed.task.id)  # is shown when it is over
        elif len(seen) == 2:
            assert not state.phase.is_over
            fed.play_round()

    monkeypatch.setattr(queries, "open_source", lambda options: StoredRun(fed.ledger, fed.servers[0].store, fed.task))
    monkeypatch.setattr(time, "sleep", wait)
    assert main(["rounds", "--follow", "--network", "anvil"]) == 130
    heads, nothing, second, _ = (text.splitlines() for text in seen)
    assert len(heads) == 2
    assert [line.split()[:2] for line in (heads[1], *second)] == [["1", "final"], ["2", "final"]]
    assert nothing == []
    assert main(["rounds", "--follow"]) == 2
    assert "--follow; allowed: only with --network, where rounds go on" in capsys.readouterr().err
