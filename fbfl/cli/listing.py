"""`fbfl list`: the names that settings take."""

import argparse

from fbfl.cli.parser import Commands
from fbfl.errors import InvalidInputError
from fbfl.system import strictjson

_WIDTH = 44
"""Characters of the column of names; longer ones push their line's text away."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "list",
        help="names that options take, with their settings",
        description="The names that an option takes, with their settings (see docs/extending.md) and a line each.",
    )
    command.add_argument("kind", nargs="?", metavar="KIND", help="aggregator, attack, dataset, ... (default: all)")
    command.add_argument("--json", action="store_true", help="a JSON object: a list by kind")
    command.set_defaults(command=listing)


def listing(options: argparse.Namespace) -> int:
    """Print the names of one kind, or of all."""
    from fbfl.cli.catalogue import catalogue

    kinds = {name.replace("_", "-"): known for name, known in catalogue().items()}
    if options.kind is not None:
        if options.kind not in kinds:
            raise InvalidInputError(f"{options.kind!r} is no kind of names; allowed: {', '.join(kinds)}")
        kinds = {options.kind: kinds[options.kind]}
    if options.json:
        entries = {
            kind: [{"name": each.name, "settings": list(each.settings), "about": each.about} for each in known]
            for kind, known in kinds.items()
        }
        print(strictjson.dumps(entries, indent=1))
        return 0
    for kind, known in kinds.items():
        print(f"--{kind}")
        for each in known:
            name = f"{each.name} ({', '.join(each.settings)})" if each.settings else each.name
            print(f"  {name:<{_WIDTH}}  {each.about}".rstrip())
    return 0
