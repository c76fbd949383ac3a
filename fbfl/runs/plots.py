"""The pictures that a run ends with: accuracy and loss of the global model over the rounds."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fbfl.runs.measures import CURVES, RATES, interval
from fbfl.system import canvas
from fbfl.system.styles import plain_axes, rounds_across

INK = "#1f3b57"
ACCENT = "#c0562b"


@dataclass(frozen=True)
class _Curve:
    """A line of a picture, with a band of `half_widths` around it if there are any; NaN is a gap."""

    label: str
    colour: str
    values: Sequence[float]
    half_widths: Sequence[float]
    is_rate: bool
    """True if its values are within 0 and 1, and so is the band."""


_COLOURS = {"accuracy": INK, "attack_success_rate": ACCENT, "loss": INK}


def plot_rounds(folder: Path, lines: Sequence[dict[str, Any]], title: str) -> list[Path]:
    """Draw accuracy.png and loss.png; returns their paths. Without classes there is METRIC.png for each further figure.

    `lines` are those of metrics.jsonl, where a null is a gap, or the rounds of a series, where a figure is a mean.
    """
    curves = {
        name: _curve(label, _COLOURS[name], [line.get(name) for line in lines], is_rate=name in RATES)
        for name, label in CURVES.items()
        if any(name in line for line in lines) or name != "attack_success_rate"
    }
    further = {
        name: _curve(f"test {name}", INK, [line.get("metrics", {}).get(name) for line in lines], is_rate=False)
        for name in lines[0].get("metrics", ())
    }
    return _pictures(folder, title, [line["round"] for line in lines], curves, further)


def _curve(label: str, colour: str, figures: Sequence[Any], *, is_rate: bool) -> _Curve:
    if not isinstance(figures[0], Mapping):
        return _Curve(label, colour, _values(figures), (), is_rate)
    means, halves = (_values(figure[part] for figure in figures) for part in ("mean", "half_width"))
    return _Curve(label, colour, means, halves, is_rate)


def _values(values: Iterable[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _pictures(
    folder: Path, title: str, rounds: list[int], curves: Mapping[str, _Curve], further: Mapping[str, _Curve]
) -> list[Path]:
    """Draw accuracy, with the success of an attack if it is measured, or if it is not known `further`; and loss."""
    drawn = {"accuracy": [curves[name] for name in ("accuracy", "attack_success_rate") if name in curves]}
    if further and all(math.isnan(value) for value in curves["accuracy"].values):
        drawn = {_file_name(name): [curve] for name, curve in further.items()}
    drawn["loss"] = [curves["loss"]]
    return [_draw(folder / f"{name}.png", title, rounds, own) for name, own in drawn.items()]


def _file_name(metric: str) -> str:
    """Return the name of a figure, which may be a function's with its module, without what no file may be named."""
    return re.sub(r"\W+", "-", metric.rpartition(":")[2])


def _draw(path: Path, title: str, rounds: list[int], curves: Sequence[_Curve]) -> Path:
    with canvas.blank() as figure:
        figure.set_size_inches(7, 4)
        axes = figure.add_subplot()
        for curve in curves:
            axes.plot(
                rounds, curve.values, color=curve.colour, marker="o", markersize=4, linewidth=1.8, label=curve.label
            )
            if curve.half_widths:
                band = interval(curve.values, curve.half_widths, is_rate=curve.is_rate)
                axes.fill_between(rounds, *band, color=curve.colour, alpha=0.18, linewidth=0)
        axes.set_title(canvas.literal(title), fontsize=10, loc="left")
        axes.set_ylabel(curves[0].label if len(curves) == 1 else "")
        if len(curves) > 1:
            axes.legend(frameon=False)
        rounds_across(axes)
        plain_axes(axes)
        return canvas.save(figure, path)
