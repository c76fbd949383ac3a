import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fbfl.dashboard.charts import BOTTOM, LEFT, RIGHT, TOP, chart, nice, short, track
from fbfl.dashboard.timeline import LANES, steps
from fbfl.runs.measures import MOST
from tests.unit.dashboard.made_up import SERVERS, a_round

values = st.none() | st.floats(-1e9, 1e9) | st.floats(-MOST, MOST)


@given(st.lists(values, max_size=50), st.booleans())
def test_a_curve_lies_inside_its_chart_and_has_a_gap_where_nothing_is_known(
    found: list[float | None], share: bool
) -> None:
    made = chart("title", {"curve": list(enumerate(found, 1))}, share=share)
    (line,) = made.lines
    points = [tuple(map(float, pair.split(","))) for each in line.stretches for pair in each.split()]
    points += line.dots
    assert len(points) == sum(value is not None for value in found)
    for x, y in points:
        assert LEFT <= x <= made.width - RIGHT
        assert TOP <= y <= made.height - BOTTOM
    known = [value for value in found if value is not None]
    assert line.last == (known[-1] if known else None)


def test_larger_values_are_higher_and_later_rounds_further_right() -> None:
    (line,) = chart("title", {"curve": [(1, 0.0), (2, 0.5), (4, 1.0)]}, share=True).lines
    first, second, last = (tuple(map(float, pair.split(","))) for pair in line.stretches[0].split())
    assert first[0] < second[0] < last[0]
    assert first[1] > second[1] > last[1]
    assert second[0] - first[0] == pytest.approx((last[0] - first[0]) / 3, abs=0.2)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(3, 10))
@example(879609.9999999999, 1e-6, 6)
def test_ticks_are_round_numbers_within_the_range(low: float, span: float, most: int) -> None:
    found = nice(low, low + span, most)
    assert 1 <= len(found) <= 2 * most + 1
    slack = span * 1e-6 + 4 * math.ulp(max(abs(low), abs(low + span)))
    assert all(low - slack <= tick <= low + span + slack for tick in found)


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "0.25"), (1500, "1.5k"), (2.5e6, "2.5M"), (3e9, "3G"), (-1200, "-1.2k")]
)
def test_numbers_at_an_axis_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_every_step_of_a_round_has_a_mark_in_its_lane() -> None:
    found = steps(a_round())
    made = track(found, {SERVERS[1]: "server-1"})
    assert len(made.marks) == len(found)
    assert [lane.text for lane in made.lanes] == [*LANES]
    assert {mark.y for mark in made.marks} <= {lane.at for lane in made.lanes}
    assert all(0 < mark.x < made.width for mark in made.marks)
    assert sum(not mark.good for mark in made.marks) == sum(not step.good for step in found)
    assert any("server-1 proposal in view 1" in mark.text for mark in made.marks)
