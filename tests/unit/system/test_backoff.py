"""Pauses between attempts."""

from hypothesis import given
from hypothesis import strategies as st

from fbfl.system.backoff import pause_after


@given(failures=st.integers(1, 10**6), first=st.floats(0.01, 10), factor=st.floats(1, 1000))
def test_pauses_double_up_to_the_longest_and_vary_by_half(failures: int, first: float, factor: float) -> None:
    longest = first * factor
    expected = min(first * 2 ** min(failures - 1, 20), longest)
    assert expected / 2 <= pause_after(failures, first=first, longest=longest) <= expected


def test_those_who_fail_together_do_not_come_back_together() -> None:
    assert len({pause_after(3, first=1.0, longest=30.0) for _ in range(20)}) > 10
