"""The digest of a vote, word by word; tests/contracts compares it with what the contracts form."""

from typing import Any

from eth_hash.auto import keccak

from fbfl.chain.digests import Domain, value_digest

LEDGER = "0x" + "ab" * 20


def word(value: int | bytes | str) -> bytes:
    return value if isinstance(value, bytes) else int(str(value), 0).to_bytes(32, "big")


def test_a_value_binds_the_closing_block_and_that_of_0_1_does_not() -> None:
    parent, closing, accumulator, model = (bytes([n]) * 32 for n in range(1, 5))
    before: list[Any] = [5, LEDGER, 6, 7, parent]
    after: list[Any] = [accumulator, 8, b"krum".ljust(32, b"\0"), keccak(b"{}"), model, 9]
    about: dict[str, Any] = {"parent": parent, "accumulator": accumulator, "missing": 8, "rule": "krum"}
    about |= {"rule_params": b"{}", "model": model, "model_size": 9}
    domain = Domain(5, LEDGER, 6)
    now = b"".join(word(value) for value in (*before, closing, *after))
    assert value_digest(domain, 7, closing=closing, **about) == keccak(now)
    then = b"".join(word(value) for value in (*before, *after))
    assert value_digest(domain, 7, closing=None, **about) == keccak(then)
