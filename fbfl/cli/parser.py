"""The parser of every command. A command's module adds its own to it with `add_parser`.

The help of one command reads the options of all, so their modules import in functions what is slow to import: web3,
Rich, TensorFlow.
"""

import argparse
from typing import NoReturn, TypeAlias

from fbfl.cli import hint


class Parser(argparse.ArgumentParser):
    """Reports an error in one line that points to the help."""

    def error(self, message: str) -> NoReturn:
        """Leave with status 2."""
        _, *names = self.prog.split()
        self.exit(2, f"{self.prog}: {message} (see {hint.command(*names, '--help')})\n")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
"""The commands of a parser, to which `add_parser` adds one."""
