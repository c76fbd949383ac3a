"""The accounts of embedded chains hold what py-evm's hold, whatever is done to them, and have the same root."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from eth.db.account import AccountDB
from eth.db.atomic import AtomicDB
from eth_typing import Address
from eth_utils.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from fbfl.chain.embedded import accounts as module
from fbfl.chain.embedded.accounts import PlainAccounts

ADDRESSES = [Address(bytes([number]) * 20) for number in range(4)]
SLOTS = [0, 1, 255, 2**256 - 1]

addresses, slots = st.sampled_from(ADDRESSES), st.sampled_from(SLOTS)
numbers = st.sampled_from([0, 1, 127, 128, 2**63])
step = st.one_of(
    st.tuples(st.just("set_storage"), addresses, slots, numbers),
    st.tuples(st.just("set_storage"), addresses, slots, numbers),
    st.tuples(st.just("set_balance"), addresses, numbers),
    st.tuples(st.just("set_nonce"), addresses, numbers),
    st.tuples(st.sampled_from(["touch_account", "increment_nonce"]), addresses),
    st.tuples(st.just("set_code"), addresses, st.binary(max_size=3)),
    st.tuples(st.sampled_from(["mark_address_warm", "delete_code"]), addresses),
    st.tuples(st.just("mark_storage_warm"), addresses, slots),
    st.tuples(st.sampled_from(["record", "discard", "commit", "lock_changes", "persist", "delete_account"]), addresses),
)


class Played:
    """Accounts with the marks that were made of them."""

    def __init__(self, kind: Callable[..., Any]) -> None:
        self.db = AtomicDB()
        self.kind = kind
        self.accounts = kind(self.db)
        self.marks: list[Any] = []

    def take(self, name: str, address: Address, *values: Any) -> None:
        """Take one step; marks are of one transaction, and accounts are removed at its end, as by py-evm."""
        if name == "record":
            self.marks.append(self.accounts.record())
        elif name in ("discard", "commit"):
            if self.marks:
                getattr(self.accounts, name)(self.marks.pop())
        elif name in ("lock_changes", "persist", "delete_account"):
            while self.marks:
                self.accounts.commit(self.marks.pop())
            if name == "delete_account":
                self.accounts.delete_account(address)
            self.accounts.lock_changes()
            if name == "persist":
                self.accounts.persist()
                self.accounts = self.kind(self.db, self.accounts.state_root)
        else:
            getattr(self.accounts, name)(address, *values)

    def seen(self) -> list[Any]:
        """All that accounts tell."""
        every = self.accounts
        return [
            (
                every.account_exists(address) and (every.get_balance(address), every.get_nonce(address)),
                every.get_code(address),
                every.get_code_hash(address),
                every.account_has_code_or_nonce(address),
                every.account_is_empty(address),
                every.is_address_warm(address),
                [every.get_storage(address, slot) for slot in SLOTS],
                [every.get_storage(address, slot, from_journal=False) for slot in SLOTS],
                [every.is_storage_warm(address, slot) for slot in SLOTS],
            )
            for address in ADDRESSES
        ]


@given(st.lists(step, max_size=20))
def test_accounts_are_those_of_py_evm(steps: Sequence[tuple[Any, ...]]) -> None:
    ours, theirs = Played(PlainAccounts), Played(AccountDB)
    for taken in steps:
        ours.take(*taken)
        theirs.take(*taken)
        assert ours.seen() == theirs.seen()
    ours.take("persist", ADDRESSES[0])
    theirs.take("persist", ADDRESSES[0])
    assert ours.accounts.state_root == theirs.accounts.state_root
    module._states.clear()  # what was written is there, too, for who has seen nothing
    cold = PlainAccounts(ours.db, ours.accounts.state_root)
    ours.accounts = cold
    assert ours.seen() == theirs.seen()


def test_states_that_go_on_from_the_same_one_do_not_see_each_others_changes() -> None:
    db = AtomicDB()
    first = PlainAccounts(db)
    first.set_storage(ADDRESSES[0], 1, 5)
    first.set_balance(ADDRESSES[0], 1)
    first.persist()
    other = PlainAccounts(db, first.state_root)
    first.set_storage(ADDRESSES[0], 1, 6)
    first.persist()
    assert (other.get_storage(ADDRESSES[0], 1), first.get_storage(ADDRESSES[0], 1)) == (5, 6)
    assert first.has_root(other.state_root)
    first.set_balance(ADDRESSES[0], 7)
    first.state_root = other.state_root
    assert (first.get_storage(ADDRESSES[0], 1), first.get_balance(ADDRESSES[0])) == (5, 1)


@pytest.mark.parametrize("balance", [-1, 2**256])
def test_no_account_has_less_than_nothing_or_more_than_a_word(balance: int) -> None:
    with pytest.raises(ValidationError, match="a balance of"):
        PlainAccounts(AtomicDB()).set_balance(ADDRESSES[0], balance)
