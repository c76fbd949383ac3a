"""`fbfl chain` and `fbfl ipfs` `up`, `down` and `status`: nodes on this machine."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fbfl.cli import tables
from fbfl.cli.parser import Commands
from fbfl.values import checks

if TYPE_CHECKING:
    from rich.progress import TaskID

    from fbfl.nodes.nodeset import NodeStatus

NOT_RUNNING = 3


def add_parser(commands: Commands) -> None:
    """Add both commands with their actions."""
    what = {"up": "start them and wait until they are ready", "down": "stop them", "status": "how they are"}
    for kind, nodes_of_kind in (("chain", "Ethereum nodes"), ("ipfs", "IPFS (Kubo) nodes")):
        group = commands.add_parser(
            kind, help=f"start and stop local {nodes_of_kind}", description=f"Local {nodes_of_kind}."
        )
        actions = group.add_subparsers(title="actions", metavar="up|down|status", required=True)
        for name, explanation in what.items():
            action = actions.add_parser(name, help=explanation, description=f"Local {nodes_of_kind}: {explanation}.")
            if kind == "chain":
                action.add_argument("--network", required=True, help="anvil, ganache, or geth (mines with ethash)")
            action.add_argument("--state", type=Path, metavar="DIR", help="folder for their data (default .fbfl)")
            if name == "up":
                action.add_argument("--nodes", type=int, help="how many (default: as last time, or 1; geth and Kubo 2)")
                action.add_argument("--port", type=int, help="port of the first; others follow (default: as last time)")
                action.add_argument(
                    "--timeout", type=float, help="seconds until all must be ready (default 120; Kubo 60)"
                )
            if name == "up" and kind == "chain":
                action.add_argument(
                    "--ethash-test",
                    action=argparse.BooleanOptionalAction,
                    help="geth: seal blocks with a data set of 32 KiB, there at once; nobody else verifies them",
                )
            if name == "down":
                action.add_argument("--forget", action="store_true", help="remove their data, too")
            action.set_defaults(command=nodes, kind=kind, action=name)


def nodes(options: argparse.Namespace) -> int:
    """Start, stop or list nodes of one kind; 3 if `status` finds one that does not run and answer."""
    from fbfl.nodes.processes import STATE

    actions: dict[str, Callable[[argparse.Namespace, Path], int]] = {"up": _up, "down": _down, "status": _status}
    return actions[options.action](options, options.state or STATE)


def _up(options: argparse.Namespace, state: Path) -> int:
    from fbfl.nodes import chains, kubo

    if options.timeout is not None:
        checks.seconds("--timeout", options.timeout)
    wishes = {} if options.timeout is None else {"timeout": options.timeout}
    if options.kind == "ipfs":
        return _report(kubo.up(nodes=options.nodes, port=options.port, state=state, **wishes))
    with _progress() as progress:
        found = chains.up(
            options.network,
            nodes=options.nodes,
            port=options.port,
            state=state,
            progress=progress,
            ethash_test=options.ethash_test,
            **wishes,
        )
    return _report(found)


def _down(options: argparse.Namespace, state: Path) -> int:
    from fbfl.nodes import chains, kubo
    from fbfl.nodes.nodeset import remove

    stopped = kubo.down(state=state) if options.kind == "ipfs" else chains.down(options.network, state=state)
    print(f"{_kind(options)}: {'stopped ' + ', '.join(stopped) if stopped else 'nothing was running'}")
    if options.forget:
        remove(state.resolve() / _kind(options))
        print(f"{_kind(options)}: forgotten")
    return 0


def _status(options: argparse.Namespace, state: Path) -> int:
    from fbfl.nodes import chains, kubo

    found = kubo.status(state=state) if options.kind == "ipfs" else chains.status(options.network, state=state)
    if not found:
        print(f"{_kind(options)}: never started in {state}")
        return NOT_RUNNING
    return _report(found)


def _kind(options: argparse.Namespace) -> str:
    return "kubo" if options.kind == "ipfs" else str(options.network)


def _report(found: "list[NodeStatus]") -> int:
    rows = []
    for node in found:
        health = "running" if node.healthy else "not running" if node.pid is None else "running, but does not answer"
        cells = (node.name, node.address, health, node.pid, node.seals, node.block, node.peers, _short(node.log))
        rows.append(["" if cell is None else str(cell) for cell in cells])
    header = ("node", "address", "state", "process", "consensus", "block", "peers", "log")
    known = [place for place, name in enumerate(header) if any(row[place] for row in rows)]
    tables.show(
        [header[place] for place in known],
        [[row[place] for place in known] for row in rows],
        right=("process", "block", "peers"),
    )
    return 0 if all(node.healthy for node in found) else NOT_RUNNING


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """Show a bar on a terminal, a line for each tenth elsewhere."""
    if not sys.stderr.isatty():
        said: set[tuple[str, int]] = set()

        def say(what: str, share: float) -> None:
            tenth = (what, int(share * 10))
            if tenth not in said:
                said.add(tenth)
                print(f"{what}: {share:.0%}", file=sys.stderr, flush=True)

        yield say
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    percent = TextColumn("{task.percentage:>3.0f} %")
    columns = (TextColumn("{task.description}"), BarColumn(), percent, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        jobs: dict[str, TaskID] = {}

        def draw(what: str, share: float) -> None:
            if what not in jobs:
                jobs[what] = bar.add_task(what, total=1.0)
            bar.update(jobs[what], completed=share)

        yield draw
