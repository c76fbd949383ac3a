"""The accounts of an embedded chain: what py-evm's `AccountDB` is, in plain dictionaries.

py-evm's has seven databases on top of each other, of encoded values, and begins each block knowing nothing. Here a
value is an object in a dictionary, a change is noted for its undoing, tries are changed once, at the end of a block,
and what was read or written stays known for the next one.
"""

from typing import Any, NamedTuple, cast

import rlp
from eth.abc import AccountDatabaseAPI, AtomicDatabaseAPI, MetaWitnessAPI
from eth.constants import BLANK_ROOT_HASH, EMPTY_SHA3
from eth.db.witness import MetaWitness
from eth.typing import JournalDBCheckpoint
from eth_hash.auto import keccak
from eth_typing import Address, Hash32
from eth_utils.exceptions import ValidationError

from fbfl.chain.embedded.tries import changed, value_of
from fbfl.chain.encoding import encoded, number

KNOWN_STATES = 8
"""Number of states of which is kept what was read: several nodes, and blocks that compete, go on from the same."""

KNOWN_SLOTS = 1 << 16
"""Number of words of storage that are kept of a state."""


class Account(NamedTuple):
    """An account, without its code and its storage."""

    nonce: int = 0
    balance: int = 0
    storage: Hash32 = BLANK_ROOT_HASH
    code: Hash32 = EMPTY_SHA3


class _Known:
    """What was read of one state. It never changes, so that all who read the state share it."""

    def __init__(self, accounts: dict[Address, Account | None], slots: dict[tuple[Address, int], int]) -> None:
        self.accounts = accounts
        self.slots = slots


_states: dict[Hash32, _Known] = {}  # a root stands for one state only, in whatever database


def _known_of(root: Hash32) -> _Known:
    known = _states.pop(root, None) or _Known({}, {})
    _remember(root, known)
    return known


def _remember(root: Hash32, known: _Known) -> None:
    while len(_states) >= KNOWN_STATES:
        _states.pop(next(iter(_states)), None)
    _states[root] = known


_NONE = Account()
_ABSENT: Any = object()


