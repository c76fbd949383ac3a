"""The picture of a grid: a panel per number of attackers, rules down, attacks across, final means of the seeds.

Light is good and dark is bad in every cell, and each holds its number, so that the picture can be read in grey.
"""

import math
from typing import TYPE_CHECKING, Any

from fbfl.experiments.definition import Experiment
from fbfl.experiments.results import Curves
from fbfl.experiments.variants import AttackColumn, Grid
from fbfl.system import canvas
from fbfl.system.statistics import estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SCALES = {
    "accuracy": ("cividis", 2.0, "final test accuracy"),
    "attack_success_rate": ("cividis_r", 0.5, "attack success rate"),
}
"""Colours, the exponent of their scale (more room where values crowd), and their meaning."""
_CELL = 0.62, 0.3  # inches
_WIDE = 12  # columns; panels with more stand below one another
_DARK = 0.45  # numbers are white on cells whose mean of red, green and blue is below


def draw_grid(figure: "Figure", experiment: Experiment, curves: Curves) -> None:
    """Draw into an empty figure, and set its size."""
    grid = experiment.grid
    assert grid is not None  # by the caller
    servers = experiment.settings(experiment.variants[0], 0).servers
    columns = len(grid.attacks) + 1
    across = 2 if len(grid.malicious) > 1 and columns <= _WIDE else 1
    down = -(-len(grid.malicious) // across)
    figure.set_size_inches(
        across * (columns * _CELL[0] + 1.6) + 1.2, down * (len(grid.rules) * _CELL[1] + 1.3) + 0.7, forward=True
    )
    images: dict[str, Any] = {}
    for place, malicious in enumerate(grid.malicious):
        axes = figure.add_subplot(down, across, place + 1)
        axes.set_title(f"{malicious} of {servers} attack ({100 * malicious / servers:g} %)", fontsize=10)
        images.update(_panel(axes, grid, curves, malicious))
    panels = list(figure.axes)
    for measure, image in images.items():
        bar = figure.colorbar(image, ax=panels, shrink=0.6, aspect=40, pad=0.01, label=_SCALES[measure][2])
        bar.outline.set_visible(False)


def _panel(axes: "Axes", grid: Grid, curves: Curves, malicious: int) -> dict[str, Any]:
    """Draw a panel; return the colour mapping of each measure that it shows."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import PowerNorm
    from matplotlib.patches import Rectangle

    images = {
        measure: ScalarMappable(PowerNorm(exponent, 0, 1), colormaps[name])
        for measure, (name, exponent, _) in _SCALES.items()
    }
    columns: list[AttackColumn | None] = [None, *grid.attacks]
    shown = {"accuracy"}
    for row, rule in enumerate(grid.rules):
        for column, attack in enumerate(columns):
            measure = attack.measure if attack else "accuracy"
            value = math.nan  # of a cell that was not played
            if attack is None or malicious in attack.malicious:
                shown.add(measure)
                label = grid.label(rule, attack, malicious)
                value = estimate([series[-1] for series in curves.measured(label, measure)]).mean
            if math.isnan(value):
                axes.text(column, row, "–", ha="center", va="center", color="#666666", fontsize=8)
                continue
            beyond = attack is not None and rule.is_exceeded_by(malicious)
            name, exponent, _ = _SCALES[measure]
            colour = colormaps[name](value**exponent)
            dark = sum(colour[:3]) / 3 < _DARK
            look: dict[str, Any] = {"facecolor": colour, "edgecolor": "#999999" if dark else "#666666", "linewidth": 0}
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, hatch="///" if beyond else None, **look))
            axes.text(
                column,
                row,
                f"{value:.2f}".removeprefix("0"),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "black",
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8} if beyond else None,
            )
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(grid.rules) - 0.5, -0.5)
    names = [_heading(attack) if attack else "no attack" for attack in columns]
    axes.set_xticks(range(len(columns)), names, rotation=35, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(len(grid.rules)), [canvas.literal(rule.label) for rule in grid.rules], fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for column, attack in enumerate(columns):
        if column == 1 or (attack and attack.measure != "accuracy"):
            axes.axvline(column - 0.5, color="white", linewidth=4)
    return {measure: image for measure, image in images.items() if measure in shown}


def _heading(attack: AttackColumn) -> str:
    label = canvas.literal(attack.label)
    return label if attack.measure == "accuracy" else f"{label}:\nsuccess rate"
