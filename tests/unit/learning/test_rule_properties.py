"""Promises of the rules for all inputs: order of clients, scale, translation, range."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fbfl.errors import AggregationError
from fbfl.learning import aggregation
from fbfl.learning.aggregation import resolve
from fbfl.learning.aggregation.rule_function import Aggregate
from fbfl.learning.exact_gram import exact_gram

RULES: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "krum": {"num_byzantine": 2},
    "multi_krum": {"num_byzantine": 2, "num_selected": 3},
    "bulyan": {"num_byzantine": 1},
    "trimmed_mean": {"trim": 2},
    "median": {},
    "geometric_median": {},
    "centered_clipping": {},
    "dnc": {"num_byzantine": 2},
    "signguard": {"fraction": 1.0},
    "flame": {},
    "fltrust": {},
}
COUNTED: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "geometric_median": {"weighted": True},
    "norm_clipping": {"max_norm": 2.0, "weighted": True},
}
"""The rules in which sample counts weigh, and what asks for that."""
NOT_COUNTED: dict[str, dict[str, Any]] = {
    **{name: chosen for name, chosen in RULES.items() if name != "fedavg"},
    "norm_clipping": {"max_norm": 2.0},
    "random_selection": {"num_selected": 3},
    "foolsgold": {},
    "fldetector": {},
}
IN_RANGE = ("fedavg", "krum", "multi_krum", "bulyan", "trimmed_mean", "median", "geometric_median", "dnc")

quick = settings(max_examples=40)
whole = arrays(np.float32, st.tuples(st.just(9), st.integers(1, 4)), elements=st.integers(-50, 50).map(float))
real = arrays(
    np.float32,
    st.tuples(st.just(9), st.integers(1, 4)),
    elements=st.floats(-1e6, 1e6, width=32).map(lambda v: v if abs(v) > 1e-6 else 0.0),
)


def aggregate(name: str, updates: npt.NDArray[Any], **more: Any) -> Aggregate:
    return resolve(name, **{**RULES[name], **more})(updates, root_update=np.ones(updates.shape[1], np.float32))


@given(real, st.permutations(range(9)))
@quick
def test_median_and_trimmed_mean_do_not_see_the_order_of_clients(updates: npt.NDArray[Any], order: list[int]) -> None:
    for name in ("median", "trimmed_mean"):
        assert aggregate(name, updates).vector.tobytes() == aggregate(name, updates[order]).vector.tobytes()


@given(real, st.permutations(range(9)))
@quick
def test_krum_finds_the_same_client_in_any_order_unless_scores_tie(updates: npt.NDArray[Any], order: list[int]) -> None:
    scores = aggregation.nearest.krum_scores(exact_gram(updates).squared_distances(), 2)
    assume(np.sort(scores)[1] > np.sort(scores)[0] * (1 + 1e-9))
    before, after = aggregate("krum", updates), aggregate("krum", updates[order])
    assert before.selected is not None
    assert after.selected is not None
    assert order[after.selected[0]] == before.selected[0]
    assert before.vector.tobytes() == after.vector.tobytes()


@given(whole, st.permutations(range(9)))
@quick
def test_averages_change_with_the_order_by_rounding_only(updates: npt.NDArray[Any], order: list[int]) -> None:
    for name in ("fedavg", "geometric_median", "centered_clipping"):
        there, here = aggregate(name, updates[order]).vector, aggregate(name, updates).vector
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", RULES)
@given(updates=whole, power=st.integers(-20, 20))
@quick
def test_scaling_by_a_power_of_two_scales_the_result_exactly(name: str, updates: npt.NDArray[Any], power: int) -> None:
    factor = np.float32(2.0**power)
    more = {"smoothing": 1e-6} if name == "geometric_median" else {}
    scaled = {"smoothing": 1e-6 * float(factor)} if name == "geometric_median" else {}
    try:
        vector = aggregate(name, updates, **more).vector
    except AggregationError:
        assume(False)  # nobody trusted or kept
    if name == "fltrust":  # the length is that of the root update, which stays
        assert aggregate(name, updates * factor).vector.tobytes() == vector.tobytes()
    else:
        assert aggregate(name, updates * factor, **scaled).vector.tobytes() == (vector * factor).tobytes()


@pytest.mark.parametrize(
    "name", ["krum", "bulyan", "median", "trimmed_mean", "fedavg", "multi_krum", "geometric_median"]
)
@given(updates=whole, shift=st.integers(-10_000, 10_000))
@quick
def test_translating_all_updates_translates_the_result(name: str, updates: npt.NDArray[Any], shift: int) -> None:
    before, after = aggregate(name, updates), aggregate(name, updates + np.float32(shift))
    assert before.selected == after.selected
    np.testing.assert_allclose(after.vector, before.vector + np.float32(shift), rtol=1e-5, atol=2e-3)


@pytest.mark.parametrize("name", IN_RANGE)
@given(updates=real)
@quick
def test_results_stay_inside_the_range_of_each_coordinate(name: str, updates: npt.NDArray[Any]) -> None:
    vector = aggregate(name, updates).vector
    slack = 1e-6 * np.abs(updates).max()
    assert (vector >= updates.min(axis=0) - slack).all()
    assert (vector <= updates.max(axis=0) + slack).all()


@given(real, st.floats(0.001, 1e6))
@quick
def test_norm_clipping_is_never_longer_than_its_bound(updates: npt.NDArray[Any], bound: float) -> None:
    vector = aggregation.norm_clipping(updates, bound).astype(np.float64)
    assert np.linalg.norm(vector) <= bound * (1 + 1e-6)


@given(real)
@quick
def test_robust_rules_do_not_follow_two_of_nine(updates: npt.NDArray[Any]) -> None:
    """Two rows may be anything; the result stays within a distance that the other seven determine."""
    honest = updates[2:]
    spread = np.ptp(honest, axis=0)
    for name in ("median", "trimmed_mean"):
        vector = aggregate(name, updates).vector
        assert (vector >= honest.min(axis=0) - 1e-6 * np.abs(honest).max()).all(), (name, spread)
        assert (vector <= honest.max(axis=0) + 1e-6 * np.abs(honest).max()).all(), (name, spread)
    for rows in (aggregate("krum", updates).selected, aggregate("bulyan", updates, num_byzantine=1).selected):
        assert rows is not None
        assert list(rows) == sorted(set(rows))


counts = st.lists(st.integers(1, 2**32 - 1), min_size=9, max_size=9)


@pytest.mark.parametrize("name", NOT_COUNTED)
@given(updates=real, weights=counts)
@settings(max_examples=10)
def test_no_sample_count_reaches_the_bytes_unless_the_rule_is_told_to_count(
    name: str, updates: npt.NDArray[Any], weights: list[int]
) -> None:
    assert {*NOT_COUNTED, *COUNTED} == {*aggregation.RULES}
    rule, root = resolve(name, **NOT_COUNTED[name]), np.ones(updates.shape[1], np.float32)
    assert not rule.counts_samples
    try:
        without = rule(updates, root_update=root)
    except AggregationError:
        assume(False)  # nobody trusted or kept
    with_counts = rule(updates, weights, root_update=root)
    assert with_counts.vector.tobytes() == without.vector.tobytes()
    assert with_counts.selected == without.selected


@pytest.mark.parametrize("name", COUNTED)
@given(updates=real, heavy=st.integers(0, 8))
@quick
def test_where_sample_counts_weigh_one_that_is_inflated_pulls_the_result_to_its_update(
    name: str, updates: npt.NDArray[Any], heavy: int
) -> None:
    rule = resolve(name, **COUNTED[name])
    assert rule.counts_samples
    weights = [1] * 9
    weights[heavy] = 2**31
    alone = rule(updates[heavy][np.newaxis]).vector
    np.testing.assert_allclose(rule(updates, weights).vector, alone, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("name", ["geometric_median", "norm_clipping"])
def test_weights_of_a_direct_call_count_unless_it_says_that_they_do_not(name: str) -> None:
    function, chosen = getattr(aggregation, name), {"max_norm": 2.0} if name == "norm_clipping" else {}
    updates, weights = np.diag([1.0, 2.0, 4.0]).astype(np.float32), [1, 1, 9]
    counted = function(updates, weights=weights, **chosen).tobytes()
    assert counted == function(updates, weights=weights, weighted=True, **chosen).tobytes()
    assert counted == resolve(name, weighted=True, **chosen)(updates, weights).vector.tobytes()
    ignored = function(updates, weights=weights, weighted=False, **chosen).tobytes()
    assert ignored == function(updates, **chosen).tobytes()
    assert ignored == resolve(name, **chosen)(updates, weights).vector.tobytes()
    assert counted != ignored


def test_a_users_rule_that_names_sample_counts_gets_them_whatever_its_settings_are_called() -> None:
    def own(updates: npt.NDArray[Any], weights: list[int], weighted: bool = False) -> Any:
        return updates[int(np.argmax(weights))]

    assert resolve(own)([[1.0], [2.0]], [1, 2]).vector == [2.0]
