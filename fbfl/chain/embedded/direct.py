"""Answers without JSON-RPC to what servers ask of a chain in this process many times a round.

web3 packs every request and answer as if they came over a wire, and eth-tester checks and converts them twice more:
together that takes longer than to execute a transaction. The answers are the same; a test compares them.
"""

import threading
from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import rlp
from eth.abc import BlockAPI, BlockHeaderAPI, LogAPI, ReceiptAPI, SignedTransactionAPI
from eth_typing import Address, BlockNumber, Hash32
from eth_utils.exceptions import ValidationError
from hexbytes import HexBytes
from web3 import Web3
from web3.datastructures import AttributeDict
from web3.eth import Eth
from web3.types import BlockData, LogReceipt, Nonce, TxData, TxReceipt

from fbfl.chain.embedded.rules import CHAIN_ID, LondonChain
from fbfl.chain.keys import canonical, checksummed

if TYPE_CHECKING:
    from fbfl.chain.embedded.chain import BatchingTester, LondonBackend

DYNAMIC_FEE_TYPE = 2
"""Type of transactions whose fees have limits (EIP-1559)."""

_FILTER = {"fromBlock", "toBlock", "address", "topics"}

KEPT_BLOCKS = 64
"""Number of blocks that are kept as web3 gives them."""

KEPT_RECEIPTS = 1024
"""Number of receipts that are kept: senders look at them, and so does who reads the record of the round."""


