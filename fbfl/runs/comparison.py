"""Runs beside each other: the settings in which they differ, their final figures, one picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fbfl.runs.files import read_json, read_metrics
from fbfl.runs.measures import PANELS, RATES, further_in, interval, mean_of, value_in
from fbfl.system import canvas
from fbfl.system.styles import legend_below, line_style, plain_axes, rounds_across

_SUMS = ("gas_used", "payload_bytes", "seconds")


Lines = Sequence[Mapping[str, Any]]
"""Lines of metrics.jsonl."""


@dataclass(frozen=True)
class ComparedRun:
    """A run, or the same run with several seeds, as its folder tells of it without its chain."""

    label: str
    settings: Mapping[str, Any]
    """Of several runs, `seed` is the list of their seeds."""
    metrics: Sequence[Lines]
    """The lines so far, per seed."""

    @property
    def figures(self) -> dict[str, Any]:
        """Rounds so far, final ones, the last value of what is drawn, and sums; None for what is not known.

        What is not the same with all seeds is their `fbfl.runs.measures.mean_of`.
        """
        found = [_figures(lines) for lines in self.metrics]
        values = {name: [each.get(name) for each in found] for of in found for name in of}
        return {name: each[0] if each.count(each[0]) == len(each) else mean_of(each) for name, each in values.items()}

    @property
    def rounds(self) -> list[int]:
        """The rounds that are over with all seeds."""
        return [line["round"] for line in min(self.metrics, key=len)]

    def has(self, measure: str) -> bool:
        """Return True if a measure is known in some round."""
        return any(value_in(line, measure) is not None for lines in self.metrics for line in lines)

    def curve(self, measure: str) -> tuple[list[float], list[float]]:
        """Return a measure by round and half the width of its interval over the seeds; NaN where it is not known."""
        by_round = [[value_in(line, measure) for line in of_round] for of_round in zip(*self.metrics, strict=False)]
        if len(self.metrics) == 1:
            return [_number(value) for (value,) in by_round], [math.nan] * len(by_round)
        means = [mean_of(values) for values in by_round]
        return [_number(mean["mean"]) for mean in means], [_number(mean["half_width"]) for mean in means]


def read(paths: Sequence[Path]) -> list[ComparedRun]:
    """Read the folders of runs, or of `fbfl run --seeds`, which may be under way still.

    What is neither raises as `fbfl.runs.files.read_json`.
    """
    return [_read(path) for path in paths]


def _read(path: Path) -> ComparedRun:
    several = [] if (path / "settings.json").exists() else [each.parent for each in path.glob("seed-*/settings.json")]
    settings = [read_json(folder / "settings.json") for folder in several or [path]]
    lines = [read_metrics(folder) for folder in several or [path]]
    if not several:
        return ComparedRun(str(path), settings[0], lines)
    seeds = sorted((each.get("seed", 0) for each in settings), key=str)
    return ComparedRun(str(path), {**settings[0], "seed": seeds}, lines)


def _figures(lines: Lines) -> dict[str, Any]:
    last = lines[-1] if lines else {}
    return {
        "rounds_over": len(lines),
        "final_rounds": sum(line.get("status") == "final" for line in lines),
        **{name: value_in(last, name) for name in (*(name for name, _ in PANELS), *further_in(lines))},
        **{name: sum(value_in(line, name) or 0 for line in lines) for name in _SUMS},
    }


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def figures_of(runs: Sequence[ComparedRun]) -> dict[str, list[Any]]:
    """Return every figure of some run, with the values of all; None where a run has not got it."""
    found = [run.figures for run in runs]
    return {name: [each.get(name) for each in found] for of_run in found for name in of_run}


def differences(runs: Sequence[ComparedRun]) -> dict[str, list[Any]]:
    """Return the settings that are not the same in all runs, with their values; None where a run has not got one."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {name: [run.settings.get(name) for run in runs] for name in names}
    return {name: each for name, each in values.items() if any(value != each[0] for value in each)}


def draw(runs: Sequence[ComparedRun], path: Path) -> Path:
    """Draw what is measured by round, a line per run and a panel per measure; returns the picture's path.

    Of several seeds it is the mean, with its 95 % interval as a band.
    """
    further = further_in(line for run in runs for lines in run.metrics for line in lines)
    panels = [each for each in (*PANELS, *((name, name) for name in further)) if any(run.has(each[0]) for run in runs)]
    with canvas.blank(font__size=9) as figure:
        width = 4.2 * max(1, len(panels))
        figure.set_size_inches(width, 3.6)
        for place, (name, title) in enumerate(panels, 1):
            axes = figure.add_subplot(1, len(panels), place)
            plain_axes(axes)
            for number, run in enumerate(runs):
                values, halves = run.curve(name)
                (line,) = axes.plot(run.rounds, values, label=canvas.literal(run.label), **line_style(number))
                if len(run.metrics) > 1:
                    band = interval(values, halves, is_rate=name in RATES)
                    axes.fill_between(run.rounds, *band, color=line.get_color(), alpha=0.18, linewidth=0)
            axes.set_title(canvas.literal(title), fontsize=9, loc="left")
            rounds_across(axes)
        if panels:
            legend_below(figure, width)
        return canvas.save(figure, path)
