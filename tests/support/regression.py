"""A model of one layer, and its training by Keras and by a function with NumPy."""

import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def linear() -> Any:
    """Softmax regression as a Keras model."""
    import keras

    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])


def softmax(weights: list[Array], x: Array) -> Array:
    """Return the chances [n, 10] of the classes."""
    scores = x.reshape(len(x), -1) @ weights[0] + weights[1]
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def descend(
    weights: list[Array], x: Array, y: Array, rng: np.random.Generator, round: int, rate: float = 0.5
) -> list[Array]:
    """Train in place by a step of gradient descent for every 20 samples."""
    assert x.dtype == np.float32
    assert x.max() <= 1
    for batch in np.array_split(rng.permutation(len(y)), max(1, len(y) // 20)):
        errors = softmax(weights, x[batch]) - np.eye(10)[y[batch]]
        weights[0] -= np.float32(rate / len(batch)) * (x[batch].reshape(len(batch), -1).T @ errors).astype(np.float32)
        weights[1] -= np.float32(rate / len(batch)) * errors.sum(axis=0).astype(np.float32)
    return weights


def initial(rng: np.random.Generator) -> list[Array]:
    """Return new weights."""
    return [rng.normal(0, 0.01, (64, 10)), np.zeros(10)]


def evaluate(weights: list[Array], x: Array, y: Array) -> Mapping[str, float]:
    """Return accuracy and cross-entropy."""
    chances = softmax(weights, x)
    loss = -np.log(chances[np.arange(len(y)), y]).mean()
    return {"accuracy": float(np.mean(chances.argmax(axis=1) == y)), "loss": float(loss)}


def with_attributes(train: Callable[..., Any], initial: Any = None, evaluate: Any = None) -> Callable[..., Any]:
    """Return a function like `train`, with these attributes and no others."""
    own = types.FunctionType(train.__code__, train.__globals__, train.__name__, train.__defaults__, train.__closure__)
    own.__annotations__ = train.__annotations__
    if initial:
        vars(own).update(initial=initial)
    if evaluate:
        vars(own).update(evaluate=evaluate)
    return own


OWN = with_attributes(descend, initial, evaluate)
"""`descend` with weights of its own."""
