"""Pictures, whatever a user's environment and names say."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fbfl.errors import StorageError
from fbfl.runs import plots
from fbfl.system import canvas
from tests.support.paths import REPOSITORY

LINES: list[dict[str, Any]] = [
    {"round": 1, "accuracy": 0.5, "loss": 1e38},
    {"round": 2, "accuracy": 0.1, "loss": None, "attack_success_rate": 1.0},
]


def test_what_is_null_is_a_gap(tmp_path: Path) -> None:
    for lines in (LINES, LINES[1:]):
        paths = plots.plot_rounds(tmp_path, lines, r"$\frac$ of 3 servers")  # no formula: that one ends in an error
        assert [path.name for path in paths] == ["accuracy.png", "loss.png"]
        assert all(path.stat().st_size > 10_000 for path in paths)


def test_what_a_damaged_file_has_for_a_number_is_a_gap(tmp_path: Path) -> None:
    drawn = set()
    wrong: list[Any] = [None, "0.9", [], True, {"mean": "0.9"}]
    for value in wrong:
        lines = [{"round": number, "accuracy": 0.5, "loss": value} for number in (1, 2)]
        lines[0]["loss"] = None
        _, loss = plots.plot_rounds(tmp_path, lines, "title")
        drawn.add(loss.read_bytes())
    assert len(drawn) == 1
    for lines in ([], [{"round": 1, "metrics": 5}], [{"round": 1, "accuracy": {}, "metrics": {"f1": {}}}]):
        assert plots.plot_rounds(tmp_path, lines, "title")


def test_a_further_figure_may_be_called_as_another_entry_of_a_line(tmp_path: Path) -> None:
    own: list[dict[str, Any]] = [
        {"round": number, "accuracy": None, "loss": 1.0, "metrics": {"seconds": number / 2}} for number in (1, 2)
    ]
    plots.plot_rounds(tmp_path, own, "title")
    drawn = (tmp_path / "seconds.png").read_bytes()
    plots.plot_rounds(tmp_path, [{**line, "seconds": 9.0} for line in own], "title")
    assert (tmp_path / "seconds.png").read_bytes() == drawn


@pytest.mark.parametrize("title", ["日本", "x" * 400, "line\n" * 90])
def test_a_title_that_matplotlib_cannot_show_is_no_warning(tmp_path: Path, title: str) -> None:
    plots.plot_rounds(tmp_path, LINES, title)


def test_neither_a_notebooks_backend_nor_a_style_of_the_user_matters(tmp_path: Path) -> None:
    backend = "module://matplotlib_inline.backend_inline"
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\naxes.facecolor: black\n")
    plots.plot_rounds(tmp_path, LINES, "title")
    plain = (tmp_path / "loss.png").read_bytes()
    code = f"""
import os, pathlib
from fbfl.runs import plots
plots.plot_rounds(pathlib.Path("."), {LINES!r}, "title")
assert os.environ["MPLBACKEND"] == {backend!r}
"""
    environment = {**os.environ, "MPLBACKEND": backend, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "loss.png").read_bytes() == plain


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with canvas.blank() as figure, pytest.raises(StorageError, match=r"x\.png: cannot be written: No such file"):
        canvas.save(figure, tmp_path / "none" / "x.png")


def test_a_disk_that_is_full_leaves_no_part_of_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with canvas.blank() as figure, pytest.raises(StorageError, match=r"x\.png: cannot be written: No space left"):
        canvas.save(figure, tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("given", "found"), [("svg", "svg"), ("nonsense", "agg")])
def test_a_backend_that_is_there_stays_the_one_of_the_program(given: str, found: str) -> None:
    code = f"""
import os
from fbfl.system.canvas import load_matplotlib
for _ in range(2):
    assert load_matplotlib().get_backend() == {found!r}
assert os.environ["MPLBACKEND"] == {given!r}
"""
    environment = {**os.environ, "MPLBACKEND": given, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
