"""Measures of the global model after every round, as metrics.jsonl names them, and their words in pictures."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

CURVES: Mapping[str, str] = {
    "accuracy": "test accuracy",
    "loss": "test loss (cross-entropy)",
    "attack_success_rate": "attack success rate",
}

PANELS = tuple((name, CURVES[name]) for name in ("accuracy", "attack_success_rate", "loss"))
"""The panels of a picture, from the left."""


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
