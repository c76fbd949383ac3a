"""The picture of an experiment: accuracy left, loss and further metrics right, means of the seeds.

Bands are 95 % intervals of the means. For a grid it is a heat map instead, and for variants along a setting, the cost
of their rounds.
"""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from fbfl.experiments.costplot import draw_costs
from fbfl.experiments.definition import Experiment
from fbfl.experiments.heatmap import draw_grid
from fbfl.experiments.results import Curves
from fbfl.runs.measures import PANELS, RATES, interval
from fbfl.system import canvas
from fbfl.system.statistics import estimate
from fbfl.system.styles import legend_below, line_style, plain_axes, rounds_across

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AGAINST = {
    "round": ("round", 1.0),
    "payload_bytes": ("megabytes published so far", 1e-6),
    "gas_used": ("millions of gas so far", 1e-6),
    "cpu_seconds": ("processor seconds so far", 1.0),
}
_MARKERS = 8  # on each line, at most
_LOG_FROM = 20.0  # values that span more than this factor get a logarithmic axis


def draw(folder: Path, experiment: Experiment, curves: Curves) -> list[Path]:
    """Write NAME.png and NAME.svg; returns their paths. The same curves give the same bytes of the SVG."""
    with canvas.blank(svg__hashsalt=experiment.name, font__size=9) as figure:
        figure.set_layout_engine("constrained", wspace=0.05)
        _drawing(experiment)(figure, experiment, curves)
        title = f"{canvas.literal(experiment.title)} ({_seeds(experiment, curves)})"
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        return [
            canvas.save(figure, folder / f"{experiment.name}.png"),
            canvas.save(figure, folder / f"{experiment.name}.svg", metadata={"Date": None}),
        ]


def _drawing(experiment: Experiment) -> Callable[["Figure", Experiment, Curves], None]:
    if experiment.grid:
        return draw_grid
    return draw_costs if experiment.against_setting else _draw_curves


def _draw_curves(figure: "Figure", experiment: Experiment, curves: Curves) -> None:
    labels = experiment.drawn or [variant.label for variant in experiment.variants]
    panels = [(curve, title) for curve, title in PANELS if curves.has(curve)]
    panels += [(curve, f"test {curve}") for curve in curves.curves if curve in curves.further]
    width = 4.4 * len(panels)
    figure.set_size_inches(width, 3.9, forward=True)
    for place, (curve, title) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), place)
        _panel(axes, curves, labels, curve, experiment.against)
        axes.set_ylabel(title)
    legend_below(figure, width)


def _panel(axes: "Axes", curves: Curves, labels: Sequence[str], curve: str, against: str) -> None:
    means: list[float] = []
    reach: list[float] = []
    for number, label in enumerate(labels):
        points = [estimate(values) for values in zip(*curves.measured(label, curve), strict=True)]
        places = _places(curves, label, against, len(points))
        reach += places
        mean = [point.mean for point in points]
        means += filter(math.isfinite, mean)
        name, look, step = canvas.literal(label), line_style(number), max(1, len(points) // _MARKERS)
        axes.plot(places, mean, linewidth=1.6, markevery=(number % step, step), label=name, zorder=3, **look)
        if len(curves.seeds) > 1:
            band = interval(mean, [point.half_width for point in points], is_rate=curve in RATES)
            axes.fill_between(places, *band, color=look["color"], alpha=0.18, linewidth=0, zorder=2)
    if curve == "attack_success_rate":
        axes.set_ylim(-0.03, 1.03)
    elif not means:
        axes.set_yticks([])  # nothing is finite
    elif curve == "loss":
        if min(means) > 0 and max(means) > _LOG_FROM * min(means):
            axes.set_yscale("log")
            axes.set_ylim(min(means) / 2, max(means) * 2)
        else:
            axes.set_ylim(0, max(means) * 1.1 or 1)
    elif curve == "accuracy":
        room = max(0.02, 0.08 * (max(means) - min(means)))
        axes.set_ylim(max(-0.02, min(means) - room), min(1.02, max(means) + room))
    axes.set_xlabel(_AGAINST[against][0])
    if against == "round":
        rounds_across(axes)
    elif max(reach) > _LOG_FROM * min(reach):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    plain_axes(axes)


def _places(curves: Curves, label: str, against: str, rounds: int) -> list[float]:
    """Return the rounds' places on the horizontal axis: their numbers, or their summed cost, as a mean of seeds."""
    if against == "round":
        return [float(number) for number in range(1, rounds + 1)]
    factor = _AGAINST[against][1]
    sums = [accumulate(series) for series in curves.measured(label, against)]
    return [factor * estimate(values).mean for values in zip(*sums, strict=True)]


def _seeds(experiment: Experiment, curves: Curves) -> str:
    number = len(curves.seeds)
    if experiment.grid:
        hatched = "hatched: more attackers than the rule can be set to"
        return f"means of {number} seeds; {hatched}" if number > 1 else f"one seed; {hatched}"
    if number == 1:
        return "one seed"
    shape = "bars" if experiment.against_setting else "band"
    return f"mean of {number} seeds, {shape}: 95 % confidence interval"
