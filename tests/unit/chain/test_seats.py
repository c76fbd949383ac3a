"""Sets of seats, beside Python's sets."""

from hypothesis import given
from hypothesis import strategies as st

from fbfl.chain.seats import SeatSet

SEATS = st.sets(st.integers(0, 239))


@given(SEATS, SEATS, st.integers(0, 239))
def test_a_set_of_seats_is_a_set(first: set[int], second: set[int], seat: int) -> None:
    one, other = SeatSet.of(first), SeatSet.of(second)
    assert list(one) == sorted(first)
    assert len(one) == len(first)
    assert (seat in one) == (seat in first)
    assert bool(one) == bool(first)
    assert one | other == SeatSet.of(first | second)
    assert one - other == SeatSet.of(first - second)
    assert (one == other) == (first == second)
    assert hash(one) == hash(SeatSet.of(first))


@given(st.integers(0, 2**240 - 1))
def test_every_word_of_the_contracts_is_one(word: int) -> None:
    assert SeatSet.of(SeatSet(word)).word == word
