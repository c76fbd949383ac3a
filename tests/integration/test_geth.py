"""A network of geth nodes: blocks sealed by proof of work, checked without geth, and branches that meet again."""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest
import rlp
from eth_hash.auto import keccak
from web3 import Web3
from web3.contract import Contract

from fbfl.chain.accounts import development_account
from fbfl.chain.artifacts import Artifact
from fbfl.chain.headers import proof_of_work
from fbfl.chain.logs import Event, LogScanner
from fbfl.chain.networks import connect
from fbfl.chain.transactions import Sender
from fbfl.nodes import geth
from fbfl.nodes.chains import ask
from fbfl.nodes.nodeset import NodeStatus
from tests.integration.machine import deployed
from tests.integration.partition import parted
from tests.integration.seals import has_valid_seal, header

pytestmark = pytest.mark.integration
T = TypeVar("T")


@pytest.fixture
def nodes(geth_nodes: list[NodeStatus]) -> list[Web3]:
    return [connect(node.address) for node in geth_nodes]


@pytest.mark.slow
def test_every_block_carries_a_valid_ethash_seal(real_geth_nodes: list[NodeStatus]) -> None:
    nodes = [connect(node.address) for node in real_geth_nodes]
    first, second = nodes
    assert {node.seals for node in real_geth_nodes} == {"ethash"}
    head = wait_for(lambda: first.eth.block_number, lambda number: number >= 5)
    wait_for(lambda: second.eth.block_number, lambda number: number >= head - 2)
    servers = {development_account(node).address for node in range(len(nodes))}
    for number in range(1, head - 2):  # the last ones may still be replaced
        block = first.eth.get_block(number)
        assert keccak(rlp.encode(header(block))) == block["hash"]
        assert has_valid_seal(block)
        assert not has_valid_seal(block, nonce=int.from_bytes(block["nonce"], "big") ^ 1)
        assert block["difficulty"] >= geth.DIFFICULTY
        assert block["miner"] in servers
        assert second.eth.get_block(number)["hash"] == block["hash"]


def test_test_seals_take_work_and_are_told_from_real_ones(geth_nodes: list[NodeStatus], nodes: list[Web3]) -> None:
    assert {node.seals for node in geth_nodes} == {"ethash (test)"}
    wait_for(lambda: nodes[0].eth.block_number, lambda number: number >= 3)
    block = nodes[0].eth.get_block(1)
    assert keccak(rlp.encode(header(block))) == block["hash"]
    assert block["difficulty"] >= geth.DIFFICULTY
    assert int.from_bytes(block["mixHash"], "big") != 0
    assert not has_valid_seal(block)
    assert not proof_of_work(nodes[0])


def test_a_nodes_blocks_pay_its_own_server(geth_nodes: list[NodeStatus], nodes: list[Web3]) -> None:
    for number, node in enumerate(geth_nodes):
        assert Web3.to_checksum_address(ask(node.address, "eth_coinbase")) == development_account(number).address
        assert node.peers == len(geth_nodes) - 1
    ask(geth_nodes[0].address, "miner_stop")
    try:
        start = nodes[0].eth.block_number + 2
        wait_for(lambda: nodes[0].eth.block_number, lambda block: block >= start + 1)
        block = nodes[0].eth.get_block(start)
        assert block["miner"] == development_account(1).address
        before, after = (nodes[0].eth.get_balance(block["miner"], number) for number in (start - 1, start))
        assert after - before >= 2 * 10**18
    finally:
        ask(geth_nodes[0].address, "miner_start", 1)


def test_what_is_sent_to_one_node_is_read_from_another(nodes: list[Web3], ledger_artifact: Artifact) -> None:
    first, second = nodes
    here = deployed(Sender(first, development_account(20)), ledger_artifact)
    wait_for(lambda: second.eth.get_code(here.address), lambda code: code != b"")
    there: Contract = second.eth.contract(address=here.address, abi=ledger_artifact.abi)
    Sender(second, development_account(21)).transact(there.functions.enter(7))
    wait_for(lambda: here.functions.total().call(), lambda total: total == 7)


def test_a_reorganisation_is_noticed_and_loses_nothing(
    geth_nodes: list[NodeStatus], nodes: list[Web3], ledger_artifact: Artifact
) -> None:
    first, second = nodes
    url = geth_nodes[0].address
    sender = Sender(first, development_account(22))
    ledger = deployed(sender, ledger_artifact)
    wait_for(lambda: second.eth.get_code(ledger.address), lambda code: code != b"")
    follower = Follower(LogScanner(first, {ledger.address: ledger.abi}, start=first.eth.block_number))
    sender.transact(ledger.functions.enter(6))
    follower.read()
    wait_for(lambda: second.eth.get_transaction_count(sender.address), lambda count: count == 2)

    try:
        with parted(geth_nodes):
            lost = sender.transact(ledger.functions.enter(7))
            follower.read()
            assert follower.values == [6, 7]
            ask(url, "miner_stop")
            alone = first.eth.block_number
            # Until the other branch is the heavier one beyond doubt, and no longer has the transaction's block.
            wait_for(lambda: second.eth.get_block("latest")["number"], lambda number: number >= alone + 4, timeout=240)
            assert second.eth.get_block(lost["blockNumber"])["hash"] != lost["blockHash"]
            assert follower.rewinds == []
        # It does not mine until it has taken the other branch, or its own might be the heavier one by then.
        wait_for(
            lambda: first.eth.get_block(lost["blockNumber"])["hash"],
            lambda found: found != lost["blockHash"],
            timeout=120,
        )
    finally:
        ask(url, "miner_start", 1)
    follower.read()
    assert follower.rewinds
    assert max(follower.rewinds) < lost["blockNumber"]

    # geth puts the transactions of the lost branch back into its pool, and they are mined again.
    wait_for(lambda: second.eth.get_transaction_count(sender.address), lambda count: count == 3, timeout=120)
    sender.transact(ledger.functions.enter(8))
    follower.read()
    assert follower.values == [6, 7, 8]
    assert ledger.functions.entries().call() == 3
    for event in follower.events:
        assert event.block_hash == bytes(first.eth.get_block(event.block)["hash"])


class Follower:
    """Read a scanner as it says that it is to be read."""

    def __init__(self, scanner: LogScanner) -> None:
        self.scanner = scanner
        self.events: list[Event] = []
        self.rewinds: list[int] = []

    def read(self) -> None:
        found = self.scanner.scan()
        if found.rewound_to is not None:
            self.rewinds.append(found.rewound_to)
            self.events = [event for event in self.events if event.block <= found.rewound_to]
        self.events += found.events

    @property
    def values(self) -> list[int]:
        return [event.args["value"] for event in self.events if event.name == "Entered"]


def wait_for(ask: Callable[[], T], is_there: Callable[[T], bool], timeout: float = 90.0) -> T:
    deadline = time.monotonic() + timeout
    while not is_there(found := ask()):
        assert time.monotonic() < deadline, f"still {found!r} after {timeout:g} s"
        time.sleep(0.2)
    return found
