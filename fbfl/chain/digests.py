"""The digests of the round ledger, computed outside the chain: what a server checks before it signs or votes.

They follow contracts/FederatedTasks.sol word for word; a test compares each with the contract.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from eth_hash.auto import keccak

from fbfl.chain.words import packed
from fbfl.system.printable import printable


@dataclass(frozen=True)
class Domain:
    """Scope of a digest: one task on one contract of one chain."""

    chain_id: int
    ledger: str
    task: int


def initial_accumulator(domain: Domain, round_number: int) -> bytes:
    """Return the running hash of a round without updates."""
    about = domain.chain_id, domain.ledger, domain.task, round_number
    return keccak(packed("uint256,address,uint256,uint32", *about))


def accumulate(accumulator: bytes, updates: Iterable[tuple[str, bytes, int, int]]) -> bytes:
    """Return the running hash after further updates, (server, digest, size, samples) in the order of recording."""
    for server, digest, size, samples in updates:
        fields = accumulator, server, digest, size, samples
        accumulator = keccak(packed("bytes32,address,bytes32,uint32,uint32", *fields))
    return accumulator


def value_digest(
    domain: Domain,
    round_number: int,
    *,
    parent: bytes,
    closing: bytes | None,
    accumulator: bytes,
    missing: int,
    rule: str,
    rule_params: bytes,
    model: bytes,
    model_size: int,
) -> bytes:
    """Return the digest that the committee votes on: the outcome of a round, without the view that decides it.

    `closing` is the hash of the block that closed the submissions; None leaves it out, as contracts did before 0.2.
    """
    words: list[tuple[str, int | bytes | str]] = [
        ("uint256", domain.chain_id),
        ("address", domain.ledger),
        ("uint256", domain.task),
        ("uint32", round_number),
        ("bytes32", parent),
        *([] if closing is None else [("bytes32", closing)]),
        ("bytes32", accumulator),
        ("uint256", missing),
        ("bytes32", short_text(rule)),
        ("bytes32", keccak(rule_params)),
        ("bytes32", model),
        ("uint32", model_size),
    ]
    return keccak(b"".join(packed(kind, value) for kind, value in words))


def outcome(digest: bytes, leader: str) -> bytes:
    """Return the word that the ledger keeps of a final round."""
    return keccak(packed("bytes32,address", digest, leader))


def draw_seed(closing_block: bytes, accumulator: bytes, round_number: int) -> int:
    """Return the seed of a round's random draws, from 0 to 2**63 - 1: known only when its updates are fixed.

    `closing_block` is the hash of the block that closed the submissions, `accumulator` the running hash of the updates.
    It is the first 63 bits of their hash, as many as a seed has.
    """
    digest = keccak(packed("bytes32,bytes32,uint32", closing_block, accumulator, round_number))
    return int.from_bytes(digest[:8], "big") >> 1


def update_commitment(
    domain: Domain, round_number: int, server: str, digest: bytes, size: int, samples: int, salt: bytes
) -> bytes:
    """Return the hash that commits a server to all that it will reveal of its update."""
    about = domain.chain_id, domain.ledger, domain.task, round_number, server, digest, size, samples, salt
    return keccak(packed("uint256,address,uint256,uint32,address,bytes32,uint32,uint32,bytes32", *about))


def short_text(text: str) -> bytes:
    """Return ASCII text of at most 32 characters as the bytes32 that contracts keep it in."""
    return text.encode("ascii").ljust(32, b"\0")


def from_short_text(word: bytes) -> str:
    """Return the text in a bytes32; what is not printable in it, as an escape."""
    return printable(word.rstrip(b"\0").decode("ascii", "replace"))
