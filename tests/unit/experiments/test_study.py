"""Studies: what is played, what is kept, and the report made of it."""

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from experiments.external.study import Study, finished, play

CELLS = [{"letter": letter, "number": number} for letter in "ab" for number in "12"]


@pytest.fixture
def study() -> tuple[Study, list[Any]]:
    played = []

    def run(cell: Mapping[str, str], seed: int) -> dict[str, str]:
        played.append((cell["letter"] + cell["number"], seed))
        if played[-1] == ("b2", 1):
            raise KeyboardInterrupt
        return {"outcome": f"{cell['letter']}{seed}"}

    return Study("trial", CELLS, ("outcome",), run, lambda rows: f"{len(rows)} runs"), played


def test_a_run_that_is_kept_is_not_played_again(study: tuple[Study, list[Any]], tmp_path: Path) -> None:
    trial, played = study
    assert finished(trial, tmp_path) == []
    play(trial, 1, {"letter": "b"}, tmp_path)
    assert played == [("b1", 0), ("b2", 0)]
    with pytest.raises(KeyboardInterrupt):
        play(trial, 2, {}, tmp_path)
    assert played[2:] == [("a1", 0), ("a2", 0), ("a1", 1), ("a2", 1), ("b1", 1), ("b2", 1)]
    assert len(finished(trial, tmp_path)) == 7
    assert finished(trial, tmp_path)[0] == {"letter": "b", "number": "1", "seed": "0", "outcome": "b0"}
    play(trial, 1, {}, tmp_path)
    assert len(played) == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("fang2020 --only letter", "--only letter: must be KEY=VALUE, with a KEY of aggregator, attack"),
        ("fang2020 --only colour=red", "--only colour=red: must be KEY=VALUE, with a KEY of aggregator, attack"),
        ("fang2020 --only attack=nine", "--only attack=nine: attack must be one of '', 'fang_gaussian', "),
        ("hiding --only attack=alie --only attack=alie:1.5", "--only attack=alie:1.5: attack is given twice"),
        ("--only attack=alie", "--only attack=alie: must follow the name of a study"),
        ("hiding --seeds 0", "--seeds 0: must be 1 or more"),
    ],
)
def test_what_chooses_no_cells_is_refused(
    words: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = import_module("experiments.external.__main__").main
    monkeypatch.setattr(sys, "argv", ["external", *words.split()])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert message in capsys.readouterr().err


def test_the_report_is_what_the_repository_has() -> None:
    module = import_module("experiments.external.__main__")
    assert (module.FOLDER / "RESULTS.md").read_text() == module.report()
