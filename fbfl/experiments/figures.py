"""The picture of an experiment: accuracy left, loss right, means of the seeds with bands of their 95 % intervals.

Variants differ in line style and marker as well as in lightness, so that the picture can be read in grey. Of a grid,
a heat map.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fbfl.experiments.definition import Experiment
from fbfl.experiments.heatmap import draw_grid
from fbfl.experiments.results import Curves
from fbfl.experiments.statistics import estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLES = (
    *(("#1b3a57", "-", "o"), ("#c0562b", "--", "s"), ("#4f9a6b", "-.", "^"), ("#8a63a8", ":", "D")),
    *(("#d49a1f", (0, (5, 1)), "v"), ("#5a5a5a", (0, (3, 1, 1, 1)), "P"), ("#3fa7c4", (0, (1, 1)), "X")),
    *(("#a83a5b", (0, (8, 2)), "*"),),
)
_PANELS = (
    ("accuracy", "test accuracy"),
    ("attack_success_rate", "attack success rate"),
    ("loss", "test loss (cross-entropy)"),
)
_MARKERS = 8  # on each line, at most
_LOG_FROM = 20.0  # a loss that spans more than this factor is drawn on a logarithmic axis


def draw(folder: Path, experiment: Experiment, curves: Curves) -> list[Path]:
    """Write NAME.png and NAME.svg; returns their paths. The same curves give the same bytes of the SVG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": experiment.name, "font.size": 9}):
        figure = Figure(dpi=150)
        figure.set_layout_engine("constrained", wspace=0.05)
        (draw_grid if experiment.grid else _draw_curves)(figure, experiment, curves)
        figure.suptitle(f"{experiment.title} ({_seeds(experiment, curves)})", x=0.01, ha="left", fontsize=10)
        paths = [folder / f"{experiment.name}.png", folder / f"{experiment.name}.svg"]
        figure.savefig(paths[0])
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


def _draw_curves(figure: "Figure", experiment: Experiment, curves: Curves) -> None:
    labels = [variant.label for variant in experiment.variants]
    panels = [
        (curve, title)
        for curve, title in _PANELS
        if all(series for label in labels for series in curves.measured(label, curve))
    ]
    width = 4.4 * len(panels)
    figure.set_size_inches(width, 3.9, forward=True)
    for place, (curve, title) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), place)
        _panel(axes, curves, labels, curve)
        axes.set_ylabel(title)
    handles, names = figure.axes[0].get_legend_handles_labels()
    columns = max(1, int(width / (0.075 * max(map(len, names)) + 0.8)))  # inches: text, and line with gap
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, handlelength=3.6)


def _panel(axes: "Axes", curves: Curves, labels: Sequence[str], curve: str) -> None:
    from matplotlib.ticker import MaxNLocator

    means = []
    for number, label in enumerate(labels):
        points = [estimate(values) for values in zip(*curves.measured(label, curve), strict=True)]
        rounds = range(1, len(points) + 1)
        mean = [point.mean for point in points]
        means += mean
        colour, line, marker = _STYLES[number % len(_STYLES)]
        step = max(1, len(points) // _MARKERS)
        look: dict[str, Any] = {"color": colour, "linestyle": line, "marker": marker, "markersize": 4.5}
        axes.plot(rounds, mean, linewidth=1.6, markevery=(number % step, step), label=label, zorder=3, **look)
        if len(curves.seeds) > 1:
            low = [point.mean - point.half_width for point in points]
            high = [point.mean + point.half_width for point in points]
            axes.fill_between(rounds, low, high, color=colour, alpha=0.18, linewidth=0, zorder=2)
    if curve == "loss":
        if min(means) > 0 and max(means) > _LOG_FROM * min(means):
            axes.set_yscale("log")
            axes.set_ylim(min(means) / 2, max(means) * 2)
        else:
            axes.set_ylim(0, max(means) * 1.1)
    elif curve == "attack_success_rate":
        axes.set_ylim(-0.03, 1.03)
    else:
        room = max(0.02, 0.08 * (max(means) - min(means)))
        axes.set_ylim(max(-0.02, min(means) - room), min(1.02, max(means) + room))
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _seeds(experiment: Experiment, curves: Curves) -> str:
    number = len(curves.seeds)
    if number == 1:
        return "one seed"
    if experiment.grid:
        return f"means of {number} seeds; hatched: more attackers than the rule can be set to"
    return f"mean of {number} seeds, band: 95 % confidence interval"
