"""Devices move as the model says, and are attached to the server whose cell they are in."""

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fbfl.errors import InvalidInputError
from fbfl.mec.mobility import Grid, Mobility, RandomWaypoint, random_waypoint, resolve

MODEL = RandomWaypoint(width=300, height=100, min_speed=0.5, max_speed=2, pause=20)

seeds = st.integers(0, 2**63 - 1)
devices = st.integers(0, 10_000)
times = st.floats(0, 5_000)


@given(seed=seeds, device=devices, time=times)
def test_devices_stay_in_the_area(seed: int, device: int, time: float) -> None:
    x, y = MODEL.position(seed, device, time)
    assert -1e-9 <= x <= 300 + 1e-9
    assert -1e-9 <= y <= 100 + 1e-9


@given(seed=seeds, device=devices, start=times, seconds=st.floats(0, 200))
def test_no_device_is_faster_than_the_greatest_speed(seed: int, device: int, start: float, seconds: float) -> None:
    way = math.dist(MODEL.position(seed, device, start), MODEL.position(seed, device, start + seconds))
    assert way <= 2 * seconds + 1e-9


@given(seed=seeds, asked=st.lists(st.tuples(devices, times), max_size=8), order=st.randoms(use_true_random=False))
def test_positions_do_not_depend_on_who_is_asked_for_and_when(
    seed: int, asked: list[tuple[int, float]], order: Any
) -> None:
    expected = [MODEL.position(seed, *each) for each in asked]
    shuffled = order.sample(range(len(asked)), len(asked))
    again = {place: MODEL.position(seed, *asked[place]) for place in shuffled}
    assert [again[place] for place in range(len(asked))] == expected


def test_a_device_pauses_then_goes_straight_at_one_speed_then_pauses() -> None:
    track = [MODEL.position(7, 3, t / 2) for t in range(2000)]
    steps = [math.dist(a, b) * 2 for a, b in itertools.pairwise(track)]  # metres per second
    assert all(step == 0 for step in steps[:40])  # 20 s at the first waypoint
    legs = "".join("p" if step == 0 else "m" for step in steps)
    assert legs.count("pm") >= 3
    moving = [index for index, step in enumerate(steps[1:-1], 1) if all(steps[index - 1 : index + 2])]
    assert moving
    for index in moving:
        assert 0.5 - 1e-9 <= steps[index] <= 2 + 1e-9
        assert steps[index] == pytest.approx(steps[index - 1], rel=1e-6) or not (
            steps[index - 2] and steps[index + 1]  # the first and the last step of a leg are cut short
        )


def test_devices_and_seeds_differ() -> None:
    assert len({MODEL.position(seed, device, 100) for seed in range(5) for device in range(20)}) == 100


@given(columns=st.integers(1, 6), rows=st.integers(1, 6), x=st.floats(0, 1, exclude_max=True), y=st.floats(0, 1))
def test_a_cell_is_the_one_whose_centre_is_nearest(columns: int, rows: int, x: float, y: float) -> None:
    grid = Grid(300, 100, columns, rows)

    def distance(cell: int) -> float:  # in units of a cell, as cells need not be squares
        centre = grid.centre(cell)
        return max(abs(x - centre[0] / 300) * columns, abs(y - centre[1] / 100) * rows)

    cell = grid.cell((x * 300, y * 100))
    assert 0 <= cell < columns * rows
    assert distance(cell) <= 0.5 + 1e-9
    assert distance(cell) <= min(map(distance, range(columns * rows))) + 1e-9


@pytest.mark.parametrize(("servers", "columns", "rows"), [(1, 1, 1), (4, 2, 2), (7, 1, 7), (10, 2, 5), (12, 3, 4)])
def test_every_server_has_a_cell(servers: int, columns: int, rows: int) -> None:
    grid = random_waypoint(servers).grid
    assert (grid.columns, grid.rows) == (columns, rows)
    assert {grid.cell(grid.centre(cell)) for cell in range(servers)} == set(range(servers))