class DirectEth(Eth):
    """`Web3.eth` of one embedded chain: requests of servers; all others go through web3 and eth-tester as ever."""

    def __init__(self, w3: Web3, tester: "BatchingTester", lock: threading.RLock) -> None:
        super().__init__(w3)
        self._tester = tester
        self._lock = lock
        self._blocks: dict[tuple[Hash32, bool], Any] = {}
        self._receipts: dict[tuple[Hash32, int], TxReceipt] = {}
        self._called_at: Hash32 | None = None
        self._calls: dict[tuple[Address, Address, bytes], HexBytes] = {}

    @property
    def _backend(self) -> "LondonBackend":
        backend: LondonBackend = self._tester.backend
        return backend

    @property
    def _chain(self) -> LondonChain:
        return self._backend.chain

    @property
    def chain_id(self) -> int:
        """The chain's id."""
        return CHAIN_ID

    @property
    def block_number(self) -> BlockNumber:
        """Number of the newest block."""
        with self._lock:
            return self._chain.newest().block_number

    def get_block(self, block_identifier: Any, full_transactions: bool = False) -> Any:
        """Return a block. What a block says never changes: it is packed once."""
        with self._lock:
            header = self._header(block_identifier)
            if header is None:
                return super().get_block(block_identifier, full_transactions)
            key = header.hash, full_transactions
            if key not in self._blocks:
                if len(self._blocks) >= KEPT_BLOCKS:
                    del self._blocks[next(iter(self._blocks))]
                self._blocks[key] = (
                    super().get_block(header.block_number, full_transactions)
                    if full_transactions or not header.block_number
                    else _block(self._backend.block(header)[0])
                )
            return self._blocks[key]

    def get_transaction_count(self, account: Any, block_identifier: Any = None) -> Nonce:
        """Return the next nonce of an account."""
        if block_identifier not in (None, "latest", "pending"):
            return super().get_transaction_count(account, block_identifier)
        with self._lock:
            return Nonce(self._backend.get_nonce(canonical(account), block_identifier or "latest"))

    def send_raw_transaction(self, transaction: Any) -> HexBytes:
        """Take a signed transaction."""
        raw = bytes(HexBytes(transaction))
        with self._lock:
            try:
                sent = HexBytes(self._backend.send_raw_transaction(raw))
            except ValidationError:  # refused, and so it will be again, as web3 says it
                return super().send_raw_transaction(transaction)
            self._tester.mine_block()
            return sent

    def call(
        self,
        transaction: Any,
        block_identifier: Any = None,
        state_override: Any = None,
        ccip_read_enabled: bool | None = None,
    ) -> HexBytes:
        """Execute a call. The answer is kept while its block is the newest that was asked about."""
        said = {name for name, value in transaction.items() if value}
        with self._lock:
            header = self._header(block_identifier or self.default_block)
            if header is None or state_override or "to" not in said or not said <= {"from", "to", "data"}:
                return super().call(transaction, block_identifier, state_override, ccip_read_enabled)
            sender = canonical(transaction.get("from") or self.default_account)
            asked = sender, canonical(transaction["to"]), bytes(HexBytes(transaction.get("data") or b""))
            if self._called_at != header.hash:
                self._called_at = header.hash
                self._calls.clear()
            if asked not in self._calls:
                computation = self._backend.computation(header, *asked)
                if computation.is_error:  # web3 turns it into one of its exceptions
                    return super().call(transaction, block_identifier, state_override, ccip_read_enabled)
                self._calls[asked] = HexBytes(computation.output)
            return self._calls[asked]

    def get_logs(self, filter_params: Any) -> list[LogReceipt]:
        """Return the logs of some contracts in a range of blocks, optionally with some topics."""
        first, last = filter_params.get("fromBlock"), filter_params.get("toBlock")
        addresses, topics = filter_params.get("address"), filter_params.get("topics") or []
        plain = isinstance(first, int) and isinstance(last, int) and isinstance(addresses, list)
        plain &= not any(isinstance(topic, list | tuple) for topic in topics)  # of which one would do
        with self._lock:
            if not plain or last > self.block_number or filter_params.keys() - _FILTER:
                return super().get_logs(filter_params)
            contracts = {canonical(address) for address in addresses}
            words = [None if topic is None else int.from_bytes(HexBytes(topic), "big") for topic in topics]
            wanted = partial(_is_wanted, contracts, words)
            found: list[LogReceipt] = []
            for number in range(first, last + 1):
                header = self._chain.get_canonical_block_header_by_number(BlockNumber(number))
                if header.bloom:
                    block, receipts = self._backend.block(header)
                    for index in range(len(receipts)):
                        found += _logs(block, receipts, index, wanted)
            return found

    def get_transaction(self, transaction_hash: Any) -> TxData:
        """Return a mined transaction."""
        with self._lock:
            mined = self._backend.mined(Hash32(bytes(HexBytes(transaction_hash))))
            if mined is None or getattr(mined[0].transactions[mined[2]], "type_id", 0) != DYNAMIC_FEE_TYPE:
                return super().get_transaction(transaction_hash)
            return _transaction(mined[0], mined[2])

    def get_transaction_receipt(self, transaction_hash: Any) -> TxReceipt:
        """Return the receipt of a mined transaction."""
        with self._lock:
            mined = self._backend.mined(Hash32(bytes(HexBytes(transaction_hash))))
            if mined is None or not mined[0].transactions[mined[2]].to:
                return super().get_transaction_receipt(transaction_hash)
            key = mined[0].hash, mined[2]
            if key not in self._receipts:
                if len(self._receipts) >= KEPT_RECEIPTS:
                    del self._receipts[next(iter(self._receipts))]
                self._receipts[key] = _receipt(*mined)
            return self._receipts[key]

    def reason_of(self, receipt: TxReceipt) -> bytes | None:
        """Return what a transaction reverted with where it stands in its block; None of blocks from elsewhere."""
        with self._lock:
            return self._chain.reasons.get((Hash32(bytes(receipt["blockHash"])), receipt["transactionIndex"]))

    def _header(self, block_identifier: Any) -> BlockHeaderAPI | None:
        """Return the header of "latest", or of a number; None for other words and for blocks that are not there."""
        head = self._chain.newest()
        if block_identifier in ("latest", head.block_number):
            return head
        if not isinstance(block_identifier, int) or not 0 <= block_identifier < head.block_number:
            return None
        return self._chain.get_canonical_block_header_by_number(BlockNumber(block_identifier))


def first_log(receipts: Sequence[ReceiptAPI], index: int) -> int:
    """Return the place in its block of the first log of a transaction: logs are counted through the whole block."""
    return sum(len(receipt.logs) for receipt in receipts[:index])


def _is_wanted(contracts: Container[bytes], topics: Sequence[int | None], log: LogAPI) -> bool:
    """Return True for a log of one of the contracts that has these topics; None stands for any."""
    if log.address not in contracts or len(log.topics) < len(topics):
        return False
    return all(topic is None or topic == found for topic, found in zip(topics, log.topics, strict=False))


