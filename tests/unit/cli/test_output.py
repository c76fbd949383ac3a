"""Standard output that cannot be written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fbfl.cli import main
from tests.support.paths import REPOSITORY

COMMAND = """
import sys
from fbfl.cli import main, queries
from fbfl.cli.console import plain_console

def answer(options):
    for _ in range({lines}):
        {say}("x" * 100)
    return 0

queries.rounds = answer
sys.exit(main(["rounds"]))
"""


def answer(output: int | None, *, say: str = "print", lines: int = 1, buffered: bool = True) -> tuple[int, str]:
    """Status and complaints of a command that prints so many lines, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "" if buffered else "1"}
    code = COMMAND.format(say=say, lines=lines)
    close = None if output is not None else (lambda: os.close(1))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        stdout=output,
        stderr=subprocess.PIPE,
        preexec_fn=close,
        check=False,
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("say", ["print", "plain_console().print"])
@pytest.mark.parametrize(("lines", "buffered"), [(1, True), (1, False), (10_000, True)])
def test_a_reader_that_has_gone_ends_a_command_quietly(say: str, lines: int, buffered: bool) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert answer(writer, say=say, lines=lines, buffered=buffered) == (141, "")
    finally:
        os.close(writer)


@pytest.mark.parametrize("buffered", [True, False])
def test_a_full_disk_is_said(buffered: bool) -> None:
    with Path("/dev/full").open("wb") as full:
        assert answer(full.fileno(), buffered=buffered) == (3, "fbfl: output: No space left on device\n")


def test_a_command_without_an_output_does_its_work() -> None:
    assert answer(None, say="plain_console().print") == (0, "")


def test_a_broken_pipe_of_a_node_is_an_error(tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as file:
        status, said = answer(file.fileno(), say="raise BrokenPipeError; print")
    assert status == 1
    assert "BrokenPipeError" in said


def test_a_value_that_is_a_whole_file_fills_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "settings.toml").write_text(f'draw = "{"9" * 100_000}"')
    assert main(["run", "--config", str(tmp_path / "settings.toml")]) == 2
    said = capsys.readouterr().err
    assert re.fullmatch("fbfl: .*draw is '9+ ... 9+'; allowed: seed, chain\n", said)
    assert len(said) < 5_000
