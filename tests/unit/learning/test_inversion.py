"""Samples read off the change of a layer, whose gradient is worked out by hand."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fbfl.learning.inversion import inverted, nearest

RNG = np.random.default_rng(0)
INPUTS, UNITS, CLASSES = 30, 40, 5


def step(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return a step of a layer with ReLU before a softmax: of its kernel, of its bias, and which unit is on where."""
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(INPUTS, UNITS)), rng.normal(size=(UNITS, CLASSES))
    before = x @ first - 3
    logits = np.maximum(before, 0) @ second
    errors = np.exp(logits - logits.max(axis=1, keepdims=True))
    errors = errors / errors.sum(axis=1, keepdims=True) - np.eye(CLASSES)[y]
    through = errors @ second.T * (before > 0)
    return (-0.1 * x.T @ through).astype(np.float32), (-0.1 * through.sum(axis=0)).astype(np.float32), before > 0


def samples(count: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return RNG.random((count, INPUTS)).astype(np.float32), RNG.integers(0, CLASSES, count)


def test_of_one_sample_every_unit_that_is_on_shows_it() -> None:
    x, y = samples(1)
    kernel, bias, on = step(x, y)
    candidates = inverted(kernel, bias)
    assert candidates.shape == (on.sum(), INPUTS)
    np.testing.assert_allclose(candidates, np.repeat(x, on.sum(), axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(candidates[0], x[0], rtol=1e-6, atol=1e-6)


def test_of_a_batch_a_unit_that_one_sample_has_switched_on_shows_that_one() -> None:
    x, y = samples(6)
    kernel, bias, on = step(x, y)
    candidates = inverted(kernel, bias)
    best, alike = nearest(candidates, x)
    alone = {int(sample) for unit in on.T if unit.sum() == 1 for sample in np.flatnonzero(unit)}
    assert alone
    for sample in alone:
        np.testing.assert_allclose(candidates[best[sample]], x[sample], rtol=1e-3, atol=1e-3)
        assert alike[sample] == pytest.approx(1, abs=1e-4)


def test_the_nearest_candidate_is_the_one_with_the_highest_correlation() -> None:
    candidates, x = RNG.normal(size=(7, INPUTS)), RNG.normal(size=(4, INPUTS)).astype(np.float32)
    candidates[2] = 3.0  # all alike: like nothing
    best, alike = nearest(candidates, x)
    for sample, place, correlation in zip(x, best, alike, strict=True):
        truth = [np.corrcoef(sample, each)[0, 1] for number, each in enumerate(candidates) if number != 2]
        assert correlation == pytest.approx(max([*truth, 0.0]), abs=1e-6)
        assert place == 2 or correlation == pytest.approx(np.corrcoef(sample, candidates[place])[0, 1], abs=1e-6)


def test_a_bias_that_did_not_change_shows_nothing() -> None:
    assert inverted(np.ones((INPUTS, 3), np.float32), np.zeros(3, np.float32)).shape == (0, INPUTS)
