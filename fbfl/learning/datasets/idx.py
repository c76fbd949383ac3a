"""Files in LeCun's format idx, as MNIST and its followers come."""

import gzip
import math
import zlib

import numpy as np

from fbfl.errors import InvalidInputError
from fbfl.learning.datasets.dataset import Array

_OF_BYTES = b"\0\0\x08"


def read(data: bytes, source: str) -> Array:
    """Return the array of a gzipped idx file of bytes: zeros, type, rank, sizes of four bytes each, then the values.

    Anything else raises `InvalidInputError`, which `source` begins.
    """
    try:
        content = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInputError(f"{source}: not a whole gzip file: {error}") from error
    values = 4 + 4 * content[3] if len(content) > 3 else 0
    sizes = [int.from_bytes(content[place : place + 4], "big") for place in range(4, values, 4)]
    if not content.startswith(_OF_BYTES) or len(content) != values + math.prod(sizes):
        raise InvalidInputError(f"{source}: not a whole idx file of bytes")
    return np.frombuffer(content, np.uint8, offset=values).reshape(sizes)
