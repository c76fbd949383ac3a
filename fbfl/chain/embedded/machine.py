"""London's virtual machine without what py-evm does over and over for a transaction or a block."""

from collections.abc import Sequence
from typing import Any

from eth.abc import (
    BlockAndMetaWitness,
    BlockAPI,
    BlockHeaderAPI,
    MessageAPI,
    ReceiptAPI,
    SignedTransactionAPI,
)
from eth.constants import CREATE_CONTRACT_ADDRESS
from eth.vm.forks.berlin.receipts import TypedReceipt
from eth.vm.forks.london import LondonVM
from eth.vm.forks.london.state import LondonTransactionExecutor
from eth.vm.forks.london.transactions import DynamicFeeTransaction, LondonTransactionBuilder
from eth.vm.message import Message
from eth_hash.auto import keccak
from eth_typing import Address, Hash32
from eth_utils.exceptions import ValidationError

from fbfl.chain.embedded.interpreter import TableState
from fbfl.chain.embedded.tries import list_root
from fbfl.chain.encoding import encoded, number
from fbfl.chain.keys import signer_of


def decoded(raw: bytes) -> SignedTransactionAPI:
    """Return the transaction in these bytes, with its sender; raises `ValidationError` if nobody signed it.

    py-evm looks for the sender when it is asked for, by way of eth-keys' forms, and packs the bytes again each time.
    """
    transaction: Any = LondonTransactionBuilder.decode(raw)
    inner: Any = getattr(transaction, "_inner", None)
    plain = isinstance(inner, DynamicFeeTransaction) and not inner.access_list
    if plain and inner.y_parity in (0, 1):
        fees = inner.max_priority_fee_per_gas, inner.max_fee_per_gas
        numbers = map(number, (inner.chain_id, inner.nonce, *fees, inner.gas))
        unsigned = encoded([*numbers, inner.to, number(inner.value), inner.data, ()])
        try:
            sender = signer_of(keccak(raw[:1] + unsigned), inner.r, inner.s, inner.y_parity)
        except Exception as error:  # libsecp256k1 raises them without a type of their own
            raise ValidationError(f"the signature of a transaction is none: {error}") from error
        vars(transaction).update(sender=Address(sender), hash=Hash32(keccak(raw)), encode=lambda: raw)
    return transaction  # type: ignore[no-any-return]


class PlainExecutor(LondonTransactionExecutor):
    """Executes a transaction without writing down for a log what it is."""

    def build_evm_message(self, transaction: SignedTransactionAPI) -> MessageAPI:
        """Take the gas from the sender, and return the message of a transaction."""
        if transaction.to == CREATE_CONTRACT_ADDRESS:
            return super().build_evm_message(transaction)
        state, sender = self.vm_state, transaction.sender
        state.delta_balance(sender, -transaction.gas * state.get_gas_price(transaction))
        state.increment_nonce(sender)
        gas, code = transaction.gas - transaction.intrinsic_gas, state.get_code(transaction.to)
        return Message(gas, transaction.to, sender, transaction.value, transaction.data, code)


class PlainState(TableState):
    """The state that such transactions change."""

    transaction_executor_class = PlainExecutor


class PlainVM(LondonVM):
    """London's rules, without what py-evm does twice for a block: to copy its transactions, and to check its own work.

    An imported block is compared with what comes out here, and its header checked, by `import_block`.
    """

    _state_class = PlainState

    @classmethod
    def validate_receipt(cls, receipt: ReceiptAPI) -> None:
        """Do nothing: its filter was made of its logs a moment ago."""

    def set_block_transactions_and_withdrawals(
        self,
        base_block: BlockAPI,
        new_header: BlockHeaderAPI,
        transactions: Sequence[SignedTransactionAPI],
        receipts: Sequence[ReceiptAPI],
        withdrawals: Any = None,  # noqa: ARG002  # London knows none
    ) -> BlockAPI:
        """Return a block of these transactions, whose receipts are these."""
        roots: dict[str, Any] = {
            "transaction_root": list_root(self.chaindb.db, [each.encode() for each in transactions]),
            "receipt_root": list_root(self.chaindb.db, [_packed(each) for each in receipts]),
        }
        return base_block.copy(header=new_header.copy(**roots), transactions=transactions, uncles=base_block.uncles)

    def mine_block(self, block: BlockAPI, *_args: Any, **_kwargs: Any) -> BlockAndMetaWitness:
        """Return the block with the root of the state after it, in which its miner has the reward."""
        self._assign_block_rewards(block)
        witness = self.state.persist()
        root: dict[str, Any] = {"state_root": self.state.state_root}
        return BlockAndMetaWitness(with_header(block, block.header.copy(**root)), witness)


def _packed(receipt: Any) -> bytes:
    """Return a receipt as it stands in a block."""
    logs = [[log.address, [topic.to_bytes(32, "big") for topic in log.topics], log.data] for log in receipt.logs]
    kind = bytes([receipt.type_id]) if isinstance(receipt, TypedReceipt) else b""
    return kind + encoded([receipt.state_root, number(receipt.gas_used), receipt.bloom.to_bytes(256, "big"), logs])


def with_header(block: BlockAPI, header: BlockHeaderAPI) -> BlockAPI:
    """Return a block with another header, without copying its transactions, as py-evm would."""
    return block.copy(header=header, transactions=block.transactions, uncles=block.uncles)