def _logs(
    block: BlockAPI, receipts: Sequence[ReceiptAPI], index: int, wanted: Callable[[LogAPI], bool] | None = None
) -> Iterator[LogReceipt]:
    """Yield the logs of a transaction, those that are wanted or all."""
    for place, log in enumerate(receipts[index].logs, first_log(receipts, index)):
        if wanted is None or wanted(log):
            fields = {
                "type": "mined",
                "logIndex": place,
                "transactionIndex": index,
                "transactionHash": HexBytes(block.transactions[index].hash),
                "blockHash": HexBytes(block.hash),
                "blockNumber": block.number,
                "address": checksummed(log.address),
                "data": HexBytes(log.data),
                "topics": [HexBytes(topic.to_bytes(32, "big")) for topic in log.topics],
            }
            yield cast(LogReceipt, AttributeDict(fields))


def _block(block: BlockAPI) -> BlockData:
    """Return a block with the hashes of its transactions."""
    header = block.header
    fields = {
        "number": header.block_number,
        "hash": HexBytes(header.hash),
        "parentHash": HexBytes(header.parent_hash),
        "nonce": HexBytes(header.nonce),
        "sha3Uncles": HexBytes(header.uncles_hash),
        "logsBloom": HexBytes(header.bloom),
        "transactionsRoot": HexBytes(header.transaction_root),
        "receiptsRoot": HexBytes(header.receipt_root),
        "stateRoot": HexBytes(header.state_root),
        "miner": checksummed(header.coinbase),
        "difficulty": header.difficulty,
        "totalDifficulty": header.difficulty,  # as eth-tester has it
        "mixHash": HexBytes(header.mix_hash),
        "size": len(rlp.encode(block)),
        "extraData": HexBytes(header.extra_data.ljust(32, b"\0")),
        "gasLimit": header.gas_limit,
        "gasUsed": header.gas_used,
        "timestamp": header.timestamp,
        "transactions": [HexBytes(transaction.hash) for transaction in block.transactions],
        "uncles": [],
        "baseFeePerGas": header.base_fee_per_gas,
    }
    return cast(BlockData, AttributeDict(fields))


def _transaction(block: BlockAPI, index: int) -> TxData:
    """Return a transaction whose fees have limits, as those of servers have."""
    transaction: Any = block.transactions[index]
    fields = {
        "type": DYNAMIC_FEE_TYPE,
        "hash": HexBytes(transaction.hash),
        "nonce": transaction.nonce,
        "blockHash": HexBytes(block.hash),
        "blockNumber": block.number,
        "transactionIndex": index,
        "from": checksummed(transaction.sender),
        "to": checksummed(transaction.to) if transaction.to else None,
        "value": transaction.value,
        "gas": transaction.gas,
        "input": HexBytes(transaction.data),
        "chainId": transaction.chain_id,
        "accessList": [],
        "maxFeePerGas": transaction.max_fee_per_gas,
        "maxPriorityFeePerGas": transaction.max_priority_fee_per_gas,
        "gasPrice": _price(block, transaction),
        "v": transaction.y_parity,
        "s": HexBytes(transaction.s),
        "r": HexBytes(transaction.r),
        "y_parity": transaction.y_parity,
    }
    return cast(TxData, AttributeDict(fields))


def _price(block: BlockAPI, transaction: SignedTransactionAPI) -> int:
    """Return the wei that a unit of gas cost."""
    base_fee = block.header.base_fee_per_gas or 0
    return min(transaction.max_fee_per_gas, transaction.max_priority_fee_per_gas + base_fee)


def _receipt(block: BlockAPI, receipts: Sequence[ReceiptAPI], index: int) -> TxReceipt:
    """Return the receipt of a transaction that made no contract."""
    transaction, receipt = block.transactions[index], receipts[index]
    fields = {
        "blockHash": HexBytes(block.hash),
        "blockNumber": block.number,
        "contractAddress": None,
        "cumulativeGasUsed": receipt.gas_used,
        "effectiveGasPrice": _price(block, transaction),
        "from": checksummed(transaction.sender),
        "gasUsed": receipt.gas_used - (receipts[index - 1].gas_used if index else 0),
        "logs": list(_logs(block, receipts, index)),
        "state_root": receipt.state_root,
        "status": int.from_bytes(receipt.state_root, "big"),
        "to": checksummed(transaction.to),
        "transactionHash": HexBytes(transaction.hash),
        "transactionIndex": index,
        "type": getattr(transaction, "type_id", 0),
    }
    return cast(TxReceipt, AttributeDict(fields))
