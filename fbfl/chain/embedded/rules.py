"""The rules of every in-process chain: London, a fixed gas limit, logical time.

What a contract can see of its block (coinbase, time, difficulty) is fixed before its transactions run, so that a
block executes to the same state wherever it is executed again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from eth.abc import (
    BlockAPI,
    BlockHeaderAPI,
    BlockImportResult,
    ReceiptAPI,
    SignedTransactionAPI,
    TransactionBuilderAPI,
    VirtualMachineAPI,
)
from eth.chains.base import MiningChain
from eth.constants import DIFFICULTY_MINIMUM, ZERO_ADDRESS
from eth.vm.forks.byzantium.headers import configure_header
from eth.vm.forks.london.headers import compute_london_difficulty, create_london_header_from_parent
from eth_typing import Address, BlockNumber, Hash32
from eth_utils.exceptions import ValidationError

from fbfl.chain.embedded.machine import PlainVM, with_header
from fbfl.chain.embedded.seals import SEALS
from fbfl.chain.head import Head

CHAIN_ID = 131277322940537
"""Chain id that web3's eth-tester provider answers, whatever chain is behind it."""

GAS_LIMIT = 30_000_000
GENESIS_TIME = 1_640_995_200
"""2022-01-01. Time is logical: a block is one second after its parent, unless somebody lets time pass."""


KEPT_REASONS = 1024


@dataclass(frozen=True)
class Execution:
    """The transactions of a block, executed."""

    vm: VirtualMachineAPI
    """Has the state after them."""
    block: BlockAPI
    receipts: tuple[ReceiptAPI, ...]
    reasons: Mapping[int, bytes]
    """What those that were refused reverted with, by place."""


