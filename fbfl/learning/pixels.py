"""Pixels as bytes, where nothing is lost by it."""

from typing import Any

import numpy as np
import numpy.typing as npt


def compact(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return x as uint8 if it holds float32 multiples of 1/255, as pictures in [0, 1] do; else x itself.

    Training scales bytes back to the same floats, so its results keep their bits, and moves a quarter of the memory.
    """
    if x.dtype != np.float32:
        return x
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.rint(x * np.float32(255)).astype(np.uint8)
    return found if np.array_equal(found / np.float32(255), x) else x
