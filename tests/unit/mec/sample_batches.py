"""Batches of small samples, each unlike every other."""

import numpy as np

from fbfl.mec.samples import Batch

SHAPE = (2, 2)


def batch(device: int, first: int, count: int) -> Batch:
    """Samples whose content follows from device and sequence number."""
    numbers = np.arange(first, first + count)
    x = (numbers[:, None, None] * 5 + np.arange(4).reshape(SHAPE) + device).astype(np.uint8)
    return Batch(device, first, x, numbers % 10)
