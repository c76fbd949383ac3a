"""The pictures that a run ends with: accuracy and loss of the global model over the rounds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

INK = "#1f3b57"
ACCENT = "#c0562b"


def plot_run(folder: Path, metrics: Sequence[dict[str, Any]], title: str) -> list[Path]:
    """Draw accuracy.png and loss.png from the lines of metrics.jsonl; returns their paths."""
    import matplotlib as mpl

    mpl.use("Agg")
    rounds = [line["round"] for line in metrics]
    curves = {"accuracy": [("test accuracy", INK, [line["accuracy"] for line in metrics])]}
    if any("attack_success_rate" in line for line in metrics):
        success = [line.get("attack_success_rate") for line in metrics]
        curves["accuracy"].append(("attack success rate", ACCENT, success))
    curves["loss"] = [("test loss (cross-entropy)", INK, [line["loss"] for line in metrics])]
    return [_draw(folder / f"{name}.png", title, rounds, curve) for name, curve in curves.items()]


def _draw(path: Path, title: str, rounds: list[int], curves: list[tuple[str, str, list[Any]]]) -> Path:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for label, colour, values in curves:
        axes.plot(rounds, values, color=colour, marker="o", markersize=4, linewidth=1.8, label=label)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("round")
    axes.set_ylabel(curves[0][0] if len(curves) == 1 else "")
    if len(curves) > 1:
        axes.legend(frameon=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    return path
