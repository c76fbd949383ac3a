"""Devices that move over a grid of cells, one MEC server in each: by a trace, or at random.

Random waypoint (Johnson & Maltz 1996, "Dynamic Source Routing in Ad Hoc Wireless Networks"): a device stands still for
a while, then goes in a straight line and at a random speed to a random place, and so on. The least speed is above 0, as
devices would come to rest otherwise (Yoon, Liu & Noble 2003, "Random Waypoint Considered Harmful"). Metres and seconds
throughout.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fbfl.errors import InvalidInputError, require
from fbfl.learning import plugins
from fbfl.mec.trace import read_trace
from fbfl.randomness import generator

Position = tuple[float, float]
"""Metres from the south-west corner of the area: to the east, to the north."""

_MOST_LEGS = 100_000
"""Most legs of a device's way: they compute in a second, and by default they last for more than a year."""


@dataclass(frozen=True)
class RandomWaypoint:
    """Positions of devices: a pure function of seed, device and time."""

    width: float
    """Width of the area, in metres."""
    height: float
    """Height of the area, in metres."""
    min_speed: float
    """Metres per second; the speed of a leg is uniform between the two."""
    max_speed: float
    pause: float
    """Seconds at every waypoint, the first included."""

    def __post_init__(self) -> None:
        for name in ("width", "height", "min_speed", "max_speed"):
            _positive(name, getattr(self, name))
        require(0 <= self.pause < math.inf, "mobility: pause", self.pause, "0 seconds or more")
        require(
            self.max_speed >= self.min_speed, "mobility: max_speed", self.max_speed, f"min_speed ({self.min_speed}) on"
        )

    def position(self, seed: int, device: int, time: float) -> Position:
        """Return the position of a device `time` seconds (at least 0) after the start."""
        rng = generator(seed, "random waypoint", server=device)
        here = rng.uniform(0, self.width), rng.uniform(0, self.height)
        end = time
        for _ in range(_MOST_LEGS):
            time -= self.pause
            if time <= 0:
                return here
            there = rng.uniform(0, self.width), rng.uniform(0, self.height)
            journey = math.dist(here, there) / rng.uniform(self.min_speed, self.max_speed)
            if time < journey:
                share = time / journey
                return here[0] + share * (there[0] - here[0]), here[1] + share * (there[1] - here[1])
            time -= journey
            here = there
        raise InvalidInputError(
            f"mobility: a device would go {_MOST_LEGS:,} legs until {end:g} s; allowed: a longer pause, a lower speed "
            "or shorter rounds"
        )


@dataclass(frozen=True)
class Grid:
    """An area in equal cells; cell number row * columns + column has its server in the middle."""

    width: float
    height: float
    columns: int
    rows: int

    def cell(self, position: Position) -> int:
        """Return the cell in which a position of the area lies."""
        column = min(int(position[0] / self.width * self.columns), self.columns - 1)
        row = min(int(position[1] / self.height * self.rows), self.rows - 1)
        return row * self.columns + column

    def centre(self, cell: int) -> Position:
        """Return the position of a cell's server."""
        row, column = divmod(cell, self.columns)
        return (column + 0.5) * self.width / self.columns, (row + 0.5) * self.height / self.rows


@dataclass(frozen=True)
class Mobility:
    """Movement of a federation's devices, and the pace at which they collect their samples."""

    where: Callable[[int, int, float], Position]
    """Position of a device: (seed, device, seconds from the start) -> position, in the area of the grid."""
    grid: Grid
    round_seconds: float
    """Seconds from the start of one round to that of the next; round r starts at r * round_seconds."""
    collect_rounds: int
    """Round in which a device has its last sample; an equal part is new in each round until then."""

    def __post_init__(self) -> None:
        _positive("round_seconds", self.round_seconds)
        require(self.collect_rounds >= 1, "mobility: collect_rounds", self.collect_rounds, "1 or more")

    def position(self, seed: int, device: int, round_number: float) -> Position:
        """Return the position of a device when a round starts; 1.5 is half-way between the starts of rounds 1 and 2."""
        return self.where(seed, device, round_number * self.round_seconds)

    def server_of(self, seed: int, device: int, round_number: float) -> int:
        """Return the number of the server to which a device is attached in a round: that of its cell."""
        return self.grid.cell(self.position(seed, device, round_number))

    def distance(self, seed: int, device: int, round_number: int) -> float:
        """Return the metres from a device to the server to which it is attached."""
        position = self.position(seed, device, round_number)
        return math.dist(position, self.grid.centre(self.grid.cell(position)))

    def collected(self, samples: int, round_number: int) -> int:
        """Return the number of its samples that a device has collected when a round starts."""
        return samples * min(round_number, self.collect_rounds) // self.collect_rounds


