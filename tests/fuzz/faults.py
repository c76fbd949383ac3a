"""Faults: what must not happen."""

import math
from typing import Any

NOT_FINITE = "loss is not finite"
"""The warning of a round whose loss is NaN or Inf."""

MOST_LINES = 2
"""Of a message."""


class FaultFoundError(AssertionError):
    """Something that must not happen."""


def require(holds: object, what: str) -> None:
    """Raise `FaultFoundError` unless something holds."""
    if not holds:
        raise FaultFoundError(what)


def is_share(value: Any) -> bool:
    """Check that a figure is a number from 0 to 1."""
    return isinstance(value, float) and math.isfinite(value) and 0 <= value <= 1


def same(one: Any, other: Any) -> None:
    """Two plays of the same settings go the same way."""
    require(one == other, f"one went like this:\n{one}\nand another like this:\n{other}")
