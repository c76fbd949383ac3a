"""A chain inside this process: eth-tester on py-evm, with blocks that re-execute to the same state anywhere."""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import eth_tester.exceptions
from eth.abc import BlockAPI, BlockHeaderAPI, ComputationAPI, ReceiptAPI, StateAPI
from eth.constants import BLANK_ROOT_HASH, DIFFICULTY_MINIMUM, GENESIS_PARENT_HASH, ZERO_ADDRESS, ZERO_HASH32
from eth.db.atomic import AtomicDB
from eth.db.backends.memory import MemoryDB
from eth.db.chain import ChainDB
from eth.exceptions import TransactionNotFound as IndexMissing
from eth.typing import AccountDetails
from eth.vm.message import Message
from eth.vm.spoof import SpoofTransaction
from eth_keys.datatypes import PrivateKey
from eth_tester import EthereumTester
from eth_tester.backends.pyevm.main import PyEVMBackend, _get_vm_for_block_number
from eth_tester.backends.pyevm.serializers import serialize_transaction, serialize_transaction_receipt
from eth_tester.exceptions import TransactionNotFound
from eth_typing import Address, ChecksumAddress, Hash32
from eth_utils.exceptions import ValidationError
from web3 import EthereumTesterProvider, Web3
from web3.types import RPCEndpoint, RPCError, RPCResponse

from fbfl.chain.embedded.direct import DirectEth, first_log
from fbfl.chain.embedded.machine import decoded
from fbfl.chain.embedded.rules import GAS_LIMIT, GENESIS_TIME, Kind, LondonChain, chain_class
from fbfl.chain.head import Head
from fbfl.errors import require

DEFAULT_ACCOUNTS = 11
BALANCE = 1_000_000 * 10**18
"""Wei of every account at the start."""

DECODED_BLOCKS = 16
"""Number of blocks that are kept decoded."""


def account_keys(number: int) -> list[PrivateKey]:
    """Return the private keys of the first `number` accounts of every embedded chain: public, for test money only."""
    return [PrivateKey(hashlib.sha256(b"fbfl embedded account %d" % index).digest()) for index in range(number)]


@dataclass(frozen=True)
class Genesis:
    """Start of a chain: the header of block 0 (py-evm's field names), the accounts, one of `SEALS`."""

    header: Mapping[str, Any]
    alloc: Mapping[Address, AccountDetails]
    seal: str = "none"


def default_genesis(
    accounts: int = DEFAULT_ACCOUNTS, seal: str = "none", difficulty: int = DIFFICULTY_MINIMUM
) -> Genesis:
    """Return block 0 with this many funded accounts, the same every time. Fewer than 1 raises `InvalidInputError`."""
    require(accounts >= 1, "accounts", accounts, "at least 1")
    header = {
        "coinbase": ZERO_ADDRESS,
        "difficulty": difficulty,
        "extra_data": b"",
        "gas_limit": GAS_LIMIT,
        "mix_hash": ZERO_HASH32,
        "nonce": bytes(8),
        "receipt_root": BLANK_ROOT_HASH,
        "timestamp": GENESIS_TIME,
        "transaction_root": BLANK_ROOT_HASH,
    }
    funded: AccountDetails = {"balance": BALANCE, "nonce": 0, "code": b"", "storage": {}}
    addresses = [Address(key.public_key.to_canonical_address()) for key in account_keys(accounts)]
    return Genesis(header, dict.fromkeys(addresses, funded), seal)


