"""The project's own sender, scanner and revert decoder on every kind of Ethereum node."""

import threading
from collections.abc import Callable

import pytest
from web3 import Web3
from web3.contract import Contract

from fbfl.chain.accounts import development_account
from fbfl.chain.artifacts import Artifact
from fbfl.chain.logs import LogScanner
from fbfl.chain.networks import connect
from fbfl.chain.reverts import decoded_reverts
from fbfl.chain.transactions import Sender
from fbfl.errors import ChainError, ContractRevertError
from fbfl.nodes import chains
from fbfl.nodes.nodeset import NodeStatus
from tests.integration.machine import deployed

pytestmark = pytest.mark.integration


@pytest.fixture
def ledger(sender: Sender, ledger_artifact: Artifact) -> Contract:
    return deployed(sender, ledger_artifact)


def test_a_contract_is_deployed_and_called(sender: Sender, ledger: Contract) -> None:
    receipt = sender.transact(ledger.functions.enter(7))
    assert receipt["status"] == 1
    assert ledger.functions.total().call() == 7
    sender.transact(ledger.functions.receiveStake(), value=99)
    assert sender.w3.eth.get_balance(ledger.address) == 99


def test_events_come_once_and_in_order(w3: Web3, sender: Sender, ledger: Contract) -> None:
    scanner = LogScanner(w3, {ledger.address: ledger.abi}, start=w3.eth.block_number)
    scanner.scan()
    on_the_way = [sender.send(ledger.functions.enter(value)) for value in (7, 8, 9)]
    for sent in on_the_way:
        sender.wait(sent)
    events = scanner.scan().events
    assert [(event.name, event.args["value"], event.args["number"]) for event in events] == [
        ("Entered", 7, 1),
        ("Entered", 8, 2),
        ("Entered", 9, 3),
    ]
    assert all(event.block_hash == bytes(w3.eth.get_block(event.block)["hash"]) for event in events)
    assert scanner.scan().events == []


def test_why_a_call_was_refused_is_decoded(ledger: Contract) -> None:
    with pytest.raises(ContractRevertError) as caught, decoded_reverts(ledger.abi):
        ledger.functions.enter(3).call()
    assert (caught.value.error, caught.value.values) == ("TooSmall", {"value": 3, "minimum": 5})


def test_why_a_mined_transaction_failed_is_decoded(sender: Sender, ledger: Contract) -> None:
    with pytest.raises(ContractRevertError) as caught:
        sender.transact(ledger.functions.enter(3))
    assert (caught.value.error, caught.value.values) == ("TooSmall", {"value": 3, "minimum": 5})
    assert ledger.functions.entries().call() == 0


def test_errors_of_libraries_and_of_solidity_are_decoded(w3: Web3, ledger: Contract) -> None:
    stranger = Sender(w3, development_account(1))
    with pytest.raises(ContractRevertError) as caught:
        stranger.transact(ledger.functions.close())
    assert caught.value.error == "OwnableUnauthorizedAccount"
    assert caught.value.values == {"account": stranger.address}


def test_running_out_of_gas_is_said_to_be_so(sender: Sender, ledger: Contract) -> None:
    with pytest.raises(ContractRevertError) as caught:
        sender.transact(ledger.functions.enter(7), gas=30_000)
    assert caught.value.error == "OutOfGas"


def test_a_transaction_that_nobody_can_pay_is_refused_by_the_node(sender: Sender, ledger: Contract) -> None:
    with pytest.raises(ChainError, match="refused a transaction"):
        sender.send(ledger.functions.receiveStake(), value=10**30)
    sender.transact(ledger.functions.enter(7))  # its number is free again


def test_a_number_that_somebody_else_used_is_counted_again(w3: Web3, sender: Sender, ledger: Contract) -> None:
    sender.transact(ledger.functions.enter(7))
    Sender(w3, development_account(0)).transact(ledger.functions.enter(8))
    sender.transact(ledger.functions.enter(9))
    assert ledger.functions.total().call() == 24


def test_the_number_of_a_transaction_that_the_node_dropped_is_used_again(
    start_network: Callable[[str], list[NodeStatus]], ledger_artifact: Artifact
) -> None:
    (node,) = start_network("anvil")
    sender = Sender(connect(node.address), development_account(0))
    ledger = deployed(sender, ledger_artifact)
    chains.ask(node.address, "evm_setAutomine", False)
    try:
        first, dropped, *_ = [sender.send(ledger.functions.enter(value)) for value in (5, 6, 7)]
        chains.ask(node.address, "anvil_dropTransaction", dropped.hashes[0].to_0x_hex())
        again = sender.send(ledger.functions.enter(8))
    finally:
        chains.ask(node.address, "evm_setAutomine", True)
    assert again.transaction["nonce"] == dropped.transaction["nonce"]
    for sent in (first, again):
        sender.wait(sent)


def test_several_accounts_send_at_the_same_time(w3: Web3, sender: Sender, ledger: Contract) -> None:
    problems: list[Exception] = []

    def enter(index: int) -> None:
        try:
            one = Sender(w3, development_account(10 + index))
            for sent in [one.send(ledger.functions.enter(value)) for value in (5, 6)]:
                one.wait(sent)
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=enter, args=[index]) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert (ledger.functions.entries().call(), ledger.functions.total().call()) == (8, 44)
