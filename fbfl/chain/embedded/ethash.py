"""An Ethereum network with real proof of work in this process: full nodes, and miners that race for each block.

Every node has a database of its own and executes and verifies every block before it takes it; the branch with more
work wins. Time is logical (see `fbfl.chain.embedded.rules`), and the miners share one hash budget, so that who wins
depends only on the chain and the miners' shares, not on the machine: the same calls give the same chain again.
"""

import copy
import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Race:
    """The race for one block: its winner, and the number of hashes that all miners tried together."""

    number: int
    winner: ChecksumAddress
    hashes: int


class EthashNetwork:
    """`nodes` are the full nodes, each with its own web3; `miners` have shares of the hash budget.

    Miner i works on top of node i modulo their number. `races` has the race for each block.
    """

    def __init__(
        self,
        miners: Mapping[ChecksumAddress, int] | None = None,
        *,
        nodes: int = 3,
        accounts: int = DEFAULT_ACCOUNTS,
        difficulty: int = DEFAULT_DIFFICULTY,
        threads: int = THREADS,
    ) -> None:
        """Start the nodes at block 0.

        `miners` maps addresses to shares (default: each account but the first has one). `threads` compute the hashes.
        Fewer than 1 of anything raises `InvalidInputError`.
        """
        if min(nodes, accounts, difficulty, threads) < 1:
            given = f"nodes = {nodes}, accounts = {accounts}, difficulty = {difficulty}, threads = {threads}"
            raise InvalidInputError(f"{given}: each has to be at least 1")
        self.genesis = default_genesis(accounts, "ethash", difficulty)
        self._lock = threading.RLock()
        self.nodes = [self._start_node() for _ in range(nodes)]
        known = self.nodes[0].accounts
        self.miners = dict(miners) if miners is not None else dict.fromkeys(known[1:] or known, 1)
        if not self.miners or min(self.miners.values()) < 1:
            raise InvalidInputError(f"every miner needs a share of at least 1, got {dict(self.miners)}")
        self.threads = threads
        self.now = int(self.genesis.header["timestamp"])
        self.races: list[Race] = []
        self.arrivals: dict[Hash32, int] = {}
        """Numbers of the transactions that any node was sent, in their order."""
        self._groups: list[list[int]] = [list(range(nodes))]

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
        """Mine the next block on top of the branch that `origin` and the nodes connected with it follow.

        Every miner works on a block of its own; the first valid seal wins and all connected nodes import the block.
        Nodes on the same head would all execute the same candidates: the first that is asked does, for its own block
        (see `fbfl.chain.embedded.candidates`), the others when they import it. `params` are header fields.
        """
        with self._lock:
            chains = self.chains
            group = next(group for group in self._groups if chains.index(origin) in group)
            self._gossip([chains[index] for index in group])
            heads = [chains[index].get_canonical_head().timestamp for index in group]
            self.now = max(self.now, *heads, params.get("timestamp", 0)) + 1

            by_head: dict[bytes, Candidates] = {}

            def candidate(miner: ChecksumAddress) -> BlockAPI:
                home = list(self.miners).index(miner) % len(chains)
                chain = chains[home] if home in group else origin
                head = chain.get_canonical_head().hash
                if head not in by_head:
                    by_head[head] = Candidates(chain, chain.ready(), params)
                return by_head[head].block_of(to_canonical_address(miner))

            miners = self._miners_of(group)
            block, race = run_race(origin.get_canonical_head().hash, miners, candidate, self.threads)
            self.races.append(race)
            executed_by = by_head[block.header.parent_hash].chain
            for index in group:
                chain = chains[index]
                chain.adopt(block) if chain is executed_by else chain.import_block(block)
            return block

    def split(self, *groups: Sequence[int]) -> None:
        """Let only the nodes of the same group (by number) hear each other from now on."""
        if sorted(index for group in groups for index in group) != list(range(len(self.nodes))):
            raise InvalidInputError(f"groups {groups} do not hold each of the {len(self.nodes)} nodes once")
        with self._lock:
            self._groups = [list(group) for group in groups]

    def heal(self) -> None:
        """Connect all nodes again: each hears the others' blocks and follows the branch with most work."""
        with self._lock:
            self._groups = [list(range(len(self.nodes)))]
            for chain in self.chains:
                for other in self.chains:
                    synchronize(chain, other)

    def add_node(self) -> EmbeddedChain:
        """Start one more full node, which executes and verifies the whole chain before it takes part."""
        with self._lock:
            node = self._start_node()
            synchronize(_node_chain(node), self.chains[0])
            self.nodes.append(node)
            self._groups[0].append(len(self.nodes) - 1)
            return node

    def copy(self) -> "EthashNetwork":
        """Return a copy that goes on from here, without the transactions that wait to be mined."""
        with self._lock:
            network = copy.copy(self)
            network._lock = threading.RLock()
            network.races = list(self.races)
            network.arrivals = dict(self.arrivals)
            network._groups = [list(group) for group in self._groups]
            network.nodes = [node.copy(network._lock) for node in self.nodes]
        for chain in network.chains:
            chain.network = network
        return network

    def _start_node(self) -> EmbeddedChain:
        chain = make_chain(self.genesis, NodeChain)
        chain.network = self
        return attach(self.genesis, chain, self._lock)

    def _miners_of(self, group: Sequence[int]) -> dict[ChecksumAddress, int]:
        """Return the miners whose node is in the group; all of them while nothing is split."""
        shares = {
            miner: share for index, (miner, share) in enumerate(self.miners.items()) if index % len(self.nodes) in group
        }
        return shares or self.miners

    @staticmethod
    def _gossip(chains: Sequence[NodeChain]) -> None:
        """Tell every connected node of every waiting transaction."""
        waiting = {transaction.hash: transaction for chain in chains for transaction in chain.pool}
        for chain in chains:
            chain.pool = list(waiting.values())


def run_race(
    parent: bytes,
    shares: Mapping[ChecksumAddress, int],
    candidate: Callable[[ChecksumAddress], BlockAPI],
    threads: int,
) -> tuple[BlockAPI, Race]:
    """Try one nonce after another, each for a miner drawn by its share, until one seals its miner's block.

    The draws follow from the parent's hash and are tried in order (in `threads`, which ethash lets run in parallel),
    so neither the start nor the speed of a thread favours a miner.
    """
    slots = [miner for miner, share in shares.items() for _ in range(share)]
    blocks: dict[ChecksumAddress, BlockAPI] = {}

    def draw(number: int) -> tuple[ChecksumAddress, int]:
        drawn = hashlib.sha256(parent + number.to_bytes(8, "big")).digest()
        miner = slots[int.from_bytes(drawn[:8], "big") % len(slots)]
        if miner not in blocks:  # executing all transactions is costly: only for miners whose turn comes
            blocks[miner] = candidate(miner)
        return miner, int.from_bytes(drawn[8:16], "big")

    def hash_once(drawn: tuple[ChecksumAddress, int]) -> BlockHeaderAPI | None:
        miner, nonce = drawn
        return attempt(blocks[miner].header, nonce)

    with ThreadPoolExecutor(threads) as pool:
        for first in itertools.count(step=threads):
            draws = [draw(number) for number in range(first, first + threads)]
            for offset, ((miner, _), header) in enumerate(zip(draws, pool.map(hash_once, draws), strict=True)):
                if header is not None:
                    block = with_header(blocks[miner], header)
                    return block, Race(block.number, miner, first + offset + 1)
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
