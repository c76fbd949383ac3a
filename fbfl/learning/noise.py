"""Noise on samples, in the data's own type and range."""

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
"""Samples along the first axis: uint8 in 0..255 or float32 in [0, 1]."""


def add_noise(x: Images, std: float, rng: np.random.Generator) -> Images:
    """Add Gaussian noise of a standard deviation on the scale [0, 1]; values stay in range."""
    noise = rng.standard_normal(x.shape, dtype=np.float32) * np.float32(std)
    if x.dtype == np.uint8:
        return np.clip(np.rint(x + 255 * noise), 0, 255).astype(np.uint8)
    return np.clip(x + noise, 0, 1).astype(np.float32)
