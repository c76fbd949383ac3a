"""Commands that messages propose."""

import sys
from pathlib import Path

import pytest

from fbfl.cli import hint


@pytest.mark.parametrize(
    ("called", "by", "proposed"),
    [
        (".venv/bin/fbfl", ".venv/bin/python", ".venv/bin/fbfl audit --run 'a b/$x'"),
        ("/opt/my lab/bin/fbfl", "/opt/python", "'/opt/my lab/bin/fbfl' audit --run 'a b/$x'"),
        ("/lab/fbfl/__main__.py", "python3", "python3 -m fbfl audit --run 'a b/$x'"),
        ("/lab/pytest/__main__.py", "python3", "fbfl audit --run 'a b/$x'"),
        ("", "python3", "fbfl audit --run 'a b/$x'"),
    ],
)
def test_a_command_is_called_as_this_one_was_and_quoted(
    monkeypatch: pytest.MonkeyPatch, called: str, by: str, proposed: str
) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setattr(sys, "orig_argv", [by, called])
    assert hint.command("audit", "--run", "a b/$x") == proposed


def test_a_command_on_the_path_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "fbfl"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert hint.command("deploy") == "fbfl deploy"
