"""The picture of the cost of a round against a setting such as the number of servers: a panel per kind of cost."""

from typing import TYPE_CHECKING

from fbfl import canvas
from fbfl.experiments.definition import Experiment
from fbfl.experiments.results import Curves
from fbfl.experiments.statistics import estimate
from fbfl.experiments.styles import legend_below, line_style, plain_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = (
    ("cpu_seconds", "processor seconds per round"),
    ("transactions", "transactions per round"),
    ("gas_used", "gas per round"),
    ("calldata_bytes", "bytes of calldata per round"),
)


def draw_costs(figure: "Figure", experiment: Experiment, curves: Curves) -> None:
    """Draw into an empty figure, and set its size: a line per series, with the 95 % intervals of its points."""
    from matplotlib.ticker import NullLocator

    series: dict[str, list[tuple[int, str]]] = {}
    for variant in experiment.variants:
        place = getattr(experiment.settings(variant, 0), experiment.against)
        series.setdefault(variant.series or "", []).append((place, variant.label))
    width, height = 8.8, 7.2
    figure.set_size_inches(width, height, forward=True)
    for number, (cost, title) in enumerate(PANELS, 1):
        axes = figure.add_subplot(2, 2, number)
        for line, (name, points) in enumerate(series.items()):
            values = [estimate(curves.means(label, cost)) for _, label in points]
            axes.errorbar(
                [place for place, _ in points],
                [value.mean for value in values],
                [value.half_width for value in values] if len(curves.seeds) > 1 else None,
                label=canvas.literal(name),
                linewidth=1.6,
                capsize=2.5,
                **line_style(line),
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        places = sorted({place for points in series.values() for place, _ in points})
        axes.set_xticks(places, [str(place) for place in places])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(experiment.against.replace("_", " "))
        axes.set_ylabel(title)
        plain_axes(axes)
    legend_below(figure, width)
