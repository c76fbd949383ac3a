from pathlib import Path

import numpy as np
from Crypto.Hash import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from fbfl.nodes.dag import MAGIC, PIECE, Words, compute_items, write_dag

NUMBERS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=8)


@given(rows=st.integers(1, 50), numbers=NUMBERS, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_items_are_those_of_the_yellow_paper(rows: int, numbers: list[int], seed: int) -> None:
    cache = cache_of(rows, seed)
    items = compute_items(cache, np.array(numbers, dtype=np.uint32))
    assert items.tolist() == [item(cache.tolist(), number) for number in numbers]


def test_the_file_holds_all_items_in_order(tmp_path: Path) -> None:
    count = PIECE + 5
    cache = cache_of(31)
    (tmp_path / "cache").write_bytes(MAGIC + cache.tobytes())
    shares = list(write_dag(tmp_path / "cache", tmp_path / "dag", count * 64))
    assert shares == [0.5, 1]
    expected = compute_items(cache, np.arange(count, dtype=np.uint32))
    assert (tmp_path / "dag").read_bytes() == MAGIC + expected.tobytes()


def cache_of(rows: int, seed: int = 0) -> Words:
    return np.random.default_rng(seed).integers(0, 2**32, (rows, 16), dtype=np.uint32)


def item(cache: list[list[int]], number: int) -> list[int]:
    """One item, a word at a time."""

    def fnv(first: int, second: int) -> int:
        return first * 0x01000193 % 2**32 ^ second

    mix = list(cache[number % len(cache)])
    mix[0] ^= number
    mix = hashed(mix)
    for parent in range(256):
        row = cache[fnv(number ^ parent, mix[parent % 16]) % len(cache)]
        mix = [fnv(word, other) for word, other in zip(mix, row, strict=True)]
    return hashed(mix)


def hashed(words: list[int]) -> list[int]:
    digest = keccak.new(digest_bits=512, data=b"".join(word.to_bytes(4, "little") for word in words)).digest()
    return [int.from_bytes(digest[place : place + 4], "little") for place in range(0, 64, 4)]