class LondonBackend(PyEVMBackend):  # type: ignore[misc]
    """eth-tester's view of one `LondonChain`."""

    chain: LondonChain

    def __init__(self, chain: LondonChain, keys: list[PrivateKey]) -> None:
        self._given = chain, tuple(keys)
        self._decoded: dict[Hash32, tuple[BlockAPI, tuple[ReceiptAPI, ...]]] = {}
        self._places: dict[Hash32, tuple[BlockHeaderAPI, int]] = {}  # of the transactions of decoded blocks
        self._read: tuple[Hash32, StateAPI] | None = None
        self._keys = {key.public_key.to_canonical_address(): key for key in keys}
        super().__init__()

    @property
    def _key_lookup(self) -> dict[bytes, PrivateKey]:
        """Keys by address; eth-tester would compute the addresses anew, twice, for each transaction."""
        return self._keys

    def add_account(self, private_key: bytes) -> None:
        """Sign for one more account."""
        super().add_account(private_key)
        key = self.account_keys[-1]
        self._keys[key.public_key.to_canonical_address()] = key

    def reset_to_genesis(self, *_args: Any, **_kwargs: Any) -> None:
        """Take the chain as it is: eth-tester would make one of its own."""
        self.chain, self.account_keys = self._given

    def mine_blocks(self, num_blocks: int = 1, coinbase: bytes = ZERO_ADDRESS) -> tuple[bytes, ...]:
        """Mine the waiting transactions, then empty blocks up to `num_blocks`."""
        params = {} if coinbase == ZERO_ADDRESS else {"coinbase": coinbase}
        return tuple(self.chain.mine_block(**params).hash for _ in range(num_blocks))

    def time_travel(self, to_timestamp: int) -> int:
        """Mine a block with this timestamp."""
        self.chain.mine_block(timestamp=to_timestamp)
        return to_timestamp

    def revert_to_snapshot(self, snapshot: bytes) -> None:
        """Make the block with this hash the head again, with no transaction waiting."""
        head = self.chain.get_block_by_hash(Hash32(snapshot)).header
        database = cast(ChainDB, self.chain.chaindb)
        database._set_as_canonical_chain_head(database.db, head, GENESIS_PARENT_HASH)
        self.chain.pool.clear()
        self.chain.header = self.chain.create_header_from_parent(head)

    def get_nonce(self, account: bytes, block_number: int | str = "latest") -> int:
        """Return the next nonce of an account; the waiting transactions count for "pending"."""
        if block_number not in ("latest", "pending"):
            return int(super().get_nonce(account, block_number))
        mined = self._state(self.chain.newest()).get_nonce(Address(account))
        return mined + self.chain.pooled(Address(account)) if block_number == "pending" else mined

    def send_raw_transaction(self, raw_transaction: bytes) -> bytes:
        """Take a signed transaction; returns its hash."""
        transaction = decoded(raw_transaction)
        self.chain.apply_transaction(transaction)
        return transaction.hash

    def _normalize_transaction(self, transaction: dict[str, Any], block_number: int | str = "latest") -> Any:
        if "nonce" not in transaction:
            transaction = {**transaction, "nonce": self.get_nonce(transaction["from"], "pending")}
        return super()._normalize_transaction(transaction, block_number)

    def call(self, transaction: dict[str, Any], block_number: int | str = "latest") -> bytes:
        """Execute without keeping anything; a revert raises `RevertedError` with its data, unlike eth-tester's text."""
        # Transactions that wait to be mined do not count: a call runs on the state after its block.
        nonce = super().get_nonce(transaction["from"], block_number)
        transaction = {"gas": self.chain.header.gas_limit, "nonce": nonce, **transaction}
        unsigned = self._get_normalized_and_unsigned_evm_transaction(transaction, block_number)
        # A call costs nothing, so give the caller what py-evm is going to take for it.
        state = _get_vm_for_block_number(self.chain, block_number).state
        state.set_balance(transaction["from"], state.get_balance(transaction["from"]) + unsigned.gas * 10**9)
        computation = state.apply_transaction(SpoofTransaction(unsigned, from_=transaction["from"]))
        if computation.is_error:
            raise RevertedError(computation.output)
        return bytes(computation.output)

    def computation(self, header: BlockHeaderAPI, sender: Address, to: Address, data: bytes) -> ComputationAPI:
        """Execute a call without value or limits on the state after a block, without keeping anything."""
        state = self._state(header)
        snapshot = state.snapshot()
        context = state.get_transaction_context_class()(gas_price=0, origin=sender)
        message = Message(header.gas_limit, to, sender, 0, data, state.get_code(to))
        computation = state.computation_class.apply_message(state, message, context)
        state.revert(snapshot)
        return computation

    def _state(self, header: BlockHeaderAPI) -> StateAPI:
        """Return the state after a block, only to be read; the last one is kept, with what was read from it."""
        if self._read is None or self._read[0] != header.hash:
            self._read = header.hash, self.chain.get_vm(header).state
        return self._read[1]

    # eth-tester looks for a transaction from the head backwards, which makes reading the logs of a long chain
    # quadratic. The chain has an index; an entry left over from before a revert is told by its hash.

    def get_transaction_by_hash(self, transaction_hash: bytes) -> Any:
        """Return a mined transaction in eth-tester's terms."""
        block, _, index = self._find(Hash32(transaction_hash))
        return serialize_transaction(block, block.transactions[index], index, is_pending=False)

    def get_transaction_receipt(self, transaction_hash: bytes) -> Any:
        """Return a receipt in eth-tester's terms."""
        block, receipts, index = self._find(Hash32(transaction_hash))
        receipt = serialize_transaction_receipt(
            block, receipts, block.transactions[index], index, is_pending=False, vm=self.chain.get_vm()
        )
        for place, log in enumerate(receipt["logs"], first_log(receipts, index)):
            log["log_index"] = place  # eth-tester counts from the transaction's first
        return receipt

    def _find(self, transaction_hash: Hash32) -> tuple[BlockAPI, tuple[ReceiptAPI, ...], int]:
        found = self.mined(transaction_hash)
        if found is None:
            raise TransactionNotFound(f"No transaction found for transaction hash: 0x{transaction_hash.hex()}")
        return found

    def mined(self, transaction_hash: Hash32) -> tuple[BlockAPI, tuple[ReceiptAPI, ...], int] | None:
        """Return the block of a transaction, the block's receipts, and its place there; None if it is not mined."""
        self.block(self.chain.newest())  # whose places are asked for most
        header, index = self._places.get(transaction_hash, (None, 0))
        if header is not None and self._stands(header):
            return *self._decoded[header.hash], index
        try:
            number, index = self.chain.get_canonical_transaction_index(transaction_hash)
        except IndexMissing:
            return None
        if number >= self.chain.header.block_number:
            return None
        block, receipts = self.block(self.chain.get_canonical_block_header_by_number(number))
        stands = block.transactions[index : index + 1] and block.transactions[index].hash == transaction_hash
        return (block, receipts, index) if stands else None

    def _stands(self, header: BlockHeaderAPI) -> bool:
        """Return True if a block is on the chain up to the head."""
        number = header.block_number
        return number < self.chain.header.block_number and self.chain.get_canonical_block_hash(number) == header.hash

    def block(self, header: BlockHeaderAPI) -> tuple[BlockAPI, tuple[ReceiptAPI, ...]]:
        """Return a block with its receipts. The last ones are kept decoded: their transactions are asked for singly."""
        if header.hash not in self._decoded:
            if len(self._decoded) >= DECODED_BLOCKS:
                oldest, _ = self._decoded.pop(next(iter(self._decoded)))
                for transaction in oldest.transactions:
                    self._places.pop(transaction.hash, None)
            mined = self.chain.mined
            if mined is None or mined[0].hash != header.hash:
                block = self.chain.get_block_by_header(header)
                mined = block, tuple(block.get_receipts(self.chain.chaindb))
            self._decoded[header.hash] = mined
            self._places |= {
                transaction.hash: (header, place) for place, transaction in enumerate(mined[0].transactions)
            }
        return self._decoded[header.hash]


