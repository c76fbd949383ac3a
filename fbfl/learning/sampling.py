"""Participants of a round: client sampling, drop-outs and stragglers as pure functions of (seed, round).

Draws are made from the raw 64-bit words of PCG64, the one stream that NumPy promises never to change, so that servers
with different versions of NumPy draw the same.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fbfl.errors import require
from fbfl.randomness import seed_sequence


def draw(population: int, count: int, sequence: np.random.SeedSequence) -> npt.NDArray[np.int64]:
    """Draw `count` different numbers below `population`, ascending: those with the smallest random words."""
    keys = _keys(population, sequence)
    mask = np.uint64((1 << _bits(population)) - 1)
    return np.sort(np.partition(keys, count - 1)[:count] & mask).astype(np.int64)


def shuffle(population: int, sequence: np.random.SeedSequence) -> npt.NDArray[np.int64]:
    """Return the numbers below `population` in the order of their random words."""
    return np.argsort(_keys(population, sequence)).astype(np.int64)


def _keys(population: int, sequence: np.random.SeedSequence) -> npt.NDArray[np.uint64]:
    """Return a random word per number, with the number itself in the low bits: no sorting algorithm meets a tie."""
    bits = np.uint64(_bits(population))
    words = np.asarray(np.random.PCG64(sequence).random_raw(population), dtype=np.uint64)
    return (words >> bits << bits) | np.arange(population, dtype=np.uint64)


def _bits(population: int) -> int:
    return max(1, (population - 1).bit_length())


def participants(num_clients: int, fraction: float, seed: int, round_number: int) -> tuple[int, ...]:
    """Return the clients of a round: max(1, round(fraction * num_clients)) of them, uniformly, ascending.

    McMahan et al. 2017, Algorithm 1 (the fraction C).
    """
    require(0 < fraction <= 1, "participation", fraction, "above 0 and at most 1")
    count = max(1, round(fraction * num_clients))
    return _numbers(draw(num_clients, count, seed_sequence(seed, "participation", round_number=round_number)))


def without_dropouts(clients: Sequence[int], probability: float, seed: int, round_number: int) -> tuple[int, ...]:
    """Return the clients that answer, when each drops out of the round on its own with the given probability.

    Whether a client drops out depends on (seed, round, client) alone, not on who else was sampled.
    The answer can be empty: then the round has no update.
    """
    require(0 <= probability <= 1, "drop-out probability", probability, "0 to 1")
    return tuple(client for client in clients if _uniform(seed, "dropout", round_number, client) >= probability)


def straggler_epochs(
    clients: Sequence[int], local_epochs: int, fraction: float, seed: int, round_number: int
) -> dict[int, int]:
    """Return how many local epochs each client manages: stragglers fewer than `local_epochs`, the others all.

    round(fraction * clients) of them are stragglers; each manages a number of epochs that is uniform in
    1 .. local_epochs - 1 (Li et al. 2020, "Federated Optimization in Heterogeneous Networks", section 5.2). With
    a single local epoch there is no part of it to manage, and stragglers count as in time.
    """
    require(0 <= fraction <= 1, "straggler fraction", fraction, "0 to 1")
    epochs = dict.fromkeys(clients, local_epochs)
    count = round(fraction * len(clients))
    if count and local_epochs > 1:
        for position in draw(len(clients), count, seed_sequence(seed, "stragglers", round_number=round_number)):
            client = clients[position]
            epochs[client] = 1 + math.floor((local_epochs - 1) * _uniform(seed, "epochs", round_number, client))
    return epochs


def _uniform(seed: int, purpose: str, round_number: int, client: int) -> float:
    """Return a number in [0, 1) that belongs to this client and round."""
    sequence = seed_sequence(seed, purpose, round_number=round_number, server=client)
    return (int(np.random.PCG64(sequence).random_raw()) >> 11) * 2.0**-53


def _numbers(array: npt.NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(int(number) for number in array)
