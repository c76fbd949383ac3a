"""The pictures that a run ends with: accuracy and loss of the global model over the rounds."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fbfl.system import canvas

INK = "#1f3b57"
ACCENT = "#c0562b"


def plot_run(folder: Path, metrics: Sequence[dict[str, Any]], title: str) -> list[Path]:
    """Draw accuracy.png and loss.png from the lines of metrics.jsonl; returns their paths. A null is a gap."""
    rounds = [line["round"] for line in metrics]
    curves = {"accuracy": [("test accuracy", INK, _values(metrics, "accuracy"))]}
    if any("attack_success_rate" in line for line in metrics):
        curves["accuracy"].append(("attack success rate", ACCENT, _values(metrics, "attack_success_rate")))
    curves["loss"] = [("test loss (cross-entropy)", INK, _values(metrics, "loss"))]
    return [_draw(folder / f"{name}.png", title, rounds, curve) for name, curve in curves.items()]


def _values(metrics: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [math.nan if (value := line.get(name)) is None else value for line in metrics]


def _draw(path: Path, title: str, rounds: list[int], curves: list[tuple[str, str, list[float]]]) -> Path:
    with canvas.blank() as figure:
        from matplotlib.ticker import MaxNLocator

        figure.set_size_inches(7, 4)
        axes = figure.add_subplot()
        for label, colour, values in curves:
            axes.plot(rounds, values, color=colour, marker="o", markersize=4, linewidth=1.8, label=label)
        axes.set_title(canvas.literal(title), fontsize=10, loc="left")
        axes.set_xlabel("round")
        axes.set_ylabel(curves[0][0] if len(curves) == 1 else "")
        if len(curves) > 1:
            axes.legend(frameon=False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        return canvas.save(figure, path)
