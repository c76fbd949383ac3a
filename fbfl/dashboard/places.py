"""Where devices and servers are in a round, and who is attached to whom: a function of a run's settings."""

import math
from collections.abc import Collection
from dataclasses import dataclass

from fbfl.errors import InvalidInputError
from fbfl.mec.mobility import Grid, resolve
from fbfl.settings import RunSettings

MOST_DEVICES = 5_000
"""Devices on the map at most: the settings may be somebody else's, and a browser draws no more."""

_SIDE = 100.0  # of a cell, where devices have no places of their own


@dataclass(frozen=True)
class Device:
    """A device at a place (metres to the east and to the north), attached to a server by its number."""

    number: int
    x: float
    y: float
    server: int


@dataclass(frozen=True)
class Places:
    """The area with a cell per server, numbered row by row from the south-west."""

    grid: Grid
    devices: tuple[Device, ...]
    moving: bool
    """False if devices stay, and are drawn around their server."""

    def cell(self, server: int) -> tuple[float, float, float, float]:
        """Return the west and south border, width and height of a server's cell."""
        width, height = self.grid.width / self.grid.columns, self.grid.height / self.grid.rows
        row, column = divmod(server, self.grid.columns)
        return column * width, row * height, width, height


def places(settings: RunSettings, round_number: int, plugins: Collection[str] = ()) -> Places:
    """Return the places when a round starts. Code that the settings name has to be in `plugins`."""
    if settings.devices > MOST_DEVICES:
        raise InvalidInputError(f"the run has {settings.devices:,} devices; allowed on the map: up to {MOST_DEVICES:,}")
    if settings.mobility is None:
        return _standing(settings)
    if ":" in settings.mobility and settings.mobility not in plugins:
        raise InvalidInputError(f"the run's mobility is the code {settings.mobility!r}; allowed: what --plugin names")
    mobility = resolve(settings.mobility, settings.servers, settings.mobility_args)
    found = []
    for number in range(settings.devices):
        x, y = mobility.position(settings.seed, number, round_number)
        found.append(Device(number, x, y, mobility.grid.cell((x, y))))
    return Places(mobility.grid, _apart(found, mobility.grid), moving=True)


def _standing(settings: RunSettings) -> Places:
    columns = math.ceil(math.sqrt(settings.servers))
    rows = math.ceil(settings.servers / columns)
    grid = Grid(columns * _SIDE, rows * _SIDE, columns, rows)
    found = []
    for number in range(settings.devices):
        server = number % settings.servers
        found.append(Device(number, *grid.centre(server), server))
    return Places(grid, _apart(found, grid), moving=False)


def _apart(devices: list[Device], grid: Grid) -> tuple[Device, ...]:
    """Return the devices, with those that stand where their server does in a ring around it."""
    radius = 0.3 * min(grid.width / grid.columns, grid.height / grid.rows)
    rings: dict[int, list[Device]] = {}
    for device in devices:
        if (device.x, device.y) == grid.centre(device.server):
            rings.setdefault(device.server, []).append(device)
    moved = {}
    for ring in rings.values():
        for place, device in enumerate(ring):
            angle = 2 * math.pi * place / len(ring)
            x, y = device.x + radius * math.cos(angle), device.y + radius * math.sin(angle)
            moved[device.number] = Device(device.number, x, y, device.server)
    return tuple(moved.get(device.number, device) for device in devices)
