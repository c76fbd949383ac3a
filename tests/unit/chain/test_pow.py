"""The search for nonces: right, fair in slices, and stopped when it is in vain."""

import time
from collections.abc import Iterator

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.miner import Miner
from fbfl.chain.pow import Puzzle, Slices, search


def puzzle(expected_hashes: int = 50, round_number: int = 1) -> Puzzle:
    return Puzzle(7, "0x" + "11" * 20, 1, round_number, 0, b"\1" * 32, "0x" + "22" * 20, 2**256 // expected_hashes)


def solves(nonce: int, of: Puzzle) -> bool:
    return int.from_bytes(keccak(of.prefix + nonce.to_bytes(32, "big")), "big") < of.target


@given(start=st.integers(0, 2**40), count=st.integers(0, 200))
def test_the_first_solution_in_the_range_is_found(start: int, count: int) -> None:
    found = search(puzzle(), start, count)
    expected = [nonce for nonce in range(start, start + count) if solves(nonce, puzzle())]
    assert found == (expected[0] if expected else None)


def test_slices_go_on_where_they_were_and_start_over_with_another_puzzle() -> None:
    solver = Slices(nonces_per_call=10)
    whole = search(puzzle(500), 0, 100_000)
    assert whole is not None
    answers = [solver.attempt(puzzle(500)) for _ in range(whole // 10 + 1)]
    assert answers == [None] * (whole // 10) + [whole]
    assert solver.hashes == whole + 1
    assert solver.attempt(puzzle(500)) == whole
    other = puzzle(2, round_number=2)
    assert solver.attempt(other) == search(other, 0, 10)


@pytest.fixture(scope="module")
def miner() -> Iterator[Miner]:
    with Miner(processes=2) as started:
        yield started


def test_a_miner_finds_a_solution_in_its_own_processes(miner: Miner) -> None:
    miner.start(puzzle(20_000))
    nonce = miner.solution(timeout=60)
    assert nonce is not None
    assert solves(nonce, puzzle(20_000))
    miner.stop()
    assert miner.hashes >= 1
    assert miner.hashes_per_second > 0


def test_a_hopeless_search_is_stopped_at_once_and_the_next_one_begins(miner: Miner) -> None:
    hopeless = puzzle(2**250)
    assert miner.attempt(hopeless) is None
    before = time.monotonic()
    miner.stop()
    assert time.monotonic() - before < 5
    nonce = None
    deadline = time.monotonic() + 60
    while nonce is None and time.monotonic() < deadline:
        nonce = miner.attempt(puzzle(1_000, round_number=3))
    assert nonce is not None
    assert solves(nonce, puzzle(1_000, round_number=3))
