"""Normal draws with canonical bits: their distribution, and the logarithm behind them."""

import decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fbfl.learning.gaussian import logarithm, standard_normal
from fbfl.randomness import seed_sequence


@given(st.floats(min_value=np.finfo(np.float64).tiny, allow_infinity=False))
def test_the_logarithm_is_right_to_some_units_in_the_last_place(x: float) -> None:
    truth = float(decimal.Decimal(x).ln(decimal.Context(prec=40)))
    assert float(logarithm(x)) == pytest.approx(truth, rel=4 * np.finfo(np.float64).eps, abs=0)


def test_draws_are_normal_and_independent() -> None:
    drawn = standard_normal(200_000, seed_sequence(0, "test"))
    assert stats.kstest(drawn, "norm").pvalue > 0.01
    assert np.abs(drawn).max() > 4
    assert abs(np.corrcoef(drawn[::2], drawn[1::2])[0, 1]) < 0.01
    assert abs(np.corrcoef(np.abs(drawn[::2]), np.abs(drawn[1::2]))[0, 1]) < 0.01


def test_fewer_draws_are_the_first_of_more() -> None:
    many = standard_normal(30_000, seed_sequence(3, "test"))
    for count in (0, 1, 12_001):
        assert standard_normal(count, seed_sequence(3, "test")).tobytes() == many[:count].tobytes()
    assert not (standard_normal(9, seed_sequence(4, "test")) == many[:9]).any()