class BatchingTester(EthereumTester):  # type: ignore[misc]
    """Mines after every transaction, unless several are meant for one block."""

    batching = False

    def mine_block(self, *args: Any, **kwargs: Any) -> Any:
        """Called by eth-tester after each transaction, and by `evm_mine`."""
        if self.batching:
            return None
        if self._block_filters or self._log_filters or args or kwargs:
            return super().mine_block(*args, **kwargs)
        return self.backend.mine_blocks()[0]  # without packing the block for filters that nobody has

    def _handle_filtering_for_transaction(self, transaction_hash: str) -> None:
        """Feed no filter yet: receipts exist only after the block, which feeds the filters itself."""


class RevertedError(Exception):
    """A call reverted; `data` is what it reverted with."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class LockedProvider(EthereumTesterProvider):
    """One request at a time, so that servers may live in threads; refusals in the words of real nodes."""

    def __init__(self, tester: EthereumTester, lock: threading.RLock) -> None:
        super().__init__(tester)
        self.lock = lock

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Answer a JSON-RPC request."""
        error: RPCError
        try:
            with self.lock:
                return super().make_request(method, params)
        except RevertedError as reverted:
            error = {"code": 3, "message": "execution reverted", "data": "0x" + reverted.data.hex()}
        except (ValidationError, eth_tester.exceptions.ValidationError) as refused:
            error = {"code": -32000, "message": str(refused)}
        return {"id": 0, "jsonrpc": "2.0", "error": error}


