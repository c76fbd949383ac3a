"""Schedules of the learning rate: its course over the rounds, the same for all clients.

A schedule is a plain function `(round_number, learning_rate, settings...) -> learning rate`: rounds count from 1,
`learning_rate` is the one that the settings name.
"""

import math
from collections.abc import Callable

from fbfl.errors import InvalidInputError


def exponential(round_number: int, learning_rate: float, *, decay: float = 0.99) -> float:
    """``eta decay^(t-1)``, as McMahan et al. 2017, section 3, lower it per round."""
    _require("exponential: decay", decay, 0 < decay <= 1, "above 0, up to 1")
    return learning_rate * decay ** (round_number - 1)


def steps(round_number: int, learning_rate: float, *, every: int, factor: float = 0.1) -> float:
    """``eta factor^floor((t-1)/every)``: lower it after every so many rounds, as He et al. 2016, section 4.1."""
    _require("steps: every", every, every >= 1, "1 or more rounds")
    _require("steps: factor", factor, 0 < factor <= 1, "above 0, up to 1")
    return learning_rate * factor ** ((round_number - 1) // every)


def cosine(round_number: int, learning_rate: float, *, rounds: int, lowest: float = 0.0) -> float:
    """``low + (eta - low)(1 + cos(pi (t-1)/rounds))/2`` in the first `rounds` rounds, then ``low``.

    Loshchilov and Hutter 2017, "SGDR", formula 5, without restarts; the last of these rounds still trains.
    """
    _require("cosine: rounds", rounds, rounds >= 1, "1 or more")
    _require("cosine: lowest", lowest, 0 <= lowest <= learning_rate, f"0 to the learning rate ({learning_rate:g})")
    part = min(1.0, (round_number - 1) / rounds)
    return lowest + (learning_rate - lowest) * (1 + math.cos(math.pi * part)) / 2


SCHEDULES: dict[str, Callable[..., float]] = {"exponential": exponential, "steps": steps, "cosine": cosine}


def _require(what: str, value: float, holds: bool, allowed: str) -> None:
    if not holds:
        raise InvalidInputError(f"schedule {what} is {value}; allowed: {allowed}")
