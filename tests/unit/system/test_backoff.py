"""Pauses between attempts."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fbfl.system.backoff import Reluctance, pause_after


@given(failures=st.integers(1, 10**6), first=st.floats(0.01, 10), factor=st.floats(1, 1000))
def test_pauses_double_up_to_the_longest_and_vary_by_half(failures: int, first: float, factor: float) -> None:
    longest = first * factor
    expected = min(first * 2 ** min(failures - 1, 20), longest)
    assert expected / 2 <= pause_after(failures, first=first, longest=longest) <= expected


def test_those_who_fail_together_do_not_come_back_together() -> None:
    assert len({pause_after(3, first=1.0, longest=30.0) for _ in range(20)}) > 10


def test_refusals_in_one_situation_hold_back_longer_and_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    reluctance, attempts = Reluctance(1.0, longest=10.0), []
    for _ in range(40):
        if not reluctance.holds_back("here"):
            attempts.append(clock[0] - 100)
            reluctance.note_refusal()
        clock[0] += 1
    assert attempts == [0, 2, 6, 14, 24, 34]
    assert not reluctance.holds_back("there")
    assert not reluctance.holds_back("here"), "and back again"
