"""What every command's parser does with its options."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from fbfl.cli.main import parser
from fbfl.cli.parser import Parser


def commands(one: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of all commands below one."""
    yield one
    for action in one._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from commands(below)


def test_an_empty_path_is_refused_by_every_option_that_takes_one() -> None:
    options = [(each, action) for each in commands(parser()) for action in each._actions if action.type is Path]
    assert len(options) > 40
    refused = r"'' is no path; allowed: a name, or . for the current folder"
    for command, action in options:
        with pytest.raises(argparse.ArgumentError, match=refused):
            command._get_values(action, [""] if action.nargs in (None, "?") else ["", ""])


def test_a_path_is_taken_as_it_is() -> None:
    one = Parser()
    one.add_argument("--output", type=Path)
    assert one.parse_args(["--output", "."]).output == Path()
