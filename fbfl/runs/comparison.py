"""Runs beside each other: the settings in which they differ, their final figures, one picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fbfl.runs.files import read_json, read_lines
from fbfl.runs.measures import PANELS
from fbfl.system import canvas
from fbfl.system.styles import legend_below, line_style, plain_axes

_SUMS = ("gas_used", "payload_bytes", "seconds")


@dataclass(frozen=True)
class ComparedRun:
    """A run as its folder tells of it without its chain."""

    label: str
    settings: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    """Lines of metrics.jsonl so far."""

    @property
    def figures(self) -> dict[str, Any]:
        """Rounds so far, final ones, the last value of what is drawn, and sums; None for what is not known."""
        last = self.metrics[-1] if self.metrics else {}
        return {
            "rounds": len(self.metrics),
            "final_rounds": sum(line.get("status") == "final" for line in self.metrics),
            **{name: last.get(name) for name, _ in PANELS},
            **{name: sum(line.get(name) or 0 for line in self.metrics) for name in _SUMS},
        }

    def values(self, measure: str) -> list[float]:
        """Return a measure by round; NaN where it is not known."""
        return [math.nan if (value := line.get(measure)) is None else float(value) for line in self.metrics]


def read(paths: Sequence[Path]) -> list[ComparedRun]:
    """Read the folders of runs, which may be under way still; what is no run raises as `fbfl.runs.files.read_json`."""
    return [
        ComparedRun(str(path), read_json(path / "settings.json"), read_lines(path / "metrics.jsonl")) for path in paths
    ]


def differences(runs: Sequence[ComparedRun]) -> dict[str, list[Any]]:
    """Return the settings that are not the same in all runs, with their values; None where a run has not got one."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {name: [run.settings.get(name) for run in runs] for name in names}
    return {name: each for name, each in values.items() if any(value != each[0] for value in each)}


def draw(runs: Sequence[ComparedRun], path: Path) -> Path:
    """Draw what is measured by round, a line per run and a panel per measure; returns the picture's path."""
    panels = [(name, title) for name, title in PANELS if any(name in line for run in runs for line in run.metrics)]
    with canvas.blank(font__size=9) as figure:
        from matplotlib.ticker import MaxNLocator

        width = 4.2 * max(1, len(panels))
        figure.set_size_inches(width, 3.6)
        for place, (name, title) in enumerate(panels, 1):
            axes = figure.add_subplot(1, len(panels), place)
            plain_axes(axes)
            for number, run in enumerate(runs):
                rounds = [line["round"] for line in run.metrics]
                axes.plot(rounds, run.values(name), label=canvas.literal(run.label), **line_style(number))
            axes.set_title(title, fontsize=9, loc="left")
            axes.set_xlabel("round")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if panels:
            legend_below(figure, width)
        return canvas.save(figure, path)
