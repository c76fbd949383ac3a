"""Intervals and tests, against SciPy's own and numbers worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from fbfl.system.statistics import estimate, p_value

A = [0.91, 0.93, 0.90, 0.95, 0.92]
B = [0.90, 0.91, 0.91, 0.92, 0.90]


def test_the_interval_is_that_of_a_table_of_t() -> None:
    found = estimate([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.mean == 3
    assert found.half_width == pytest.approx(2.776445 * math.sqrt(2.5 / 5), rel=1e-6)  # t(0.975, 4) = 2.776445
    assert estimate([2.0, 2.0]).half_width == 0
    assert math.isnan(estimate([1.0]).half_width)


def test_the_test_is_the_paired_t_test_of_scipy() -> None:
    assert p_value(A, B, "higher") == pytest.approx(stats.ttest_rel(A, B, alternative="greater").pvalue)
    assert p_value(A, B, "lower") == pytest.approx(stats.ttest_rel(A, B, alternative="less").pvalue)
    assert p_value(A, B, "different") == pytest.approx(stats.ttest_rel(A, B).pvalue)


def test_a_margin_moves_the_hypothesis() -> None:
    moved = np.add(B, 0.01)
    assert p_value(A, B, "higher", 0.01) == pytest.approx(stats.ttest_rel(A, moved, alternative="greater").pvalue)
    assert p_value(B, A, "lower", 0.01) == pytest.approx(p_value(A, B, "higher", 0.01))


def test_equal_within_a_margin_needs_both_sides() -> None:
    upper = stats.ttest_rel(A, np.add(B, 0.05), alternative="less").pvalue
    lower = stats.ttest_rel(A, np.subtract(B, 0.05), alternative="greater").pvalue
    assert p_value(A, B, "equal", 0.05) == pytest.approx(max(upper, lower))
    assert p_value(A, B, "equal", 0.05) < 0.05 < p_value(A, B, "equal", 0.015)


def test_differences_that_do_not_vary_decide_by_their_sign() -> None:
    assert p_value([2.0, 3.0], [1.0, 2.0], "higher") == 0
    assert p_value([2.0, 3.0], [2.0, 3.0], "higher") == 1
    assert p_value([2.0, 3.0], [2.0, 3.0], "equal", 0.1) == 0
    assert p_value([2.0, 3.0], [2.0, 3.0], "different") == 1
    assert math.isnan(p_value([1.0], [2.0], "lower"))
