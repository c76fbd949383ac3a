"""Signed transactions as bytes: calls with limits of fees (EIP-1559) without more ado, all others by eth-account."""

from collections.abc import Mapping
from typing import Any, cast

from eth_account.signers.local import LocalAccount
from eth_keys.datatypes import PrivateKey
from eth_utils.address import to_canonical_address
from eth_utils.crypto import keccak
from rlp.codec import encode_raw
from web3.types import TxParams

_FEES_WITH_LIMITS = b"\2"
_FIELDS = ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas")
_KNOWN = {*_FIELDS, "from", "to", "value", "data"}


class Signer:
    """Signs transactions of one account whose key is here."""

    def __init__(self, account: LocalAccount) -> None:
        self._account = account
        self._key = PrivateKey(bytes(account.key))

    def signed(self, transaction: TxParams) -> tuple[bytes, bytes]:
        """Return a transaction signed, and its hash."""
        fields = cast(Mapping[str, Any], transaction)
        if not set(_FIELDS) <= fields.keys() <= _KNOWN or not fields.get("to"):
            signed = self._account.sign_transaction(cast(Any, transaction))
            return bytes(signed.raw_transaction), bytes(signed.hash)
        body: list[Any] = [
            *(_number(fields[name]) for name in _FIELDS),
            to_canonical_address(fields["to"]),
            _number(fields.get("value", 0)),
            bytes.fromhex(fields.get("data", "0x")[2:]),
            [],  # of the storage that it will read: none is named
        ]
        signature = self._key.sign_msg_hash(keccak(_FEES_WITH_LIMITS + encode_raw(body)))
        raw = _FEES_WITH_LIMITS + encode_raw([*body, *map(_number, (signature.v, signature.r, signature.s))])
        return raw, keccak(raw)


def _number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")