class PlainAccounts(AccountDatabaseAPI):
    """The accounts as they are after some transactions on the state that `state_root` stands for."""

    def __init__(self, db: AtomicDatabaseAPI, state_root: Hash32 = BLANK_ROOT_HASH) -> None:
        self._db = db
        self._begin(state_root)

    def _begin(self, root: Hash32) -> None:
        self._root = root
        self._known = _known_of(root)
        # What has changed since, how to take that back, and what the transaction has changed and looked at.
        self._accounts: dict[Address, Account | None] = {}
        self._slots: dict[tuple[Address, int], int] = {}
        self._wiped: dict[Address, bool] = {}
        self._codes: dict[Hash32, bytes] = {}
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self._of_transaction: dict[tuple[Address, int], int] = {}
        self._warm: dict[Any, bool] = {}

    @property
    def state_root(self) -> Hash32:
        """Root of the state after the last `persist`. To set another forgets what has changed since."""
        return self._root

    @state_root.setter
    def state_root(self, value: Hash32) -> None:
        if value != self._root:
            self._begin(value)

    def has_root(self, state_root: bytes) -> bool:
        """Return True if the state of a root is there."""
        return state_root == BLANK_ROOT_HASH or state_root in self._db

    def _set(self, values: dict[Any, Any], key: Any, value: Any) -> None:
        self._undo.append((values, key, values.get(key, _ABSENT)))
        values[key] = value

    # ------------------------------------------------------------ storage

    def get_storage(self, address: Address, slot: int, from_journal: bool = True) -> int:
        """Return a word of storage; without `from_journal` as it was before the transaction."""
        key = address, slot
        if not from_journal and key in self._of_transaction:
            return self._of_transaction[key]
        value = self._slots.get(key)
        return self._stored(key) if value is None else value

    def _stored(self, key: tuple[Address, int]) -> int:
        """Return a word that this block has not written."""
        address, slot = key
        if address in self._wiped:
            return 0
        value = self._known.slots.get(key)
        if value is None:
            account = self._read(address)
            code = b"" if account is None else value_of(self._db, account.storage, keccak(slot.to_bytes(32, "big")))
            value = self._known.slots[key] = int.from_bytes(rlp.decode(code), "big") if code else 0
        return value

    def set_storage(self, address: Address, slot: int, value: int) -> None:
        """Write a word of storage."""
        key = address, slot
        if key not in self._of_transaction:
            self._of_transaction[key] = self.get_storage(address, slot)
        self._set(self._slots, key, value)

    def delete_storage(self, address: Address) -> None:
        """Forget all storage of an account."""
        account = self._get(address)
        written = [key for key in self._slots if key[0] == address]
        if not written and (account is None or account.storage == BLANK_ROOT_HASH):
            return
        for key in written:
            self._set(self._slots, key, 0)
        self._set(self._wiped, address, True)
        if account is not None:
            self._set(self._accounts, address, account._replace(storage=BLANK_ROOT_HASH))

    def is_storage_warm(self, address: Address, slot: int) -> bool:
        """Return True if the transaction has looked at this word."""
        return (address, slot) in self._warm

    def mark_storage_warm(self, address: Address, slot: int) -> None:
        """Note that the transaction looks at this word."""
        if (address, slot) not in self._warm:
            self._set(self._warm, (address, slot), True)

    # ------------------------------------------------------------ accounts

    def _get(self, address: Address) -> Account | None:
        account = self._accounts.get(address, _ABSENT)
        return self._read(address) if account is _ABSENT else cast(Account | None, account)

    def _read(self, address: Address) -> Account | None:
        """Return an account as it was before the block."""
        account = self._known.accounts.get(address, _ABSENT)
        if account is _ABSENT:
            code = value_of(self._db, self._root, keccak(address))
            account = None
            if code:
                nonce, balance, storage, code_hash = rlp.decode(code)
                account = Account(int.from_bytes(nonce, "big"), int.from_bytes(balance, "big"), storage, code_hash)
            self._known.accounts[address] = account
        return cast(Account | None, account)

    def _change(self, address: Address, **fields: Any) -> None:
        self._set(self._accounts, address, (self._get(address) or _NONE)._replace(**fields))

    def get_balance(self, address: Address) -> int:
        """Return an account's wei."""
        return (self._get(address) or _NONE).balance

    def set_balance(self, address: Address, balance: int) -> None:
        """Set an account's wei; what no account can have raises `ValidationError`."""
        if not 0 <= balance < 2**256:
            raise ValidationError(f"a balance of {balance}")
        self._change(address, balance=balance)

    def get_nonce(self, address: Address) -> int:
        """Return the number of transactions that an account has sent."""
        return (self._get(address) or _NONE).nonce

    def set_nonce(self, address: Address, nonce: int) -> None:
        """Set the number of transactions that an account has sent."""
        self._change(address, nonce=nonce)

    def increment_nonce(self, address: Address) -> None:
        """Count one more transaction."""
        self.set_nonce(address, self.get_nonce(address) + 1)

    def set_code(self, address: Address, code: bytes) -> None:
        """Give an account its code."""
        digest = Hash32(keccak(code))
        self._codes[digest] = code
        self._change(address, code=digest)

    def get_code(self, address: Address) -> bytes:
        """Return an account's code."""
        digest = self.get_code_hash(address)
        if digest == EMPTY_SHA3:
            return b""
        return self._codes[digest] if digest in self._codes else self._db[digest]

    def get_code_hash(self, address: Address) -> Hash32:
        """Return the hash of an account's code."""
        return (self._get(address) or _NONE).code

    def delete_code(self, address: Address) -> None:
        """Take an account's code away."""
        self._change(address, code=EMPTY_SHA3)

    def account_has_code_or_nonce(self, address: Address) -> bool:
        """Return True if a contract is or was made at this address, or something was sent from it."""
        account = self._get(address)
        return account is not None and (account.nonce != 0 or account.code != EMPTY_SHA3)

    def delete_account(self, address: Address) -> None:
        """Remove an account with all it has."""
        self.delete_storage(address)
        self._set(self._accounts, address, None)

    def account_exists(self, address: Address) -> bool:
        """Return True if the account is there, be it empty."""
        return self._get(address) is not None

    def touch_account(self, address: Address) -> None:
        """Make an empty account if there is none."""
        if self._get(address) is None:
            self._set(self._accounts, address, _NONE)

    def account_is_empty(self, address: Address) -> bool:
        """Return True if the account has no wei, no code, and has sent nothing."""
        return not self.account_has_code_or_nonce(address) and self.get_balance(address) == 0

    def is_address_warm(self, address: Address) -> bool:
        """Return True if the transaction has looked at this account."""
        return address in self._warm

    def mark_address_warm(self, address: Address) -> None:
        """Note that the transaction looks at this account."""
        if address not in self._warm:
            self._set(self._warm, address, True)

    # ------------------------------------------------------------ changes

    def record(self) -> JournalDBCheckpoint:
        """Return a mark of what has changed so far, for `discard`."""
        return JournalDBCheckpoint(len(self._undo))

    def discard(self, checkpoint: JournalDBCheckpoint) -> None:
        """Take back what has changed since."""
        while len(self._undo) > checkpoint:
            values, key, before = self._undo.pop()
            if before is _ABSENT:
                del values[key]
            else:
                values[key] = before

    def commit(self, checkpoint: JournalDBCheckpoint) -> None:
        """Do nothing: an earlier mark may still take back what has changed since this one."""

    def lock_changes(self) -> None:
        """Begin a transaction: nothing before it can be taken back."""
        self._undo.clear()
        self._of_transaction.clear()
        self._warm.clear()

    def make_state_root(self) -> Hash32:
        """Write all changes and return the root of the state."""
        self.persist()
        return self.state_root

    def persist(self) -> MetaWitnessAPI:
        """Write all changes into the database. What was read for them is not told."""
        for address in {address for address, _ in self._slots}:
            self._write_storage(address)
        for digest, code in self._codes.items():
            self._db[digest] = code
        leaves = {keccak(address): _leaf(account) for address, account in self._accounts.items()}
        root = changed(self._db, self._root, leaves)
        known = _Known({}, {})
        if not self._wiped and len(self._known.slots) < KNOWN_SLOTS:
            known = _Known(self._known.accounts | self._accounts, self._known.slots | self._slots)
        _remember(root, known)
        self._begin(root)
        return MetaWitness(set(), {})

    def _write_storage(self, address: Address) -> None:
        account = self._get(address)
        words = {
            keccak(slot.to_bytes(32, "big")): encoded(number(value)) if value else b""
            for (owner, slot), value in self._slots.items()
            if owner == address
        }
        root = changed(self._db, (account or _NONE).storage, words)
        if account is not None or root != BLANK_ROOT_HASH:
            self._change(address, storage=root)


def _leaf(account: Account | None) -> bytes:
    if account is None:
        return b""
    return encoded((number(account.nonce), number(account.balance), account.storage, account.code))
