"""Components that the machine has, and small disks."""

import os
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

DAG_MAGIC = bytes.fromhex("fecaddbaaddee1fe")
"""First bytes of geth's files of data sets."""


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
    contract: Contract = sender.w3.eth.contract(address=address, abi=artifact.abi)
    return contract


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
