import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fbfl.dashboard import geometry as module
from fbfl.dashboard.geometry import geometry

matrices = npst.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 8)),
    elements=st.floats(-1e6, 1e6, width=32),
)


@given(matrices)
def test_norms_cosines_and_distances_are_those_of_their_definitions(updates: np.ndarray) -> None:
    aggregate = updates.mean(axis=0, dtype=np.float32)
    found = geometry(updates, aggregate)
    exact = updates.astype(np.float64)
    scale = 1.0 + float(np.abs(exact).max())
    for row, norm in zip(exact, found.norms, strict=True):
        assert norm == pytest.approx(math.sqrt(math.fsum(row**2)), rel=1e-9)
    for one, distances in zip(exact, found.distances, strict=True):
        for other, distance in zip(exact, distances, strict=True):
            assert distance == pytest.approx(float(np.linalg.norm(one - other)), rel=1e-6, abs=1e-6 * scale)
    length = float(np.linalg.norm(aggregate.astype(np.float64)))
    for row, cosine, norm in zip(exact, found.cosines, found.norms, strict=True):
        if cosine is None:
            assert norm == 0 or length == 0
        else:
            assert cosine == pytest.approx(float(row @ aggregate) / norm / length, abs=1e-6)
            assert -1 <= cosine <= 1


def test_blocks_of_columns_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    updates = np.random.default_rng(0).standard_normal((5, 1000)).astype(np.float32)
    whole = geometry(updates, updates[0])
    monkeypatch.setattr(module, "_BLOCK", 7)
    parts = geometry(updates, updates[0])
    assert np.allclose(whole.distances, parts.distances)
    assert np.allclose(whole.norms, parts.norms)
    assert parts.cosines[0] == pytest.approx(1)


def test_values_at_the_end_of_the_range_have_a_norm() -> None:
    largest = np.full((2, 4), np.finfo(np.float32).max)
    found = geometry(largest)
    assert found.norms[0] == pytest.approx(2 * float(np.finfo(np.float32).max))
    assert found.distances == ((0.0, 0.0), (0.0, 0.0))
    assert found.cosines == (None, None)
    assert found.aggregate_norm is None


def test_no_update_has_no_geometry() -> None:
    assert geometry(np.zeros((0, 3), np.float32)).norms == ()
