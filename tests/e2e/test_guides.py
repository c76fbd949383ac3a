"""The tutorial and the recipes: whoever does what they say gets what they say."""

import re
from pathlib import Path

import pytest

import fbfl
from tests.support.paths import REPOSITORY
from tools import guides


@pytest.mark.slow
def test_the_tutorial_leads_from_the_question_to_the_figure(tmp_path: Path) -> None:
    said = guides.follow("tutorial.md", tmp_path)
    report = (tmp_path / "RESULTS.md").read_text()
    assert re.findall(r"\| \*\*(.+)\*\* \|$", report, re.MULTILINE) == ["holds", "holds"]
    assert (tmp_path / "thesis.png").stat().st_size > 5_000
    assert (tmp_path / "model.safetensors").is_file()
    assert "everything recomputed is as recorded" in said
    first, final = (fbfl.open_run(tmp_path / name, ["rules:near_median"]) for name in ("first", "final"))
    assert final.summary["final_accuracy"] > first.summary["final_accuracy"] - 0.1


@pytest.mark.slow
def test_recipes_that_need_no_node_work(tmp_path: Path) -> None:
    said = guides.follow("howto.md", tmp_path)
    assert said.count("after 2 rounds") == 3
    assert "everything recomputed is as recorded" in said
    assert "\nfinal 12 " in said
    assert (tmp_path / "small.keras").is_file()


@pytest.mark.slow
def test_the_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, {})
    *_, last = capsys.readouterr().out.splitlines()
    number, accuracy, _ = map(float, last.split())
    assert number == 10
    assert accuracy > 0.5
