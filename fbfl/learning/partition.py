"""Partitions of a data set over clients: pure functions of (labels, number of clients, settings, seed).

Each returns one array of sample numbers per client; every sample is used at most once, and the numbers of a client are
in random order, so that a prefix of them is a fair sample of what the client has.
"""

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError
from fbfl.randomness import generator

Indices = npt.NDArray[np.int64]


def iid(labels: npt.ArrayLike, num_clients: int, seed: int) -> list[Indices]:
    """Shuffle all samples and deal them out evenly; sizes differ by one at most (McMahan et al. 2017, section 3)."""
    array = _checked(labels, num_clients)
    return np.array_split(generator(seed, "partition iid").permutation(array.size), num_clients)


def _checked(labels: npt.ArrayLike, num_clients: int) -> npt.NDArray[np.int64]:
    array = np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InvalidInputError(f"labels must be a flat array of whole numbers, not {array.dtype} {array.shape}")
    if not 1 <= num_clients <= array.size:
        raise InvalidInputError(f"num_clients = {num_clients}: must be 1 to {array.size}, the number of samples")
    return array.astype(np.int64)
