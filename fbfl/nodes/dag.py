"""The data set that mining with ethash reads, from the cache that geth makes in seconds.

geth takes minutes for it: it computes one item after the other, and each waits for memory at 256 rows of the cache.
Here thousands of items go through the same step together, so that their rows are fetched side by side.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import ethash
import joblib
import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

WORDS = 16
"""32-bit words of an item, and of a row of the cache."""

PARENTS = 256
"""Rows of the cache that go into an item."""

FNV_PRIME = np.uint32(0x01000193)
MAGIC = bytes.fromhex("fecaddbaaddee1fe")
"""First bytes of geth's files of caches and data sets."""

TOGETHER = 2048
"""Items that take their steps together: what they read and write stays near the processor."""

PIECE = 16 * TOGETHER
"""Items that a process computes before it writes them."""


def write_dag(cache: Path, dag: Path, size: int) -> Iterator[float]:
    """Write the data set of `size` bytes that belongs to a file of a cache, both in geth's format.

    On all processors; yields the share that is done, from 0 to 1. A file that cannot be written raises `OSError`.
    """
    items = size // (WORDS * 4)
    firsts = range(0, items, PIECE)
    with dag.open("wb") as file:
        if hasattr(os, "posix_fallocate"):  # a full disk is noticed now, not after minutes
            os.posix_fallocate(file.fileno(), 0, len(MAGIC) + size)
        file.write(MAGIC)
    work = joblib.Parallel(n_jobs=-1, return_as="generator_unordered")
    pieces = (joblib.delayed(_write_piece)(cache, dag, first, min(PIECE, items - first)) for first in firsts)
    for done, _ in enumerate(work(pieces), start=1):
        yield done / len(firsts)


def compute_items(cache: Words, numbers: Words) -> Words:
    """Compute the items of these numbers [n], words [n, 16], from a cache [rows, 16] (Yellow Paper, J.3.3)."""
    rows = np.uint32(len(cache))
    mix = cache[numbers % rows]
    mix[:, 0] ^= numbers
    mix = _keccak_512(mix)
    parents = np.empty_like(mix)
    for step in range(PARENTS):
        chosen = ((numbers ^ np.uint32(step)) * FNV_PRIME ^ mix[:, step % WORDS]) % rows
        np.take(cache, chosen, axis=0, out=parents, mode="clip")  # which all lie within: "raise" would copy
        mix *= FNV_PRIME
        mix ^= parents
    return _keccak_512(mix)


def _write_piece(cache: Path, dag: Path, first: int, count: int) -> None:
    rows = np.fromfile(cache, dtype=np.uint32, offset=len(MAGIC)).reshape(-1, WORDS)
    numbers = np.arange(first, first + count, dtype=np.uint32)
    with dag.open("r+b") as file:
        file.seek(len(MAGIC) + first * WORDS * 4)
        for start in range(0, count, TOGETHER):
            file.write(compute_items(rows, numbers[start : start + TOGETHER]).tobytes())


def _keccak_512(words: Words) -> Words:
    """Return each row's hash."""
    data = words.tobytes()
    rows = (data[start : start + WORDS * 4] for start in range(0, len(data), WORDS * 4))
    return np.frombuffer(bytearray().join(map(ethash.keccak_512, rows)), dtype=np.uint32).reshape(-1, WORDS)
