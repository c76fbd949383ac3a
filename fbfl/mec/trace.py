"""Traces of devices, from a CSV file: a line for each time at which one comes into the cell of another server.

Its first line is `seconds,cell`, or `device,seconds,cell` for several devices. Seconds count from the start, and for
each device begin at 0 and rise. A cell is a server's number, from 0, or its name.
"""

import bisect
import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fbfl.errors import InvalidInputError, require
from fbfl.system.textfile import read_text

COLUMNS = (["seconds", "cell"], ["device", "seconds", "cell"])


@dataclass(frozen=True)
class Trace:
    """Cells of devices over time, read from `file`."""

    file: Path
    moves: Mapping[int | None, Sequence[tuple[float, int]]]
    """For each device, or None for all: (seconds, cell), in order."""

    def cell(self, device: int, seconds: float) -> int:
        """Return the cell in which a device is; one that is not in the file raises `InvalidInputError`."""
        moves = self.moves.get(None) or self.moves.get(device)
        if moves is None:
            raise InvalidInputError(f"the trace {self.file} has no device {device}")
        return moves[max(0, bisect.bisect_right(moves, seconds, key=lambda move: move[0]) - 1)][1]


def read_trace(file: Path, servers: int, names: Sequence[str] = ()) -> Trace:
    """Read a trace for this number of servers, with these names; any other file raises `InvalidInputError`."""
    cells = {**{name: cell for cell, name in enumerate(names)}, **{str(cell): cell for cell in range(servers)}}
    lines = io.StringIO(read_text(file, f"the trace {file}"), newline="")
    try:
        reader = csv.DictReader(lines, strict=True, skipinitialspace=True)
        if reader.fieldnames not in COLUMNS:
            allowed = " or ".join(map(",".join, COLUMNS))
            raise InvalidInputError(f"the trace {file} starts with {reader.fieldnames}; allowed: {allowed}")
        moves: dict[int | None, list[tuple[float, int]]] = {}
        for line in reader:
            where = f"the trace {file}, line {reader.line_num}"
            device, seconds, cell = _move(line, where, cells)
            before = moves.setdefault(device, [])
            if not (seconds == 0 if not before else seconds > before[-1][0]):
                raise InvalidInputError(f"{where}: seconds are {seconds:g}; allowed: 0 first, and then rising")
            before.append((seconds, cell))
    except csv.Error as error:
        raise InvalidInputError(f"the trace {file} cannot be read: {error}") from error
    if not moves:
        raise InvalidInputError(f"the trace {file} has no line")
    return Trace(file, moves)


def _move(line: Mapping[str, str], where: str, cells: Mapping[str, int]) -> tuple[int | None, float, int]:
    if None in line or None in line.values():
        raise InvalidInputError(f"{where}: has not as many values as the first line")
    try:
        device = int(line["device"]) if "device" in line else None
        seconds = float(line["seconds"])
    except ValueError as error:
        raise InvalidInputError(f"{where}: {error}") from error
    if not math.isfinite(seconds):
        raise InvalidInputError(f"{where}: seconds are {seconds}; allowed: a number")
    cell = line["cell"].strip().rstrip("/")
    require(cell in cells, f"{where}: cell", cell, ", ".join(cells))
    return device, seconds, cells[cell]
