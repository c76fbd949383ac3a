"""Whatever strangers ask for, fbfl does it or says in a line why not, the same each time, and calls no NaN good."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from fbfl.learning import backend
from tests.fuzz import commands, federations, recipes, shortcuts, strategies
from tests.fuzz.drawing import drawn_for

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _among_strangers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    backend.load_tensorflow()
    monkeypatch.syspath_prepend(Path(__file__).parent / "users")
    monkeypatch.chdir(tmp_path)
    Path("trace.csv").write_text("seconds,cell\n0,0\n90,1\n", encoding="utf-8")
    with shortcuts.kept_parts(monkeypatch):
        yield


@drawn_for(0.4, 6, several=strategies.federations(), rounds=st.integers(1, 3), lanes=st.sampled_from((1, 1, 2)))
def test_federations(several: Any, rounds: Any, lanes: Any) -> Any:
    for recipe in several:
        federations.holds(recipe, rounds, lanes)
    return len(several)


@drawn_for(0.4, 3, task=strategies.tasks(), output=strategies.file_names, file=st.booleans())
def test_runs(task: Any, output: Any, file: Any) -> Any:
    data, several = task
    recipes.save(*data)
    for settings in several:
        commands.run_holds(settings, output, file=file)
    return len(several)


@drawn_for(0.2, 3, study=strategies.studies(), name=strategies.file_names)
def test_experiments(study: Any, name: Any) -> Any:
    data, definition = study
    recipes.save(*data)
    commands.experiment_holds(name, definition)
    return 1
