"""`fbfl chain` and `fbfl ipfs` `up`, `down` and `status`: nodes on this machine."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fbfl.errors import InvalidInputError
from fbfl.nodes import chains as ethereum
from fbfl.nodes import kubo
from fbfl.nodes.chains import NodeStatus
from fbfl.nodes.kubo import KuboStatus
from fbfl.nodes.processes import STATE

NOT_RUNNING = 3


def nodes(options: argparse.Namespace) -> int:
    """Start, stop or list nodes of one kind; 3 if `status` finds one that does not run and answer."""
    actions: dict[str, Callable[[argparse.Namespace, Path], int]] = {"up": _up, "down": _down, "status": _status}
    return actions[options.action](options, options.state or STATE)


def _up(options: argparse.Namespace, state: Path) -> int:
    if options.timeout is not None and not options.timeout > 0:
        raise InvalidInputError(f"--timeout {options.timeout:g}; allowed: more than 0 seconds")
    wishes = {} if options.timeout is None else {"timeout": options.timeout}
    if options.kind == "ipfs":
        return _report(kubo.up(nodes=options.nodes, port=options.port, state=state, **wishes))
    with _progress() as progress:
        found = ethereum.up(
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
    stopped = kubo.down(state=state) if options.kind == "ipfs" else ethereum.down(options.network, state=state)
    print(f"{_kind(options)}: {'stopped ' + ', '.join(stopped) if stopped else 'nothing was running'}")
    if options.forget:
        if options.kind == "ipfs":
            kubo.forget(state=state)
        else:
            ethereum.forget(options.network, state=state)
        print(f"{_kind(options)}: forgotten")
    return 0


def _status(options: argparse.Namespace, state: Path) -> int:
    found = kubo.status(state=state) if options.kind == "ipfs" else ethereum.status(options.network, state=state)
    if not found:
        print(f"{_kind(options)}: never started in {state}")
        return NOT_RUNNING
    return _report(found)


def _kind(options: argparse.Namespace) -> str:
    return "kubo" if options.kind == "ipfs" else str(options.network)


def _report(found: list[NodeStatus] | list[KuboStatus]) -> int:
    for node in found:
        health = "running" if node.healthy else "not running" if node.pid is None else "running, but does not answer"
        parts = [node.name, _where(node), health]
        parts += [f"process {node.pid}"] if node.pid is not None else []
        if isinstance(node, NodeStatus):
            parts += [node.seals] if node.seals is not None else []
            parts += [f"block {node.block}"] if node.block is not None else []
        parts += [f"{node.peers} peers"] if node.peers is not None else []
        print("  ".join([*parts, f"log {_short(node.log)}"]))
    return 0 if all(node.healthy for node in found) else NOT_RUNNING


def _where(node: NodeStatus | KuboStatus) -> str:
    return node.url if isinstance(node, NodeStatus) else node.address


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
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        jobs: dict[str, TaskID] = {}

        def draw(what: str, share: float) -> None:
            if what not in jobs:
                jobs[what] = bar.add_task(what, total=1.0)
            bar.update(jobs[what], completed=share)

        yield draw
