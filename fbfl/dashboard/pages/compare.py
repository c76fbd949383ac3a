"""`/compare`: all runs beside each other."""

from typing import Any

from fbfl.dashboard.charts import chart
from fbfl.dashboard.pages.overview import SHARES, SHOWN, points
from fbfl.dashboard.pages.view import View
from fbfl.runs.comparison import ComparedRun, differences


def compare(view: View) -> dict[str, Any]:
    """Return the settings that differ, the last figures, and a chart per measure with a line per run."""
    runs = [ComparedRun(source.label, source.settings, [source.metrics()]) for source in view.sources]
    figures = [run.figures for run in runs]
    labels = _apart([run.label for run in runs])
    return {
        "labels": labels,
        "differing": differences(runs),
        "figures": {name: [each[name] for each in figures] for name in figures[0]},
        "charts": [
            chart(
                title,
                {label: points(run.metrics[0], name) for label, run in zip(labels, runs, strict=True)},
                share=name in SHARES,
            )
            for name, title in SHOWN
            if any(run.has(name) for run in runs)
        ],
    }


def _apart(labels: list[str]) -> list[str]:
    """Return the labels, each once: the same run may have been named twice."""
    return [label if labels.index(label) == place else f"{label} ({place})" for place, label in enumerate(labels)]
