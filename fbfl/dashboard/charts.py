"""Where the parts of a picture lie, for the templates that draw them as SVG. Units are those of the picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fbfl.dashboard.timeline import LANES, Step

WIDTH, HEIGHT = 460.0, 200.0
"""Size of a chart."""

LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 10.0, 26.0
"""Room for what is written around it."""

_LEAST_SPAN = 1e-300


@dataclass(frozen=True)
class Tick:
    """A mark of an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A curve: each stretch without a gap is a list of points in SVG's words; a stretch of one point is a dot."""

    label: str
    stretches: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]
    last: float | None
    """The last value, not its place."""


@dataclass(frozen=True)
class Chart:
    """Curves over the rounds."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    width: float = WIDTH
    height: float = HEIGHT

    @property
    def floor(self) -> float:
        """Where the axis of rounds lies."""
        return self.height - BOTTOM


def chart(title: str, curves: Mapping[str, Sequence[tuple[int, float | None]]], *, share: bool = False) -> Chart:
    """Return curves of (round, value), gaps where a value is None; of a `share` the axis goes from 0 to 1."""
    values = [value for points in curves.values() for _, value in points if value is not None]
    rounds = [number for points in curves.values() for number, _ in points]
    low, high = (0.0, 1.0) if share else _range(values)
    first, last = (min(rounds), max(rounds)) if rounds else (1, 1)

    def x(number: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * ((number - first) / (last - first) if last > first else 0.5), 1)

    def y(value: float) -> float:
        part = (min(max(value, low), high) - low) / (high - low)
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - part), 1)

    return Chart(
        title,
        tuple(_line(label, [(x(n), None if v is None else y(v), v) for n, v in of]) for label, of in curves.items()),
        tuple(Tick(x(number), f"{number:g}") for number in nice(first, last, 8) if float(number).is_integer()),
        tuple(Tick(y(value), short(value)) for value in nice(low, high, 5)),
    )


def _line(label: str, points: Sequence[tuple[float, float | None, float | None]]) -> Line:
    stretches: list[list[tuple[float, float]]] = [[]]
    for across, down, _ in points:
        if down is None:
            stretches.append([])
        else:
            stretches[-1].append((across, down))
    known = [value for _, _, value in points if value is not None]
    return Line(
        label,
        tuple(" ".join(f"{across:g},{down:g}" for across, down in each) for each in stretches if len(each) > 1),
        tuple(each[0] for each in stretches if len(each) == 1),
        known[-1] if known else None,
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis with 0 on it."""
    low, high = min([0.0, *values]), max([0.0, *values])
    return (low, high) if high - low > _LEAST_SPAN else (0.0, 1.0)


def nice(low: float, high: float, most: int) -> list[float]:
    """Return at most about `most` round numbers from `low` to `high`, one at least if `most` is 3 or more."""
    if high <= low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1, 2, 5) if factor * power >= rough), 10 * power)
    first = math.ceil(low / step - 1e-9)
    return [place * step for place in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """Return a number in few characters, with k, M or G for large ones."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


@dataclass(frozen=True)
class Mark:
    """A thing in a picture of a round: where it lies, how it looks, and what it says."""

    x: float
    y: float
    kind: str
    good: bool
    text: str


@dataclass(frozen=True)
class Track:
    """A round as a picture: a lane per kind of step, and blocks from left to right."""

    width: float
    height: float
    lanes: tuple[Tick, ...]
    blocks: tuple[Tick, ...]
    marks: tuple[Mark, ...]


def track(found: Sequence[Step], names: Mapping[str, str]) -> Track:
    """Return the picture of a round's steps; `names` are those of servers by their addresses."""
    width, left, lane_height = 960.0, 110.0, 30.0
    blocks = sorted({step.block for step in found})
    room = (width - left - RIGHT) / max(1, len(blocks))
    columns = {block: left + room * place for place, block in enumerate(blocks)}
    together: dict[tuple[int, str], list[Step]] = {}
    for step in found:
        together.setdefault((step.block, step.lane), []).append(step)
    marks = []
    for (block, lane), of in together.items():
        apart = min(11.0, (room - 8) / len(of)) if len(of) > 1 else 0.0
        for place, step in enumerate(of):
            who = names.get(step.who, step.who)
            text = f"block {block}: {who} {step.what}".replace("  ", " ")
            y = TOP + lane_height * (LANES.index(lane) + 0.5)
            marks.append(Mark(round(columns[block] + 8 + apart * place, 1), y, lane.split(" ")[-1], step.good, text))
    most = max(1, len(blocks) // 24 + 1)
    return Track(
        width,
        TOP + lane_height * len(LANES) + BOTTOM,
        tuple(Tick(TOP + lane_height * (place + 0.5), lane) for place, lane in enumerate(LANES)),
        tuple(Tick(round(columns[block], 1), str(block)) for block in blocks[::most]),
        tuple(marks),
    )
