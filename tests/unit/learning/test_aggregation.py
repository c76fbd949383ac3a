"""Every rule against its formula, in exact fractions where the arithmetic allows it."""

import pickle
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from fbfl.errors import AggregationError, FbflError, InvalidInputError, NonFiniteUpdateError
from fbfl.learning import aggregation
from fbfl.learning.aggregation import resolve
from fbfl.learning.aggregation.clusters import majority
from fbfl.learning.aggregation.rule_function import Aggregate
from tests.unit.learning import oracles

SETTINGS: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "krum": {"num_byzantine": 1},
    "multi_krum": {"num_byzantine": 1, "num_selected": 4},
    "bulyan": {"num_byzantine": 1},
    "trimmed_mean": {"trim": 2},
    "median": {},
    "geometric_median": {},
    "centered_clipping": {},
    "norm_clipping": {"max_norm": 1.0},
    "random_selection": {"num_selected": 3},
    "fltrust": {},
    "foolsgold": {},
    "dnc": {"num_byzantine": 2},
    "signguard": {"fraction": 0.5},
    "flame": {"noise": 0.0},
    "fldetector": {},
}


TWO = np.array([1, 2], np.float32)


def call(name: str, updates: list[npt.NDArray[Any]] | npt.NDArray[Any], **context: Any) -> Aggregate:
    return resolve(name, **SETTINGS[name])(updates, **{"root_update": updates[0], "seed": 5, **context})


def selected(answer: Aggregate) -> tuple[int, ...]:
    assert answer.selected is not None
    return answer.selected


def ties(rng: np.random.Generator, n: int, p: int) -> npt.NDArray[Any]:
    """Small whole numbers: duplicates and tied scores abound, and float64 holds all sums exactly."""
    updates = rng.integers(-3, 4, size=(n, p)).astype(np.float32)
    for _ in range(rng.integers(0, 3)):
        updates[rng.integers(n)] = updates[rng.integers(n)]
    return updates


def ordinary(rng: np.random.Generator, n: int, p: int) -> npt.NDArray[Any]:
    """Real numbers, one update 1e12 times larger in every second case."""
    updates = rng.normal(size=(n, p)).astype(np.float32)
    if rng.integers(2):
        updates[rng.integers(n)] *= np.float32(1e12)
    return updates


def cases(count: Any, bound: Any, *makers: Any) -> Iterator[tuple[npt.NDArray[Any], int]]:
    """Random inputs with n from the bound upwards (often at it), f from 0 to 3, and P from 1."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        f = int(rng.integers(0, 4))
        n = bound(f) + int(rng.choice([0, 0, 1, 3]))
        yield makers[seed % len(makers)](rng, n, int(rng.choice([1, 1, 2, 5]))), f


def same_bits(vector: npt.NDArray[Any], truth: list[float] | npt.NDArray[Any]) -> None:
    assert vector.dtype == np.float32
    assert vector.tobytes() == (np.asarray(truth, dtype=np.float32) + np.float32(0)).tobytes()


def test_krum_and_multi_krum() -> None:
    for updates, f in cases(600, lambda f: 2 * f + 3, ties, ordinary):
        rows = oracles.fractions(updates)
        best = oracles.krum(rows, f)
        answer = aggregation.krum.aggregate(updates, f)
        assert answer.selected == (best,)
        same_bits(answer.vector, updates[best])
        m = 1 + f % len(updates)
        selected = oracles.multi_krum(rows, f, m)
        answer = aggregation.multi_krum.aggregate(updates, f, m)
        assert answer.selected == tuple(selected)
        same_bits(answer.vector, oracles.float32(oracles.mean([rows[i] for i in selected])))


def test_bulyan() -> None:
    for updates, f in cases(150, lambda f: 4 * f + 3, ties, ordinary):
        picked, truth = oracles.bulyan(oracles.fractions(updates), f)
        answer = aggregation.bulyan.aggregate(updates, f)
        assert answer.selected == tuple(picked)
        if np.abs(updates).max() < 10:
            same_bits(answer.vector, oracles.float32(truth))
        else:
            np.testing.assert_allclose(answer.vector, oracles.float32(truth), rtol=1e-6)


def test_the_last_pick_of_bulyan_has_a_neighbour() -> None:
    """With f = 1 three updates are left for it, of which the first is the farthest."""
    updates = np.array([90, 1, 2, 4, 8, 16, 32], np.float32)[:, None]
    assert aggregation.bulyan.aggregate(updates, 1).selected == (1, 2, 3, 4, 5)


def test_bulyan_gives_a_tie_around_the_median_to_the_lowest_client() -> None:
    """Median 0, and -1 and 1 equally far from it: the lower row's value is the one kept."""
    for order, kept in (([-1, 0, 0, 1, 2, 9, -9], -1), ([1, 0, 0, -1, -2, 9, -9], 1)):
        updates = np.array(order, np.float32)[:, None]
        picked, truth = oracles.bulyan(oracles.fractions(updates), 1)
        assert {0, 3} <= set(picked)
        assert float(truth[0]) == pytest.approx(kept / 3)
        same_bits(aggregation.bulyan(updates, 1), oracles.float32(truth))


