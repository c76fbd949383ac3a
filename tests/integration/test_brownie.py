"""The deployment steps under Brownie, in an environment of its own, against what `fbfl deploy` does."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from web3 import Web3

from fbfl.chain.accounts import development_account
from fbfl.chain.deployment.deploy import deploy
from fbfl.chain.networks import connect
from fbfl.chain.transactions import Sender
from fbfl.errors import NodeUnavailableError
from fbfl.nodes.chains import ask
from fbfl.nodes.processes import Program, find_program, start, stop
from tests.integration.machine import require
from tests.support.paths import REPOSITORY
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what Brownie needs of the checkout, compiled."""
    require("brownie")
    require("anvil")
    folder = tmp_path_factory.mktemp("brownie") / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", "artifacts")
    for name in ("contracts", "migrations", "fbfl"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    shutil.copy(REPOSITORY / "brownie-config.yaml", folder)
    (folder / "node_modules").symlink_to(REPOSITORY / "node_modules")
    (folder / "tests").mkdir()
    compiled = run(folder, "compile")
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr
    return folder


@pytest.fixture(scope="module")
def port(project: Path) -> int:
    """Port of the network `development`: not one where an Anvil of somebody else may be."""
    free = free_ports()
    modified = run(project, "networks", "modify", "development", f"port={free}")
    assert modified.returncode == 0, modified.stdout + modified.stderr
    return free


@pytest.fixture
def anvil(tmp_path: Path, port: int) -> Iterator[str]:
    """An Anvil that outlives Brownie, which pays nothing for gas on `development`."""
    url = f"http://127.0.0.1:{port}"
    command = [find_program("anvil"), "--port", str(port), "--block-base-fee-per-gas", "0"]
    start(tmp_path, [Program("anvil", command, (port,))], lambda _: answers(url), timeout=30)
    yield url
    stop(tmp_path, ["anvil"])


def test_brownie_deploys_and_links_what_fbfl_does(project: Path, anvil: str) -> None:
    w3 = connect(anvil)
    untouched = ask(anvil, "evm_snapshot")
    ran = run(project, "run", "4_consensus")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    by_brownie = deployed(ran)
    logs, codes = events(w3), [code(w3, address) for address in by_brownie.values()]

    assert ask(anvil, "evm_revert", untouched)
    assert w3.eth.block_number == 0
    assert deploy(w3, Sender(w3, development_account(0))) == by_brownie
    assert len(by_brownie) == 5
    assert events(w3) == logs
    assert len(logs) >= 4
    assert [code(w3, address) for address in by_brownie.values()] == codes
    assert all(codes)


def test_a_step_brings_those_before_it_to_a_chain_that_brownie_starts(project: Path, port: int) -> None:
    ran = run(project, "run", "2_ledger")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert list(deployed(ran)) == ["MECRegistry", "FederatedTasks"]
    assert not answers(f"http://127.0.0.1:{port}")


def test_a_step_that_the_contracts_refuse_fails(project: Path, port: int) -> None:
    (project / "migrations" / "9_again.py").write_text(
        "from migrations.with_brownie import run_up_to\n"
        "def run(deployment):\n"
        "    deployment.call('MECRegistry', 'burn', deployment.addresses['RewardPool'])\n"
        "def main():\n"
        "    run_up_to(__file__)\n"
    )
    ran = run(project, "run", "9_again")
    assert ran.returncode == 1
    assert "RegistryNothingToBurn" in ran.stdout
    assert not answers(f"http://127.0.0.1:{port}")


def run(project: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [find_program("brownie"), *words],
        cwd=project,
        env={**os.environ, "HOME": str(project.parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def deployed(ran: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    """Return what the script says at its end."""
    return {name: address for address, name in re.findall(r"^(0x[0-9a-fA-F]{40})  (\w+)$", ran.stdout, re.MULTILINE)}


def events(w3: Web3) -> list[tuple[str, list[bytes], bytes]]:
    """Everything that contracts have said of themselves, in order."""
    logs = w3.eth.get_logs({"fromBlock": 0})
    return [(log["address"], [bytes(topic) for topic in log["topics"]], bytes(log["data"])) for log in logs]


def code(w3: Web3, address: str) -> bytes:
    """Return a contract's code without the metadata, whose size is in the last two bytes."""
    whole = bytes(w3.eth.get_code(Web3.to_checksum_address(address)))
    return whole[: -int.from_bytes(whole[-2:], "big") - 2]


def answers(url: str) -> bool:
    try:
        ask(url, "eth_blockNumber", timeout=2)
    except NodeUnavailableError:
        return False
    return True
