"""Schedules of the learning rate: its course over the rounds, the same for all clients.

A schedule is a plain function `(round_number, learning_rate, settings...) -> learning rate`: rounds count from 1,
`learning_rate` is the one that the settings name.
"""

import math
from collections.abc import Callable

from fbfl.errors import require


def exponential(round_number: int, learning_rate: float, *, decay: float = 0.99) -> float:
    """``eta decay^(t-1)``, as McMahan et al. 2017, section 3, lower it per round."""
    require(0 < decay <= 1, "schedule exponential: decay", decay, "above 0, up to 1")
    return learning_rate * decay ** (round_number - 1)


def steps(round_number: int, learning_rate: float, *, every: int, factor: float = 0.1) -> float:
    """``eta factor^floor((t-1)/every)``: lower it after every so many rounds, as He et al. 2016, section 4.1."""
    require(every >= 1, "schedule steps: every", every, "1 or more rounds")
    require(0 < factor <= 1, "schedule steps: factor", factor, "above 0, up to 1")
    return learning_rate * factor ** ((round_number - 1) // every)


def cosine(round_number: int, learning_rate: float, *, rounds: int, lowest: float = 0.0) -> float:
    """``low + (eta - low)(1 + cos(pi (t-1)/rounds))/2`` in the first `rounds` rounds, then ``low``.

    Loshchilov and Hutter 2017, "SGDR", formula 5, without restarts; the last of these rounds still trains.
    """
    require(rounds >= 1, "schedule cosine: rounds", rounds, "1 or more")
    require(
        0 <= lowest <= learning_rate, "schedule cosine: lowest", lowest, f"0 to the learning rate ({learning_rate:g})"
    )
    part = min(1.0, (round_number - 1) / rounds)
    return lowest + (learning_rate - lowest) * (1 + math.cos(math.pi * part)) / 2


SCHEDULES: dict[str, Callable[..., float]] = {"exponential": exponential, "steps": steps, "cosine": cosine}