def test_median_and_trimmed_mean() -> None:
    for updates, f in cases(600, lambda f: 2 * f + 1, ties, ordinary):
        rows = oracles.fractions(updates)
        same_bits(aggregation.median(updates), oracles.float32(oracles.median(rows)))
        truth = oracles.float32(oracles.trimmed_mean(rows, f))
        np.testing.assert_allclose(aggregation.trimmed_mean(updates, f), truth, rtol=2e-7, atol=1e-10)
        if np.abs(updates).max() < 10:
            same_bits(aggregation.trimmed_mean(updates, f), truth)


def test_fedavg_whole_and_streamed() -> None:
    for updates, f in cases(300, lambda f: f + 1, ties, ordinary):
        weights = np.random.default_rng(f).integers(1, 600, len(updates))
        truth = oracles.float32(oracles.mean(oracles.fractions(updates), [int(w) for w in weights]))
        result = aggregation.fedavg(updates, weights)
        np.testing.assert_allclose(result, truth, rtol=2e-7, atol=1e-10)
        same_bits(aggregation.streaming_fedavg(zip(updates, weights, strict=True)), result)
        same_bits(aggregation.fedavg(updates), aggregation.fedavg(updates, np.ones(len(updates))))


def test_streaming_over_several_chunks_gives_the_bytes_of_fedavg() -> None:
    updates = np.random.default_rng(0).normal(size=(7, 50_001)).astype(np.float32)
    weights = [3, 0, 1, 600, 10**9, 7, 1]
    same_bits(aggregation.streaming_fedavg(zip(updates, weights, strict=True)), aggregation.fedavg(updates, weights))


def test_streaming_goes_on_after_refusing_an_update() -> None:
    average = aggregation.StreamingFedAvg()
    average.add(np.array([1, 2], np.float32), 2)
    with pytest.raises(NonFiniteUpdateError) as caught:
        average.add(np.array([1, np.nan], np.float32), 2)
    assert caught.value.clients == (1,)
    average.add(np.array([4, 8], np.float32), 1)
    assert average.result().tolist() == [2, 4]
    with pytest.raises(AggregationError, match="3 coordinates"):
        average.add(np.array([1, 2, 3], np.float32))
    with pytest.raises(AggregationError, match="no update"):
        aggregation.StreamingFedAvg().result()


@pytest.mark.parametrize("seed", range(30))
def test_geometric_median_is_as_near_as_the_plain_iteration_gets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    updates = ordinary(rng, int(rng.integers(3, 9)), int(rng.integers(2, 6)))
    weights = rng.integers(1, 5, len(updates)).astype(float)
    weights[np.abs(updates).max(axis=1).argmax()] = 1.0

    def objective(point: npt.NDArray[Any]) -> np.float64:
        return np.float64(weights @ np.linalg.norm(updates.astype(np.float64) - point, axis=1))

    # Huge entries are no test of the minimum: their own distance hides all others' in float64.
    rest = np.abs(updates).max(axis=1) < 1e6
    updates, weights = updates[rest], weights[rest]
    best = objective(oracles.geometric_median(updates, weights, steps=3_000))
    assert objective(aggregation.geometric_median(updates, weights, iterations=300)) <= best * (1 + 1e-4)
    assert objective(aggregation.geometric_median(updates, weights)) <= best * 1.02


