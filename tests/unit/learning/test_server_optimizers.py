"""Server optimizers against their formulas written out in plain Python floats."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fbfl.errors import AggregationError, InvalidInputError
from fbfl.learning import server_optimizers

UPDATES = np.random.default_rng(0).normal(0, 0.1, (5, 40)).astype(np.float32)


def run(name: str, **settings: Any) -> npt.NDArray[Any]:
    optimizer = server_optimizers.resolve(name, **settings)
    state: Mapping[str, npt.NDArray[Any]] = {}
    steps = []
    for update in UPDATES:
        step, state = optimizer(update, state)
        assert step.dtype == np.float32
        assert all(array.dtype == np.float32 for array in state.values())
        steps.append(step)
    return np.array(steps)


def test_momentum() -> None:
    velocity, expected = np.zeros(40), []
    for update in UPDATES.astype(float):
        velocity = 0.9 * velocity + update
        expected.append(0.5 * velocity)
    assert np.allclose(run("momentum", learning_rate=0.5), expected, rtol=1e-5)
    assert np.array_equal(run("momentum", beta=0.0), UPDATES)


@pytest.mark.parametrize("name", ["fedadam", "fedyogi", "fedadagrad"])
def test_adaptive(name: str) -> None:
    rate, b1, b2, tau = 0.02, 0.8, 0.95, 0.01
    expected = np.zeros((5, 40))
    for column in range(40):
        m, v = 0.0, tau**2
        for number, u in enumerate(float(value) for value in UPDATES[:, column]):
            m = b1 * m + (1 - b1) * u
            if name == "fedadam":
                v = b2 * v + (1 - b2) * u**2
            elif name == "fedyogi":
                v = v - (1 - b2) * u**2 * math.copysign(1, v - u**2)
            else:
                v = v + u**2
            expected[number, column] = rate * m / (math.sqrt(v) + tau)
    settings = {"learning_rate": rate, "beta_1": b1, "tau": tau}
    settings |= {} if name == "fedadagrad" else {"beta_2": b2}
    assert np.allclose(run(name, **settings), expected, rtol=1e-4)


def test_a_step_of_another_type_is_rounded() -> None:
    def double(update: npt.NDArray[Any], state: dict[str, npt.NDArray[Any]]) -> tuple[Any, ...]:
        return update.astype(np.float64) / 3, {"n": state.get("n", 0) + 1}

    optimizer = server_optimizers.resolve(double)
    step, state = optimizer(UPDATES[0], {})
    assert np.array_equal(step, (UPDATES[0].astype(np.float64) / 3).astype(np.float32))
    assert step.dtype == np.float32
    assert optimizer(UPDATES[0], state)[1] == {"n": 2}


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (UPDATES[0], "returned a ndarray; needed: the step and the state"),
        (None, "returned a NoneType"),
        ((UPDATES[0], {}, {}), "returned 3 values"),
        ((UPDATES[:1], {}), r"returned a step \[1, 40\] of float32; needed: numbers \[40\]"),
        ((1.0, {}), r"returned a step \[\] of float64"),
        ((["0"] * 40, {}), r"returned a step \[40\] of <U1"),
        ((UPDATES[0], None), "returned a NoneType as state"),
    ],
)
def test_anything_else_is_refused(returned: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=f"server optimizer <lambda> {message}"):
        server_optimizers.resolve(lambda update, state: returned)(UPDATES[0], {})


def test_unknown_names() -> None:
    with pytest.raises(InvalidInputError, match="momentum, fedadagrad, fedadam, fedyogi"):
        server_optimizers.resolve("fedsgd")


@pytest.mark.parametrize("name", server_optimizers.SERVER_OPTIMIZERS)
@pytest.mark.parametrize("settings", [{}, {"learning_rate": 1e308}])
def test_what_float32_cannot_hold_is_refused_before_it_is_kept(name: str, settings: dict[str, float]) -> None:
    """Its square as Inf would make every later step 0."""
    huge = np.full(3, 3e38, np.float32)
    optimizer = server_optimizers.resolve(name, **settings)
    with pytest.raises(AggregationError, match="exceeds the range of float32"):
        optimizer(huge, {"velocity": huge})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("momentum", {"beta": 1.0}, "server optimizer momentum: beta is 1; allowed: 0 or more, below 1"),
        ("fedadam", {"learning_rate": 0.0}, "fedadam: learning_rate is 0; allowed: finite, above 0"),
        ("fedadam", {"beta_1": 2.0}, "beta_1 is 2"),
        ("fedyogi", {"beta_2": -0.1}, "beta_2 is -0.1"),
        ("fedadagrad", {"tau": 0.0}, "tau is 0; allowed: finite, above 0"),
        ("fedadagrad", {"tau": float("nan")}, "tau is nan"),
    ],
)
def test_parameters_out_of_range_are_refused_before_any_work(name: str, settings: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        server_optimizers.resolve(name, **settings)
