"""Pictures: pixels as bytes, if that loses nothing, and the axes of height and width."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError

_MOST_CHANNELS = 4


def compact(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return x as uint8 if it holds float32 multiples of 1/255, as pictures in [0, 1] do; else x itself.

    Training scales bytes back to the same floats, so its results keep their bits, and moves a quarter of the memory.
    """
    if x.dtype != np.float32:
        return x
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.rint(x * np.float32(255)).astype(np.uint8)
    return found if np.array_equal(found / np.float32(255), x) else x


def channels_first(shape: Sequence[int]) -> bool:
    """Return True for shapes [channels, height, width]: of three axes, only the first is at most 4 long."""
    return len(shape) == 3 and shape[0] <= _MOST_CHANNELS < min(shape[1:])


def as_pictures(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view of samples as [n, height, width] or [n, height, width, channels], from channels first or last.

    Samples of another rank raise `InvalidInputError`.
    """
    if x.ndim not in (3, 4):
        raise InvalidInputError(
            f"samples of the shape {x.shape[1:]} are not pictures; needed: height, width and perhaps channels"
        )
    return np.moveaxis(x, 1, -1) if channels_first(x.shape[1:]) else x
