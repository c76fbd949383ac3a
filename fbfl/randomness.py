"""Everything random is a pure function of (seed, purpose, round, server); there is no global random state."""

import hashlib
from collections.abc import Iterable

import numpy as np
from eth_hash.auto import keccak

from fbfl.errors import require
from fbfl.values.checks import is_whole


def seed_sequence(seed: int, purpose: str, *, round_number: int = 0, server: int = 0) -> np.random.SeedSequence:
    """Return the independent seed sequence of one purpose, round and server under one experiment seed.

    `purpose` is any text (for example ``"partition"``); it enters through SHA-256, so that new purposes never
    shift the random numbers of the old ones. A seed, round or server that is not a whole number from 0 raises
    `InvalidInputError`.
    """
    for name, value in (("seed", seed), ("round_number", round_number), ("server", server)):
        require(is_whole(value) and value >= 0, name, value, "whole numbers from 0")
    word = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big")
    return np.random.SeedSequence(entropy=int(seed), spawn_key=(word, round_number, server))


def generator(seed: int, purpose: str, *, round_number: int = 0, server: int = 0) -> np.random.Generator:
    """Return a NumPy generator for one purpose, round and server."""
    return np.random.default_rng(seed_sequence(seed, purpose, round_number=round_number, server=server))


def int32_seed(seed: int, purpose: str) -> int:
    """Return a seed in [0, 2**31) for libraries whose seeds are signed 32-bit integers (TensorFlow)."""
    return int(seed_sequence(seed, purpose).generate_state(1)[0]) & 0x7FFF_FFFF


def drawn_seats(seats: Iterable[int], number: int, seed: int, round_number: int) -> tuple[int, ...]:
    """Return the seats, 0 to 239, that a contract draws for a round, ascending: `Draw.draw`.

    Every seat has a random number, of which each hash has one binary digit, the highest first, as the bit of the seat.
    The smallest numbers are drawn; at most all. A seed or round that is no whole number from 0 to 2**256 - 1 raises
    `InvalidInputError`.
    """
    for name, value in (("seed", seed), ("round_number", round_number)):
        require(is_whole(value) and 0 <= value < 2**256, name, value, "whole numbers from 0 to 2**256 - 1")
    left, drawn = set(seats), set[int]()
    number = min(number, len(left))
    digits = keccak(int(seed).to_bytes(32) + int(round_number).to_bytes(32))
    while number > len(drawn):
        word = int.from_bytes(digits)
        smaller = {seat for seat in left if not word >> seat & 1}
        if len(drawn) + len(smaller) > number:
            left = smaller
        else:
            drawn |= smaller
            left -= smaller
        digits = keccak(digits)
    return tuple(sorted(drawn))
