"""Ctrl-C where Python ignores it, and while a command is being imported."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fbfl.cli.interrupts import never_lost
from tests.support.paths import REPOSITORY


class Clearing:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def ctrl_c_raises() -> Iterator[Any]:
    """Also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted_while_clearing_up() -> None:
    with never_lost():
        thing = Clearing()
        del thing
        time.sleep(20)


def test_an_interrupt_that_python_ignores_comes_again() -> None:
    hook, started = sys.unraisablehook, time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted_while_clearing_up()
    assert time.monotonic() - started < 10
    assert sys.unraisablehook is hook


def test_other_ignored_errors_are_told_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_type))

    class Failing:
        def __del__(self) -> None:
            raise ValueError

    with never_lost():
        thing = Failing()
        del thing
    assert told == [ValueError]


INTERRUPTED_IMPORT = """
import sys

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == {name!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
"""


@pytest.mark.parametrize("name", ["argparse", "fbfl.cli.main", "fbfl.errors", "fbfl.cli.queries", "web3"])
def test_an_interrupt_while_a_command_is_imported_ends_it_in_a_line_at_most(tmp_path: Path, name: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTED_IMPORT.format(name=name))
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    command = [sys.executable, "-m", "fbfl", "audit"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr in ("", "fbfl: interrupted\n")
