"""Pauses before something that failed is tried again."""

import math
import random
import time


def pause_after(failures: int, *, first: float, longest: float) -> float:
    """Return the seconds to wait after a number of failures in a row, from 1: doubled each time, up to `longest`.

    They are drawn from half of it to all of it, so that clients that failed together do not come back together.
    """
    return min(math.ldexp(first, min(failures - 1, 32)), longest) * random.uniform(0.5, 1.0)


class Reluctance:
    """Makes attempts rarer and rarer that are refused in the same situation; another situation is another matter.

    Pauses in seconds begin with twice `first`, and double up to `longest`.
    """

    def __init__(self, first: float, longest: float = math.inf) -> None:
        self._first = first
        self._longest = longest
        self._situation: object = None
        self._refused = 0
        self._not_before = 0.0

    def holds_back(self, situation: object) -> bool:
        """Return True if it is too early for another attempt in this situation."""
        if situation != self._situation:
            self._situation, self._refused, self._not_before = situation, 0, 0.0
        return time.monotonic() < self._not_before

    def note_refusal(self) -> None:
        """Take note that the attempt in the last situation was refused."""
        self._refused += 1
        self._not_before = time.monotonic() + min(math.ldexp(self._first, min(self._refused, 32)), self._longest)
