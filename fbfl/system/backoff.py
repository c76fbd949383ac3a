"""How long to wait before something that failed is tried again."""

import math
import random


def pause_after(failures: int, *, first: float, longest: float) -> float:
    """Seconds to wait after so many failures in a row, from 1: doubled each time, up to `longest`.

    Between half of it and all of it, at random, so that many who failed together do not come back together.
    """
    return min(math.ldexp(first, min(failures - 1, 32)), longest) * random.uniform(0.5, 1.0)