def random_waypoint(
    servers: int,
    *,
    width: float = 1000.0,
    height: float = 1000.0,
    min_speed: float = 0.5,
    max_speed: float = 2.0,
    pause: float = 60.0,
    columns: int | None = None,
    round_seconds: float = 60.0,
    collect_rounds: int = 10,
) -> Mobility:
    """Move devices by random waypoints, by default as pedestrians in a square kilometre; units as in the classes above.

    `columns` of cells must divide the number of servers; by default the grid is as near to a square as that allows.
    """
    if columns is None:
        columns = next(number for number in range(math.isqrt(servers), 0, -1) if servers % number == 0)
    require(columns >= 1 and not servers % columns, "mobility: columns", columns, f"a divisor of the {servers} servers")
    model = RandomWaypoint(width, height, min_speed, max_speed, pause)
    return Mobility(model.position, Grid(width, height, columns, servers // columns), round_seconds, collect_rounds)


def trace(
    servers: int,
    *,
    file: str,
    names: Sequence[str] = (),
    round_seconds: float = 60.0,
    collect_rounds: int = 1,
) -> Mobility:
    """Move devices as a file says, see `fbfl.mec.trace`; its time starts with round 1.

    `names` are names of the servers that the file may use beside their numbers. Devices stand where their server does.
    """
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise InvalidInputError(f"mobility trace: names is {names!r}; allowed: a list of texts")
    recorded = read_trace(Path(file), servers, names)
    grid = Grid(servers, 1, servers, 1)

    def where(_: int, device: int, time: float) -> Position:
        return grid.centre(recorded.cell(device, time - round_seconds))

    return Mobility(where, grid, round_seconds, collect_rounds)


MOBILITIES: Mapping[str, Callable[..., Mobility]] = {"random_waypoint": random_waypoint, "trace": trace}


def resolve(name: str, servers: int, settings: Mapping[str, object]) -> Mobility:
    """Return the mobility of a name (or `package.module:function`) with its settings; else `InvalidInputError`."""
    mobility = plugins.resolve("mobility", name, MOBILITIES, settings, data=1)(servers)
    if not isinstance(mobility, Mobility):
        raise InvalidInputError(f"mobility {name}: has to return a Mobility, not a {type(mobility).__name__}")
    grid = mobility.grid
    if grid.columns * grid.rows != servers:
        raise InvalidInputError(
            f"mobility {name}: its grid has {grid.columns} x {grid.rows} cells; allowed: one for each of {servers} "
            "servers"
        )
    return mobility if plugins.is_ours(mobility.where) else replace(mobility, where=_checked(name, mobility))


def _checked(name: str, mobility: Mobility) -> Callable[[int, int, float], Position]:
    """Return a user's positions, checked: those outside the area raise `InvalidInputError`."""
    where, grid = plugins.guarded("mobility", mobility.where), mobility.grid

    def checked(seed: int, device: int, time: float) -> Position:
        position = where(seed, device, time)
        try:
            east, north = map(float, position)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"mobility {name}: device {device} is at {position!r}; allowed: metres to the east and to the north"
            ) from error
        if not (0 <= east <= grid.width and 0 <= north <= grid.height):
            raise InvalidInputError(
                f"mobility {name}: device {device} is at ({east:g}, {north:g}); allowed: within {grid.width:g} x "
                f"{grid.height:g} m"
            )
        return east, north

    return checked


def _positive(name: str, value: float) -> None:
    require(0 < value < math.inf, f"mobility: {name}", value, "more than 0")
