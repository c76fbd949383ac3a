"""`fbfl compare`: runs beside each other."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fbfl.cli import tables
from fbfl.cli.parser import Commands
from fbfl.errors import InvalidInputError
from fbfl.system import strictjson

if TYPE_CHECKING:
    from fbfl.runs.comparison import ComparedRun

PICTURES = (".png", ".svg", ".pdf")


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "compare",
        help="runs beside each other",
        description="Settings in which runs differ, their last figures, and one picture of all.",
    )
    command.add_argument(
        "runs", nargs="+", type=Path, metavar="DIR", help="the folders of two or more runs, or of fbfl run --seeds"
    )
    command.add_argument(
        "--output", type=Path, metavar="FILE", help=f"draw them into a file that ends in {', '.join(PICTURES)}"
    )
    command.add_argument("--json", action="store_true", help="a JSON list, an object per run")
    command.set_defaults(command=compare)


def compare(options: argparse.Namespace) -> int:
    """Print a table, or JSON, and draw a picture if one is named."""
    from fbfl.runs import comparison

    if len(options.runs) < 2:
        raise InvalidInputError(f"{options.runs[0]}: allowed: two or more runs to compare")
    picture: Path | None = options.output
    if picture is not None and picture.suffix not in PICTURES:
        raise InvalidInputError(f"--output {picture}: allowed: a name that ends in {', '.join(PICTURES)}")
    runs = comparison.read(options.runs)
    differing = comparison.differences(runs)
    if options.json:
        found = [
            {"run": run.label, "settings": {name: values[place] for name, values in differing.items()}, **run.figures}
            for place, run in enumerate(runs)
        ]
        print(strictjson.dumps(found, indent=1))
    else:
        _print_table(runs, differing)
    if picture is not None:
        comparison.draw(runs, picture)
        if not options.json:
            print(f"picture: {picture}")
    return 0


def _print_table(runs: Sequence["ComparedRun"], differing: dict[str, list[Any]]) -> None:
    """Print a column per run: settings that differ above, figures below."""
    from fbfl.runs.comparison import figures_of
    from fbfl.runs.measures import RATES

    rows = [(name, *map(tables.setting, values)) for name, values in differing.items()]
    for name, values in figures_of(runs).items():
        rows.append((name.replace("_", " "), *(tables.figure(each, is_rate=name in RATES) for each in values)))
    labels = [run.label for run in runs]
    tables.show(("", *labels), rows, right=labels)
