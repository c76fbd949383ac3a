"""Ports that are free, and given to no other test."""

import itertools
import os
import random
import socket
from collections.abc import Iterator

OFFSETS = [offset + node for offset in (0, 100, 200, 300, 400, 500) for node in range(4)]
FIRST_PORTS = [block + place for block in range(20_000, 30_000, 600) for place in range(0, 100, 4)]
"""Such that with these offsets no two have a port in common."""


def _mine() -> Iterator[int]:
    """The first ports of this process alone, round and round: what is given is bound later, perhaps much later."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    mine = FIRST_PORTS[worker :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
    start = random.randrange(len(mine))  # other runs may be under way on this machine
    return itertools.cycle(mine[start:] + mine[:start])


_ports = _mine()


def free_ports() -> int:
    """A port P such that all the ports that a few nodes from P on listen on are free, and given to nobody else."""
    for port in itertools.islice(_ports, len(FIRST_PORTS)):
        if all(is_free(port + offset) for offset in OFFSETS):
            return port
    raise AssertionError("no free ports")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
