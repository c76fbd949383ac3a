import math
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fbfl.learning import exact_gram as module
from fbfl.learning.aggregation.norms import LANES, inner_products, norms
from fbfl.learning.exact_gram import exact_gram


def fraction_products(rows: npt.NDArray[Any]) -> list[list[Fraction]]:
    exact = [[Fraction(float(value)) for value in row] for row in rows]
    return [[sum((a * b for a, b in zip(u, v, strict=True)), Fraction(0)) for v in exact] for u in exact]


def grid(rng: np.random.Generator, n: int, p: int) -> npt.NDArray[Any]:
    """Rows whose entries need fewer than 36 bits below the row's largest, so that nothing is lost to the split."""
    values = rng.integers(-4000, 4000, size=(n, p)).astype(np.float32)
    return values * np.exp2(rng.integers(-60, 60, size=(n, 1))).astype(np.float32)


@pytest.mark.parametrize("seed", range(40))
def test_products_of_representable_rows_are_the_correctly_rounded_true_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = grid(rng, int(rng.integers(1, 8)), int(rng.integers(1, 60)))
    truth = fraction_products(rows)
    n = len(rows)
    gram = exact_gram(rows)
    assert gram.products().tolist() == [[float(value) for value in line] for line in truth]
    distances = [[float(truth[i][i] + truth[j][j] - 2 * truth[i][j]) for j in range(n)] for i in range(n)]
    assert gram.squared_distances().tolist() == distances


@pytest.mark.parametrize("seed", range(10))
def test_distances_to_a_combination_are_the_true_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = grid(rng, 5, 7)
    coefficients = rng.normal(size=5) * 10.0 ** rng.integers(-30, 3, size=5)
    exact = [[Fraction(float(value)) for value in row] for row in rows]
    centre = [sum(Fraction(float(c)) * row[p] for c, row in zip(coefficients, exact, strict=True)) for p in range(7)]
    squares = [float(sum((a - b) ** 2 for a, b in zip(row, centre, strict=True))) for row in exact]
    assert exact_gram(rows).distances_to(coefficients.tolist()).tolist() == np.sqrt(squares).tolist()


def test_centred_products_are_those_of_the_rows_minus_their_mean() -> None:
    rows = grid(np.random.default_rng(3), 6, 9)
    exact = [[Fraction(float(value)) for value in row] for row in rows]
    mean = [sum(column) / 6 for column in zip(*exact, strict=True)]
    centred = [[6 * (value - m) for value, m in zip(row, mean, strict=True)] for row in exact]
    truth = [[float(sum(a * b for a, b in zip(u, v, strict=True))) for v in centred] for u in centred]
    assert exact_gram(rows).centred().products().tolist() == truth


@pytest.mark.parametrize("p", [1, 2_047, 2_048, 2_049, 70_001])
def test_ordinary_rows_are_within_the_error_of_the_split(p: int) -> None:
    rows = np.random.default_rng(p).normal(size=(9, p)).astype(np.float32)
    wide = rows.astype(np.longdouble)
    for i, distances in enumerate(exact_gram(rows).squared_distances()):
        truth = ((wide - wide[i]) ** 2).sum(axis=1)
        assert np.all(np.abs(distances - truth) <= 1e-9 * truth)


def test_neighbours_far_from_the_origin_keep_their_distance() -> None:
    rng = np.random.default_rng(0)
    rows = (1 + 1e-5 * rng.normal(size=(6, 5_000))).astype(np.float32)
    wide = rows.astype(np.longdouble)
    truth = ((wide[:, None] - wide[None]) ** 2).sum(axis=2).astype(np.float64)
    np.testing.assert_allclose(exact_gram(rows).squared_distances(), truth, rtol=1e-6)


def test_a_huge_row_costs_the_others_nothing() -> None:
    rows = np.random.default_rng(1).normal(size=(8, 3_000)).astype(np.float32)
    alone = exact_gram(rows[1:]).squared_distances()
    rows[0] *= np.float32(1e30)
    assert (exact_gram(rows).squared_distances()[1:, 1:] == alone).all()


def test_duplicates_have_distance_zero_and_extreme_values_do_not_overflow() -> None:
    tiny, huge = np.float32(1e-45), np.finfo(np.float32).max
    rows = np.array([[huge, -huge], [huge, -huge], [tiny, 0], [0, 0], [0, 0]], np.float32)
    distances = exact_gram(rows).squared_distances()
    assert distances[0, 1] == 0
    assert distances[3, 4] == 0
    assert distances[2, 3] == float(tiny) ** 2
    assert distances[0, 3] == 2 * float(huge) ** 2


def test_blocks_and_flushes_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(2).normal(size=(5, 20_000)).astype(np.float32)
    whole = exact_gram(rows).integers.tolist()
    monkeypatch.setattr(module, "FLUSH", 4_096)
    monkeypatch.setattr(module, "_block_size", lambda n: 1_024)
    assert exact_gram(rows).integers.tolist() == whole


def test_partial_sums_stay_below_the_integers_that_float64_holds() -> None:
    """The largest slices there can be, in the widest block: the sum must still be exact."""
    width = module.MAX_BLOCK
    row = np.full((1, width), np.float32(1 - 2.0**-24))
    assert exact_gram(row).products()[0, 0] == float(Fraction(float(row[0, 0])) ** 2 * width)
    largest = (2**module.BITS + 2 ** (module.BITS - 1)) ** 2
    assert largest * width <= 2**53
    assert largest * module.FLUSH < 2**63


@pytest.mark.parametrize("p", [1, 2, LANES - 1, LANES, LANES + 1, 5 * LANES + 7])
def test_norms_and_inner_products_add_in_the_stated_order(p: int) -> None:
    """The order once more, in plain Python numbers."""
    rows = np.random.default_rng(p).normal(size=(3, p)).astype(np.float32)
    vector = rows[1] - np.float32(0.5)
    for other, found in ((None, norms(rows)), (vector, inner_products(rows, vector))):
        for row, value in zip(rows.tolist(), found.tolist(), strict=True):
            lanes = [0.0] * LANES
            for k, (a, b) in enumerate(zip(row, row if other is None else other.tolist(), strict=True)):
                lanes[k % LANES] += a * b
            while len(lanes) > 1:
                half = len(lanes) // 2
                lanes = [a + b for a, b in zip(lanes[:half], lanes[half:], strict=True)]
            assert value == (math.sqrt(lanes[0]) if other is None else lanes[0])
    np.testing.assert_allclose(norms(rows), np.linalg.norm(rows.astype(np.float64), axis=1), rtol=1e-12)
