"""The pictures that a run ends with: accuracy and loss of the global model over the rounds."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fbfl.runs.measures import CURVES, RATES, finite, further_in, interval, metrics_in
from fbfl.system import canvas
from fbfl.system.printable import counted
from fbfl.system.styles import plain_axes, rounds_across

INK = "#1f3b57"
ACCENT = "#c0562b"


def plot_rounds(folder: Path, lines: Sequence[dict[str, Any]], title: str, *, only_missing: bool = False) -> list[Path]:
    """Draw accuracy.png and loss.png, or those that are not there, and return the paths of what was drawn.

    Without classes there is METRIC.png for each further figure. `lines` are those of metrics.jsonl, where what is no
    number is a gap, or the rounds of a series, where a figure is a mean.
    """
    drawn = {"accuracy": [name for name in RATES if name == "accuracy" or any(name in line for line in lines)]}
    further = further_in(lines)
    if further and all(math.isnan(value) for value in _curve(lines, "accuracy")[0]):
        drawn = {_file_name(name): [name] for name in further}
    drawn["loss"] = ["loss"]
    pictures = {folder / f"{file}.png": names for file, names in drawn.items()}
    return [
        _draw(path, title, lines, names) for path, names in pictures.items() if not (only_missing and path.exists())
    ]


def title_of(summary: Mapping[str, Any]) -> str:
    """Return the title of the pictures of a run with this summary.json."""
    return f"{summary['dataset']}, {counted(summary['servers'], 'server')}, {summary['aggregator']}"


def _curve(lines: Sequence[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Return a measure by round, NaN where there is a gap, and if it is a mean, half the widths of its intervals."""
    of_lines = lines if name in CURVES else [metrics_in(line) for line in lines]
    figures: list[Any] = [each.get(name) for each in of_lines]
    if not all(isinstance(figure, Mapping) for figure in figures):
        return _values(figures), []
    return _values(figure.get("mean") for figure in figures), _values(figure.get("half_width") for figure in figures)


def _values(values: Iterable[object]) -> list[float]:
    return [math.nan if (number := finite(value)) is None else number for value in values]


def _file_name(metric: str) -> str:
    """Return the name of a figure, which may be a function's with its module, without what no file may be named."""
    return re.sub(r"\W+", "-", metric.rpartition(":")[2])


def _draw(path: Path, title: str, lines: Sequence[dict[str, Any]], names: Sequence[str]) -> Path:
    rounds = [line["round"] for line in lines]
    labels = {name: CURVES.get(name, f"test {name}") for name in names}
    with canvas.blank() as figure:
        figure.set_size_inches(7, 4)
        axes = figure.add_subplot()
        for name, label in labels.items():
            values, halves = _curve(lines, name)
            colour = ACCENT if name == "attack_success_rate" else INK
            axes.plot(rounds, values, color=colour, marker="o", markersize=4, linewidth=1.8, label=label)
            if halves:
                band = interval(values, halves, is_rate=name in RATES)
                axes.fill_between(rounds, *band, color=colour, alpha=0.18, linewidth=0)
        axes.set_title(canvas.literal(title), fontsize=10, loc="left")
        axes.set_ylabel(labels[names[0]] if len(names) == 1 else "")
        if len(names) > 1:
            axes.legend(frameon=False)
        rounds_across(axes)
        plain_axes(axes)
        return canvas.save(figure, path)
