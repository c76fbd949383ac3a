"""A geth network that falls apart, so that each of its nodes mines a branch of its own, and is put together again."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fbfl.nodes import geth
from fbfl.nodes.chains import ask
from fbfl.nodes.nodeset import NodeStatus, layout_of

QUIET = 3.0
"""Seconds without a connection between nodes after which none was in the making any more."""

CONNECTED = {"01", "02", "03"}
"""States of a TCP connection in the kernel's table: established, and half of the way there."""


@contextmanager
def parted(nodes: Sequence[NodeStatus]) -> Iterator[None]:
    """Inside, no node of the network is connected to another."""
    folder = nodes[0].log.parent
    layout = layout_of(folder)
    assert layout is not None
    names = geth.enodes(folder, layout.nodes, layout.port)
    try:
        _part(nodes, names, {layout.port + geth.P2P_OFFSET + node for node in range(layout.nodes)})
        yield
        assert all(_peers(node) == 0 for node in nodes), "the nodes have found each other meanwhile"
    finally:
        for node, other in _pairs(nodes, names):
            ask(node.address, "admin_addPeer", other)


def _part(nodes: Sequence[NodeStatus], names: Sequence[str], ports: set[int], timeout: float = 120.0) -> None:
    """Have every node forget the others, until there is no connection for a while.

    A node that is disconnected before it is told to forget the other one calls that again at once. Neither counts such
    a connection as a peer before it is made, so the kernel is asked.
    """
    quiet_since = started = time.monotonic()
    while time.monotonic() < quiet_since + QUIET:
        assert time.monotonic() < started + timeout, f"still connected after {timeout:g} s"
        for node, other in _pairs(nodes, names):
            ask(node.address, "admin_removePeer", other)
        if _connections(ports):
            quiet_since = time.monotonic()
        time.sleep(0.1)


def _pairs(nodes: Sequence[NodeStatus], names: Sequence[str]) -> list[tuple[NodeStatus, str]]:
    return [(node, name) for here, node in enumerate(nodes) for there, name in enumerate(names) if here != there]


def _peers(node: NodeStatus) -> int:
    return int(ask(node.address, "net_peerCount"), 16)


def _connections(ports: set[int]) -> int:
    """Count the connections to what listens on these ports of this machine."""
    fields = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(local.partition(":")[2], 16) in ports and state in CONNECTED for _, local, _, state, *_ in fields)