@pytest.mark.parametrize("scale", [1e3, 1e12, 1e30])
def test_geometric_median_leaves_a_minority_of_any_size_behind(scale: float) -> None:
    rng = np.random.default_rng(1)
    updates = rng.normal(size=(9, 40)).astype(np.float32)
    honest = aggregation.geometric_median(updates[2:])
    updates[:2] *= np.float32(scale)
    assert np.linalg.norm(aggregation.geometric_median(updates) - honest) < 3.0
    majority = np.tile(updates[3], (5, 1))
    np.testing.assert_allclose(aggregation.geometric_median(np.vstack([updates[:4], majority])), updates[3], atol=1e-4)


@pytest.mark.parametrize("share", [0.2, 0.3, 0.4, 0.45])
def test_geometric_median_leaves_many_equal_updates_with_little_weight_behind(share: float) -> None:
    honest = np.random.default_rng(0).normal(0.05, 0.01, size=(4, 30)).astype(np.float32)
    sybils = np.full((6, 30), -5, np.float32)
    weights = [*[share / 6] * 6, *[(1 - share) / 4] * 4]
    result = aggregation.geometric_median(np.vstack([sybils, honest]), weights)
    np.testing.assert_allclose(result, honest.mean(axis=0), atol=0.03)


@pytest.mark.parametrize("seed", range(20))
def test_centered_clipping_carries_its_centre_along(seed: int) -> None:
    rng = np.random.default_rng(seed)
    radius = None if seed % 2 else 0.7
    state: Mapping[str, npt.NDArray[Any]] = {}
    centre = np.zeros(6)
    for round_number in range(3):
        updates = rng.normal(size=(5, 6)).astype(np.float32) + np.float32(round_number)
        answer = aggregation.centered_clipping.aggregate(updates, radius, 4, state)
        centre = oracles.centered_clipping(updates, radius, 4, centre)
        np.testing.assert_allclose(answer.vector, centre, rtol=1e-5, atol=1e-5)
        state = answer.state
        same_bits(state["centre"], answer.vector)
        centre = centre.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("seed", range(20))
def test_norm_clipping_and_fltrust(seed: int) -> None:
    rng = np.random.default_rng(seed)
    updates = rng.normal(size=(6, 30)).astype(np.float32) * rng.choice([0.01, 1, 100], size=(6, 1)).astype(np.float32)
    weights = rng.integers(1, 9, 6)
    np.testing.assert_allclose(
        aggregation.norm_clipping(updates, 2.5, weights),
        oracles.norm_clipping(updates, 2.5, weights),
        rtol=1e-4,
        atol=1e-6,
    )
    root = rng.normal(size=30).astype(np.float32)
    answer = aggregation.fltrust.aggregate(updates, root)
    np.testing.assert_allclose(answer.vector, oracles.fltrust(updates, root), rtol=1e-4, atol=1e-5)
    assert answer.selected == tuple(i for i in range(6) if float(updates[i].astype(float) @ root.astype(float)) > 0)


def test_norm_clipping_keeps_short_updates_and_zeros_as_they_are() -> None:
    updates = np.array([[0, 0], [3, 4], [0.5, 0]], np.float32)
    same_bits(aggregation.norm_clipping(updates, 1.0), [(0.6 + 0.5) / 3, 0.8 / 3])


