"""Mixing before a rule: what comes out, that it is told apart by its settings, and that it helps where it should."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fbfl.errors import AggregationError, InvalidInputError
from fbfl.learning.aggregation import fedavg, median, nearest_neighbour_mixing, resolve
from fbfl.learning.aggregation.mixing import buckets
from tests.unit.learning import oracles

ROWS = st.integers(1, 9)
MATRIX = arrays(np.float32, st.tuples(ROWS, st.integers(1, 4)), elements=st.integers(-50, 50).map(float))


def mixed_by_formula(matrix: np.ndarray, f: int) -> np.ndarray:
    """The means of Allouah et al.'s algorithm 2 in exact fractions; ties to the lowest row."""
    rows = oracles.fractions(matrix)
    mixed = []
    for row in rows:
        distances = [oracles.squared_distance(row, other) for other in rows]
        near = sorted(range(len(rows)), key=lambda place: (distances[place], place))[: len(rows) - f]
        mixed.append(
            [sum((rows[place][column] for place in near), Fraction(0)) / len(near) for column in range(len(row))]
        )
    return np.array([[float(value) for value in row] for row in mixed], np.float32)


@settings(max_examples=60)
@given(MATRIX, st.integers(0, 4))
def test_nearest_neighbours_are_averaged_as_the_formula_says(matrix: np.ndarray, f: int) -> None:
    if len(matrix) < 2 * f + 1:
        with pytest.raises(AggregationError, match=rf"nnm needs n >= 2f\+1 updates; n={len(matrix)}, f={f}"):
            nearest_neighbour_mixing(matrix, f)
        return
    mixed = nearest_neighbour_mixing(matrix, f)
    assert mixed.dtype == np.float32
    assert mixed.tobytes() == (mixed_by_formula(matrix, f) + np.float32(0)).tobytes()


@given(st.integers(1, 240), st.integers(1, 300), st.integers(0, 2**63), st.integers(0, 99))
def test_buckets_hold_every_row_once(n: int, size: int, seed: int, round_number: int) -> None:
    dealt = buckets(n, size, seed, round_number)
    assert sorted(row for bucket in dealt for row in bucket) == list(range(n))
    assert [len(bucket) for bucket in dealt[:-1]] == [size] * (len(dealt) - 1)
    assert all(list(bucket) == sorted(bucket) for bucket in dealt)


def test_who_shares_a_bucket_is_drawn_anew_in_every_round() -> None:
    shared = {bucket for number in range(200) for bucket in buckets(6, 2, seed=3, round_number=number)}
    assert len(shared) == 15, "all pairs of six"


UPDATES = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
SAMPLES = [1, 5, 2, 9, 4, 3, 7]


def test_buckets_of_an_average_change_nothing() -> None:
    """The mean of the buckets' weighted means, weighed by their sums, is the weighted mean."""
    for size in (1, 2, 7, 9):
        rule = resolve("fedavg", mixing="bucketing", bucket_size=size)
        np.testing.assert_allclose(
            rule(UPDATES, SAMPLES, seed=1).vector, fedavg(UPDATES, SAMPLES), rtol=1e-5, atol=1e-7
        )


def test_a_bucket_without_samples_weighs_nothing() -> None:
    rule = resolve("fedavg", mixing="bucketing", bucket_size=1)
    weights = [1, 0, 0, 2, 0, 0, 0]
    assert rule(UPDATES, weights, seed=1).vector.tobytes() == fedavg(UPDATES, weights).tobytes()


def test_a_rule_sees_the_means_of_buckets_and_tells_whose_it_took() -> None:
    rule = resolve("krum", num_byzantine=1, mixing="bucketing")
    dealt = buckets(12, 2, seed=5, round_number=4)
    updates = np.random.default_rng(1).normal(size=(12, 5)).astype(np.float32)
    means = np.stack([updates[list(bucket)].astype(float).mean(axis=0) for bucket in dealt]).astype(np.float32)
    answer = rule(updates, seed=5, round_number=4)
    place = oracles.krum(oracles.fractions(means), 1)
    assert answer.selected == dealt[place]
    np.testing.assert_allclose(answer.vector, means[place], rtol=1e-6)
    assert rule.draws
    assert rule(updates, seed=6, round_number=4).selected != answer.selected


def test_mixing_takes_the_number_of_attackers_from_the_rule() -> None:
    mixed = nearest_neighbour_mixing(UPDATES, 2)
    wanted = median(mixed).tobytes()
    for rule in (
        resolve("median", mixing="nnm", mixing_byzantine=2),
        resolve(median, mixing="nnm", mixing_byzantine=2),
    ):
        assert rule(UPDATES).vector.tobytes() == wanted
        assert not rule.draws
        assert rule.canonical
    assert resolve("trimmed_mean", trim=2, mixing="nnm").mixing == resolve("krum", num_byzantine=2, mixing="nnm").mixing
    assert resolve("krum", num_byzantine=2).mixing is None


def test_mixing_helps_the_median_where_honest_clients_differ() -> None:
    """Half of the honest clients have one label, half the other, and nobody is in the middle."""
    rng = np.random.default_rng(0)
    side = np.repeat([[1.0], [-1.0]], [7, 6], axis=0)
    honest = (side * np.ones(50) + 0.1 * rng.normal(size=(13, 50))).astype(np.float32)
    lies = np.repeat(honest[:1], 4, axis=0)
    updates, mean = np.concatenate([honest, lies]), honest.mean(axis=0)
    plain, mixed = resolve("median"), resolve("median", mixing="bucketing", bucket_size=4)
    distances = [
        np.linalg.norm(rule(updates, seed=seed).vector - mean) for rule in (plain, mixed) for seed in range(20)
    ]
    assert np.mean(distances[20:]) < 0.7 * np.mean(distances[:20])


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        ("krum", {"num_byzantine": 1, "mixing": "nmm"}, "aggregator krum: mixing is 'nmm'; allowed: nnm, bucketing"),
        ("krum", {"num_byzantine": 1, "mixing": 3}, "aggregator krum: mixing is 3; allowed: nnm, bucketing"),
        ("krum", {"num_byzantine": 1, "bucket_size": 3}, "aggregator krum: bucket_size needs mixing; allowed: nnm, "),
        ("median", {"mixing": "nnm"}, "aggregator median: mixing nnm needs mixing_byzantine, the number of attackers"),
        ("median", {"mixing": "nnm", "bucket_size": 2}, "mixing nnm does not take 'bucket_size'; allowed: mixing_byz"),
        ("median", {"mixing": "bucketing", "bucket_size": 0}, "bucket_size is 0; allowed: 1 or more"),
        ("median", {"mixing": "bucketing", "bucket_size": 1.5}, "bucket_size is 1.5; allowed: a whole number"),
        ("median", {"mixing": "nnm", "mixing_byzantine": -1}, "mixing_byzantine is -1; allowed: 0 or more"),
        ("foolsgold", {"mixing": "bucketing"}, "aggregator foolsgold: remembers clients, and mixing is 'bucketing'"),
    ],
)
def test_mixing_that_makes_no_sense_is_one_line(name: str, args: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        resolve(name, **args)
