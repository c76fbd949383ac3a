"""Pauses before something that failed is tried again."""

import math
import random


def pause_after(failures: int, *, first: float, longest: float) -> float:
    """Return the seconds to wait after a number of failures in a row, from 1: doubled each time, up to `longest`.

    They are drawn from half of it to all of it, so that clients that failed together do not come back together.
    """
    return min(math.ldexp(first, min(failures - 1, 32)), longest) * random.uniform(0.5, 1.0)
