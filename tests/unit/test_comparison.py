"""Runs beside each other, from their folders alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from fbfl.cli import main
from fbfl.errors import ChainImportError, InvalidInputError
from fbfl.runs import comparison
from fbfl.runs.folder import RunFolder
from fbfl.settings import RunSettings

LINES: list[dict[str, Any]] = [
    {"round": 1, "accuracy": 0.5, "loss": None, "status": "final", "gas_used": 1_000, "seconds": 1.5},
    {"round": 2, "accuracy": 0.75, "loss": 0.25, "status": "aborted", "gas_used": 500, "seconds": 0.5},
]


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """A run with two rounds, one that has only begun, and one with a backdoor."""
    settings = RunSettings(rounds=2)
    made: dict[str, tuple[RunSettings, list[Any]]] = {
        "one": (settings, LINES),
        "begun [x] $a$": (settings.replace(aggregator="median"), []),
        "backdoor": (settings.replace(attack="backdoor", malicious=2), [{**LINES[0], "attack_success_rate": 0.125}]),
    }
    for name, (chosen, lines) in made.items():
        RunFolder.create(tmp_path / name, chosen)
        (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [tmp_path / name for name in made]


def test_what_differs_and_how_the_runs_ended(runs: list[Path]) -> None:
    one, begun, backdoor = comparison.read(runs)
    assert comparison.differences([one, begun]) == {"aggregator": ["fedavg", "median"]}
    assert comparison.differences([one, backdoor]) == {"attack": [None, "backdoor"], "malicious": [0, 2]}
    assert comparison.differences([one, one]) == {}
    assert one.figures == {
        "rounds_over": 2,
        "final_rounds": 1,
        "accuracy": 0.75,
        "attack_success_rate": None,
        "loss": 0.25,
        "gas_used": 1_500,
        "payload_bytes": 0,
        "seconds": 2.0,
    }
    assert begun.figures["accuracy"] is None
    assert (backdoor.figures["attack_success_rate"], backdoor.figures["loss"]) == (0.125, None)


def test_the_command_prints_a_column_per_run_and_draws_all(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "all.svg"
    assert main(["compare", *map(str, runs), "--output", str(picture)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) == len(lines[0]) for line in lines[:-1]), "columns"
    (aggregators,) = (line.split() for line in lines if line.startswith("aggregator"))
    assert aggregators == ["aggregator", "fedavg", "median", "fedavg"]
    (gas,) = (line.split() for line in lines if line.startswith("gas used"))
    assert gas == ["gas", "used", "1,500", "0", "1,000"]
    assert lines[-1] == f"picture: {picture}"
    drawn = picture.read_text()
    assert drawn.count("<!-- test ") + drawn.count("<!-- attack ") == 3, "accuracy, attack success, loss"
    assert main(["compare", *map(str, runs[:2]), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["settings"], second["settings"]) == ({"aggregator": "fedavg"}, {"aggregator": "median"})
    assert (first["accuracy"], second["accuracy"]) == (0.75, None)


def test_runs_with_several_seeds_are_means_with_their_intervals(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, accuracy in ((3, 0.5), (4, 0.75), (5, 1.0)):
        RunFolder.create(tmp_path / "many" / f"seed-{seed}", RunSettings(rounds=2, seed=seed))
        lines = [LINES[0], {**LINES[1], "accuracy": accuracy}, *([LINES[1]] if seed == 3 else [])]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / "many" / f"seed-{seed}" / "metrics.jsonl").write_text(text)
    one, many = comparison.read([runs[0], tmp_path / "many"])
    assert comparison.differences([one, many]) == {"seed": [0, [3, 4, 5]]}
    assert many.rounds == [1, 2]
    assert many.figures["loss"] == 0.25
    assert many.figures["rounds_over"]["mean"] == pytest.approx(7 / 3)
    means, halves = many.curve("accuracy")
    half = stats.t.ppf(0.975, 2) * 0.25 / 3**0.5
    assert (means, halves) == ([0.5, 0.75], [0.0, pytest.approx(half)])
    assert main(["compare", str(runs[0]), str(tmp_path / "many"), "--output", str(tmp_path / "all.svg")]) == 0
    (accuracy_row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("accuracy"))
    assert accuracy_row.split() == ["accuracy", "0.7500", "0.8333", "(0.4748", "to", "1.0000)", "(n", "=", "3)"]


def test_own_metrics_are_figures_and_what_is_no_number_is_not_known(runs: list[Path], tmp_path: Path) -> None:
    odd = [{**LINES[0], "accuracy": "high", "gas_used": "x", "metrics": {"f1": 0.5, "accuracy": 1}}, LINES[1]]
    (runs[0] / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in odd[:1]) + '{"round": 2, "acc')
    one, other = comparison.read(runs[:2])
    assert one.figures["accuracy"] is None
    assert (one.figures["f1"], one.figures["gas_used"], one.figures["rounds_over"]) == (0.5, 0, 1)
    assert comparison.figures_of([other, one])["f1"] == [None, 0.5]
    assert "f1" in comparison.draw([one, other], tmp_path / "own.svg").read_text()


def test_settings_are_shown_to_their_last_digit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, rate in enumerate((1e-5, 2e-5)):
        RunFolder.create(tmp_path / str(place), RunSettings(learning_rate=rate))
    assert main(["compare", str(tmp_path / "0"), str(tmp_path / "1")]) == 0
    (rates,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("learning_rate"))
    assert rates.split() == ["learning_rate", "1e-05", "2e-05"]


def test_what_cannot_be_compared_is_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nothing: not the folder of a run: settings\.json: No such file"):
        comparison.read([runs[0], tmp_path / "nothing"])
    (runs[0] / "metrics.jsonl").write_text("{\n")
    with pytest.raises(ChainImportError, match=r"metrics\.jsonl is damaged"):
        comparison.read(runs)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one"], "one: allowed: two or more runs to compare"),
        (["one", "two", "--output", "a.gif"], "--output a.gif: allowed: a name that ends in .png, .svg, .pdf"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *arguments]) == 2
    assert capsys.readouterr().err == f"fbfl: {said}\n"
