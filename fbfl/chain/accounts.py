"""The funded accounts of local networks: the same on each, from the phrase that development nodes share.

Everybody knows their keys. They are for networks on this machine only.
"""

import functools

from eth_account import Account
from eth_account.hdaccount import key_from_seed, seed_from_mnemonic
from eth_account.signers.local import LocalAccount

MNEMONIC = "test test test test test test test test test test test junk"
FUNDED = 100
"""Number of accounts that every local network funds."""

BALANCE_ETHER = 1_000_000
LOCAL_CHAINS = (31337, 1337, 1338)
"""Chain ids of the local networks, the only ones that these accounts are for."""


@functools.cache
def development_account(index: int) -> LocalAccount:
    """Return the account number `index`, from 0; on a geth network the blocks of node number `index` pay it."""
    account: LocalAccount = Account.from_key(key_from_seed(_seed(), f"m/44'/60'/0'/0/{index}"))
    return account


@functools.cache
def _seed() -> bytes:
    return seed_from_mnemonic(MNEMONIC, "")
