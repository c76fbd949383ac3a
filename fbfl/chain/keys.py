"""Signing, and who signed, by libsecp256k1; and addresses as text.

eth-account and eth-keys do the same in five times as long: they make keys, numbers and texts of it on the way.
"""

import functools

from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak
from eth_typing import Address, ChecksumAddress
from eth_utils.address import to_canonical_address, to_checksum_address

KEPT = 8192
"""The number of signatures whose signers are kept in memory."""

_signers: dict[tuple[bytes, int, int, int], bytes] = {}
"""Addresses by all that they follow from: hash, r, s and parity."""


def sign(key: bytes, digest: bytes) -> tuple[int, int, int]:
    """Sign a hash of 32 bytes by a private key; return r, s in the lower half of its range, and the parity.

    It is the same each time.
    """
    private, address = _identity(key)
    signature = private.sign_recoverable(digest, hasher=None)
    made = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
    _keep((digest, *made), address)
    return made


def signer_of(digest: bytes, r: int, s: int, parity: int) -> bytes:
    """Return the address that signed a hash; raises some exception, by libsecp256k1's mood, if nobody did.

    Nobody is looked for twice, nor whose signature was made here: a collector checks what the contract in the same
    process checks again.
    """
    made = digest, r, s, parity
    address = _signers.get(made)
    if address is None:
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity])
        address = _address_of(PublicKey.from_signature_and_message(signature, digest, hasher=None))
        _keep(made, address)
    return address


def _keep(made: tuple[bytes, int, int, int], address: bytes) -> None:
    if len(_signers) >= KEPT:
        _signers.clear()
    _signers[made] = address


@functools.lru_cache(maxsize=512)
def _identity(key: bytes) -> tuple[PrivateKey, bytes]:
    private = PrivateKey(key)
    return private, _address_of(private.public_key)


def _address_of(key: PublicKey) -> bytes:
    return keccak(key.format(compressed=False)[1:])[-20:]


@functools.lru_cache(maxsize=8192)
def checksummed(address: bytes | str) -> ChecksumAddress:
    """Return an address as text with its checksum, which takes a hash and forty comparisons."""
    return to_checksum_address(address)


@functools.lru_cache(maxsize=8192)
def canonical(address: bytes | str) -> Address:
    """Return an address as its 20 bytes; to find out in which form it comes takes longer than to look it up."""
    return to_canonical_address(address)
