"""An embedded chain answers at once as it does by JSON-RPC."""

from collections.abc import Callable
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak
from eth_typing import HexStr
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import ContractLogicError, Web3RPCError

from fbfl.chain.embedded.chain import EmbeddedChain
from fbfl.chain.embedded.rules import CHAIN_ID
from fbfl.chain.logs import LogScanner


def signed(chain: EmbeddedChain, account: LocalAccount, to: str, **fields: Any) -> bytes:
    nonce = chain.w3.eth.get_transaction_count(account.address, "pending")
    fees: dict[str, Any] = {
        "to": to,
        "gas": 100_000,
        "maxFeePerGas": 10**10,
        "maxPriorityFeePerGas": 10**9,
        "chainId": CHAIN_ID,
    }
    return bytes(account.sign_transaction({"nonce": nonce, **fees, **fields}).raw_transaction)


@pytest.fixture
def by_json(chain: EmbeddedChain) -> Web3:
    w3 = Web3(chain.w3.provider)
    w3.eth.default_account = chain.w3.eth.default_account
    return w3


@pytest.fixture
def block(chain: EmbeddedChain, ledger: Contract) -> int:
    """A block of three transactions: two that were taken, and between them one that the contract refused."""
    accounts = [Account.from_key(chain.keys[address].to_bytes()) for address in chain.accounts]
    enter = ledger.encode_abi("enter", [7])
    with chain.one_block():
        chain.w3.eth.send_raw_transaction(signed(chain, accounts[1], ledger.address, data=enter))
        chain.w3.eth.send_raw_transaction(signed(chain, accounts[2], ledger.address, data=enter, gas=30_000))
        chain.w3.eth.send_raw_transaction(signed(chain, accounts[3], ledger.address, data=enter))
    return chain.w3.eth.block_number


def test_answers_are_those_of_json_rpc(chain: EmbeddedChain, ledger: Contract, by_json: Web3, block: int) -> None:
    hashes: Any = by_json.eth.get_block(block)["transactions"]
    deployment = by_json.eth.get_block(block - 1)["transactions"][0]
    logs: Any = {"fromBlock": 0, "toBlock": block, "address": [ledger.address]}
    senders = ["0x" + address[2:].rjust(64, "0") for address in chain.accounts[1:3]]
    times: Any = (None, "latest", "pending", block - 1)
    data: Any = {"to": ledger.address, "data": ledger.encode_abi("total", [])}
    same: list[Callable[[Web3], Any]] = [
        lambda w3: [w3.eth.get_block(number) for number in ("latest", 0, block - 1, "earliest")],
        lambda w3: w3.eth.get_block(block, full_transactions=True),
        lambda w3: (w3.eth.block_number, w3.eth.chain_id),
        lambda w3: [w3.eth.get_transaction_receipt(each) for each in (*hashes, deployment)],
        lambda w3: [w3.eth.get_transaction(each) for each in (*hashes, deployment)],
        lambda w3: w3.eth.get_logs(logs),
        lambda w3: [w3.eth.get_logs(logs | {"topics": [None, who]}) for who in senders],
        lambda w3: w3.eth.get_logs(logs | {"topics": [None, None, None, None, None]}),
        lambda w3: w3.eth.get_logs(logs | {"topics": [None, senders]}),
        lambda w3: w3.eth.get_logs({"fromBlock": block}),
        lambda w3: [w3.eth.get_transaction_count(chain.accounts[1], at) for at in times],
        lambda w3: [w3.eth.call(data), w3.eth.call(data, block - 1), w3.eth.call(data | {"gas": 50_000})],
    ]
    for ask in same:
        assert ask(chain.w3) == ask(by_json)
    assert [chain.w3.eth.get_transaction_receipt(each)["status"] for each in hashes] == [1, 0, 1]


def test_logs_are_counted_through_their_block(
    chain: EmbeddedChain, ledger: Contract, by_json: Web3, block: int
) -> None:
    for w3 in (chain.w3, by_json):
        events = LogScanner(w3, {ledger.address: ledger.abi}, start=block).scan().events
        assert [event.index for event in events] == [0, 1]
        assert [event.args["sender"] for event in events] == [chain.accounts[1], chain.accounts[3]]


def test_refusals_are_those_of_json_rpc(chain: EmbeddedChain, ledger: Contract, by_json: Web3) -> None:
    poor = Account.create()
    refused: list[Callable[[Web3], Any]] = [
        lambda w3: w3.eth.send_raw_transaction(signed(chain, poor, ledger.address)),
        lambda w3: w3.eth.call({"to": ledger.address, "data": HexStr("0x12345678")}),
        lambda w3: w3.eth.get_block(10_000),
        lambda w3: w3.eth.get_transaction_receipt(HexStr("0x" + "11" * 32)),
        lambda w3: w3.eth.call({"to": ledger.address, "data": ledger.encode_abi("enter", [1])}),
    ]
    for ask in refused:
        answers = []
        for w3 in (chain.w3, by_json):
            try:
                answers.append(("answer", str(ask(w3))))
            except (ContractLogicError, Web3RPCError) as error:
                answers.append((type(error).__name__, str(error)))
        assert answers[0] == answers[1]


def test_a_call_is_answered_anew_after_each_block(chain: EmbeddedChain, ledger: Contract) -> None:
    assert ledger.functions.total().call() == ledger.functions.total().call() == 0
    ledger.functions.enter(7).transact({"gas": 100_000})
    assert ledger.functions.total().call() == 7
    before = chain.snapshot()
    ledger.functions.enter(8).transact({"gas": 100_000})
    assert ledger.functions.total().call() == 15
    chain.revert(before)
    assert ledger.functions.total().call() == 7


def test_keccak_is_the_one_in_c() -> None:
    keccak(b"")
    hashes: Any = keccak
    assert type(hashes._backend).__name__ == "AutoBackend"
    assert hashes._backend.keccak256.__self__.__class__.__name__ == "PySha3Backend"
