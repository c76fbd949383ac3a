"""The data set that geth's nodes mine with, and what is said where it finds no room."""

import resource
from pathlib import Path

import ethash
import numpy as np
import pytest
from Crypto.Hash import keccak

from fbfl.errors import ProcessError
from fbfl.nodes import geth
from tests.integration.machine import DAG_MAGIC, require

pytestmark = pytest.mark.integration


@pytest.mark.slow
def test_hashes_from_it_are_those_of_a_library_that_does_without_it(dag: Path) -> None:
    items = np.memmap(dag / geth.DAGS[0], dtype="<u4", mode="r", offset=len(DAG_MAGIC)).reshape(-1, 16)
    assert items.nbytes == 1_073_739_904  # Yellow Paper, appendix J.2
    header = bytes(range(32))
    for nonce in range(50):  # each reads 128 items from all over it
        assert hashimoto(items, header, nonce) == ethash.hash(0, header, nonce)


def test_no_room_for_it_is_said_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    require("geth")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000_000, before[1]))
    try:
        with pytest.raises(ProcessError, match=rf"of a GiB, cannot be written in {tmp_path}: file too large"):
            geth.prepare_dags(geth.silent, dag=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.glob("full*"))


def hashimoto(items: np.ndarray, header: bytes, nonce: int) -> tuple[bytes, bytes]:
    """The hash and the mix (Yellow Paper, appendix J.4)."""
    seed = keccak.new(digest_bits=512, data=header + nonce.to_bytes(8, "little")).digest()
    first = int.from_bytes(seed[:4], "little")
    mix = np.tile(np.frombuffer(seed, "<u4"), 2)
    for access in range(64):
        word = mix[access % 32 : access % 32 + 1]
        (place,) = fnv(np.array([access ^ first], dtype=np.uint32), word) % (len(items) // 2) * 2
        mix = fnv(mix, items[place : place + 2].ravel())
    quarters = mix.reshape(8, 4).T
    compressed = fnv(fnv(fnv(quarters[0], quarters[1]), quarters[2]), quarters[3]).tobytes()
    return keccak.new(digest_bits=256, data=seed + compressed).digest(), compressed


def fnv(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    mixed: np.ndarray = first * np.uint32(0x01000193) ^ second
    return mixed
