"""Noise on samples, in the data's own type and range."""

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError
from fbfl.learning.samples import PICTURES, WHOLE, Range, type_of

Images = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
"""Samples along the first axis: uint8 in 0..255, which stand for 0 to 1, or float32."""


def add_noise(x: Images, std: float, rng: np.random.Generator, sample_range: Range = PICTURES) -> Images:
    """Add Gaussian noise whose standard deviation is the share `std` of the samples' range; values stay in range.

    Bytes have a range of their own, 0 to 255. Whole numbers, of words, say, raise `InvalidInputError`.
    """
    if type_of(x) == WHOLE:
        raise InvalidInputError(f"samples are whole numbers ({x.dtype}); noise needs uint8 or floating point")
    low, high = PICTURES if x.dtype == np.uint8 else sample_range
    strength = min(std * (high - low), float(np.finfo(np.float32).max))
    with np.errstate(over="ignore"):
        noise = rng.standard_normal(x.shape, dtype=np.float32) * np.float32(strength)
        if x.dtype == np.uint8:
            return np.clip(np.rint(x + 255 * noise), 0, 255).astype(np.uint8)
        return np.clip(x + noise, low, high).astype(np.float32)
