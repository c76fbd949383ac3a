from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from eth_hash.auto import keccak
from hypothesis import given

from fbfl.errors import InvalidInputError
from fbfl.learning.sampling import (
    draw,
    number_drawn,
    participants,
    straggler_epochs,
    without_dropouts,
)
from fbfl.randomness import drawn_seats, seed_sequence


def test_draws_are_uniform_without_repetition() -> None:
    hits = np.zeros(13)
    for seed in range(2_000):
        drawn = draw(13, 4, np.random.SeedSequence(seed))
        assert len(set(drawn.tolist())) == 4
        assert (np.diff(drawn) > 0).all()
        hits[drawn] += 1
    assert np.abs(hits / 2_000 - 4 / 13).max() < 0.04
    assert draw(7, 7, np.random.SeedSequence(0)).tolist() == list(range(7))
    assert draw(1, 1, np.random.SeedSequence(0)).tolist() == [0]


def test_draws_are_pinned() -> None:
    """Servers with another version of NumPy must draw the same: the raw stream never changes."""
    words = np.random.PCG64(seed_sequence(1, "pin")).random_raw(1_000).tolist()
    smallest = sorted(sorted(range(1_000), key=lambda i: words[i])[:5])
    assert draw(1_000, 5, seed_sequence(1, "pin")).tolist() == smallest == [94, 153, 241, 327, 962]


def test_participants_are_a_function_of_seed_and_round() -> None:
    rounds = [participants(50, 0.2, 3, r) for r in range(200)]
    assert {len(clients) for clients in rounds} == {10}
    assert rounds == [participants(50, 0.2, 3, r) for r in range(200)]
    assert rounds[0] != participants(50, 0.2, 4, 0)
    assert len(set(rounds)) == 200
    counts = np.bincount(np.concatenate(rounds), minlength=50)
    assert counts.min() > 15
    assert participants(50, 1.0, 0, 0) == tuple(range(50))
    assert len(participants(50, 1e-9, 0, 0)) == 1
    for fraction in (0, 1.1):
        with pytest.raises(InvalidInputError, match="participation"):
            participants(50, fraction, 0, 0)


def test_dropouts_do_not_depend_on_who_else_takes_part() -> None:
    everybody = range(100)
    left = [without_dropouts(everybody, 0.3, 1, r) for r in range(50)]
    assert np.mean([len(clients) for clients in left]) == pytest.approx(70, abs=2)
    assert without_dropouts([5, 17, 80], 0.3, 1, 7) == tuple(c for c in left[7] if c in (5, 17, 80))
    assert without_dropouts(everybody, 0, 1, 1) == tuple(everybody)
    assert without_dropouts(everybody, 1, 1, 1) == ()
    with pytest.raises(InvalidInputError, match="drop-out"):
        without_dropouts(everybody, 1.5, 0, 0)


def test_stragglers_do_part_of_the_epochs() -> None:
    clients = tuple(range(20, 40))
    epochs = straggler_epochs(clients, 5, 0.5, 0, 1)
    assert tuple(epochs) == clients
    assert sum(count < 5 for count in epochs.values()) == 10
    seen = {count for r in range(30) for count in straggler_epochs(clients, 5, 0.5, 0, r).values()}
    assert seen == {1, 2, 3, 4, 5}
    assert set(straggler_epochs(clients, 1, 0.9, 0, 1).values()) == {1}
    assert set(straggler_epochs(clients, 5, 0, 0, 1).values()) == {5}
    with pytest.raises(InvalidInputError, match="straggler"):
        straggler_epochs(clients, 5, -1, 0, 1)


# ---------------------------------------------------------------- as a contract draws


def by_sorting(seats: set[int], number: int, seed: int, round_number: int) -> tuple[int, ...]:
    """The oracle: the seats with the smallest numbers, whose binary digits are written out one after the other."""
    words, word = [], keccak(seed.to_bytes(32) + round_number.to_bytes(32))
    for _ in range(64):
        words.append(f"{int.from_bytes(word):0256b}"[::-1])
        word = keccak(word)
    numbers = {seat: "".join(word[seat] for word in words) for seat in seats}
    assert len(set(numbers.values())) == len(seats)
    return tuple(sorted(sorted(seats, key=lambda seat: numbers[seat])[:number]))


some_seats = st.sets(st.integers(0, 239), min_size=1)
seeds = st.integers(0, 2**256 - 1)
rounds = st.integers(1, 2**16 - 1)


@given(seats=some_seats, part=st.floats(0, 1), seed=seeds, number=rounds)
def test_seats_with_the_smallest_numbers_are_drawn(seats: set[int], part: float, seed: int, number: int) -> None:
    count = round(part * len(seats))
    assert drawn_seats(seats, count, seed, number) == by_sorting(seats, count, seed, number)


@given(seats=some_seats, part=st.floats(0, 1), seed=seeds, number=rounds, data=st.data())
def test_who_goes_leaves_the_order_of_the_others(
    seats: set[int], part: float, seed: int, number: int, data: st.DataObject
) -> None:
    count = round(part * len(seats))
    gone = data.draw(st.sampled_from(sorted(seats)))
    before, after = set(drawn_seats(seats, count, seed, number)), set(drawn_seats(seats - {gone}, count, seed, number))
    assert before - {gone} <= after
    fewer = set(drawn_seats(seats, max(0, count - 1), seed, number))
    assert fewer <= before


def test_contracts_draw_uniformly() -> None:
    hits = np.zeros(13)
    for seed in range(2_000):
        drawn = drawn_seats(range(13), 4, seed, 1)
        assert len(drawn) == 4
        hits[[*drawn]] += 1
    assert np.abs(hits / 2_000 - 4 / 13).max() < 0.04


def test_what_contracts_draw_is_pinned() -> None:
    assert drawn_seats(range(240), 5, 1, 1) == (40, 72, 127, 165, 201)
    rounds = [participants(10, 0.35, 7, number, "chain") for number in (1, 2, 3)]
    assert rounds == [(0, 1, 2, 7), (1, 3, 4, 7), (0, 2, 3, 5)]


def test_contracts_round_halves_up_and_draw_at_least_one() -> None:
    assert [number_drawn(10, part) for part in (1, 499, 500, 2500, 2499, 10_000)] == [1, 1, 1, 3, 2, 10]
    assert (number_drawn(10, 2500, 5), len(drawn_seats(range(3), 5, 0, 1))) == (5, 3)
    assert participants(4, 1.0, 3, 1, "chain") == (0, 1, 2, 3)


@pytest.mark.parametrize("fraction", [0.00001, 1 / 3, 0.12345])
def test_contracts_take_parts_in_steps(fraction: float) -> None:
    with pytest.raises(InvalidInputError, match=r"participation is .*; allowed: 0.0001 to 1, in steps"):
        participants(10, fraction, 0, 1, "chain")


def test_contracts_draw_among_as_many_as_have_seats() -> None:
    assert len(participants(240, 0.5, 0, 1, "chain")) == 120
    with pytest.raises(InvalidInputError, match="number of clients is 241; allowed: at most 240 where a chain draws"):
        participants(241, 0.5, 0, 1, "chain")


@pytest.mark.parametrize("seed", [-1, 2**256, 1.5, True, None])
def test_seeds_that_no_contract_holds_are_refused(seed: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"seed is .*; allowed: whole numbers from 0"):
        participants(6, 0.5, seed, 1, "chain")
    assert participants(6, 0.5, np.int64(7), 1, "chain") == participants(6, 0.5, 7, 1, "chain")  # type: ignore[arg-type]
