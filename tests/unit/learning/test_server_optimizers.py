"""Server optimizers against their formulas written out in plain Python floats."""

import math

import numpy as np
import pytest

from fbfl.errors import InvalidInputError
from fbfl.learning import server_optimizers

UPDATES = np.random.default_rng(0).normal(0, 0.1, (5, 40)).astype(np.float32)


def run(name, **settings):
    optimizer = server_optimizers.resolve(name, **settings)
    state, steps = {}, []
    for update in UPDATES:
        step, state = optimizer(update, state)
        assert step.dtype == np.float32
        assert all(array.dtype == np.float32 for array in state.values())
        steps.append(step)
    return np.array(steps)


def test_momentum():
    velocity, expected = np.zeros(40), []
    for update in UPDATES.astype(float):
        velocity = 0.9 * velocity + update
        expected.append(0.5 * velocity)
    assert np.allclose(run("momentum", learning_rate=0.5), expected, rtol=1e-5)
    assert np.array_equal(run("momentum", beta=0.0), UPDATES)


@pytest.mark.parametrize("name", ["fedadam", "fedyogi", "fedadagrad"])
def test_adaptive(name):
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


def test_unknown_names():
    with pytest.raises(InvalidInputError, match="momentum, fedadagrad, fedadam, fedyogi"):
        server_optimizers.resolve("fedsgd")
