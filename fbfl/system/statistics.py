"""Means, confidence intervals and tests of a difference across seeds (Student's t)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
"""Level of the confidence intervals; tests decide at one minus it."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and half the width of its 95 % confidence interval; NaN for a single seed."""

    mean: float
    half_width: float


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean with its interval: ``t(0.975, n-1) s / sqrt(n)``."""
    n = len(values)
    if n < 2:
        return Estimate(float(np.mean(values)), math.nan)
    error = float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(float(np.mean(values)), float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * error)


def p_value(first: Sequence[float], second: Sequence[float], relation: str, margin: float = 0.0) -> float:
    """Return p of the paired t-test of `first` against `second`, seed by seed; small if the relation holds.

    `higher`, `lower`: one-sided, against a difference of no more than `margin`. `different`: two-sided. `equal`: the
    larger of two one-sided tests against a difference of `margin` or more either way (TOST, Schuirmann 1987). NaN for
    a single seed.
    """
    differences = np.subtract(first, second)
    if relation == "higher":
        return _one_sided(differences - margin)
    if relation == "lower":
        return _one_sided(-differences - margin)
    if relation == "equal":
        return max(_one_sided(differences + margin), _one_sided(margin - differences))
    return min(1.0, 2 * min(_one_sided(differences), _one_sided(-differences)))


def _one_sided(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
    """Return p of a one-sided test that the mean is above 0; values that do not vary decide by their sign."""
    if len(values) < 2:
        return math.nan
    if np.ptp(values) == 0:
        return 0.0 if values[0] > 0 else 1.0
    return float(stats.ttest_1samp(values, 0.0, alternative="greater").pvalue)