def test_foolsgold_remembers_by_client_and_silences_sybils() -> None:
    rng = np.random.default_rng(4)
    state: Mapping[str, npt.NDArray[Any]] = {}
    history = np.zeros((8, 200), np.float32)
    sybil = rng.normal(size=200).astype(np.float32)
    for round_number in range(4):
        updates = rng.normal(size=(8, 200)).astype(np.float32)
        updates[[1, 5]] = sybil + 0.1 * rng.normal(size=(2, 200)).astype(np.float32)
        here = [c for c in range(8) if c != round_number]  # one client is missing each round
        history[here] += updates[here]
        answer = aggregation.foolsgold.aggregate(updates[here], state, here)
        weights = np.array(oracles.foolsgold_weights(history[here]))
        np.testing.assert_allclose(answer.vector, weights @ updates[here] / weights.sum(), rtol=1e-4, atol=1e-5)
        state = answer.state
        same_bits(state["history"][: len(history)], history)
        if 1 in here and 5 in here:
            assert not {1, 5} & {here[i] for i in selected(answer)}


@pytest.mark.parametrize("name", ["foolsgold", "centered_clipping", "fldetector"])
def test_a_liar_cannot_make_what_a_rule_remembers_unusable(name: str) -> None:
    rng = np.random.default_rng(0)
    rule = resolve(name, **({"window": 2} if name == "fldetector" else {}))
    state: Mapping[str, npt.NDArray[Any]] = {}
    for number in range(6):
        updates = rng.standard_normal((5, 7)).astype(np.float32)
        if number < 3:
            updates[0, 0] = 3e38  # finite, so that no server may leave it out
        answer = rule(updates, state=state, clients=range(5))
        state = answer.state
        assert np.isfinite(answer.vector).all()
        assert all(np.isfinite(each).all() for each in state.values())


def test_foolsgold_does_not_change_the_state_it_was_given() -> None:
    updates = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    first = aggregation.foolsgold.aggregate(updates)
    before = first.state["history"].copy()
    aggregation.foolsgold.aggregate(updates, first.state)
    assert (first.state["history"] == before).all()


@pytest.mark.parametrize("seed", range(30))
def test_dnc_drops_what_the_singular_vector_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, f = 12, 3
    updates = rng.normal(size=(n, 80)).astype(np.float32)
    updates[rng.permutation(n)[:f]] += rng.choice([0.6, 1.5, 1e9]) * np.float32(1)
    answer = aggregation.dnc.aggregate(updates, f, seed=seed)
    assert answer.selected == oracles.dnc(updates, f)
    same_bits(answer.vector, updates[list(answer.selected)].astype(np.float64).sum(axis=0) / (n - f))


def test_dnc_keeps_who_is_never_dropped() -> None:
    updates = np.random.default_rng(0).normal(size=(9, 500)).astype(np.float32)
    single = [aggregation.dnc.aggregate(updates, 2, coordinates=50, seed=s).selected for s in range(6)]
    assert len(set(single)) > 1, "other coordinates single out others"
    assert len(selected(aggregation.dnc.aggregate(updates, 2, coordinates=50, iterations=3))) < 7
    with pytest.raises(AggregationError, match="dropped every update"):
        aggregation.dnc(updates, 4, coordinates=1, iterations=100)


def test_signguard_drops_flipped_signs_and_odd_norms() -> None:
    rng = np.random.default_rng(0)
    updates = (rng.normal(size=(12, 4_000)) + 0.7).astype(np.float32)
    updates[[2, 7, 8]] *= np.float32(-1)
    updates[4] *= np.float32(50)
    updates[9] *= np.float32(0.01)
    answer = aggregation.signguard.aggregate(updates, seed=1)
    assert answer.selected == (0, 1, 3, 5, 6, 10, 11)
    middle = np.median(np.linalg.norm(updates.astype(np.float64), axis=1))
    kept = updates[list(answer.selected)].astype(np.float64)
    factors = np.minimum(1, middle / np.linalg.norm(kept, axis=1))
    np.testing.assert_allclose(answer.vector, factors @ kept / 7, rtol=1e-5)


