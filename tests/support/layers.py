"""A trainer of the model `mlp` on the digits, with its matrices the other way round."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SHAPES = ((128, 64), (128,), (10, 128), (10,))


def still(weights: list[Array], x: Array, y: Array, rng: np.random.Generator, round: int, by: float) -> list[Array]:
    """Add `by` to the first matrix, and nothing to all else."""
    assert [array.shape for array in weights] == list(SHAPES)
    return [weights[0] + np.float32(by), *weights[1:]]


def _initial(rng: np.random.Generator) -> list[Array]:
    return [rng.normal(0, 0.1, shape) for shape in SHAPES]


def _evaluate(weights: list[Array], x: Array, y: Array) -> dict[str, float]:
    return {"loss": 0.0}


still.initial, still.evaluate = _initial, _evaluate  # type: ignore[attr-defined]
