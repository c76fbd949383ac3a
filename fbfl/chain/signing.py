"""Signed transactions as bytes: calls with limits of fees (EIP-1559) without more ado, all others by eth-account."""

from collections.abc import Mapping
from typing import Any, cast

from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak
from web3.types import TxParams

from fbfl.chain.encoding import encoded, number
from fbfl.chain.keys import sign

_FEES_WITH_LIMITS = b"\2"
_FIELDS = ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas")
_KNOWN = {*_FIELDS, "from", "to", "value", "data"}


def signed(account: LocalAccount, transaction: TxParams) -> tuple[bytes, bytes]:
    """Return a transaction signed by an account whose key is here, and its hash."""
    fields = cast(Mapping[str, Any], transaction)
    if not set(_FIELDS) <= fields.keys() <= _KNOWN or not fields.get("to"):
        signed = account.sign_transaction(cast(Any, transaction))
        return bytes(signed.raw_transaction), bytes(signed.hash)
    body: list[Any] = [
        *(number(fields[name]) for name in _FIELDS),
        bytes.fromhex(fields["to"][2:]),
        number(fields.get("value", 0)),
        bytes.fromhex(fields.get("data", "0x")[2:]),
        [],  # of the storage that it will read: none is named
    ]
    r, s, parity = sign(bytes(account.key), keccak(_FEES_WITH_LIMITS + encoded(body)))
    raw = _FEES_WITH_LIMITS + encoded([*body, *map(number, (parity, r, s))])
    return raw, keccak(raw)
