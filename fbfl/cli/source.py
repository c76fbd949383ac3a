"""Arguments shared by commands that read a task: of a stored run, or on a running network."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fbfl.cli import hint
from fbfl.cli.network import add_deployment, add_store, ledger_on, store_of, task_on
from fbfl.cli.parser import Parser
from fbfl.errors import InvalidInputError

if TYPE_CHECKING:
    from fbfl.chain.records import TaskRecords
    from fbfl.runs.folder import StoredRun


def add_source(command: Parser) -> None:
    """Add the options that name the task; `open_source` reads them."""
    where = command.add_mutually_exclusive_group()
    where.add_argument("--network", help="a running network: anvil, ganache, geth, or a JSON-RPC URL")
    where.add_argument("--run", type=Path, metavar="DIR", help="the folder of a run (default: the newest in runs/)")
    add_deployment(command)
    command.add_argument("--task", type=int, metavar="T", help="the task on the network (default: the newest)")
    add_store(command)


def open_source(options: argparse.Namespace) -> "StoredRun":
    """Open the task that the options name."""
    from fbfl.runs.folder import StoredRun, open_stored

    if options.network is not None:
        ledger = ledger_on(options.network, options.deployment, options.task)
        return StoredRun(ledger, store_of(options), task_on(ledger, options.task))
    refuse_network_options(options)
    return open_stored(folder_of(options))


def open_records(options: argparse.Namespace, only: int | None = None) -> "TaskRecords":
    """Return what is recorded of the task that the options name: all rounds, or `only` one; say if an index has it."""
    if options.network is not None:
        from fbfl.chain.queries import task_records

        run = open_source(options)
        return task_records(run.ledger, run.task.id, only)
    from fbfl.runs.index import recorded_in

    refuse_network_options(options)
    path = folder_of(options)
    found = recorded_in(path, only)
    if not found.executed:
        print(
            f"not re-executed: from the index in {path}; to check it: {hint.command('audit', '--run', path)}",
            file=sys.stderr,
        )
    return found.records


def refuse_network_options(options: argparse.Namespace) -> None:
    """Refuse the options that say where on a network a task is, if none is named."""
    for name in ("deployment", "task", "store", "payloads"):
        if getattr(options, name) is not None:
            raise InvalidInputError(f"--{name} {getattr(options, name)}; allowed: only with --network")


def folder_of(options: argparse.Namespace) -> Path:
    """Return the folder of the run to read."""
    from fbfl.runs.files import newest_run

    if options.run is None:
        options.run, note = newest_run()
        if note:
            print(note, file=sys.stderr)
    path: Path = options.run
    return path
