"""Traces: where devices were, from a file."""

from pathlib import Path

import pytest

from fbfl.errors import InvalidInputError
from fbfl.mec.mobility import resolve
from fbfl.mec.trace import read_trace


def test_a_device_is_where_it_came_last(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("seconds, cell\n0, 2\n10.5, 0\n60, http://one:1/\n")
    names = ["http://none:1", "http://one:1", "http://two:1"]
    trace = read_trace(path, 3, names)
    asked = (-5, 0, 10.4, 10.5, 59.9, 60, 1e9)
    assert [trace.cell(7, seconds) for seconds in asked] == [2, 2, 2, 0, 0, 1, 1]
    mobility = resolve("trace", 3, {"file": str(path), "names": names})
    assert [mobility.server_of(0, 7, number) for number in (1, 1.5, 2)] == [2, 0, 1]


def test_devices_have_ways_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("device,seconds,cell\n0,0,1\n5,0,0\n0,90,0\n5,30,1\n")
    mobility = resolve("trace", 2, {"file": str(path), "round_seconds": 30.0, "collect_rounds": 2})
    # The time of the file starts with round 1.
    assert [mobility.server_of(0, 0, number) for number in (1, 2, 3, 3.9, 4)] == [1, 1, 1, 1, 0]
    assert [mobility.server_of(0, 5, number) for number in (1, 1.9, 2)] == [0, 0, 1]
    assert [mobility.collected(9, number) for number in (1, 2, 3)] == [4, 9, 9]
    assert mobility.distance(0, 0, 1) == 0
    with pytest.raises(InvalidInputError, match="has no device 1"):
        mobility.server_of(0, 1, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"starts with None; allowed: seconds,cell or device,seconds,cell"),
        ("time,cell\n0,0\n", "starts with"),
        ("seconds,cell\n", "has no line"),
        ("seconds,cell\n1,0\n", "line 2: seconds are 1; allowed: 0 first, and then rising"),
        ("seconds,cell\n0,0\n5,1\n5,0\n", "line 4: seconds are 5; allowed: 0 first, and then rising"),
        ("seconds,cell\n0,0\nnan,1\n", "line 3: seconds are nan"),
        ("seconds,cell\n0,0\ninf,1\n", "line 3: seconds are inf"),
        ("seconds,cell\n0,2\n", "line 2: cell is '2'; allowed: 0, 1"),
        ("seconds,cell\n0,-1\n", "line 2: cell is '-1'"),
        ("seconds,cell\n0\n", "line 2: has not as many values"),
        ("seconds,cell\n0,1,2\n", "line 2: has not as many values"),
        ("seconds,cell\nsoon,1\n", "line 2: could not convert"),
        ("device,seconds,cell\na,0,1\n", "line 2: invalid literal"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "trace.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidInputError, match=said):
        read_trace(path, 2)
