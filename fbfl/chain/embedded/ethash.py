"""An Ethereum network with real proof of work in this process: full nodes, and miners that race for each block.

Every node has a database of its own and executes and verifies every block before it takes it; the branch with more
work wins. Time is logical (see `fbfl.chain.embedded.rules`), and the miners share one hash budget, so that who wins
depends only on the chain, not on the machine: the same calls give the same chain again.
"""

import copy
import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from eth.abc import BlockAPI, BlockHeaderAPI, BlockImportResult, SignedTransactionAPI
from eth_typing import ChecksumAddress, Hash32
from eth_utils.address import to_canonical_address
from eth_utils.exceptions import ValidationError

from fbfl.chain.embedded.candidates import Candidates
from fbfl.chain.embedded.chain import DEFAULT_ACCOUNTS, EmbeddedChain, attach, default_genesis, make_chain
from fbfl.chain.embedded.machine import with_header
from fbfl.chain.embedded.rules import LondonChain
from fbfl.chain.embedded.seals import attempt
from fbfl.errors import InvalidInputError

DEFAULT_DIFFICULTY = 16
"""Hashes that a block takes on average, of 8 ms of a core each. Their number is what a block costs at least, since a
proof of work cannot be had for less; they are computed by native code, on all cores."""

THREADS = min(os.cpu_count() or 1, DEFAULT_DIFFICULTY // 2)
"""Threads that hash: beyond these most would hash on after a block is found."""

ALLOWED_AHEAD = 15
"""Seconds by which a block may be dated ahead of the network's clock, as in geth."""


class NodeChain(LondonChain):
    """The chain as one full node sees it."""

    network: "EthashNetwork"

    def mine_block(self, **params: Any) -> BlockAPI:
        """Let the miners that this node can reach race for the next block."""
        return self.network.mine(self, **params)

    def import_block(self, block: BlockAPI, perform_validation: bool = True) -> BlockImportResult:
        """Verify, execute and keep a block; what leaves the chain with it waits to be mined again."""
        if block.header.timestamp > self.network.now + ALLOWED_AHEAD:
            raise ValidationError(f"block {block.number} is dated {block.header.timestamp}, in the future")
        result = super().import_block(block, perform_validation)
        self._sort_pool(result.new_canonical_blocks, result.old_canonical_blocks)
        return result

    def adopt(self, block: BlockAPI) -> None:
        """Verify and keep a block that this node has executed already, as a candidate of a miner's."""
        result = self.persist_block(block)
        self.header = self.create_header_from_parent(self.get_canonical_head())
        self._sort_pool(result.new_canonical_blocks, result.old_canonical_blocks)

    def _sort_pool(self, new: Sequence[BlockAPI], old: Sequence[BlockAPI]) -> None:
        """Take transactions of new blocks out of the waiting ones, and put those of replaced blocks back."""
        mined = {transaction.hash for block in new for transaction in block.transactions}
        orphaned = [transaction for block in old for transaction in block.transactions]
        self.pool = [transaction for transaction in [*orphaned, *self.pool] if transaction.hash not in mined]

    def apply_transaction(self, transaction: SignedTransactionAPI) -> None:  # type: ignore[override]
        """Take a transaction for the next block, behind all that the network has heard of."""
        super().apply_transaction(transaction)
        self.network.arrivals.setdefault(transaction.hash, len(self.network.arrivals))

    def ready(self) -> list[SignedTransactionAPI]:
        """Return the waiting transactions that can be mined now: those with consecutive nonces. Drops used ones.

        They are in the order in which the network heard of them, but for those that wait for an earlier nonce.
        """
        state = self.get_vm(self.header).state
        nonces = {waiting.sender: state.get_nonce(waiting.sender) for waiting in self.pool}
        self.pool = [waiting for waiting in self.pool if waiting.nonce >= nonces[waiting.sender]]
        ready: list[SignedTransactionAPI] = []
        early = sorted(self.pool, key=lambda waiting: self.network.arrivals.get(waiting.hash, -1))
        while early:
            late = []
            for transaction in early:
                if transaction.nonce == nonces[transaction.sender]:
                    nonces[transaction.sender] += 1
                    ready.append(transaction)
                else:
                    late.append(transaction)
            if len(late) == len(early):
                break
            early = late
        return ready


class EthashNetwork:
    """`nodes` are the full nodes, each with its own web3; `miners`, each account but the first, have equal chances."""

    def __init__(
        self, *, nodes: int = 3, accounts: int = DEFAULT_ACCOUNTS, difficulty: int = DEFAULT_DIFFICULTY
    ) -> None:
        """Start the nodes at block 0. Fewer than 1 of anything raises `InvalidInputError`."""
        if min(nodes, accounts, difficulty) < 1:
            given = f"nodes = {nodes}, accounts = {accounts}, difficulty = {difficulty}"
            raise InvalidInputError(f"{given}: each has to be at least 1")
        self.genesis = default_genesis(accounts, "ethash", difficulty)
        self._lock = threading.RLock()
        self.nodes = [self._start_node() for _ in range(nodes)]
        known = self.nodes[0].accounts
        self.miners = known[1:] or known
        self.now = int(self.genesis.header["timestamp"])
        self.arrivals: dict[Hash32, int] = {}
        """Numbers of the transactions that any node was sent, in their order."""

    @classmethod
    def of(cls, chain: EmbeddedChain, nodes: int) -> "EthashNetwork":
        """Return a network of full nodes with all blocks of a chain with seals, each executed by each of them."""
        network = cls(nodes=nodes, accounts=len(chain.accounts), difficulty=chain.genesis.header["difficulty"])
        network.now = chain.chain.get_canonical_head().timestamp
        for node in network.chains:
            synchronize(node, chain.chain)
        return network

    @property
    def chains(self) -> list[NodeChain]:
        """The nodes' py-evm chains."""
        return [_node_chain(node) for node in self.nodes]

    def mine(self, origin: NodeChain, **params: Any) -> BlockAPI:
        """Mine the next block on top of the branch that `origin` follows; `params` are header fields.

        Every miner works on a block of its own; the first valid seal wins and all nodes import the block. The nodes
        would all execute the same candidates: `origin` does, for its own block (see `fbfl.chain.embedded.candidates`),
        the others when they import it.
        """
        with self._lock:
            chains = self.chains
            waiting = {transaction.hash: transaction for chain in chains for transaction in chain.pool}
            for chain in chains:  # every node hears of every waiting transaction
                chain.pool = list(waiting.values())
            heads = [chain.get_canonical_head().timestamp for chain in chains]
            self.now = max(self.now, *heads, params.get("timestamp", 0)) + 1
            candidates = Candidates(origin, origin.ready(), params)
            parent = origin.get_canonical_head().hash
            block = run_race(parent, self.miners, lambda miner: candidates.block_of(to_canonical_address(miner)))
            for chain in chains:
                chain.adopt(block) if chain is origin else chain.import_block(block)
            return block

    def copy(self) -> Self:
        """Return a copy that goes on from here, without the transactions that wait to be mined."""
        with self._lock:
            network = copy.copy(self)
            network._lock = threading.RLock()
            network.arrivals = dict(self.arrivals)
            network.nodes = [node.copy(network._lock) for node in self.nodes]
        for chain in network.chains:
            chain.network = network
        return network

    def _start_node(self) -> EmbeddedChain:
        chain = make_chain(self.genesis, NodeChain)
        chain.network = self
        return attach(self.genesis, chain, self._lock)


def run_race(
    parent: bytes, miners: Sequence[ChecksumAddress], candidate: Callable[[ChecksumAddress], BlockAPI]
) -> BlockAPI:
    """Try one nonce after another, each for a miner that is drawn, until one seals its miner's block; return that.

    A miner that is named twice is drawn twice as often. The draws follow from the parent's hash and are tried in order
    (in `THREADS`, which ethash lets run in parallel), so neither the start nor the speed of a thread favours a miner.
    """
    blocks: dict[ChecksumAddress, BlockAPI] = {}

    def draw(number: int) -> tuple[ChecksumAddress, int]:
        drawn = hashlib.sha256(parent + number.to_bytes(8, "big")).digest()
        miner = miners[int.from_bytes(drawn[:8], "big") % len(miners)]
        if miner not in blocks:  # executing all transactions is costly: only for miners whose turn comes
            blocks[miner] = candidate(miner)
        return miner, int.from_bytes(drawn[8:16], "big")

    def hash_once(drawn: tuple[ChecksumAddress, int]) -> BlockHeaderAPI | None:
        miner, nonce = drawn
        return attempt(blocks[miner].header, nonce)

    with ThreadPoolExecutor(THREADS) as pool:
        for first in itertools.count(step=THREADS):
            draws = [draw(number) for number in range(first, first + THREADS)]
            for (miner, _), header in zip(draws, pool.map(hash_once, draws), strict=True):
                if header is not None:
                    return with_header(blocks[miner], header)
    raise AssertionError("nonces do not end")


def synchronize(chain: NodeChain, other: LondonChain) -> None:
    """Import what the other node has and this one has not, oldest first, up to the other's head."""
    missing = []
    header = other.get_canonical_head()
    while not chain.chaindb.header_exists(header.hash):
        missing.append(other.get_block_by_hash(header.hash))
        header = other.get_block_header_by_hash(header.parent_hash)
    for block in reversed(missing):
        chain.import_block(block)


def _node_chain(node: EmbeddedChain) -> NodeChain:
    chain = node.chain
    assert isinstance(chain, NodeChain)
    return chain
