"""What the machine has: nodes that are installed, ports that are free."""

import itertools
import os
import random
import socket
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from web3.contract import Contract

from fbfl.chain.artifacts import Artifact
from fbfl.chain.transactions import Sender
from fbfl.errors import ProcessError
from fbfl.nodes.processes import find_program

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


def require(component: str, program: str | None = None) -> None:
    """Skip the test where this component is not installed; in CI fail it, unless its absence is on the list."""
    try:
        find_program(program or component)
    except ProcessError as error:
        do_without(component, str(error))


def do_without(component: str, problem: str) -> NoReturn:
    """Skip the test, as `require` does."""
    listed = tomllib.loads((Path(__file__).parent / "unavailable.toml").read_text())
    reason = f"{component} is not available: {listed.get(component) or problem}"
    if os.environ.get("CI") == "true" and component not in listed:
        pytest.fail(reason)
    pytest.skip(reason)


def deployed(sender: Sender, artifact: Artifact) -> Contract:
    factory = sender.w3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
    receipt = sender.transact(factory.constructor(sender.address, 5), gas=2_000_000)
    address: Any = receipt["contractAddress"]
    return sender.w3.eth.contract(address=address, abi=artifact.abi)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """Inside, `folder` is a disk of this size, in memory; where that may not be, an ordinary folder."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "fbfl-test", str(folder)], capture_output=True, check=False
    )
    try:
        yield
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
