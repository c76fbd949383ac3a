"""Who signed a hash is the same whether it is remembered from signing or recovered."""

import pytest
from eth_keys.datatypes import PrivateKey, Signature
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from fbfl.chain import keys
from fbfl.chain.keys import sign, signer_of

KEYS = st.integers(1, 2**255).map(lambda number: number.to_bytes(32, "big"))


@given(KEYS, st.binary(min_size=32, max_size=32))
def test_a_signature_made_here_is_of_the_one_who_is_recovered(key: bytes, digest: bytes) -> None:
    r, s, parity = sign(key, digest)
    signature = Signature(vrs=(parity, r, s))
    expected = signature.recover_public_key_from_msg_hash(digest).to_canonical_address()
    assert expected == PrivateKey(key).public_key.to_canonical_address()
    assert signer_of(digest, r, s, parity) == expected
    keys._signers.clear()
    assert signer_of(digest, r, s, parity) == expected
    other = keccak(digest)
    assert signer_of(other, r, s, parity) != expected
    assert signer_of(digest, r, s, 1 - parity) != expected


def test_memory_of_signers_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "KEPT", 3)
    for number in range(10):
        sign(b"\1" * 32, keccak(bytes([number])))
    assert len(keys._signers) <= 3
