"""Runs with several seeds: a folder each, and means beside them."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from fbfl.cli import main
from fbfl.errors import InvalidInputError
from fbfl.runs import series
from fbfl.runs.files import read_json
from fbfl.runs.play import Played
from fbfl.settings import RunSettings

ACCURACIES = {4: [0.25, 0.5], 5: [0.75, 0.5], 6: [0.5, 0.5]}


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that only write their lines: what is tested is what is made of them."""

    def play(settings: RunSettings, output: Path, **_: Any) -> Played:
        output.mkdir()
        lines = [
            {"round": number, "accuracy": accuracy, "loss": None if settings.seed == 5 else 1.0}
            for number, accuracy in enumerate(ACCURACIES[settings.seed], 1)
        ]
        (output / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return Played(output, {"final_rounds": int(settings.seed != 6), "warnings": ["training diverged"]}, ())

    monkeypatch.setattr(series, "play", play)


def play_into(folder: Path, count: int) -> series.Series:
    settings = RunSettings(rounds=2, seed=4)
    return series.play_seeds(settings, count, folder, deployment=None, say=print, on_round=lambda seed: print)


@pytest.mark.usefixtures("played")
def test_means_are_over_the_seeds_by_round(tmp_path: Path) -> None:
    made = play_into(tmp_path / "made", 3)
    assert [*made.runs] == [4, 5, 6]
    assert {path.name for path in made.path.iterdir()} == {
        *("seed-4", "seed-5", "seed-6", "summary.json", "accuracy.png", "loss.png")
    }
    summary = read_json(made.path / "summary.json")
    assert summary["seeds"] == [4, 5, 6]
    assert "seed" not in summary["settings"]
    first, last = summary["rounds"]
    # Student's t for two degrees of freedom: 4.302653.
    half = 4.302653 * statistics.stdev([0.25, 0.75, 0.5]) / 3**0.5
    assert first["accuracy"] == {"mean": 0.5, "half_width": pytest.approx(half, rel=1e-6), "n": 3}
    assert first["loss"] == {"mean": None, "half_width": None, "n": 3}, "one is not finite"
    assert summary["final_accuracy"] == last["accuracy"] == {"mean": 0.5, "half_width": 0.0, "n": 3}
    assert "final_attack_success_rate" not in summary


@pytest.mark.usefixtures("played")
def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    assert play_into(tmp_path, 1).summary["final_accuracy"] == {"mean": 0.5, "half_width": None, "n": 1}


@pytest.mark.usefixtures("played")
def test_the_folder_is_no_run_and_is_not_used_again(tmp_path: Path) -> None:
    play_into(tmp_path, 2)
    with pytest.raises(InvalidInputError, match=r"holds a run per seed; allowed: one of them, as .*/seed-4$"):
        read_json(tmp_path / "settings.json")
    with pytest.raises(InvalidInputError, match="holds runs already; allowed: a new or an empty folder"):
        play_into(tmp_path, 2)
    with pytest.raises(InvalidInputError, match="seeds is 0; allowed: 1 or more"):
        play_into(tmp_path / "new", 0)
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("played")
def test_the_command_prints_means_and_fails_if_a_seed_has_no_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--rounds", "2", "--seed", "4", "--dataset", "digits"]
    assert main([*words, "--seeds", "2", "--output", str(tmp_path / "two")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == ["seed 4", "seed 5", "accuracy 0.5000 ± 0.0000 (n = 2)"]
    assert main([*words, "--seeds", "3", "--output", str(tmp_path / "three")]) == 3
    assert "fbfl: no round of seed 6 became final; training diverged; see" in capsys.readouterr().err
