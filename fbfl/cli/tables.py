"""Tables in the terminal: aligned columns, and short names for what is long."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fbfl.system import strictjson
from fbfl.system.printable import printable

_GAP = "  "


def show(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[str] = (),
    headed: bool = True,
    widths: Sequence[int] | None = None,
) -> None:
    """Print rows of texts in columns below their names, a line each; those in `right`, numbers, end below each other.

    `headed` tells whether names are printed; `widths` are the least of the columns, for rows that are printed later.
    """
    from rich.cells import cell_len  # some letters take two places

    lines = [list(header)] * headed + [[printable(cell) for cell in row] for row in rows]
    least = widths or [0] * len(header)
    room = [max([floor, *(cell_len(line[place]) for line in lines)]) for place, floor in enumerate(least)]
    for line in lines:
        cells = []
        for name, cell, width in zip(header, line, room, strict=True):
            gap = " " * (width - cell_len(cell))
            cells.append(gap + cell if name in right else cell + gap)
        print(_GAP.join(cells).rstrip())


def short(text: str) -> str:
    """Return an address, a digest or a CID by its first and last characters."""
    return text if len(text) <= 12 else f"{text[:6]}..{text[-4:]}"


def names_of(servers: Sequence[str]) -> Mapping[str, str]:
    """Return the short names of servers, given in the order of their registry numbers."""
    return {address: f"server-{number}" for number, address in enumerate(servers)}


def setting(value: object) -> str:
    """Return the value of a setting as the text of a cell; a dash for none."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else strictjson.dumps(value)


def figure(value: Any, *, is_rate: bool = False) -> str:
    """Return a number, or a mean over seeds with its interval and their number, as the text of a cell; else a dash."""
    if isinstance(value, Mapping):
        mean, half = value["mean"], value["half_width"]
        if mean is None or half is None:
            return figure(mean)
        from fbfl.runs.measures import text_of  # imports NumPy

        form = f",.{0 if abs(mean) >= 1e4 else 4}f"
        return f"{text_of(mean, half, form, is_rate=is_rate)} (n = {value['n']})"
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
