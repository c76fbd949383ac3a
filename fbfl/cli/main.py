"""The command line: finds the command, and tells how it failed."""

import errno
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from fbfl import __version__
from fbfl.cli import (
    compare,
    completion,
    dashboard,
    deploy,
    device,
    experiment,
    export,
    flower,
    install,
    listing,
    mec,
    nodes,
    output,
    queries,
    register,
    run,
    schema,
    task,
)
from fbfl.cli.interrupts import never_lost
from fbfl.cli.parser import Parser
from fbfl.errors import ChainError, FbflError, InvalidInputError, StorageError
from fbfl.system.printable import printable, shortened

INTERRUPTED = 130

_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        try:
            return _answered(arguments)
        finally:
            output.flush()
    except OSError as error:
        if isinstance(error, BrokenPipeError) and output.reader_is_gone():
            output.discard()
            return output.READER_GONE
        if error.errno not in _OF_DISKS:
            raise
        output.discard()
        print(f"fbfl: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        return StorageError.exit_status
    except KeyboardInterrupt:
        print("fbfl: interrupted", file=sys.stderr)
        return INTERRUPTED
    except FbflError as error:
        print("fbfl:", "\n".join(shortened(printable(line)) for line in str(error).split("\n")), file=sys.stderr)
        return error.exit_status


def _answered(arguments: Sequence[str] | None) -> int:
    # Training and servers keep every core busy: BLAS threads would only wait for each other. Read when NumPy loads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("FBFL_LEAN_KERAS", "1")  # see fbfl.learning.backend.load_tensorflow
    gc.set_threshold(10_000)  # imports make many objects: looking for garbage is a fifth of their time
    here = _current_folder()
    if here not in sys.path:
        sys.path.append(here)  # where a user's own package.module:function is looked for
    output.prepare()
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as with Ctrl-C
    try:
        with never_lost():
            return int(options.command(options))
    except Exception as error:
        if not type(error).__module__.startswith("web3."):  # its import takes seconds
            raise
        raise ChainError(f"the node refused: {error}") from error


def _current_folder() -> str:
    try:
        return str(Path.cwd())
    except OSError as error:
        raise InvalidInputError(f"the current folder: {error.strerror}; allowed: one that is there") from error


def parser() -> Parser:
    """Return the parser of all commands."""
    root = Parser(prog="fbfl", description="Federated learning in mobile edge computing, coordinated by Ethereum.")
    root.add_argument("--version", action="version", version=f"fbfl {__version__}")
    commands = root.add_subparsers(title="commands", metavar="COMMAND", required=True)
    chain = (deploy, nodes, install, task, register, mec, device)
    for module in (run, flower, *chain, queries, dashboard, compare, export, experiment, listing, schema, completion):
        module.add_parser(commands)
    return root
