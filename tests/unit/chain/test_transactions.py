import threading
import time

import pytest
from eth_account import Account
from web3.contract import Contract

from fbfl.chain.artifacts import Artifact
from fbfl.chain.embedded.chain import EmbeddedChain
from fbfl.chain.embedded.rules import CHAIN_ID
from fbfl.chain.transactions import Sender
from fbfl.errors import ChainError, ContractRevertError, NodeUnavailableError


@pytest.fixture
def sender(chain: EmbeddedChain) -> Sender:
    return Sender(chain.w3, chain.accounts[1])


def test_a_call_is_mined_with_the_gas_that_was_given(sender: Sender, ledger: Contract) -> None:
    receipt = sender.transact(ledger.functions.enter(7), gas=123_456)
    assert receipt["status"] == 1
    assert receipt["from"] == sender.address
    assert sender.w3.eth.get_transaction(receipt["transactionHash"])["gas"] == 123_456
    assert ledger.functions.total().call() == 7


def test_a_key_held_here_signs_for_itself(chain: EmbeddedChain, ledger: Contract) -> None:
    account = Account.from_key(chain.keys[chain.accounts[2]].to_bytes())
    receipt = Sender(chain.w3, account).transact(ledger.functions.enter(7))
    assert receipt["from"] == account.address == chain.accounts[2]
    assert chain.w3.eth.get_transaction(receipt["transactionHash"])["chainId"] == CHAIN_ID


def test_a_contract_is_deployed_and_paid_the_same_way(sender: Sender, ledger_artifact: Artifact) -> None:
    factory = sender.w3.eth.contract(abi=ledger_artifact.abi, bytecode=ledger_artifact.bytecode)
    receipt = sender.transact(factory.constructor(sender.address, 1))
    address = receipt["contractAddress"]
    assert address is not None
    assert sender.w3.eth.get_code(address) != b""
    ledger = sender.w3.eth.contract(address=address, abi=ledger_artifact.abi)
    sender.transact(ledger.functions.receiveStake(), value=99)
    assert sender.w3.eth.get_balance(address) == 99


def test_many_transactions_may_be_on_their_way(chain: EmbeddedChain, sender: Sender, ledger: Contract) -> None:
    number = chain.w3.eth.block_number
    with chain.one_block():
        sent = [sender.send(ledger.functions.enter(7)) for _ in range(5)]
    assert {sender.wait(one)["blockNumber"] for one in sent} == {number + 1}


def test_threads_share_a_sender(sender: Sender, ledger: Contract) -> None:
    threads = [threading.Thread(target=sender.transact, args=(ledger.functions.enter(7),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ledger.functions.entries().call() == 8


@pytest.mark.parametrize(
    ("function", "arguments", "error"),
    [("enter", [4], r"TooSmall\(value=4, minimum=5\)"), ("explain", [], r"Error\(message=because\)")],
)
def test_a_refusal_is_decoded_from_the_mined_transaction(
    sender: Sender, ledger: Contract, function: str, arguments: list[int], error: str
) -> None:
    number = sender.w3.eth.block_number
    with pytest.raises(ContractRevertError, match=error):
        sender.transact(ledger.functions[function](*arguments))
    assert sender.w3.eth.block_number == number + 1
    sender.transact(ledger.functions.enter(5))


def test_an_embedded_chain_knows_why_it_refused_without_executing_again(
    chain: EmbeddedChain, sender: Sender, ledger: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chain.one_block():
        sent = [sender.send(ledger.functions.enter(value)) for value in (1, 9, 2)]
    monkeypatch.setattr(chain.w3.eth, "call", None)
    for each, value in ((sent[0], 1), (sent[2], 2)):
        with pytest.raises(ContractRevertError, match=rf"^TooSmall\(value={value}, minimum=5\)$"):
            sender.wait(each)
    assert sender.wait(sent[1])["status"] == 1


def test_too_little_gas_is_said(sender: Sender, ledger: Contract) -> None:
    with pytest.raises(ContractRevertError, match=r"OutOfGas\(gas=30000\)"):
        sender.transact(ledger.functions.enter(7), gas=30_000)


def test_a_failed_deployment_is_decoded_too(sender: Sender, ledger_artifact: Artifact) -> None:
    factory = sender.w3.eth.contract(abi=ledger_artifact.abi, bytecode=ledger_artifact.bytecode)
    zero = "0x" + "00" * 20
    with pytest.raises(ContractRevertError, match=r"OwnableInvalidOwner\(owner=0x0{40}\)"):
        sender.transact(factory.constructor(zero, 1))


def test_a_nonce_used_elsewhere_is_noticed(chain: EmbeddedChain, sender: Sender, ledger: Contract) -> None:
    sender.transact(ledger.functions.enter(7))
    Sender(chain.w3, sender.address).transact(ledger.functions.enter(7))
    sender.transact(ledger.functions.enter(7))
    before = chain.snapshot()
    sender.transact(ledger.functions.enter(7))
    chain.revert(before)
    sender.transact(ledger.functions.enter(7))
    assert ledger.functions.entries().call() == 4


def test_a_transaction_whose_answer_was_lost_is_not_sent_anew(
    chain: EmbeddedChain, ledger: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_once = chain.w3.eth.send_raw_transaction

    def send_twice(raw: bytes) -> bytes:
        send_once(raw)
        return send_once(raw)

    monkeypatch.setattr(chain.w3.eth, "send_raw_transaction", send_twice)
    sender = Sender(chain.w3, Account.from_key(chain.keys[chain.accounts[2]].to_bytes()))
    before = chain.w3.eth.get_transaction_count(sender.address)
    sender.transact(ledger.functions.enter(7))
    assert ledger.functions.entries().call() == 1
    assert chain.w3.eth.get_transaction_count(sender.address) == before + 1


def test_an_account_without_money_is_refused_in_one_line(chain: EmbeddedChain, ledger: Contract) -> None:
    poor = Account.from_key(b"\x77" * 32)
    with pytest.raises(
        ChainError, match=f"the node refused a transaction of {poor.address}: .*cannot afford"
    ) as caught:
        Sender(chain.w3, poor).transact(ledger.functions.enter(7))
    assert "\n" not in str(caught.value)


def test_a_transaction_that_nobody_mines_is_offered_more_and_then_given_up(
    chain: EmbeddedChain, ledger: Contract
) -> None:
    impatient = Sender(chain.w3, chain.accounts[1], timeout=0.3, attempts=3)
    with chain.one_block():
        sent = impatient.send(ledger.functions.enter(7))
        first_offer = chain.chain.pool[0].max_fee_per_gas
        started = time.monotonic()
        with pytest.raises(NodeUnavailableError, match=r"was not mined within 0.3 s"):
            impatient.wait(sent)
        assert time.monotonic() - started < 2
        assert len(sent.hashes) == 3
        assert [transaction.hash for transaction in chain.chain.pool] == [sent.hashes[-1]]
        assert chain.chain.pool[0].max_fee_per_gas > 1.5 * first_offer
    assert impatient.wait(sent)["transactionHash"] == sent.hashes[-1]
    assert ledger.functions.entries().call() == 1
