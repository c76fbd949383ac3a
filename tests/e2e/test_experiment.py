"""`fbfl experiment` as a user types it, on a small experiment of its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from fbfl.cli import main
from fbfl.experiments import single_run
from fbfl.experiments.run_store import FinishedRun, Run
from fbfl.settings import RunSettings

DEFINITION = """
title = "Small"
seeds = 2
[base]
dataset = "digits"
rounds = 2
servers = 3
devices = 3
signatures = true
[[variants]]
label = "one"
[[variants]]
label = "two"
settings = { local_epochs = 2 }
[[claims]]
text = "two is faster"
measure = "mean_accuracy"
rounds = 2
variant = "two"
relation = "higher"
than = "one"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "small.toml").write_text(DEFINITION)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "experiments"


@pytest.mark.slow
def test_only_what_is_not_stored_is_run_and_gives_the_same_bytes(
    folder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["experiment", "small", "--jobs", "2"]) == 0
    table = (folder / "results" / "small.csv").read_bytes()
    text = (folder / "RESULTS.md").read_bytes()
    assert (folder / "results" / "small.png").exists()
    stored = sorted((folder / "results" / "finished").glob("*.json"))
    times = {path: path.stat().st_mtime_ns for path in stored}
    assert len(stored) == 4
    before = json.loads(stored[1].read_text())
    stored[1].unlink()
    capsys.readouterr()
    assert main(["experiment", "all", "--resume", "--jobs", "1"]) == 0
    assert "3 of 4 runs stored already" in capsys.readouterr().out
    assert {path for path in stored if path.stat().st_mtime_ns != times[path]} == {stored[1]}
    assert json.loads(stored[1].read_text())["model_sha256"] == before["model_sha256"]
    assert (folder / "results" / "small.csv").read_bytes() == table
    assert (folder / "RESULTS.md").read_bytes() == text


GRID = """
title = "Grid"
seeds = 2
chain = false
[base]
dataset = "digits"
rounds = 2
servers = 7
[grid]
malicious = [2]
[[grid.rules]]
label = "mean"
settings = { aggregator = "fedavg" }
[[grid.rules]]
label = "trust"
settings = { aggregator = "fltrust" }
[[grid.attacks]]
label = "flip"
settings = { attack = "sign_flipping" }
"""


def test_a_line_that_is_deleted_is_run_again_and_gives_the_same_bytes(
    folder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "grid.toml").write_text(GRID)
    (folder / "broken.toml").write_text("title =")  # a file beside it that is of no concern
    assert main(["experiment", "grid", "--jobs", "1"]) == 0
    assert capsys.readouterr().err == ""
    table = (folder / "results" / "grid.csv").read_bytes()
    stored = folder / "results" / "finished" / "without-chain.jsonl"
    lines = stored.read_text().splitlines(keepends=True)
    assert len(lines) == 1 + 2 * 4
    stored.write_text("".join(lines[:3] + lines[4:-1]) + lines[-1][:40])  # one is gone, another was cut off
    (folder / "results" / "broken.csv").write_text("")
    assert main(["experiment", str(folder / "grid.toml"), "--jobs", "1"]) == 0
    said = capsys.readouterr()
    assert "6 of 8 runs stored already" in said.out
    assert said.err.startswith(f"left out of the report: {folder / 'broken.toml'}: not TOML")
    assert "## grid" in (folder / "RESULTS.md").read_text()
    assert set(stored.read_text().splitlines(keepends=True)) >= set(lines)
    assert (folder / "results" / "grid.csv").read_bytes() == table
    assert (folder / "results" / "grid.png").exists()
    assert main(["experiment", "all"]) == 2
    assert set(stored.read_text().splitlines(keepends=True)) >= set(lines)


def test_fresh_alone_deletes_stored_runs_and_says_how_many(
    folder: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "grid.toml").write_text(GRID)
    played = []

    def play(run: Any, lanes: Any) -> Any:
        played.append(run)
        return FinishedRun(
            ({"round": 1, "accuracy": 0.5, "loss": 1.0}, {"round": 2, "accuracy": 0.5, "loss": 1.0}), "00"
        )

    monkeypatch.setattr(single_run, "play", play)
    for options, number in (([], 8), ([], 0), (["--resume"], 0), (["--fresh"], 8)):
        played.clear()
        assert main(["experiment", "grid", "--jobs", "1", *options]) == 0
        assert len(played) == number
    assert "8 of 8 runs stored; deleted now\n" in capsys.readouterr().out


def test_what_a_run_warns_of_is_kept_and_not_said_by_python(recwarn: Any) -> None:
    attack: dict[str, Any] = {
        "attack": "targeted_label_flipping",
        "attack_args": {"source": 15, "target": 1},
        "malicious": 1,
    }
    settings = RunSettings(dataset="digits", servers=2, devices=2, rounds=1, **attack)
    (line,) = single_run.play(Run(settings, chain=False), lanes=1).warnings
    assert line.endswith("has no effect: no sample of the attackers is changed")
    assert not [each for each in recwarn if each.category is UserWarning]


@pytest.mark.slow
def test_ray_gives_the_same_bytes_as_this_process(folder: Any, tmp_path: Path) -> None:
    assert main(["experiment", "small", "--seeds", "1", "--jobs", "1"]) == 0
    other = tmp_path / "ray"
    assert main(["experiment", "small", "--seeds", "1", "--jobs", "1", "--backend", "ray", "--output", str(other)]) == 0
    assert (other / "results" / "small.csv").read_bytes() == (folder / "results" / "small.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "experiment 'nothing' is unknown; allowed: all, small, and the path of a TOML file"),
        (["small", "--jobs", "0"], "--jobs is 0; allowed: 1 or more"),
        (["small", "--seeds", "0"], "--seeds is 0; allowed: 1 or more"),
        (["small", "--backend", "dask"], "--backend is 'dask'; allowed: joblib, ray"),
        (
            ["small", "--output", "experiments/small.toml"],
            "--output experiments/small.toml: cannot be written: Not a directory",
        ),
    ],
)
def test_wrong_use_is_said_in_one_line(
    folder: Any, capsys: pytest.CaptureFixture[str], arguments: Any, message: Any
) -> None:
    assert main(["experiment", *arguments]) == 2
    assert capsys.readouterr().err == f"fbfl: {message}\n"
