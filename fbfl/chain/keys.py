"""Signing, and who signed, by libsecp256k1; and addresses as text.

eth-account and eth-keys do the same in five times as long: they make keys, numbers and texts of it on the way.
"""

import functools

from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak
from eth_typing import Address, ChecksumAddress
from eth_utils.address import to_canonical_address, to_checksum_address

_key_of = functools.lru_cache(maxsize=512)(PrivateKey)


def sign(key: bytes, digest: bytes) -> tuple[int, int, int]:
    """Sign a hash of 32 bytes by a private key; return r, s in the lower half of its range, and the parity.

    It is the same each time.
    """
    signature = _key_of(key).sign_recoverable(digest, hasher=None)
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]


@functools.lru_cache(maxsize=8192)
def signer_of(digest: bytes, r: int, s: int, parity: int) -> bytes:
    """Return the address that signed a hash; raises some exception, by libsecp256k1's mood, if nobody did.

    Remembered by all that it follows from: a collector checks what the contract in the same process checks again.
    """
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity])
    key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    return keccak(key.format(compressed=False)[1:])[-20:]


@functools.lru_cache(maxsize=8192)
def checksummed(address: bytes | str) -> ChecksumAddress:
    """Return an address as text with its checksum, which takes a hash and forty comparisons."""
    return to_checksum_address(address)


@functools.lru_cache(maxsize=8192)
def canonical(address: bytes | str) -> Address:
    """Return an address as its 20 bytes; to find out in which form it comes takes longer than to look it up."""
    return to_canonical_address(address)