@pytest.mark.parametrize("seed", range(30))
def test_flame_lets_in_what_hdbscan_does_and_cuts_it_to_the_median_length(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 16))
    updates = (rng.normal(size=(n, 20)) + rng.choice([0, 1, 4])).astype(np.float32)
    attackers = rng.permutation(n)[: (n - 1) // 3]
    updates[attackers] = rng.normal(size=20) * rng.choice([0.1, 1, 1e9]) - rng.choice([0, 2])
    kept, mean = oracles.flame(updates)
    answer = aggregation.flame.aggregate(updates, noise=0.0)
    assert answer.selected == kept
    np.testing.assert_allclose(answer.vector, mean, rtol=1e-4, atol=1e-5 * np.abs(mean).max())


@pytest.mark.parametrize("seed", range(40))
def test_the_majority_of_points_with_tied_distances_is_that_of_hdbscan(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 4, size=(int(rng.integers(3, 14)), 2)).astype(np.float64)
    distances = np.linalg.norm(points[:, np.newaxis] - points, axis=2)
    assert majority(distances) == oracles.majority(distances)


def test_flame_adds_noise_in_proportion_to_the_median_length_anew_in_every_round() -> None:
    updates = np.random.default_rng(0).normal(1, 0.1, size=(5, 20_000)).astype(np.float32)
    middle = np.median(np.linalg.norm(updates.astype(np.float64), axis=1))
    silent = aggregation.flame(updates, noise=0.0)
    draws = [(aggregation.flame(updates, 1, 0.5, number) - silent) / (0.5 * middle) for number in (1, 2)]
    for draw in draws:
        assert abs(draw.mean()) < 0.03
        assert draw.std() == pytest.approx(1, abs=0.03)
    assert abs(np.corrcoef(draws)[0, 1]) < 0.03
    same_bits(aggregation.flame(updates, 1, 0.5, 2), aggregation.flame(updates, seed=1, noise=0.5, round_number=2))


def test_noise_beyond_float32_is_refused() -> None:
    with pytest.raises(AggregationError, match="not finite"):
        aggregation.flame(np.ones((3, 50), np.float32), noise=1.7e308)


def test_flame_keeps_a_backdoor_of_a_minority_out() -> None:
    rng = np.random.default_rng(0)
    updates = rng.normal(0.2, 0.3, size=(10, 400)).astype(np.float32)
    updates[[1, 4, 6, 8], :40] += np.float32(3)
    assert aggregation.flame.aggregate(updates, noise=0.0).selected == (0, 2, 3, 5, 7, 9)


def test_random_selection_is_uniform_and_a_function_of_seed_and_round() -> None:
    updates = np.arange(5, dtype=np.float32)[:, None]
    drawn = [aggregation.random_selection(updates, 3, round_number=r)[0] for r in range(1_000)]
    counts = np.bincount(np.array(drawn, np.int64), minlength=5)
    assert counts.min() > 150
    assert counts.max() < 250
    assert drawn == [aggregation.random_selection(updates, 3, round_number=r)[0] for r in range(1_000)]
    assert aggregation.random_selection.aggregate(updates, 0, num_selected=5).selected == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("name", SETTINGS)
def test_nan_and_inf_are_refused_by_client(name: str) -> None:
    updates = np.random.default_rng(0).normal(size=(11, 30)).astype(np.float32)
    updates[3, 29], updates[7, 0] = np.nan, -np.inf
    with pytest.raises(NonFiniteUpdateError, match="client 3, 7") as caught:
        call(name, updates)
    assert caught.value.clients == (3, 7)
    assert isinstance(caught.value, FbflError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("rule", "n", "settings", "message"),
    [
        ("krum", 5, {"num_byzantine": 2}, r"krum needs n >= 2f\+3 updates; n=5, f=2 needs 7"),
        ("krum", 5, {"num_byzantine": -1}, "num_byzantine is -1; allowed: at least 0"),
        ("multi_krum", 6, {"num_byzantine": 2, "num_selected": 1}, "needs 7"),
        ("multi_krum", 7, {"num_byzantine": 2, "num_selected": 8}, "allowed: 1 to n=7"),
        ("multi_krum", 7, {"num_byzantine": 2, "num_selected": 0}, "at least 1"),
        ("bulyan", 10, {"num_byzantine": 2}, r"bulyan needs n >= 4f\+3 updates; n=10, f=2 needs 11"),
        ("trimmed_mean", 4, {"trim": 2}, "n=4, trim=2 needs 5"),
        ("trimmed_mean", 4, {"trim": -1}, "trim is -1"),
        ("norm_clipping", 4, {"max_norm": 0.0}, "max_norm is 0.0"),
        ("centered_clipping", 4, {"radius": -1.0}, "radius"),
        ("geometric_median", 4, {"smoothing": 0.0}, "smoothing"),
        ("random_selection", 4, {"num_selected": 5}, "allowed: 1 to n=4 updates"),
        ("dnc", 4, {"num_byzantine": 2}, "needs 5"),
        ("signguard", 4, {"fraction": 0.0}, "fraction is 0.0"),
        ("flame", 4, {"noise": -1.0}, "noise is -1.0"),
    ],
)
def test_a_broken_bound_is_named(rule: str, n: int, settings: dict[str, Any], message: str) -> None:
    updates = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    with pytest.raises(AggregationError, match=message):
        resolve(rule, **settings)(updates)


@pytest.mark.parametrize(("rule", "most"), [("centered_clipping", 10_000), ("geometric_median", 10_000), ("dnc", 100)])
def test_iterations_are_bounded_before_a_rule_is_used(rule: str, most: int) -> None:
    for bad in (0, most + 1):
        expected = f"aggregator {rule}: iterations is {bad}; allowed: a whole number from 1 to {most:,}"
        with pytest.raises(InvalidInputError, match=expected):
            resolve(rule, iterations=bad, **({"num_byzantine": 1} if rule == "dnc" else {}))
    updates = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    for good in (1, np.int32(most)):
        settings = {"num_byzantine": 0, "coordinates": 1} if rule == "dnc" else {}
        assert resolve(rule, iterations=good, **settings)(updates).vector.shape == (2,)


def test_updates_and_weights_are_checked() -> None:
    good = np.ones((3, 2), np.float32)
    masked = np.ma.masked_array(good, good > 0)
    for bad in (np.ones(3), np.ones((0, 2)), np.ones((2, 0)), [[1.0, 2.0], [1.0]], np.ones((2, 2), complex), masked):
        with pytest.raises(AggregationError, match="updates"):
            aggregation.fedavg(bad)
    for weights in ([1, 2], [1, -1, 1], [1, np.nan, 1], [0, 0, 0]):
        with pytest.raises(AggregationError, match="weights"):
            aggregation.fedavg(good, weights)
    with pytest.raises(AggregationError, match="Sybil"):
        aggregation.foolsgold(good)
    with pytest.raises(AggregationError, match="trusts nobody"):
        aggregation.fltrust(good, -good[0])
    with pytest.raises(AggregationError, match="NaN or Inf"):
        aggregation.fltrust(good, np.array([1, np.nan], np.float32))
    with pytest.raises(AggregationError, match="centre"):
        aggregation.centered_clipping(good, state={"centre": np.zeros(3, np.float32)})


def test_a_result_beyond_float32_is_refused() -> None:
    huge = np.finfo(np.float32).max
    updates = np.array([[huge], [-huge]], np.float32)
    with pytest.raises(AggregationError, match="not finite"):
        resolve(lambda updates: updates.astype(np.float64).sum(axis=0) * 0 + 1e39)(updates)
    assert aggregation.fedavg(updates).tolist() == [0.0]


@pytest.mark.parametrize("name", SETTINGS)
def test_negative_zero_never_reaches_the_bytes(name: str) -> None:
    updates = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    updates[:, 1] = [0.0, -0.0] * 5 + [-0.0]
    vector = call(name, updates).vector
    assert vector[1] == 0
    assert not np.signbit(vector[1])


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("shape", [(11, 1), (11, 3)])
def test_rules_leave_their_input_alone(name: str, shape: tuple[int, int]) -> None:
    updates = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    updates.flags.writeable = False
    before = updates.copy()
    if name != "foolsgold" or shape[1] > 1:  # on a line all cosines are 1 or -1
        call(name, updates)
    assert (updates == before).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_rules_take_lists_and_strided_arrays(name: str) -> None:
    updates = np.random.default_rng(0).normal(size=(11, 70)).astype(np.float32)
    before = updates.copy()
    whole = call(name, updates).vector
    same_bits(call(name, list(updates)).vector, whole)
    same_bits(call(name, np.asfortranarray(updates)).vector, whole)
    same_bits(call(name, np.repeat(updates, 2, axis=1)[:, ::2]).vector, whole)
    assert (updates == before).all()
    if name != "fltrust":  # needs root_update, which pickling has nothing to do with
        rule = pickle.loads(pickle.dumps(aggregation.RULES[name]))
        assert rule is aggregation.RULES[name]


def test_every_rule_has_the_name_of_its_function_and_is_offered_by_the_package() -> None:
    assert {name: getattr(aggregation, name) for name in {*aggregation.__all__} & {*SETTINGS}} == aggregation.RULES


def test_resolve_names_what_is_wrong() -> None:
    with pytest.raises(InvalidInputError, match=r"krum: does not take 'f'; allowed: num_byzantine"):
        resolve("krum", f=2)
    with pytest.raises(InvalidInputError, match="krum: needs num_byzantine"):
        resolve("krum")
    with pytest.raises(InvalidInputError, match=r"allowed: fedavg, .*krum, .*, or package\.module:function"):
        resolve("mean")
    with pytest.raises(InvalidInputError, match="a whole number"):
        resolve("krum", num_byzantine="2")
    with pytest.raises(InvalidInputError, match="root_update"):
        resolve("fltrust")(np.ones((3, 2), np.float32))


def test_a_users_function_is_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(updates: npt.NDArray[Any]) -> npt.NDArray[Any]:
        first: npt.NDArray[Any] = updates[0]
        return first

    def last_with_memory(
        updates: npt.NDArray[Any], state: dict[str, npt.NDArray[Any]], round_number: int, bonus: float = 0.0
    ) -> Aggregate:
        total = state.get("total", np.zeros(2, np.float32)) + updates[-1]
        return aggregation.Aggregate(total + np.float32(bonus), {"total": total}, (len(updates) - 1,))

    updates = np.array([[1, 2], [3, 4]], np.float32)
    assert resolve(first)(updates, weights=[1, 2]).vector.tolist() == [1, 2]
    rule = resolve(last_with_memory, bonus=1.0)
    assert rule.stateful
    answer = rule(updates, state=rule(updates, round_number=1).state, round_number=2)
    assert answer.vector.tolist() == [7, 9]
    assert answer.selected == (1,)
    for canonical in (None, False, True):
        if canonical is not None:
            monkeypatch.setattr(module_level_rule, "canonical", canonical, raising=False)
        assert resolve(f"{__name__}:module_level_rule").canonical is bool(canonical)
    with pytest.raises(AggregationError, match=r"returned an array \[2, 2\] of float32; needed: numbers \[2\]"):
        resolve(lambda updates: updates)(updates)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, r"returned an array \[\] of NoneType; needed: numbers \[2\]"),
        ("mean", r"returned an array \[\] of <U4"),
        ([1j, 2], r"returned an array \[2\] of complex128"),
        ([[1], [2, 3]], "returned an array that NumPy cannot read"),
        (aggregation.Aggregate(TWO, selected=(2,)), r"selected the rows \[2\]; allowed: some of 0 to 1"),
        (aggregation.Aggregate(TWO, selected=(0, 0)), r"selected the rows \[0, 0\]"),
        (aggregation.Aggregate(TWO, selected=cast(Any, (0.5,))), "selected is float64"),
    ],
)
def test_a_users_rule_answers_with_numbers_and_rows_of_what_it_was_given(
    returned: Aggregate | list[Any] | str | None, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"aggregator <lambda>:? {message}"):
        resolve(lambda updates: returned)(np.array([[1, 2], [3, 4]], np.float32))


def module_level_rule(updates: Any) -> Any:
    return updates[0]


def test_foolsgold_is_silent_where_clients_have_nothing_in_common() -> None:
    with np.errstate(all="raise"):
        assert resolve("foolsgold")(np.eye(3, dtype=np.float32)).vector.any()
