"""docs/python.md: its code runs from first to last, and does what the page says."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fbfl
from tests.support.guides import names_of
from tests.support.paths import REPOSITORY

GUIDE = REPOSITORY / "docs" / "python.md"


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Names that its blocks define."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("guide"))
        return names_of(GUIDE)


def test_the_keras_model_is_the_one_that_the_run_measured(guide: Any) -> None:
    assert guide["accuracy"] == pytest.approx(guide["run"].summary["final_accuracy"], abs=1e-6)
    assert guide["loss"] == pytest.approx(guide["run"].summary["final_loss"], rel=1e-5)
    first = [np.asarray(weight) for weight in guide["first"].weights]
    assert all(np.array_equal(*pair) for pair in zip(first, guide["run"].weights(1), strict=True))


def test_the_table_has_the_rounds(guide: Any) -> None:
    table = guide["table"]
    assert list(table.index) == [1, 2, 3]
    assert list(table["accuracy"]) == [line["accuracy"] for line in guide["run"].metrics]
    assert guide["cheapest"] in table.index


def test_the_model_moves_in_every_round(guide: Any) -> None:
    assert len(guide["lengths"]) == 3
    assert min(guide["lengths"]) > 0
    for number in (4, -1, 1.5):
        with pytest.raises(fbfl.InvalidInputError, match=rf"round is {number}; allowed: 0 to 3"):
            guide["run"].weights(number)


def test_a_payload_that_was_changed_is_found(guide: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(guide["run"].path, tmp_path / "run")
    largest = max((folder / "payloads").rglob("*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1] + b"!")
    assert any("damaged" in str(finding) for finding in fbfl.open_run(folder).audit())


def test_a_run_without_a_round_has_an_empty_table(guide: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(guide["run"].path, tmp_path / "run")
    (folder / "metrics.jsonl").write_text("")
    (folder / "summary.json").unlink()
    begun = fbfl.open_run(folder)
    assert len(begun.to_pandas()) == 0
    with pytest.raises(fbfl.InvalidInputError, match="summary"):
        print(begun.summary)


def test_settings_are_settings() -> None:
    wrong: Any = {"rounds": 1}
    with pytest.raises(fbfl.InvalidInputError, match=r"settings is {'rounds': 1}; allowed: fbfl.RunSettings"):
        fbfl.run(wrong)


def test_what_is_no_folder_of_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(fbfl.InvalidInputError, match="not the folder of a run"):
        fbfl.open_run(tmp_path)


def test_every_public_name_is_on_the_page() -> None:
    text = GUIDE.read_text()
    assert [name for name in fbfl.__all__ if f"fbfl.{name}" not in text] == []
    public = [name for name in dir(fbfl.open_run.__globals__["Run"]) if not name.startswith("_")]
    assert [name for name in public if f"`{name}" not in text] == []
