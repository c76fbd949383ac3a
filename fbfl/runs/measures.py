"""Measures of the global model after every round, as metrics.jsonl names them, and their words in pictures."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

CURVES: Mapping[str, str] = {
    "accuracy": "test accuracy",
    "loss": "test loss",
    "attack_success_rate": "attack success rate",
}

RATES = ("accuracy", "attack_success_rate")
"""Measures that are from 0 to 1."""

PANELS = tuple((name, CURVES[name]) for name in ("accuracy", "attack_success_rate", "loss"))
"""The panels of a picture, from the left."""


MOST = 1e300
"""Numbers that are as large are not known: pictures compute with them."""


def value_in(line: Mapping[str, Any], name: str) -> float | None:
    """Return a number of a line of metrics.jsonl, a further metric by its name; None if it is not known or damaged."""
    return finite(line[name] if name in line else metrics_in(line).get(name))


def finite(value: object) -> float | None:
    """Return a number of a file, which may be damaged; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MOST:
        return None
    return value


def further_in(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of the further metrics in some lines, each once; one that a measure has counts for nothing."""
    names = dict.fromkeys(name for line in lines for name in metrics_in(line))
    return [name for name in names if name not in CURVES]


def metrics_in(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the further metrics of a line of a file, which may be damaged; none for anything else."""
    metrics = line.get("metrics")
    return metrics if isinstance(metrics, Mapping) else {}


def mean_of(values: Sequence[float | None]) -> dict[str, float | int | None]:
    """Return `mean`, `half_width` of the 95 % confidence interval (None for one value) and number `n` over seeds.

    Nothing is known of a mean if one of the values is not.
    """
    from fbfl.system.statistics import estimate  # imports SciPy, which takes a second

    known = [float(value) for value in values if value is not None]
    if len(known) < len(values):
        return {"mean": None, "half_width": None, "n": len(values)}
    found = estimate(known)
    half = None if math.isnan(found.half_width) else found.half_width
    return {"mean": found.mean, "half_width": half, "n": len(values)}


def interval(
    values: Sequence[float], half_widths: Sequence[float], *, is_rate: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the lower and upper ends of intervals; those of a rate stay from 0 to 1."""
    low, high = (np.add(values, sign * np.asarray(half_widths)) for sign in (-1, 1))
    return (np.clip(low, 0, 1), np.clip(high, 0, 1)) if is_rate else (low, high)


def text_of(mean: float, half_width: float, form: str, *, is_rate: bool) -> str:
    """Return a mean with half the width of its interval, "0.91 ± 0.02", each in a form of `format`.

    Where the interval of a rate would leave 0 to 1, its ends stand instead, "0.20 (0.00 to 0.76)".
    """
    low, high = (ends.item() for ends in interval([mean], [half_width], is_rate=is_rate))
    if is_rate and (low, high) != (mean - half_width, mean + half_width):
        return f"{mean:{form}} ({low:{form}} to {high:{form}})"
    return f"{mean:{form}} ± {half_width:{form}}"