@given(samples=st.integers(0, 1000), rounds=st.integers(1, 40))
def test_samples_are_collected_in_equal_parts(samples: int, rounds: int) -> None:
    mobility = random_waypoint(4, collect_rounds=rounds)
    have = [mobility.collected(samples, number) for number in range(rounds + 3)]
    parts = [b - a for a, b in itertools.pairwise(have)]
    assert have[0] == 0
    assert have[rounds:] == [samples] * 3
    assert max(parts[:rounds]) - min(parts[:rounds]) <= 1


@given(seed=seeds, device=devices)
def test_no_device_is_further_from_its_server_than_the_corner_of_the_cell(seed: int, device: int) -> None:
    mobility = random_waypoint(4)
    x, y = mobility.position(seed, device, 3)
    distances = [math.dist((x, y), (a, b)) for a in (250, 750) for b in (250, 750)]
    assert mobility.distance(seed, device, 3) == pytest.approx(min(distances))  # cells are squares here


def test_devices_come_to_other_servers() -> None:
    mobility = random_waypoint(4)
    visited = [{mobility.server_of(0, device, number) for number in range(1, 51)} for device in range(10)]
    assert set.union(*visited) == {0, 1, 2, 3}
    assert all(len(servers) > 1 for servers in visited)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("teleport", {}, "allowed: random_waypoint"),
        ("random_waypoint", {"speed": 1}, "does not take 'speed'"),
        ("random_waypoint", {"min_speed": 0}, "min_speed is 0"),
        ("random_waypoint", {"max_speed": 0.1}, "max_speed is 0.1"),
        ("random_waypoint", {"max_speed": math.inf}, "max_speed is inf"),
        ("random_waypoint", {"width": -1.0}, "width is -1"),
        ("random_waypoint", {"height": math.nan}, "height is nan"),
        ("random_waypoint", {"pause": -1.0}, "pause is -1"),
        ("random_waypoint", {"columns": 3}, "columns is 3; allowed: a divisor of the 4 servers"),
        ("random_waypoint", {"columns": 0}, "columns is 0"),
        ("random_waypoint", {"round_seconds": 0}, "round_seconds is 0"),
        ("random_waypoint", {"collect_rounds": 0}, "collect_rounds is 0"),
        *(
            ("trace", {"file": "x", "names": names}, "names is .*; allowed: a list of")
            for names in (0.5, "a", [1], None)
        ),
        ("math:sqrt", {}, "has to return a Mobility, not a float"),
    ],
)
def test_what_is_impossible_is_refused(name: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        resolve(name, 4, arguments)


@pytest.mark.parametrize(
    ("position", "said"),
    [
        (None, "is at None; allowed: metres to the east and to the north"),
        ((1.0,), r"is at \(1.0,\)"),
        (("a", 0), "is at"),
        ((math.nan, 0.0), r"is at \(nan, 0\); allowed: within 40 x 10 m"),
        ((-1.0, 0.0), "within 40 x 10 m"),
        ((0.0, 10.5), "within 40 x 10 m"),
    ],
)
def test_a_model_of_ones_own_is_held_to_its_area(monkeypatch: pytest.MonkeyPatch, position: Any, said: str) -> None:
    own = Mobility(lambda seed, device, time: position, Grid(40.0, 10.0, 4, 1), 60.0, 1)
    monkeypatch.setattr(math, "walk", lambda servers: own, raising=False)
    with pytest.raises(InvalidInputError, match=f"mobility math:walk: .*{said}"):
        resolve("math:walk", 4, {}).server_of(0, 3, 1)
    with pytest.raises(InvalidInputError, match="its grid has 4 x 1 cells; allowed: one for each of 5 servers"):
        resolve("math:walk", 5, {})


@pytest.mark.parametrize("settings", [{"round_seconds": 1e300}, {"pause": 0.0, "width": 1e-300, "height": 1e-300}])
def test_a_way_without_end_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match="100,000 legs"):
        resolve("random_waypoint", 4, settings).server_of(0, 0, 1)
