import threading

import pytest
from eth.exceptions import HeaderNotFound
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import TransactionNotFound, Web3RPCError
from web3.types import Nonce

from fbfl.chain.artifacts import Artifact
from fbfl.chain.embedded.chain import BALANCE, EmbeddedChain, account_keys, start_chain
from fbfl.chain.embedded.rules import CHAIN_ID, GAS_LIMIT, GENESIS_TIME
from fbfl.errors import InvalidInputError
from tests.support.federations import set_miner
from tests.unit.chain.ledger_contract import deploy_ledger


def test_accounts_are_funded_distinct_and_always_the_same() -> None:
    chain = start_chain(120)
    assert len(set(chain.accounts)) == 120
    assert chain.accounts[:11] == start_chain().accounts
    assert chain.w3.eth.accounts == chain.accounts
    assert chain.w3.eth.get_balance(chain.accounts[119]) == BALANCE
    assert chain.keys[chain.accounts[7]] == account_keys(8)[7]
    with pytest.raises(InvalidInputError, match="accounts is 0"):
        start_chain(0)


def test_the_same_calls_give_the_same_chain_to_the_last_hash(ledger_artifact: Artifact) -> None:
    heads = []
    for _ in range(2):
        chain = start_chain(3)
        ledger = deploy_ledger(chain, ledger_artifact)
        ledger.functions.enter(7).transact({"gas": 100_000})
        chain.travel(50)
        heads.append(chain.snapshot())
    assert heads[0] == heads[1]


def test_every_transaction_is_a_block_one_second_later(chain: EmbeddedChain, ledger: Contract) -> None:
    before = chain.w3.eth.get_block("latest")
    transaction = ledger.functions.enter(7).transact({"gas": 100_000})
    after = chain.w3.eth.get_block("latest")
    assert after["transactions"] == [transaction]
    assert (after["number"], after["timestamp"]) == (before["number"] + 1, before["timestamp"] + 1)
    assert after["gasLimit"] == GAS_LIMIT
    assert chain.w3.eth.chain_id == CHAIN_ID
    assert chain.w3.eth.get_block(0)["timestamp"] == GENESIS_TIME


def test_contracts_see_what_the_header_says(chain: EmbeddedChain, ledger: Contract) -> None:
    for miner in chain.accounts[3:5]:
        set_miner(chain, miner)
        paid = chain.w3.eth.get_balance(miner)
        ledger.functions.observe().transact({"gas": 200_000})
        header = chain.w3.eth.get_block("latest")
        assert ledger.functions.coinbase().call() == header["miner"] == miner
        assert ledger.functions.time().call() == header["timestamp"]
        assert ledger.functions.difficulty().call() == header["difficulty"] >= 131_072
        assert chain.w3.eth.get_balance(miner) > paid


def test_time_passes_when_told_to(chain: EmbeddedChain, ledger: Contract) -> None:
    before = chain.w3.eth.get_block("latest")["timestamp"]
    chain.travel(3600)
    assert chain.w3.eth.get_block("latest")["timestamp"] == before + 3600
    ledger.functions.observe().transact({"gas": 200_000})
    assert ledger.functions.time().call() == before + 3601
    number = chain.w3.eth.block_number
    chain.mine(3)
    assert chain.w3.eth.block_number == number + 3


def test_several_transactions_share_a_block(chain: EmbeddedChain, ledger: Contract) -> None:
    number = chain.w3.eth.block_number
    first = chain.accounts[0]
    nonce = chain.w3.eth.get_transaction_count(first)
    with chain.one_block():
        hashes = [ledger.functions.enter(7).transact({"gas": 100_000, "from": who}) for who in chain.accounts]
        hashes.append(ledger.functions.enter(8).transact({"gas": 100_000, "from": first}))
        assert chain.w3.eth.get_transaction_count(first, "pending") == nonce + 2
        assert chain.w3.eth.get_transaction_count(first) == nonce
        with pytest.raises(TransactionNotFound):
            chain.w3.eth.get_transaction_receipt(hashes[0])
        assert chain.w3.eth.block_number == number
    assert chain.w3.eth.block_number == number + 1
    assert [chain.w3.eth.get_transaction_receipt(hash_)["status"] for hash_ in hashes] == [1] * 7
    assert chain.w3.eth.get_transaction(hashes[6])["transactionIndex"] == 6
    assert ledger.functions.entries().call() == 7


def test_what_does_not_fit_goes_into_the_next_block(chain: EmbeddedChain, ledger: Contract) -> None:
    number = chain.w3.eth.block_number
    with chain.one_block():
        hashes = [ledger.functions.enter(7).transact({"gas": 29_990_000, "from": who}) for who in chain.accounts[:3]]
    blocks = [chain.w3.eth.get_transaction_receipt(hash_)["blockNumber"] for hash_ in hashes]
    assert blocks == [number + 1, number + 2, number + 3]


