"""What a terminal sees while a command works, and what a file gets."""

import io
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from rich.console import Console

from fbfl.cli import experiment, nodes, run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(params=[Terminal, io.StringIO], ids=["terminal", "file"])
def printing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], io.StringIO]:
    """Let a stream stand for the standard output and error of this process, from its call on."""

    def to_stream() -> io.StringIO:
        stream: io.StringIO = request.param()
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, stream)
        for name, value in {"TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}.items():
            monkeypatch.setenv(name, value)
        return stream

    return to_stream


def test_the_lines_of_rounds_stand_above_a_bar(
    printing: Callable[[], io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = printing()
    monkeypatch.setattr(run, "_round_text", lambda line: f"round {line['round']} is over")
    with run._rounds_on(Console(highlight=False), 2) as show:
        for number in (1, 2):
            show({"round": number})
    text = output.getvalue()
    assert text.count("round 1 is over") == text.count("round 2 is over") == 1
    assert ("2/2" in text) == output.isatty()


def test_a_warning_is_printed_again_only_when_it_was_gone(
    printing: Callable[[], io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = printing()
    monkeypatch.setattr(run, "_round_text", lambda line: f"round {line['round']}: {line['warnings']}")
    with run._rounds_on(Console(highlight=False), 5) as show:
        for number, said in enumerate((["a"], ["a", "b"], ["b"], [], ["b"]), 1):
            show({"round": number, "warnings": said} if said else {"round": number})
    text = output.getvalue()
    for number, told in enumerate((["a"], ["b"], [], [], ["b"]), 1):
        assert f"round {number}: {told}" in text


def test_runs_of_an_experiment_are_counted(printing: Callable[[], io.StringIO]) -> None:
    output = printing()
    with experiment._progress(Console(highlight=False), 2) as done:
        done()
        done()
    text = output.getvalue()
    assert ("2/2" in text) == output.isatty()
    assert text.count("run 2 of 2; about 0.0 min left") == (not output.isatty())


def test_long_steps_of_nodes_show_their_share(printing: Callable[[], io.StringIO]) -> None:
    output = printing()
    showing: Callable[[], AbstractContextManager[Any]] = nodes._progress
    with showing() as say:
        for share in (0.0, 0.04, 0.5, 1.0):
            say("preparing", share)
    lines = output.getvalue()
    assert "100" in lines
    if not output.isatty():
        assert lines == "preparing: 0%\npreparing: 50%\npreparing: 100%\n", "a line for each tenth"
