"""Starting and stopping each kind of node, as the command line does it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fbfl.chain.accounts import FUNDED, development_account
from fbfl.chain.networks import connect
from fbfl.chain.transactions import Sender
from fbfl.errors import NodeUnavailableError
from fbfl.nodes import launcher
from fbfl.nodes.chains import CHAIN_IDS, ask
from fbfl.nodes.processes import recorded, running, stop
from tests.integration.machine import require
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration

COMMANDS = {
    "anvil": ["chain", "{action}", "--network", "anvil"],
    "ganache": ["chain", "{action}", "--network", "ganache"],
    "geth": ["chain", "{action}", "--network", "geth"],  # with test seals
    "kubo": ["ipfs", "{action}"],
}


class Nodes:
    """The nodes of one kind, in a folder of the test's own."""

    def __init__(self, kind: str, state: Path) -> None:
        self.kind = kind
        self.state = state
        self.port = free_ports()

    @property
    def folder(self) -> Path:
        return self.state / self.kind

    def command(self, action: str, *options: str) -> list[str]:
        words = [word.format(action=action) for word in COMMANDS[self.kind]]
        words += ["--ethash-test"] if (self.kind, action) == ("geth", "up") else []
        return [sys.executable, "-m", "fbfl", *words, "--state", str(self.state), *options]

    def run(self, action: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(action, *options), capture_output=True, text=True, timeout=240, check=False)

    def up(self, *options: str) -> None:
        done = self.run("up", "--port", str(self.port), *options)
        assert done.returncode == 0, done.stderr

    def pids(self) -> list[int]:
        found = [running(self.folder, name) for name in recorded(self.folder)]
        return [pid for pid in found if pid is not None]


@pytest.fixture(params=COMMANDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    require(name, "ipfs" if name == "kubo" else None)
    return name


@pytest.fixture
def nodes(kind: str, tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(kind, tmp_path)
    yield made
    stop(made.folder, recorded(made.folder))


def test_nodes_come_up_say_how_they_are_and_go_down(nodes: Nodes) -> None:
    assert nodes.run("status").returncode == 3
    nodes.up()
    shown = nodes.run("status")
    assert shown.returncode == 0, shown.stderr
    header, *lines = shown.stdout.splitlines()
    assert header.split()[:4] == ["node", "address", "state", "process"]
    assert len(lines) == (1 if nodes.kind in ("anvil", "ganache") else 2)
    for number, line in enumerate(lines):
        assert re.match(rf"node-{number}  \S*127\.0\.0\.1\S*{nodes.port + number}\S*  +running  +\d+  ", line)
    pids = nodes.pids()
    assert len(pids) == len(lines)
    assert listening_addresses(pids) == {"127.0.0.1"}

    down = nodes.run("down")
    assert down.returncode == 0
    assert down.stdout.strip() == f"{nodes.kind}: stopped " + ", ".join(f"node-{n}" for n in range(len(lines)))
    assert [pid for pid in pids if launcher.start_of(pid)] == []
    again = nodes.run("down")
    assert (again.returncode, again.stdout.strip()) == (0, f"{nodes.kind}: nothing was running")
    after = nodes.run("status")
    assert after.returncode == 3
    assert after.stdout.count("not running") == len(lines)


def test_a_port_in_use_is_refused_in_one_line(nodes: Nodes) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", nodes.port))
        other.listen()
        refused = nodes.run("up", "--port", str(nodes.port))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert f"port {nodes.port}" in refused.stderr
    assert nodes.pids() == []


def test_nodes_outlive_a_caller_that_is_killed_and_a_later_command_stops_them(nodes: Nodes) -> None:
    caller = subprocess.Popen(
        nodes.command("up", "--port", str(nodes.port)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not (nodes.folder.exists() and nodes.pids()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    pids = nodes.pids()
    assert pids
    assert nodes.run("down").returncode == 0
    assert [pid for pid in pids if launcher.start_of(pid)] == []
    nodes.up()


def test_up_again_starts_only_the_node_that_was_killed(nodes: Nodes) -> None:
    nodes.up()
    before = nodes.pids()
    os.kill(before[-1], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while launcher.start_of(before[-1]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert nodes.run("status").returncode == 3
    nodes.up()
    after = nodes.pids()
    assert after[:-1] == before[:-1]
    assert after[-1] != before[-1]
    other = nodes.run("up", "--port", str(nodes.port + 1))
    assert other.returncode == 2
    assert "is running already" in other.stderr


@pytest.mark.parametrize("kind", ["anvil", "ganache", "geth"])
def test_a_chain_is_kept_until_it_is_forgotten(nodes: Nodes) -> None:
    require(nodes.kind)
    nodes.up("--nodes", "1")  # two would now and then replace each other's blocks
    url = f"http://127.0.0.1:{nodes.port}"
    w3 = connect(url)
    assert w3.eth.chain_id == CHAIN_IDS[nodes.kind]
    assert w3.eth.get_balance(development_account(FUNDED - 1).address) == 10**24
    account = development_account(3)
    transaction: dict[str, Any] = {
        "to": account.address,
        "value": 1,
        "gas": 21_000,
        "gasPrice": 3 * 10**9,
        "nonce": 0,
        "chainId": w3.eth.chain_id,
    }
    sent = w3.eth.send_raw_transaction(account.sign_transaction(transaction).raw_transaction)
    receipt = w3.eth.wait_for_transaction_receipt(sent, timeout=120)
    assert receipt["status"] == 1
    block = w3.eth.get_block(receipt["blockNumber"])["hash"]
    assert nodes.run("down").returncode == 0
    with pytest.raises(NodeUnavailableError):
        ask(url, "eth_blockNumber")

    nodes.up()
    assert w3.eth.get_transaction_receipt(sent)["blockHash"] == block
    assert w3.eth.get_transaction_count(account.address) == 1

    assert nodes.run("down", "--forget").returncode == 0
    nodes.up()
    assert w3.eth.get_transaction_count(account.address) == 0
    assert Sender(w3, account).address == account.address


def test_wrong_wishes_are_refused_in_one_line(tmp_path: Path) -> None:
    def refused(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "fbfl", *words, "--state", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        return done.stderr

    assert "allowed: anvil, ganache, geth" in refused("chain", "up", "--network", "mainnet")
    assert "--nodes 2" in refused("chain", "up", "--network", "anvil", "--nodes", "2")
    assert "--nodes 0" in refused("ipfs", "up", "--nodes", "0")
    assert "allowed: 1024 to 65535" in refused("chain", "up", "--network", "anvil", "--port", "70000")
    assert "--ethash-test" in refused("chain", "up", "--network", "anvil", "--ethash-test")
    assert "--timeout -1" in refused("chain", "up", "--network", "anvil", "--timeout", "-1")


def listening_addresses(pids: list[int]) -> set[str]:
    """Every address that these processes listen on or receive datagrams at, from the kernel's own tables."""
    sockets = set()
    for pid in pids:
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            inode = re.fullmatch(r"socket:\[(\d+)\]", str(handle.readlink()))
            if inode:
                sockets.add(inode[1])
    addresses = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            open_to_all = fields[3] == "0A" if table.startswith("tcp") else True
            if open_to_all and fields[9] in sockets:
                hexadecimal = fields[1].partition(":")[0]
                if len(hexadecimal) == 8:
                    addresses.add(socket.inet_ntop(socket.AF_INET, bytes.fromhex(hexadecimal)[::-1]))
                else:
                    addresses.add(f"IPv6 {hexadecimal}")
    return addresses
