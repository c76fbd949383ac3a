"""`fbfl deploy` on a real node: again, and on a chain that was forgotten meanwhile."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from web3 import Web3

from fbfl.chain.deployment.deploy import file_of, open_ledger, read_addresses
from fbfl.chain.networks import connect
from fbfl.cli.main import main
from fbfl.nodes import chains
from tests.integration.machine import require
from tests.support.paths import REPOSITORY
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration


def test_deploying_again_does_what_is_missing_and_nothing_else(tmp_path: Path) -> None:
    require("anvil")
    state = tmp_path / "nodes"
    (node,) = chains.up("anvil", port=free_ports(), state=state)
    try:
        w3 = connect(node.address)
        first = deploy(tmp_path, node.address)
        number = w3.eth.block_number
        assert deploy(tmp_path, node.address) == first
        assert w3.eth.block_number == number
        with_mock = deploy(tmp_path, node.address, "--mock-ethash")
        assert set(with_mock) - set(first) == {"EthashElection"}
        assert with_mock.items() > first.items()
        assert w3.eth.block_number == number + 2  # the contract, and its role

        chains.ask(node.address, "anvil_reset")
        # New contracts then get other addresses, and the old ones stay empty.
        chains.ask(node.address, "anvil_setNonce", w3.eth.accounts[0], hex(1000))
        anew = deploy(tmp_path, node.address)
        assert set(anew) == set(first)
        assert set(anew.values()).isdisjoint(with_mock.values())
        assert all(w3.eth.get_code(Web3.to_checksum_address(address)) for address in anew.values())
        ledger = open_ledger(w3, file_of(w3, tmp_path / "deployments"))
        assert ledger.tasks.functions.registry().call() == anew["MECRegistry"]
    finally:
        chains.down("anvil", state=state)


def test_on_another_machine_the_file_of_the_deployment_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with anvil_of("prague", tmp_path) as url:
        assert main(["deploy", "--network", url, "--account", "0", "--deployment", "here.json"]) == 0
        assert "kept in here.json" in capsys.readouterr().out
        assert main(["rounds", "--network", url]) == 2
        assert "nothing is deployed on chain 31337 according to deployments/31337.json" in capsys.readouterr().err
        assert main(["rounds", "--network", url, "--deployment", "here.json"]) == 2
        assert "there is no task on this network" in capsys.readouterr().err


def test_a_chain_before_london_runs_federations_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ("--dataset", "digits", "--servers", "3", "--devices", "3", "--rounds", "1", "--quiet")
    with anvil_of("istanbul", tmp_path) as url:
        assert main(["run", "--network", url, "--output", "run", *settings]) == 0
        assert main(["audit", "--run", "run"]) == 0
    assert "1 round, 1 final, 3 updates" in capsys.readouterr().out


def test_a_chain_that_cannot_run_the_contracts_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with anvil_of("byzantium", tmp_path) as url:
        assert main(["deploy", "--network", url, "--account", "0"]) == 3
    error = capsys.readouterr().err
    assert error == "fbfl: MECRegistry does not run on chain 31337; needed: the rules of Istanbul or newer\n"


@contextlib.contextmanager
def anvil_of(rules: str, folder: Path) -> Iterator[str]:
    """A node with other rules than those that `fbfl chain up` starts; gives its URL."""
    require("anvil")
    port = free_ports()
    program = chains._anvil(folder / "node", port)
    command = [rules if part == "prague" else str(part) for part in program.command]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while not chains._ready("anvil", 1, port):
                assert time.monotonic() < deadline, "the node does not answer"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def deploy(folder: Path, url: str, *options: str) -> dict[str, str]:
    """Return what the command leaves on record, which is what it says."""
    command = [sys.executable, "-m", "fbfl", "deploy", "--network", url, "--account", "0", *options]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    addresses = read_addresses(folder / "deployments" / "31337.json", 31337)
    assert all(f"{address}  {name}" in done.stdout for name, address in addresses.items())
    return addresses
