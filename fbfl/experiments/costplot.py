"""The picture of the cost of a round against settings such as the number of servers: a panel per kind of cost."""

from typing import TYPE_CHECKING

from fbfl.experiments.definition import Experiment
from fbfl.experiments.results import Curves
from fbfl.system import canvas
from fbfl.system.statistics import estimate
from fbfl.system.styles import legend_below, line_style, plain_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLES = {"cpu_seconds": "processor seconds", "gas_used": "gas", "calldata_bytes": "bytes of calldata"}
_WIDTH = 4.4
_HEIGHT = 3.6


def draw_costs(figure: "Figure", experiment: Experiment, curves: Curves) -> None:
    """Draw into an empty figure, and set its size: a line per series, with the 95 % intervals of its points."""
    from matplotlib.ticker import NullLocator

    series = {variant.series or "": None for variant in experiment.variants}
    lines = {name: line_style(number) for number, name in enumerate(series)}
    columns = 2 if len(experiment.panels) != 3 else 3
    rows = -(-len(experiment.panels) // columns)
    width = _WIDTH * columns
    figure.set_size_inches(width, _HEIGHT * rows, forward=True)
    for number, panel in enumerate(experiment.panels, 1):
        axes = figure.add_subplot(rows, columns, number)
        points: dict[str, list[tuple[int, str]]] = {}
        for variant in experiment.variants:
            if panel.against in variant.settings:
                place = getattr(experiment.settings(variant, 0), panel.against)
                points.setdefault(variant.series or "", []).append((place, variant.label))
        means: list[float] = []
        for name, places in points.items():
            values = [estimate(curves.means(label, panel.measure)) for _, label in places]
            means += [value.mean for value in values]
            axes.errorbar(
                [place for place, _ in places],
                [value.mean for value in values],
                [value.half_width for value in values] if len(curves.seeds) > 1 else None,
                label=canvas.literal(name),
                linewidth=1.6,
                capsize=2.5,
                **lines[name],
            )
        axes.set_xscale("log")
        if panel.measure == "views":
            axes.set_ylim(0, max(means) * 1.1)
        else:
            axes.set_yscale("log")
        ticks = sorted({place for along in points.values() for place, _ in along})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(panel.against.replace("_", " "))
        axes.set_ylabel(f"{_TITLES.get(panel.measure, panel.measure.replace('_', ' '))} per round")
        plain_axes(axes)
    legend_below(figure, width)
