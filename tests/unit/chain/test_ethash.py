import collections
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ethash
import pytest
from eth.abc import BlockAPI, BlockHeaderAPI, SignedTransactionAPI
from eth.rlp.headers import BlockHeader
from eth.vm.forks.london import LondonVM
from eth_typing import ChecksumAddress, HexStr
from eth_utils.address import to_canonical_address
from eth_utils.exceptions import ValidationError
from web3.contract import Contract
from web3.types import Wei

from fbfl.chain.accounts import development_account
from fbfl.chain.artifacts import Artifact
from fbfl.chain.embedded import ethash as module
from fbfl.chain.embedded import seals
from fbfl.chain.embedded.candidates import Candidates
from fbfl.chain.embedded.chain import EmbeddedChain
from fbfl.chain.embedded.ethash import EthashNetwork, NodeChain, run_race
from fbfl.chain.embedded.export import ChainWriter, import_chain
from fbfl.chain.logs import LogScanner
from fbfl.chain.transactions import Sender
from fbfl.errors import ChainImportError, InvalidInputError
from tests.support.split_network import SplitNetwork
from tests.unit.chain.ledger_contract import deploy_ledger

DIFFICULTY = 4


@pytest.fixture(scope="session", autouse=True)
def _epoch_cache() -> None:
    """The first ethash hash of a process takes seconds; not to be counted to a test."""
    ethash.hash(0, bytes(32), 0)


def on(node: EmbeddedChain, ledger: Contract) -> Contract:
    return node.w3.eth.contract(address=ledger.address, abi=ledger.abi)


@pytest.fixture
def network() -> SplitNetwork:
    return SplitNetwork(accounts=5, difficulty=DIFFICULTY)


@pytest.fixture
def ledger(network: EthashNetwork, ledger_artifact: Artifact) -> Contract:
    return deploy_ledger(network.nodes[0], ledger_artifact)


def heads(network: EthashNetwork) -> set[bytes]:
    return {node.snapshot() for node in network.nodes}


def test_the_library_knows_mainnets_block_1() -> None:
    header = BlockHeader(
        difficulty=17171480576,
        block_number=1,
        gas_limit=5000,
        timestamp=1438269988,
        coinbase=bytes.fromhex("05a56e2d52c817161883f50c441c3228cfe54d9f"),
        parent_hash=bytes.fromhex("d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"),
        state_root=bytes.fromhex("d67e4d450343046425ae4271474353857ab860dbc0a1dde64b41b5cd3a532bf3"),
        extra_data=bytes.fromhex("476574682f76312e302e302f6c696e75782f676f312e342e32"),
        mix_hash=bytes.fromhex("969b900de27b6ac6a67742365dd65f55a0526c41fd18e1b16f1a1215c2e66f59"),
        nonce=bytes.fromhex("539bd4979fef1ec4"),
    )
    assert header.hash.hex() == "88e96d4537bea4d9c05d12549907b32561d3bf31f45aae734cdc119f13406cb6"
    seals.EthashSeal().validate_seal(header)
    assert seals.attempt(header, int.from_bytes(header.nonce, "big")) == header
    for wrong in ({"nonce": bytes(8)}, {"mix_hash": b"\1" * 32}, {"difficulty": 2**60}, {"gas_limit": 5001}):
        with pytest.raises(ValidationError, match="block 1 has a wrong ethash seal"):
            seals.EthashSeal().validate_seal(header.copy(**wrong))


def test_every_node_executes_every_block_and_sees_the_same(network: EthashNetwork, ledger: Contract) -> None:
    for number, node in enumerate(network.nodes):
        Sender(node.w3, node.accounts[number]).transact(on(node, ledger).functions.enter(7 + number))
    assert len(heads(network)) == 1
    for node in network.nodes:
        assert on(node, ledger).functions.total().call() == 24
        assert [log["args"]["value"] for log in on(node, ledger).events.Entered().get_logs(from_block=0)] == [7, 8, 9]
    assert len({id(chain.chaindb) for chain in network.chains}) == 3
    blocks = [network.nodes[0].w3.eth.get_block(number) for number in range(1, network.nodes[0].head().number + 1)]
    assert {block["miner"] for block in blocks} <= set(network.miners)