@dataclass(frozen=True)
class EmbeddedChain:
    """A running in-process chain. `w3` speaks to it. Outside of `one_block` a transaction is mined at once, alone.

    `keys` holds the private keys of `accounts`, which the chain also signs for.
    """

    genesis: Genesis
    tester: BatchingTester
    w3: Web3
    keys: Mapping[ChecksumAddress, PrivateKey]
    lock: threading.RLock

    @property
    def accounts(self) -> list[ChecksumAddress]:
        """The funded accounts, in their fixed order."""
        return list(self.keys)

    @property
    def chain(self) -> LondonChain:
        """The py-evm chain."""
        chain: LondonChain = self.tester.backend.chain
        return chain

    def head(self) -> Head:
        """Return the newest block, which every read asks for, without the cost of JSON-RPC."""
        with self.lock:
            return self.chain.head()

    def mine(self, blocks: int = 1) -> None:
        """Mine this many blocks."""
        with self.lock:
            self.tester.mine_blocks(blocks)

    def travel(self, seconds: int) -> None:
        """Let `seconds` (at least 1) pass from the head's time: the next block is that much later, and empty."""
        with self.lock:
            self.tester.backend.time_travel(self.chain.get_canonical_head().timestamp + seconds)

    @contextmanager
    def one_block(self) -> Iterator[None]:
        """Put the transactions that are sent inside into one block (or more, where its gas limit needs it).

        Their receipts exist only afterwards: do not wait for them inside.
        """
        self.tester.batching = True
        try:
            yield
        finally:
            with self.lock:
                self.tester.batching = False
                waiting = len(self.chain.pool) + 1
                while 0 < len(self.chain.pool) < waiting:
                    waiting = len(self.chain.pool)
                    self.tester.mine_block()

    def copy(self, lock: "threading.RLock | None" = None) -> "EmbeddedChain":
        """Return a copy that goes on from this one's head, without the transactions that wait to be mined.

        Chains that mine together share a `lock`; without, it has its own.
        """
        with self.lock:
            database = cast(AtomicDB, self.chain.chaindb.db).wrapped_db
            chain = type(self.chain)(AtomicDB(MemoryDB(dict(cast(MemoryDB, database).kv_store))))
            chain.miner = self.chain.miner
        return attach(self.genesis, chain, lock or threading.RLock())

    def snapshot(self) -> bytes:
        """Return the head, to return to with `revert`."""
        return bytes(self.chain.get_canonical_head().hash)

    def revert(self, snapshot: bytes) -> None:
        """Forget every block after the snapshot."""
        with self.lock:
            self.tester.backend.revert_to_snapshot(snapshot)


def start_chain(accounts: int = DEFAULT_ACCOUNTS) -> EmbeddedChain:
    """Return a new chain at block 0, with this many funded accounts (at least 1)."""
    return open_chain(default_genesis(accounts))


def open_chain(genesis: Genesis) -> EmbeddedChain:
    """Return a chain at block 0 of this genesis."""
    return attach(genesis, make_chain(genesis, LondonChain), threading.RLock())


def make_chain(genesis: Genesis, kind: type[Kind]) -> Kind:
    """Return a py-evm chain at block 0, with a database of its own."""
    sealed = chain_class(kind, genesis.seal, genesis.header["difficulty"])
    return cast(Kind, sealed.from_genesis(AtomicDB(), dict(genesis.header), dict(genesis.alloc)))


def attach(genesis: Genesis, chain: LondonChain, lock: threading.RLock) -> EmbeddedChain:
    """Put web3 on a py-evm chain; chains that mine together share the lock."""
    keys = account_keys(len(genesis.alloc))
    addresses = [Web3.to_checksum_address(key.public_key.to_canonical_address()) for key in keys]
    tester = BatchingTester(LondonBackend(chain, keys))
    w3 = Web3(LockedProvider(tester, lock))
    w3.eth = DirectEth(w3, tester, lock)
    # Without it web3 asks for all accounts, three times, before each call.
    w3.eth.default_account = addresses[0]
    return EmbeddedChain(genesis, tester, w3, dict(zip(addresses, keys, strict=True)), lock)
