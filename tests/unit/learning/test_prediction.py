"""FLDetector: the foretold updates, the clusters of scores, and whom it removes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.cluster import KMeans

from fbfl.errors import AggregationError
from fbfl.learning.aggregation import fldetector
from fbfl.learning.aggregation.prediction import hessian_step, two_clusters
from tests.unit.learning import oracles

State = Mapping[str, npt.NDArray[Any]]
ATTACKERS = [1, 4, 8]


@pytest.mark.parametrize("seed", range(20))
def test_the_compact_form_is_the_recursion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    curvatures = np.diag(rng.uniform(0.1, 1.5, 12))
    steps = [rng.normal(size=12)]
    for _ in range(rng.integers(1, 6)):
        steps.append(steps[-1] - curvatures @ steps[-1])
    rows = np.stack(steps).astype(np.float32)
    np.testing.assert_allclose(hessian_step(rows), oracles.bfgs_step(rows), rtol=1e-3, atol=1e-5)


def test_steps_that_do_not_determine_a_hessian_foretell_no_change() -> None:
    for steps in (np.zeros((3, 4)), np.ones((3, 4)), [[0, 0], [1, 2]]):
        assert not hessian_step(np.asarray(steps, np.float32)).any()


def test_what_is_foretold_stays_in_the_range_of_float32() -> None:
    tiny, huge = [1e-45, 0.0], [3e38, -3e38]
    for steps in ([tiny, huge], [tiny, huge, huge], [huge, tiny, huge, tiny], [huge, [3e38, 3e38], tiny, huge]):
        assert (np.abs(hessian_step(np.asarray(steps, np.float32))) <= np.finfo(np.float32).max).all()


@pytest.mark.parametrize("seed", range(30))
def test_scores_fall_into_the_clusters_of_k_means(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(0.01, 0.001, 14), rng.normal(0.03, 0.001, 6)])[rng.permutation(20)]
    labels = KMeans(2, n_init=5, random_state=0).fit_predict(scores[:, np.newaxis])
    assert two_clusters(scores).tolist() == np.flatnonzero(labels == labels[scores.argmax()]).tolist()


def test_scores_without_clusters_are_one() -> None:
    found = [len(two_clusters(np.random.default_rng(seed).normal(1, 0.1, 20))) for seed in range(100)]
    assert found.count(0) > 90
    assert not two_clusters(np.full(9, 0.1)).size


def played(
    rounds: int, attackers: Sequence[int], absent: Mapping[int, Sequence[int]], **settings: int
) -> tuple[list[tuple[int, ...] | None], State]:
    """Play a quadratic problem, in which honest updates follow from former ones and those of attackers do not."""
    rng = np.random.default_rng(0)
    curvatures, weights = np.linspace(0.05, 0.3, 60), rng.normal(size=60) * 5
    state: State = {}
    selected = []
    for number in range(rounds):
        here = [client for client in range(12) if client not in absent.get(number, ())]
        updates = np.stack([-curvatures * weights + rng.normal(0, 0.01, 60) for _ in here]).astype(np.float32)
        for row, client in enumerate(here):
            if client in attackers:
                updates[row] += rng.normal(0, 0.05, 60).astype(np.float32)
        answer = fldetector.aggregate(updates, state=state, clients=here, **settings)
        state, weights = answer.state, weights + answer.vector
        selected.append(answer.selected and tuple(here[row] for row in answer.selected))
    return selected, state


def test_whose_updates_do_not_follow_is_removed_when_the_window_is_full_and_stays_so() -> None:
    absent = {5: [4, 7], 9: [0, 1]}
    selected, state = played(12, ATTACKERS, absent, window=4)
    honest = [client for client in range(12) if client not in ATTACKERS]
    for number, kept in enumerate(selected):
        everybody = [client for client in range(12) if client not in absent.get(number, ())]
        # Two rounds to begin with, three to compare the first scored one with, and the fourth score in the sixth.
        assert kept == tuple(everybody if number < 5 else [c for c in everybody if c in honest]), number
    assert np.flatnonzero(state["removed"]).tolist() == ATTACKERS
    assert state["steps"].shape == (5, 60)


def test_nobody_is_removed_where_nobody_lies() -> None:
    _, state = played(12, [], {}, window=4)
    assert not state["removed"].any()


def test_a_majority_is_never_removed() -> None:
    """Seven liars look worse than five honest clients, but then nobody knows who is which."""
    _, state = played(12, range(7), {}, window=4)
    assert not state["removed"].any()


def test_state_of_another_kind_is_refused_and_none_is_changed() -> None:
    _, state = played(6, ATTACKERS, {}, window=4)
    before = {name: array.copy() for name, array in state.items()}
    updates = np.ones((12, 60), np.float32)
    fldetector.aggregate(updates, window=4, state=state)
    assert all((state[name] == array).all() for name, array in before.items())
    with pytest.raises(AggregationError, match=r"state\['steps'\] has the shape"):
        fldetector(updates[:, :9], window=4, state=state)
    with pytest.raises(AggregationError, match=r"state\['scores'\] has the shape \(12, 4\), not \(12, 5\)"):
        fldetector(updates, window=5, state=state)
    with pytest.raises(AggregationError, match="12 different"):
        fldetector(updates, window=4, clients=[0] * 12)
