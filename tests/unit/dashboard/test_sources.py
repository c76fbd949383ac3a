"""What is known of a run, from its folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from fbfl.dashboard.jobs import Job, Jobs
from fbfl.dashboard.sources import NOT_EXECUTED, RunSource
from fbfl.dashboard.where import Where
from fbfl.errors import ChainImportError
from fbfl.runs import index
from fbfl.runs.measures import finite
from tests.unit.dashboard.made_up import a_round, records


class Asked(Jobs):
    """Jobs that are only asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Job] = []

    def ask(self, kind: str, where: Where, *, retry: bool = False, **about: Any) -> Job:
        self.jobs.append(Job(kind, about))
        return self.jobs[-1]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "chain").mkdir()
    for name in ("chain/chain.rlp", "chain/genesis.json", "deployment.json", "metrics.jsonl"):
        (tmp_path / name).write_text("")
    (tmp_path / "settings.json").write_text("{}")
    return tmp_path


def grow(run: Path) -> None:
    with (run / "chain" / "chain.rlp").open("a") as file:
        file.write("block")


def test_a_chain_that_grows_is_read_by_one_job_at_a_time_with_pauses(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Asked()
    source = RunSource(Where(run=run), jobs)
    assert source.known().records is None
    assert "the chain is read (waits for its turn" in source.known().note
    grow(run)
    source.known()
    assert len(jobs.jobs) == 1
    made = records(a_round())
    monkeypatch.setattr(index, "read", lambda path: made)
    assert (source.known().records, source.known().note) == (made, NOT_EXECUTED)
    monkeypatch.setattr(index, "read", lambda path: None)
    grow(run)
    (job,) = jobs.jobs
    job.done, job.result, job.seconds = True, 1, 3600.0
    told = source.known()
    assert told.records is made, "what was known stays"
    assert "has grown" in told.note
    assert len(jobs.jobs) == 1
    job.seconds = 0.0
    source.known()
    assert len(jobs.jobs) == 2


def test_the_line_that_is_being_written_is_no_line_yet(run: Path) -> None:
    source = RunSource(Where(run=run), Asked())
    (run / "metrics.jsonl").write_text('{"round": 1}\n{"round": 2, "accu')
    assert source.metrics() == [{"round": 1}]


def test_a_key_in_the_url_of_a_node_is_not_shown(run: Path) -> None:
    (run / "settings.json").write_text(json.dumps({"network": "https://user:secret@node.example/v3/key"}))
    assert RunSource(Where(run=run), Asked()).settings["network"] == "https://node.example"


@pytest.mark.parametrize(
    "line", ["{}", '{"round": [1]}', '{"round": true}', '{"round": -1}', '{"round": 1e9}', "[]", "x"]
)
def test_a_line_without_a_round_is_damage(run: Path, line: str) -> None:
    source = RunSource(Where(run=run), Asked())
    (run / "metrics.jsonl").write_text('{"round": 1}\n' + line + "\n")
    with pytest.raises(ChainImportError, match=r"metrics\.jsonl is damaged"):
        source.metrics()


def test_values_that_are_no_numbers_or_out_of_all_range_are_not_known() -> None:
    wrong: list[object] = [None, True, "1", [1], {}, float("nan"), float("inf"), -1e308, 10**400]
    assert [finite(value) for value in wrong] == [None] * len(wrong)
    assert [finite(value) for value in (0, -2.5, 10**18)] == [0.0, -2.5, 1e18]
