"""Nodes of one kind on this machine, numbered from 0, in one folder: their number, ports and end."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fbfl.errors import InvalidInputError, ProcessError
from fbfl.nodes.processes import exclusive, log_of, recorded, running, stop
from fbfl.system import strictjson
from fbfl.system.atomic import write_atomically

FILE = "nodes.json"


@dataclass(frozen=True)
class Layout:
    """Number of nodes, and port of the first; the others have the ports after it."""

    nodes: int
    port: int
    ethash_test: bool = False
    """True if geth seals its blocks in ethash's test mode."""

    @property
    def names(self) -> list[str]:
        """Names of the nodes."""
        return [f"node-{node}" for node in range(self.nodes)]


@dataclass(frozen=True)
class NodeStatus:
    """A node: `pid` if its process runs; `version` if it answers too, and what else nodes of its kind tell."""

    name: str
    address: str
    """Where it answers: a URL, of a Kubo daemon a multiaddr."""
    log: Path
    pid: int | None
    version: str | None = None
    block: int | None = None
    peers: int | None = None
    seals: str | None = None
    """Seals of its blocks, where that is work: `ethash`, or `ethash (test)`."""

    @property
    def healthy(self) -> bool:
        """True if it runs and answers."""
        return self.pid is not None and self.version is not None


def statuses(
    folder: Path, address_of: Callable[[int], str], told_by: Callable[[int], Mapping[str, Any]]
) -> list[NodeStatus]:
    """Return the status of each node of the last start; its address, and what it tells, follow from its port."""
    layout, found = layout_of(folder), []
    if layout is None:
        return []
    for port, name in enumerate(layout.names, layout.port):
        pid = running(folder, name)
        told = {} if pid is None else told_by(port)
        found.append(NodeStatus(name, address_of(port), log_of(folder, name), pid, **told))
    return found


def agree(
    folder: Path, nodes: int | None, port: int | None, default: Layout, *, ethash_test: bool | None = None
) -> Layout:
    """Return the layout to start with: the given values, else those of the last time, else the default.

    A layout that differs from that of running nodes, or other seals than those of the kept chain, raise
    `InvalidInputError`.
    """
    known = layout_of(folder)
    usual = known or default
    layout = Layout(
        usual.nodes if nodes is None else nodes,
        usual.port if port is None else port,
        usual.ethash_test if ethash_test is None else ethash_test,
    )
    if known and known.ethash_test != layout.ethash_test:
        kept = "test seals" if known.ethash_test else "seals of real work"
        raise InvalidInputError(f"the chain kept in {folder} has {kept}; allowed: the same, or down --forget first")
    if known not in (None, layout) and any(running(folder, name) for name in recorded(folder)):
        raise InvalidInputError(
            f"{folder.name} is running already, as --nodes {usual.nodes} --port {usual.port}; stop it first"
        )
    return layout


def remember(folder: Path, layout: Layout) -> None:
    """Keep the layout for later commands."""
    write_atomically(folder / FILE, json.dumps(asdict(layout)).encode())


def layout_of(folder: Path) -> Layout | None:
    """Return the layout of the nodes that were started last; None if none ever were."""
    try:
        kept = strictjson.loads((folder / FILE).read_bytes())
        return Layout(int(kept["nodes"]), int(kept["port"]), bool(kept.get("ethash_test", False)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProcessError(f"{folder / FILE} cannot be read ({error})") from error


def stop_all(folder: Path) -> list[str]:
    """Stop the nodes of this folder, in any process; return the names of those that ran."""
    if not folder.exists():
        return []
    with exclusive(folder):
        return stop(folder, recorded(folder))


def remove(folder: Path) -> None:
    """Remove the folder of nodes that do not run, with all that they keep there."""
    if not folder.exists():
        return
    with exclusive(folder):
        if any(running(folder, name) for name in recorded(folder)):
            raise InvalidInputError(f"{folder.name} is running; stop it before what it keeps is removed")
        shutil.rmtree(folder)
