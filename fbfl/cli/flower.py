"""`fbfl flower prepare`: the environment of a Flower app."""

import argparse
from pathlib import Path

from fbfl.cli.parser import Commands
from fbfl.values import checks


def add_parser(commands: Commands) -> None:
    """Add the command with its action."""
    group = commands.add_parser("flower", help="Flower apps, which fbfl run --trainer flower plays")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    preparing = actions.add_parser(
        "prepare",
        help="install what an app requires",
        description="Install what an app requires into an environment of its own, in .fbfl/envs.",
    )
    preparing.add_argument("app", type=Path, metavar="DIR", help="folder of the app, with its pyproject.toml")
    preparing.add_argument(
        "--timeout", type=float, default=1800.0, metavar="S", help="most seconds for a step of it (default 1800)"
    )
    preparing.set_defaults(command=prepare)


def prepare(options: argparse.Namespace) -> int:
    """Make the environment; prints its folder."""
    from fbfl.learning.flower import app, environment

    checks.seconds("--timeout", options.timeout)
    print(environment.prepare(app.read(options.app), timeout=options.timeout))
    return 0
