"""`/compare`: all runs beside each other."""

from collections.abc import Mapping, Sequence
from typing import Any

from fbfl.dashboard.charts import chart
from fbfl.dashboard.pages.overview import points, shown_of
from fbfl.dashboard.pages.view import View
from fbfl.errors import FbflError
from fbfl.runs.comparison import ComparedRun, differences, figures_of
from fbfl.runs.measures import RATES


def compare(view: View) -> dict[str, Any]:
    """Return the settings that differ, the last figures, and a chart per measure with a line per run."""
    runs, problems = [], []
    for source in view.sources:
        lines: Sequence[Mapping[str, Any]] = ()
        try:
            lines = source.metrics()
        except FbflError as error:  # the others are shown all the same
            problems.append((source.label, str(error)))
        runs.append(ComparedRun(source.label, source.settings, [lines]))
    labels = _apart([run.label for run in runs])
    return {
        "labels": labels,
        "problems": problems,
        "differing": differences(runs),
        "figures": figures_of(runs),
        "charts": [
            chart(
                title,
                {label: points(run.metrics[0], name) for label, run in zip(labels, runs, strict=True)},
                share=name in RATES,
            )
            for name, title in shown_of(line for run in runs for line in run.metrics[0])
            if any(run.has(name) for run in runs)
        ],
    }


def _apart(labels: list[str]) -> list[str]:
    """Return the labels, each once: the same run may have been named twice."""
    return [label if labels.index(label) == place else f"{label} ({place})" for place, label in enumerate(labels)]
