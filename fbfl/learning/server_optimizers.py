"""Server optimizers turn the aggregate into a step of the model: plain addition, momentum, or an adaptive step.

A server optimizer is a plain function `(update, state, settings...) -> (step, state)` on float32 vectors [T]; the new
model is the old one plus `step`, and `state` (named arrays, empty in the first round) comes back in the next round.
T counts the weights that are trained: a step beyond what clients have measured, into which momentum or a division by
a root would turn the aggregate of BatchNorm's moving variances, can leave a variance negative. All arithmetic is
elementwise in float64 and rounded once, so that every machine gets the same bytes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import AggregationError, InvalidInputError
from fbfl.learning import plugins
from fbfl.tensors import Vector, state_arrays, vector_of

State = Mapping[str, Vector]
Step = tuple[Vector, State]
Floats = npt.NDArray[np.float64]

_LARGEST = np.finfo(np.float32).max


def momentum(update: Vector, state: State, *, learning_rate: float = 1.0, beta: float = 0.9) -> Step:
    """FedAvgM: ``v <- beta v + u``, step ``eta v``.

    Hsu, Qi and Brown 2019, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
    Classification", section 4.
    """
    _check("momentum", learning_rate, {"beta": beta})
    velocity = beta * _kept(state, "velocity", update) + update
    return _clipped(learning_rate * velocity), {"velocity": _rounded(velocity)}


def fedadagrad(
    update: Vector, state: State, *, learning_rate: float = 0.03, beta_1: float = 0.0, tau: float = 1e-3
) -> Step:
    """FedAdagrad: `fedadam` with ``v <- v + u^2``. Reddi et al. 2021, Algorithm 2."""
    _check("fedadagrad", learning_rate, {"beta_1": beta_1}, tau)
    squares = _kept(state, "second", update, tau * tau) + _squares(update)
    return _adaptive(update, state, squares, learning_rate, beta_1, tau)


def fedadam(
    update: Vector,
    state: State,
    *,
    learning_rate: float = 0.01,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
    tau: float = 1e-3,
) -> Step:
    """FedAdam: ``m <- b1 m + (1 - b1) u``, ``v <- b2 v + (1 - b2) u^2``, step ``eta m / (sqrt(v) + tau)``.

    m starts at 0, v at tau^2; no bias correction. Reddi et al. 2021, "Adaptive Federated Optimization", Algorithm 2.
    """
    _check("fedadam", learning_rate, {"beta_1": beta_1, "beta_2": beta_2}, tau)
    squares = beta_2 * _kept(state, "second", update, tau * tau) + (1 - beta_2) * _squares(update)
    return _adaptive(update, state, squares, learning_rate, beta_1, tau)


def fedyogi(
    update: Vector,
    state: State,
    *,
    learning_rate: float = 0.01,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
    tau: float = 1e-3,
) -> Step:
    """FedYogi: `fedadam` with ``v <- v - (1 - b2) u^2 sign(v - u^2)``. Reddi et al. 2021, Algorithm 2."""
    _check("fedyogi", learning_rate, {"beta_1": beta_1, "beta_2": beta_2}, tau)
    second, square = _kept(state, "second", update, tau * tau), _squares(update)
    return _adaptive(
        update, state, second - (1 - beta_2) * square * np.sign(second - square), learning_rate, beta_1, tau
    )


SERVER_OPTIMIZERS: dict[str, Callable[..., Step]] = {
    "momentum": momentum,
    "fedadagrad": fedadagrad,
    "fedadam": fedadam,
    "fedyogi": fedyogi,
}


@dataclass(frozen=True)
class ServerOptimizer:
    """A server optimizer with its settings, ready to be called once a round."""

    plugin: plugins.Plugin

    @property
    def name(self) -> str:
        """The name it was resolved from."""
        return self.plugin.name

    @property
    def canonical(self) -> bool:
        """True if all machines get the same bytes: those of ours, and a user's function with ``canonical = True``."""
        return plugins.is_ours(self.plugin.function) or bool(getattr(self.plugin.function, "canonical", False))

    def __call__(self, update: Vector, state: State) -> Step:
        """Return the step, float32 [T] (other types are rounded), and the new state, as arrays.

        Raises `InvalidInputError` if the function returns anything else, and `AggregationError` where one of ours
        goes beyond float32.
        """
        label = f"server optimizer {self.plugin.name}"
        with np.errstate(all="ignore"):  # non-finite values are refused, here or with the new model
            returned = self.plugin(update, state)
        if not isinstance(returned, tuple) or len(returned) != 2:
            what = f"{len(returned)} values" if isinstance(returned, tuple) else f"a {type(returned).__name__}"
            raise InvalidInputError(f"{label} returned {what}; needed: the step and the state")
        step = vector_of(label, "a step", returned[0], update.size)
        with np.errstate(over="ignore"):  # the federation refuses a model that is not finite
            return step.astype(np.float32, copy=False), state_arrays(label, returned[1])


def resolve(name: str | Callable[..., Step], **settings: Any) -> ServerOptimizer:
    """Return the server optimizer of a name, of ``package.module:function``, or of a function, with its settings."""
    found = ServerOptimizer(plugins.resolve("server optimizer", name, SERVER_OPTIMIZERS, settings, data=2))
    if plugins.is_ours(found.plugin.function):
        found(np.zeros(1, np.float32), {})  # refuses parameters out of range before any work
    return found


def _check(name: str, learning_rate: float, decays: Mapping[str, float], tau: float = 1.0) -> None:
    """Raise `InvalidInputError` for parameters with which no sensible step exists."""
    bounds = {
        "learning_rate": (learning_rate, 0 < learning_rate < math.inf, "finite, above 0"),
        **{key: (decay, 0 <= decay < 1, "0 or more, below 1") for key, decay in decays.items()},
        "tau": (tau, 0 < tau < math.inf, "finite, above 0"),
    }
    for key, (value, holds, allowed) in bounds.items():
        if not holds:
            raise InvalidInputError(f"server optimizer {name}: {key} is {value:g}; allowed: {allowed}")


def _adaptive(update: Vector, state: State, second: Floats, learning_rate: float, beta_1: float, tau: float) -> Step:
    first = beta_1 * _kept(state, "first", update) + (1 - beta_1) * update.astype(np.float64)
    step = learning_rate * first / (np.sqrt(second) + tau)
    return _clipped(step), {"first": _rounded(first), "second": _rounded(second)}


def _kept(state: State, name: str, update: Vector, initial: float = 0.0) -> Floats:
    return state[name].astype(np.float64) if name in state else np.full(update.shape, initial)


def _squares(update: Vector) -> Floats:
    wide = update.astype(np.float64)
    return wide * wide


def moved(weights: Vector, step: Vector) -> Vector:
    """Return the weights [P] after a step of a server optimizer; where both are finite, so is the result.

    Momentum leads on without any update: if it could lead beyond float32, whoever has given it that speed would have
    ended this round and all later ones, whose updates are not to blame. So the weights stop there.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a user's step may hold anything
        reached = weights + step
    return np.clip(reached, -_LARGEST, _LARGEST) if np.isfinite(step).all() else reached


def _clipped(values: Floats) -> Vector:
    """Round a step to float32, within its range."""
    return np.clip(values, -_LARGEST, _LARGEST).astype(np.float32)


def _rounded(values: Floats) -> Vector:
    """Round a state to float32; refuse what it cannot hold: as Inf it would make every later step 0 or NaN."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    if not np.isfinite(rounded).all():
        raise AggregationError("the server optimizer's state is not finite: it exceeds the range of float32")
    return rounded
