"""The parser of every command. A command's module adds its own to it with `add_parser`.

The help of one command reads the options of all, so their modules import in functions what is slow to import: web3,
Rich, TensorFlow.
"""

import argparse
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from fbfl.cli import hint


class Parser(argparse.ArgumentParser):
    """Reports an error in one line that points to the help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register("type", Path, _path)

    def error(self, message: str) -> NoReturn:
        """Leave with status 2."""
        _, *names = self.prog.split()
        self.exit(2, f"{self.prog}: {message} (see {hint.command(*names, '--help')})\n")


def _path(text: str) -> Path:
    """Return the path of an argument; an empty one, as of a variable that is not set, would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no path; allowed: a name, or . for the current folder")
    return Path(text)


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
"""The commands of a parser, to which `add_parser` adds one."""
