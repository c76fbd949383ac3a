"""Participants of a round: client sampling, drop-outs and stragglers as pure functions of (seed, round).

Draws are made from the raw 64-bit words of PCG64, the one stream that NumPy promises never to change, so that servers
with different versions of NumPy draw the same. Contracts cannot compute it: who draws on a chain hashes.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fbfl.errors import require
from fbfl.randomness import drawn_seats, seed_sequence
from fbfl.values.parts import WHOLE

DRAWS = ("seed", "chain")
"""Ways to draw participants: from the raw stream of a seed, or as the contract `FederatedTasks` does."""

MOST_SEATS = 240
"""Most members of a task, and so most clients among which a contract draws."""


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


def participants(
    num_clients: int, fraction: float, seed: int, round_number: int, draw_by: str = "seed"
) -> tuple[int, ...]:
    """Return the clients of a round: max(1, round(fraction * num_clients)) of them, uniformly, ascending.

    McMahan et al. 2017, Algorithm 1 (the fraction C). `draw_by` is one of `DRAWS`; a chain, on which client n has seat
    n, rounds halves up, and takes fractions in steps of 1/10,000.
    """
    require(0 < fraction <= 1, "participation", fraction, "above 0 and at most 1")
    if draw_by == "chain":
        allowed = f"at most {MOST_SEATS} where a chain draws"
        require(num_clients <= MOST_SEATS, "number of clients", num_clients, allowed)
        return drawn_seats(range(num_clients), number_drawn(num_clients, in_parts(fraction)), seed, round_number)
    count = max(1, round(fraction * num_clients))
    return _numbers(draw(num_clients, count, seed_sequence(seed, "participation", round_number=round_number)))


def in_parts(fraction: float) -> int:
    """Return a participation in 1/10,000, as contracts hold it; one that is no multiple raises `InvalidInputError`."""
    parts = round(fraction * WHOLE)
    exact = parts > 0 and math.isclose(parts, fraction * WHOLE, abs_tol=1e-9)
    require(exact, "participation", fraction, "0.0001 to 1, in steps of 0.0001, where the chain draws")
    return parts


def number_drawn(members: int, participation: int, least: int = 1) -> int:
    """Return how many of so many members a contract draws: `Draw.share`. `participation` is in 1/10,000."""
    return max(least, (members * participation + WHOLE // 2) // WHOLE)


def without_dropouts(clients: Sequence[int], probability: float, seed: int, round_number: int) -> tuple[int, ...]:
    """Return the clients that answer, when each drops out of the round on its own with the given probability.

    Whether a client drops out depends on (seed, round, client) alone, not on who else was sampled.
    The answer can be empty: then the round has no update.
    """
    require(0 <= probability <= 1, "drop-out probability", probability, "0 to 1")
    if not probability:
        return tuple(clients)  # without a random number for each
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