class LondonChain(MiningChain):
    """A py-evm chain that collects transactions and executes them once, when it mines a block of them."""

    chain_id = CHAIN_ID
    consensus: type[Any]
    miner: Address = ZERO_ADDRESS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pool: list[SignedTransactionAPI] = []
        # Both by the header of the next block, which is another after each block.
        self._newest: tuple[BlockHeaderAPI, BlockHeaderAPI, Head] | None = None
        self._next: tuple[BlockHeaderAPI, VirtualMachineAPI] | None = None
        self.mined: tuple[BlockAPI, tuple[ReceiptAPI, ...]] | None = None
        """The last block that was mined here, with its receipts."""
        self.reasons: dict[tuple[Hash32, int], bytes] = {}
        """What refused transactions reverted with, by block and place; of the last ones that were mined here."""

    def create_header_from_parent(self, parent_header: BlockHeaderAPI, **params: Any) -> BlockHeaderAPI:
        """Return the header of the block after `parent_header`; `params` replace what it would hold."""
        defaults = {
            "gas_limit": parent_header.gas_limit,
            "coinbase": self.miner,
            "timestamp": parent_header.timestamp + 1,
        }
        return super().create_header_from_parent(parent_header, **{**defaults, **params})

    def apply_transaction(self, transaction: SignedTransactionAPI) -> None:  # type: ignore[override]
        """Take a transaction for the next block; one that cannot go into it raises `ValidationError`.

        The name is the one that eth-tester calls.
        """
        for position, waiting in enumerate(self.pool):
            if (waiting.sender, waiting.nonce) == (transaction.sender, transaction.nonce):
                if 10 * transaction.max_fee_per_gas < 11 * waiting.max_fee_per_gas:
                    raise ValidationError("replacement transaction underpriced")
                self.pool[position] = transaction
                return
        vm = self._vm_of_next()
        vm.validate_transaction_against_header(self.header, transaction)
        earlier = self.pooled(transaction.sender)
        if not earlier:
            vm.state.validate_transaction(transaction)
        elif transaction.nonce != vm.state.get_nonce(transaction.sender) + earlier:
            raise ValidationError(f"nonce {transaction.nonce} does not follow the {earlier} that wait to be mined")
        self.pool.append(transaction)

    def newest(self) -> BlockHeaderAPI:
        """Return the header of the head, which py-evm would decode each time."""
        return self._at_head()[1]

    def head(self) -> Head:
        """Return the head as readers know it, each of whom asks for it at every question."""
        return self._at_head()[2]

    def _at_head(self) -> tuple[BlockHeaderAPI, BlockHeaderAPI, Head]:
        if self._newest is None or self._newest[0] is not self.header:
            header = self.get_canonical_head()
            self._newest = self.header, header, Head(header.block_number, bytes(header.hash), header.timestamp)
        return self._newest

    def _vm_of_next(self) -> VirtualMachineAPI:
        """Return a VM on the state before the next block, only to be read."""
        if self._next is None or self._next[0] is not self.header:
            self._next = self.header, self.get_vm(self.header)
        return self._next[1]

    def pooled(self, sender: Address) -> int:
        """Return the number of this sender's transactions that wait to be mined."""
        return sum(transaction.sender == sender for transaction in self.pool)

    def build_block(self, transactions: Sequence[SignedTransactionAPI], **params: Any) -> BlockAPI:
        """Return the block of these transactions on the head, executed but neither sealed nor part of the chain.

        It ends before the first that does not fit into the gas limit. `params` are header fields.
        """
        execution = self.execute(transactions, **params)
        return execution.vm.mine_block(execution.block).block

    def execute(self, transactions: Sequence[SignedTransactionAPI], **params: Any) -> "Execution":
        """Execute what `build_block` does, up to the miner's reward."""
        header = self.create_header_from_parent(self.get_canonical_head(), **params)
        vm = self.get_vm(header)
        base = vm.get_block()
        receipts, reasons = [], {}
        for place, transaction in enumerate(transactions):
            if header.gas_used + transaction.gas > header.gas_limit:
                break
            receipt, computation = vm.apply_transaction(header, transaction)
            header = vm.add_receipt_to_header(header, receipt)
            receipts.append(receipt)
            if computation.is_error:
                reasons[place] = bytes(computation.output)
        included = tuple(transactions[: len(receipts)])
        block = vm.set_block_transactions_and_withdrawals(base, header, included, tuple(receipts))
        return Execution(vm, block, tuple(receipts), reasons)

    def mine_block(self, **params: Any) -> BlockAPI:
        """Mine a block of the waiting transactions; `params` are header fields."""
        pool, self.pool = self.pool, []
        execution = self.execute(pool, **params)
        block = execution.vm.mine_block(execution.block).block
        block = with_header(block, self.consensus.seal(block.header))
        self.chaindb.persist_block(block)
        self.pool = pool[len(block.transactions) :]
        self.header = self.create_header_from_parent(block.header)
        self.mined = block, execution.receipts
        if len(self.reasons) > KEPT_REASONS:
            self.reasons.clear()
        self.reasons |= {(block.hash, place): reason for place, reason in execution.reasons.items()}
        return block

    def import_block(self, block: BlockAPI, perform_validation: bool = True) -> BlockImportResult:
        """Execute and add a block mined elsewhere; an invalid one raises an exception.

        The seal is checked first: a block without its work is not worth executing.
        """
        self.validate_seal(block.header)
        return super().import_block(block, perform_validation)

    def get_transaction_builder(self) -> type[TransactionBuilderAPI]:
        """Return the class with which eth-tester makes transactions."""
        return self.get_vm_class_for_block_number(BlockNumber(0)).get_transaction_builder()


Kind = TypeVar("Kind", bound=LondonChain)


def chain_class(kind: type[Kind], seal: str, difficulty: int) -> type[Kind]:
    """Return the subclass of `kind` for one of `SEALS` and the difficulty of block 0.

    From the protocol's least difficulty on, the next ones follow London's rule, so that other nodes can execute the
    chain again. A smaller one is that of every block: time is logical, blocks come faster than a second, so their
    timestamps do not measure how long the work took.
    """

    def rule(parent_header: BlockHeaderAPI, timestamp: int) -> int:
        return difficulty if difficulty < DIFFICULTY_MINIMUM else compute_london_difficulty(parent_header, timestamp)

    class VM(PlainVM):
        consensus_class = SEALS[seal]
        create_header_from_parent = staticmethod(create_london_header_from_parent(rule))
        compute_difficulty = staticmethod(rule)
        configure_header = configure_header(difficulty_fn=rule)  # the rule that imported blocks are checked against

    return type(kind.__name__, (kind,), {"vm_configuration": ((BlockNumber(0), VM),), "consensus": SEALS[seal]})
