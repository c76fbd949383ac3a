"""`fbfl completion`: a script by which a shell completes commands, options, names and files."""

import argparse
from collections.abc import Iterator

from fbfl.cli.parser import Commands, Parser

SHELLS = ("bash", "zsh", "tcsh")


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "completion",
        help="complete commands in your shell",
        description="Print a script for your shell. For bash: source <(fbfl completion bash)",
    )
    command.add_argument("shell", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")
    command.set_defaults(command=completion)


def completion(options: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    from fbfl.cli.catalogue import catalogue
    from fbfl.cli.main import parser

    root = parser()
    names = {kind: [entry.name for entry in entries] for kind, entries in catalogue().items()}
    names["kind"] = [name.replace("_", "-") for name in names]  # of fbfl list
    for action in _actions(root):
        if action.metavar in ("FILE", "DIR"):
            action.complete = shtab.FILE if action.metavar == "FILE" else shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.dest in names and action.metavar in (None, action.dest.upper()):  # not NAME=ADDRESS of fbfl deploy
            action.choices = names[action.dest]
    print(shtab.complete(root, options.shell))
    return 0


def _actions(command: Parser) -> Iterator[argparse.Action]:
    """Yield the options and arguments of a command and of the commands below it."""
    for action in command._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _actions(inner)