def test_contracts_see_the_miner_that_won_and_it_is_paid(network: EthashNetwork, ledger: Contract) -> None:
    before = {miner: network.nodes[0].w3.eth.get_balance(miner) for miner in network.miners}
    on(network.nodes[1], ledger).functions.observe().transact({"gas": 200_000})
    block = network.nodes[2].w3.eth.get_block("latest")
    winner = block["miner"]
    assert winner in network.miners
    assert on(network.nodes[2], ledger).functions.coinbase().call() == winner
    assert on(network.nodes[2], ledger).functions.difficulty().call() == block["difficulty"] == DIFFICULTY
    assert network.nodes[1].w3.eth.get_balance(winner) >= before[winner] + 2 * 10**18


def test_the_same_calls_give_the_same_chain_with_one_thread_and_with_three(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(module, "THREADS", threads)
        network = EthashNetwork(accounts=3, nodes=1, difficulty=DIFFICULTY)
        network.nodes[0].mine(4)
        found.append(network.nodes[0].snapshot())
    assert found[0] == found[1]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The nonces that are tried, one after the other."""
    nonces: list[int] = []

    def noted(header: BlockHeaderAPI, nonce: int) -> BlockHeaderAPI | None:
        nonces.append(nonce)
        return seals.attempt(header, nonce)

    monkeypatch.setattr(module, "attempt", noted)
    monkeypatch.setattr(module, "THREADS", 1)
    return nonces


def test_a_share_of_the_hashes_is_a_share_of_the_blocks(tried: list[int]) -> None:
    network = EthashNetwork(accounts=2, nodes=1, difficulty=2)
    small, large = network.nodes[0].accounts
    blocks = {
        miner: network.chains[0].build_block([], coinbase=to_canonical_address(miner)) for miner in (small, large)
    }
    wins = collections.Counter(
        run_race(number.to_bytes(32, "big"), [small, large, large, large], blocks.__getitem__).header.coinbase
        for number in range(60)
    )
    assert 35 <= wins[to_canonical_address(large)] <= 55  # 45 expected, 3.4 the standard deviation
    assert 87 <= len(tried) <= 153  # 120 expected, 11 the standard deviation


def test_only_miners_whose_turn_comes_build_a_block(tried: list[int]) -> None:
    network = EthashNetwork(accounts=1, nodes=1, difficulty=4)
    block = network.chains[0].build_block([])
    builders: list[str] = []

    def candidate(miner: ChecksumAddress) -> BlockAPI:
        builders.append(miner)
        return block

    run_race(bytes(32), [development_account(number).address for number in range(100)], candidate)
    assert len(builders) == len(set(builders)) <= len(tried)


def test_candidates_that_are_executed_once_are_those_that_each_miner_would_execute(
    network: EthashNetwork, ledger: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, chain = network.nodes[0], network.chains[0]
    first, second, *_ = node.accounts
    newcomer = development_account(99).address
    entered = ledger.functions.enter(7)
    looks_at_balance = "653331600055006000526006601af3"  # CALLER BALANCE PUSH 0 SSTORE, made a contract
    made = node.w3.eth.send_transaction({"from": first, "gas": 100_000, "data": HexStr(looks_at_balance)})
    looking: Any = node.w3.eth.get_transaction_receipt(made)["contractAddress"]
    sent: dict[str, list[Callable[[], Any]]] = {
        "nothing": [],
        "calls and a payment to a miner": [
            lambda: entered.transact({"gas": 100_000, "from": second}),
            lambda: node.w3.eth.send_transaction({"from": first, "to": second, "value": Wei(10**18)}),
        ],
        "a call that looks at its miner": [
            lambda: entered.transact({"gas": 100_000, "from": first}),
            lambda: ledger.functions.observe().transact({"gas": 200_000, "from": first}),
        ],
        "a call that looks at a balance": [
            lambda: node.w3.eth.send_transaction({"from": second, "to": looking, "gas": 100_000}),
        ],
        "a refused call": [lambda: ledger.functions.enter(0).transact({"gas": 100_000, "from": first})],
    }
    executed: list[bytes] = []
    execute = type(chain).execute

    def noted(self: NodeChain, transactions: Any, **params: Any) -> Any:
        executed.append(params["coinbase"])
        return execute(self, transactions, **params)

    for name, calls in sent.items():
        monkeypatch.undo()
        with node.one_block():
            for call in calls:
                call()
            transactions = chain.ready()
            chain.pool.clear()
        miners = [to_canonical_address(miner) for miner in (*node.accounts, newcomer)]
        alone = [chain.build_block(transactions, coinbase=miner) for miner in miners]
        monkeypatch.setattr(type(chain), "execute", noted)
        candidates = Candidates(chain, transactions, {})
        executed.clear()
        for miner, block in zip(miners, alone, strict=True):
            assert candidates.block_of(miner) == block, name
            assert chain.chaindb.exists(block.header.state_root)
        assert len(executed) == (1 + len(miners) if "looks" in name else 2), name  # the newcomer has no account yet


def test_a_node_executes_its_own_blocks_once_and_each_of_the_others_does_too(
    network: EthashNetwork, ledger: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: collections.Counter[int] = collections.Counter()
    apply = LondonVM.apply_transaction

    def noted(self: LondonVM, header: Any, transaction: Any) -> Any:
        applied[id(self.chaindb)] += 1
        return apply(self, header, transaction)

    hashed: collections.Counter[bytes] = collections.Counter()
    verify = ethash.verify

    def verified(*args: Any) -> bool:
        hashed[args[1]] += 1
        return bool(verify(*args))

    monkeypatch.setattr(LondonVM, "apply_transaction", noted)
    monkeypatch.setattr(ethash, "verify", verified)
    on(network.nodes[1], ledger).functions.enter(7).transact({"gas": 100_000})
    assert applied == {id(chain.chaindb): 1 for chain in network.chains}
    assert set(hashed.values()) == {1}  # the nodes in this process ask the same of the same bytes
    assert len(heads(network)) == 1


def test_several_transactions_of_several_nodes_share_a_block(network: EthashNetwork, ledger: Contract) -> None:
    first, second = network.nodes[:2]
    sender = Sender(first.w3, first.accounts[0])
    with first.one_block(), second.one_block():
        sent = [sender.send(on(first, ledger).functions.enter(7)) for _ in range(3)]
        other = Sender(second.w3, second.accounts[1]).send(on(second, ledger).functions.enter(8))
    blocks = {sender.wait(one)["blockNumber"] for one in [*sent, other]}
    assert len(blocks) == 1
    assert on(network.nodes[2], ledger).functions.total().call() == 29


def test_time_passes_for_all(network: EthashNetwork, ledger: Contract) -> None:
    before = network.nodes[0].w3.eth.get_block("latest")["timestamp"]
    network.nodes[1].travel(5000)
    on(network.nodes[0], ledger).functions.observe().transact({"gas": 200_000})
    assert on(network.nodes[2], ledger).functions.time().call() == before + 5001


# ------------------------------------------------------------------ refusals


@dataclass(frozen=True)
class Honest:
    """A block with three transactions that nobody has imported yet, and a node that would."""

    node: NodeChain
    block: BlockAPI
    parent: bytes
    foreign: SignedTransactionAPI


@pytest.fixture(scope="module")
def honest(ledger_artifact: Artifact) -> Honest:
    network = EthashNetwork(accounts=4, nodes=2, difficulty=DIFFICULTY)
    node = network.nodes[0]
    ledger = deploy_ledger(node, ledger_artifact)
    node.mine()
    parent = network.chains[0].get_canonical_head().parent_hash
    with node.one_block():
        for account in node.accounts[:3]:
            ledger.functions.enter(7).transact({"gas": 100_000, "from": account})
        transactions = network.chains[0].ready()
        network.chains[0].pool.clear()
    with node.one_block():
        ledger.functions.enter(9).transact({"gas": 100_000, "from": node.accounts[3]})
        (foreign,) = network.chains[0].pool
        network.chains[0].pool.clear()
    block = network.chains[0].build_block(transactions, coinbase=b"\xa1" * 20)
    return Honest(network.chains[1], sealed(block), parent, foreign)


def sealed(block: BlockAPI) -> BlockAPI:
    return block.copy(header=seals.EthashSeal.seal(block.header))


def with_header(block: BlockAPI, **fields: Any) -> BlockAPI:
    return block.copy(header=block.header.copy(**fields))


FORGERIES: dict[str, Callable[[Honest], BlockAPI]] = {
    "wrong mixHash": lambda h: with_header(h.block, mix_hash=bytes(32)),
    "short mixHash": lambda h: with_header(h.block, mix_hash=b""),
    "wrong nonce": lambda h: with_header(h.block, nonce=b"\xff" * 8),
    "stolen coinbase": lambda h: with_header(h.block, coinbase=b"\xee" * 20),
    "altered state root": lambda h: with_header(h.block, state_root=b"\x11" * 32),
    "altered state root, sealed again": lambda h: sealed(with_header(h.block, state_root=b"\x11" * 32)),
    "altered receipt root, sealed again": lambda h: sealed(with_header(h.block, receipt_root=b"\x11" * 32)),
    "other coinbase, sealed again": lambda h: sealed(with_header(h.block, coinbase=b"\xee" * 20)),
    "no work asked for, sealed again": lambda h: sealed(with_header(h.block, difficulty=1)),
    "less gas used, sealed again": lambda h: sealed(with_header(h.block, gas_used=h.block.header.gas_used - 1)),
    "unknown parent, sealed again": lambda h: sealed(with_header(h.block, parent_hash=b"\x22" * 32)),
    "old parent, sealed again": lambda h: sealed(with_header(h.block, parent_hash=h.parent)),
    "before its parent, sealed again": lambda h: sealed(with_header(h.block, timestamp=1_640_995_200)),
    "far in the future, sealed again": lambda h: sealed(
        with_header(h.block, timestamp=h.block.header.timestamp + 1_000_000)
    ),
    "other gas limit, sealed again": lambda h: sealed(with_header(h.block, gas_limit=60_000_000)),
    "a transaction twice": lambda h: h.block.copy(transactions=(h.block.transactions[1], *h.block.transactions[1:])),
    "a transaction replaced": lambda h: h.block.copy(transactions=(*h.block.transactions[:2], h.foreign)),
    "a transaction left out": lambda h: h.block.copy(transactions=h.block.transactions[:2]),
    "transactions in another order": lambda h: h.block.copy(transactions=h.block.transactions[::-1]),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_block_is_refused_and_the_head_stays(honest: Honest, forgery: str) -> None:
    head = honest.node.get_canonical_head().hash
    block = FORGERIES[forgery](honest)
    assert (block.header, block.transactions) != (honest.block.header, honest.block.transactions)
    with pytest.raises(Exception):  # noqa: B017, PT011 - py-evm refuses with many types
        honest.node.import_block(block)
    assert honest.node.get_canonical_head().hash == head


def test_the_same_block_unforged_is_taken(honest: Honest) -> None:
    honest.node.import_block(honest.block)
    assert honest.node.get_canonical_head().hash == honest.block.hash


# ------------------------------------------------------------------ reorganisation


def test_the_branch_with_more_work_wins_and_its_rivals_transactions_are_mined_again(
    network: SplitNetwork, ledger: Contract
) -> None:
    lonely, *others = network.nodes
    network.split([0], [1, 2])
    scanner = LogScanner(lonely.w3, {ledger.address: ledger.abi})
    scanner.scan()
    fork = lonely.w3.eth.block_number
    on(lonely, ledger).functions.enter(7).transact({"gas": 100_000, "from": lonely.accounts[1]})
    assert [event.args["value"] for event in scanner.scan().events] == [7]
    for value in (8, 9):
        on(others[0], ledger).functions.enter(value).transact({"gas": 100_000, "from": lonely.accounts[2]})
    assert on(others[1], ledger).functions.total().call() == 17
    assert len(heads(network)) == 2

    network.heal()
    assert len(heads(network)) == 1
    assert on(lonely, ledger).functions.total().call() == 17
    scan = scanner.scan()
    assert (scan.rewound_to, [event.args["value"] for event in scan.events]) == (fork, [8, 9])
    others[0].mine()
    assert on(lonely, ledger).functions.total().call() == 24
    assert [event.args["value"] for event in scanner.scan().events] == [7]


def test_with_equal_work_everyone_keeps_what_it_heard_first(network: SplitNetwork) -> None:
    network.split([0], [1, 2])
    network.nodes[0].mine()
    network.nodes[1].travel(3)
    before = [node.snapshot() for node in network.nodes]
    network.heal()
    assert [node.snapshot() for node in network.nodes] == before
    network.nodes[0].mine()
    assert len(heads(network)) == 1


def test_a_new_node_executes_the_whole_chain(network: EthashNetwork, ledger: Contract) -> None:
    on(network.nodes[0], ledger).functions.enter(7).transact({"gas": 100_000})
    newcomer, _ = EthashNetwork.of(network.nodes[0], 2).nodes
    assert newcomer.snapshot() == network.nodes[0].snapshot()
    on(newcomer, ledger).functions.enter(8).transact({"gas": 100_000})
    assert on(newcomer, ledger).functions.total().call() == 15


def test_a_copy_mines_the_same_blocks_apart_from_the_original(network: SplitNetwork, ledger: Contract) -> None:
    network.split([0], [1, 2])
    network.nodes[1].mine()
    copied = network.copy()
    assert [node.head() for node in copied.nodes] == [node.head() for node in network.nodes]
    copied.heal()  # the original stays split
    assert len(heads(copied)) == 1
    assert len(heads(network)) == 2
    before = heads(network)
    on(copied.nodes[2], ledger).functions.enter(7).transact({"gas": 100_000})
    assert heads(network) == before
    network.heal()
    on(network.nodes[2], ledger).functions.enter(7).transact({"gas": 100_000})
    assert heads(network) == heads(copied)


# ------------------------------------------------------------------ stored


def test_a_sealed_chain_is_stored_and_its_seals_are_checked_on_opening(
    network: EthashNetwork, ledger: Contract, tmp_path: Path
) -> None:
    node = network.nodes[0]
    writer = ChainWriter(tmp_path, node)
    on(node, ledger).functions.observe().transact({"gas": 200_000})
    head = writer.flush()
    chain = import_chain(tmp_path, head)
    assert chain.snapshot() == node.snapshot()
    chain.mine()
    assert chain.w3.eth.get_block("latest")["difficulty"] == DIFFICULTY
    seal = node.chain.get_canonical_head().mix_hash
    data = (tmp_path / "chain.rlp").read_bytes()
    (tmp_path / "chain.rlp").write_bytes(data.replace(seal, b"\1" * 32))
    with pytest.raises(ChainImportError, match=r"block 2 does not execute again: .*wrong ethash seal"):
        import_chain(tmp_path, head)


@pytest.mark.parametrize("options", [{"nodes": 0}, {"accounts": 0}, {"difficulty": 0}])
def test_a_network_of_nothing_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError, match="has to be at least 1"):
        EthashNetwork(**options)


def test_a_block_holds_what_all_nodes_were_sent_in_the_order_of_sending(ledger_artifact: Artifact) -> None:
    network = EthashNetwork(nodes=2, accounts=5, difficulty=1)
    first, second = network.nodes
    ledger = deploy_ledger(first, ledger_artifact)  # by the first account, whose next nonce is another
    with first.one_block(), second.one_block():
        sent = [
            on(node, ledger).functions.enter(7).transact({"gas": 100_000, "from": first.accounts[number]})
            for number, node in ((3, second), (0, first), (4, first), (2, second), (0, first))
        ]
    for node in network.nodes:
        assert node.w3.eth.get_block("latest")["transactions"] == sent
