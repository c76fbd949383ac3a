"""Everything random is a pure function of (seed, purpose, round, server); there is no global random state."""

import hashlib

import numpy as np

from fbfl.errors import InvalidInputError
from fbfl.values.checks import is_whole


def seed_sequence(seed: int, purpose: str, *, round_number: int = 0, server: int = 0) -> np.random.SeedSequence:
    """Return the independent seed sequence of one purpose, round and server under one experiment seed.

    `purpose` is any text (for example ``"partition"``); it enters through SHA-256, so that new purposes never
    shift the random numbers of the old ones. A seed, round or server that is not a whole number from 0 raises
    `InvalidInputError`.
    """
    for name, value in (("seed", seed), ("round_number", round_number), ("server", server)):
        if not is_whole(value) or value < 0:
            raise InvalidInputError(f"{name} is {value!r}; allowed: whole numbers from 0")
    word = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big")
    return np.random.SeedSequence(entropy=int(seed), spawn_key=(word, round_number, server))


def generator(seed: int, purpose: str, *, round_number: int = 0, server: int = 0) -> np.random.Generator:
    """Return a NumPy generator for one purpose, round and server."""
    return np.random.default_rng(seed_sequence(seed, purpose, round_number=round_number, server=server))


def int32_seed(seed: int, purpose: str) -> int:
    """Return a seed in [0, 2**31) for libraries whose seeds are signed 32-bit integers (TensorFlow)."""
    return int(seed_sequence(seed, purpose).generate_state(1)[0]) & 0x7FFF_FFFF
