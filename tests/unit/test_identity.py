"""Stored runs are known by their settings, and by the code and data that these name."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fbfl.errors import InvalidInputError
from fbfl.experiments import definition, runner
from fbfl.experiments.run_store import LINES, FinishedRuns, Run
from fbfl.runs.identity import dependencies
from fbfl.settings import RunSettings, read
from tests.support.paths import REPOSITORY

FOLDER = REPOSITORY / "experiments"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A folder of a user's with a module, from which functions are imported, and files of data."""
    for name in ("identitylab.py", "data.npz", "data.csv", "trace.csv"):
        (tmp_path / name).write_text("def mine(*_): pass\n")
    saved = {
        "dataset_dict.json": {"splits": ["train", "extra"]},
        "train/state.json": {"_data_files": [{"filename": "a"}]},
    }
    for name, content in {**saved, "train/dataset_info.json": {}, "train/a": {}, "train/cache": {}}.items():
        (tmp_path / "saved" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "saved" / name).write_text(json.dumps(content))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("identitylab", None)


NAMED: dict[str, list[dict[str, Any]]] = {
    "data.npz": [{"dataset": "data.npz"}],
    "data.csv": [{"dataset": "data.csv", "dataset_args": {"label": "y"}}],
    "trace.csv": [{"mobility": "trace", "mobility_args": {"file": "trace.csv"}}],
    "identitylab.py": [
        {name: "identitylab:mine"}
        for name in ("dataset", "aggregator", "model", "trainer", "partition", "mobility", "radio", "attack")
    ]
    + [{"trainer_args": {"loss": "identitylab:mine"}}],
}


def test_the_file_of_a_script_or_of_what_a_notebook_made_is_known_without_an_import(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of `__main__`, which has no specification of where it is from."""
    script = ModuleType("scriptlab")
    monkeypatch.setitem(sys.modules, "scriptlab", script)
    assert dependencies(RunSettings(dataset="scriptlab:mine")) == {}
    script.__file__ = str(lab / "identitylab.py")
    (digest,) = dependencies(RunSettings(dataset="scriptlab:mine"))["files"].values()
    assert digest == dependencies(RunSettings(dataset="identitylab:mine"))["files"]["dataset"]


def test_a_run_is_another_where_a_folder_of_data_has_changed(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab)
    run = RunSettings(dataset="saved")
    before = Run(run).name
    (lab / "saved" / "train" / "cache").unlink()  # which is not read
    assert Run(run).name == before
    names = {before}
    for file in ("train/dataset_info.json", "train/a", "train/state.json", "dataset_dict.json"):
        content = (lab / "saved" / file).read_text()
        (lab / "saved" / file).write_text(content + "\n")
        names.add(Run(run).name)
    assert len(names) == 5
    (lab / "saved" / "train" / "a").unlink()
    with pytest.raises(InvalidInputError, match=r"^dataset saved/train/a: cannot be read"):
        dependencies(run)


@pytest.mark.parametrize(("file", "settings"), [(file, each) for file, many in NAMED.items() for each in many])
def test_a_run_is_another_where_a_file_has_changed_that_it_names(
    lab: Any, monkeypatch: pytest.MonkeyPatch, file: Any, settings: Any
) -> None:
    monkeypatch.chdir(lab)
    run = RunSettings(**settings, malicious=int("attack" in settings))
    before = Run(run).name
    assert before == Run(run).name
    (lab / file).write_text("def mine(*_): raise SystemExit\n")
    assert Run(run).name != before
    (lab / file).write_text("def mine(*_): pass\n")
    os.utime(lab / file, ns=(0, 0))
    assert Run(run).name == before, "it is the content that counts"
    (lab / file).unlink()
    sys.modules.pop("identitylab", None)
    with pytest.raises(InvalidInputError, match=r"cannot (be read|import)"):
        dependencies(run)


def test_nothing_is_said_of_what_computes_as_in_the_first_release() -> None:
    ours = {"partition": "fbfl.learning.partition:iid"}
    for settings in ({}, {"aggregator": "krum"}, {"attack": "alie", "malicious": 3}, {"dataset": "mnist-5k"}, ours):
        assert dependencies(RunSettings(**settings)) == {}
    for name in ("bulyan", "geometric_median", "norm_clipping"):
        assert dependencies(RunSettings(aggregator=name)) == {"versions": {"aggregator": 2}}


def test_the_settings_of_every_stored_run_are_a_configuration_and_make_its_name(tmp_path: Path) -> None:
    for path in (FOLDER / "results" / "finished").glob("*.json"):
        stored = json.loads(path.read_bytes())
        (tmp_path / "settings.json").write_text(json.dumps(stored["settings"]))
        assert Run(read(tmp_path / "settings.json", {}), listing="listing" in stored).name == path.stem


def test_what_draws_on_a_chain_is_another_run_since_nobody_knows_the_draw_beforehand(lab: Any) -> None:
    (lab / "identitylab.py").write_text("def mine(updates, seed): pass\n")
    for name in ("dnc", "signguard", "random_selection", "flame", "identitylab:mine"):
        settings = RunSettings(aggregator=name)
        assert dependencies(settings)["versions"] == {"draws": 2}
        assert "versions" not in dependencies(settings, chain=False)


def test_all_runs_of_the_definitions_are_stored_under_their_names() -> None:
    """A change of a definition plays its runs anew, and keeps none that no definition asks for."""
    stored = FinishedRuns(FOLDER / "results" / "finished")
    runs = runner.runs_of([definition.load(path) for path in definition.files(FOLDER)])
    assert [run.settings for run in runs if stored.load(run) is None] == []
    names = {run.name for run in runs}
    kept = (FOLDER / "results" / "finished" / LINES).read_text().splitlines()
    assert {json.loads(line).get("run", runs[0].name) for line in kept} <= names
    assert {path.stem for path in (FOLDER / "results" / "finished").glob("*.json")} <= names
