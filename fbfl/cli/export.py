"""`fbfl export`: a global model as a file that Keras, or any reader of safetensors, takes."""

import argparse
from pathlib import Path

from fbfl.cli.network import add_plugin, plugins_of
from fbfl.cli.parser import Commands
from fbfl.cli.source import add_source, open_source
from fbfl.errors import InvalidInputError
from fbfl.system.printable import counted

KINDS = (".keras", ".safetensors")


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "export",
        help="the global model as a file",
        description="Write the global model after a round: for Keras, or as safetensors, float32, named as in Keras.",
    )
    command.add_argument("file", type=Path, metavar="FILE", help=f"new file, which ends in {' or '.join(KINDS)}")
    command.add_argument("--round", type=int, metavar="R", help="after this round; 0: before the first (default: last)")
    add_source(command)
    add_plugin(command)
    command.set_defaults(command=export)


def export(options: argparse.Namespace) -> int:
    """Write the model."""
    path: Path = options.file
    if path.suffix not in KINDS:
        raise InvalidInputError(f"{path}: allowed: a name that ends in {' or '.join(KINDS)}")
    if path.exists():
        raise InvalidInputError(f"{path}: is there already; allowed: a new file")
    if not path.parent.is_dir():
        raise InvalidInputError(f"{path}: its folder is not there; allowed: a file in a folder that is")
    plugins = plugins_of(options)
    stored = open_source(options)

    from fbfl.runs import models

    model: models.StoredWeights
    if path.suffix == ".keras":
        model = models.after(stored, plugins, options.round)
        models.write_keras(model, path)
    else:
        model = models.weights_after(stored, options.round)
        models.write_safetensors(model, path)
    print(f"{path}: the global model after round {model.round}, {counted(model.spec.size, 'weight')}")
    return 0