@pytest.mark.parametrize(
    "transaction", [{"gas": GAS_LIMIT + 1}, {"gas": 100_000, "nonce": 999}, {"gas": 100_000, "value": 2 * BALANCE}]
)
def test_a_transaction_that_cannot_be_mined_is_refused_at_once(
    chain: EmbeddedChain, ledger: Contract, transaction: dict[str, int]
) -> None:
    number = chain.w3.eth.block_number
    with pytest.raises(Web3RPCError):
        chain.w3.eth.send_transaction({"to": ledger.address, **transaction})  # type: ignore[typeddict-item]
    assert chain.w3.eth.block_number == number
    with chain.one_block():
        ledger.functions.enter(7).transact({"gas": 100_000})
        with pytest.raises(Web3RPCError, match="does not follow"):
            ledger.functions.enter(7).transact({"gas": 100_000, "nonce": Nonce(999)})
    assert chain.w3.eth.block_number == number + 1


def test_after_a_revert_the_forgotten_blocks_are_gone(chain: EmbeddedChain, ledger: Contract) -> None:
    ledger.functions.enter(6).transact({"gas": 100_000})
    before = chain.snapshot()
    forgotten = ledger.functions.enter(7).transact({"gas": 100_000})
    chain.revert(before)
    assert chain.snapshot() == before
    assert ledger.functions.total().call() == 6
    for read in (chain.w3.eth.get_transaction, chain.w3.eth.get_transaction_receipt):
        with pytest.raises(TransactionNotFound):
            read(forgotten)
    ledger.functions.enter(8).transact({"gas": 100_000})
    with pytest.raises(TransactionNotFound):
        chain.w3.eth.get_transaction_receipt(forgotten)
    assert [log["args"]["value"] for log in ledger.events.Entered().get_logs(from_block=0)] == [6, 8]


def test_a_revert_to_the_first_block_works() -> None:
    chain = start_chain(1)
    genesis = chain.snapshot()
    chain.mine(2)
    chain.revert(genesis)
    assert chain.w3.eth.block_number == 0
    chain.mine()
    assert chain.w3.eth.block_number == 1
    with pytest.raises(HeaderNotFound):
        chain.chain.get_canonical_block_header_by_number(9)  # type: ignore[arg-type]


def test_a_copy_goes_on_alone(chain: EmbeddedChain, ledger: Contract) -> None:
    """From the same block, with the same state; neither chain sees what happens on the other."""
    set_miner(chain, chain.accounts[4])
    ledger.functions.enter(6).transact({"gas": 100_000})
    head = chain.head()
    with chain.one_block():
        ledger.functions.enter(7).transact({"gas": 100_000})
        copy = chain.copy()
    assert copy.head() == head
    copy.mine()
    there = copy.w3.eth.contract(ledger.address, abi=ledger.abi)
    assert (ledger.functions.total().call(), there.functions.total().call()) == (13, 6)
    there.functions.enter(8).transact({"gas": 100_000})
    assert (ledger.functions.total().call(), there.functions.total().call()) == (13, 14)
    assert copy.w3.eth.get_block("latest")["miner"] == chain.accounts[4]


def test_signed_transactions_are_taken_too(chain: EmbeddedChain) -> None:
    sender, receiver = chain.accounts[1], Web3.to_checksum_address("0x" + "ab" * 20)
    signed = chain.w3.eth.account.sign_transaction(
        {
            "chainId": CHAIN_ID,
            "nonce": chain.w3.eth.get_transaction_count(sender),
            "to": receiver,
            "value": 5,
            "gas": 21_000,
            "maxFeePerGas": 10**10,
            "maxPriorityFeePerGas": 1,
        },
        chain.keys[sender].to_bytes(),
    )
    chain.w3.eth.send_raw_transaction(signed.raw_transaction)
    assert chain.w3.eth.get_balance(receiver) == 5


def test_servers_in_threads_do_not_disturb_each_other(chain: EmbeddedChain, ledger: Contract) -> None:
    def enter(account: int) -> None:
        for _ in range(4):
            ledger.functions.enter(7).transact({"gas": 100_000, "from": chain.accounts[account]})

    threads = [threading.Thread(target=enter, args=(account,)) for account in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ledger.functions.entries().call() == 24


def test_a_call_runs_on_mined_state_while_its_sender_waits(chain: EmbeddedChain, ledger: Contract) -> None:
    sender = chain.accounts[1]
    with chain.one_block():
        ledger.functions.enter(7).transact({"from": sender, "gas": 100_000})
        assert ledger.functions.coinbase().call({"from": sender}) is not None
