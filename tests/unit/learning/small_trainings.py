"""Small models of the digits, trained by the trainer and by Keras itself."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras.src.models.sequential import Sequential
from keras.src.optimizers.rmsprop import RMSprop
from keras.src.optimizers.sgd import SGD

from fbfl.learning.datasets import load
from fbfl.learning.keras_trainer import KerasTrainer

DIGITS = load("digits")
SHAPE: dict[str, Any] = {"input_shape": (8, 8), "seed": 7}

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.002),
    "adam": lambda: keras.optimizers.Adam(0.002),
    "scheduled": lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.5)),
}


def num_traces(trainer: KerasTrainer) -> int:
    """Return the number of graphs compiled so far."""
    return sum(len(lane._traced) for lane in trainer._lanes.all)


def plain() -> Sequential:
    """No random layer, so that Keras has nothing to draw."""
    layers = keras.layers
    return keras.Sequential([layers.Flatten(), layers.Dense(24, activation="relu"), layers.Dense(10)])


class Subclassed(keras.Model):  # type: ignore[misc]  # Keras has no types
    """Of layers that are attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.dense = keras.layers.Dense(10)

    def call(self, x: Any, training: Any = False) -> Any:
        return self.dense(self.flatten(x))


def with_dropout_and_statistics() -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dropout(0.1),
            layers.Dense(10),
        ]
    )


def clients(*sizes: int) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    cuts = np.cumsum((0, *sizes))
    return [(DIGITS.x_train[a:b], DIGITS.y_train[a:b]) for a, b in itertools.pairwise(cuts)]


def train(
    trainer: KerasTrainer,
    data: list[Any],
    ids: Sequence[int] | None = None,
    weights: npt.NDArray[Any] | None = None,
    round_number: int = 1,
    **options: Any,
) -> npt.NDArray[Any]:
    weights = trainer.initial_weights() if weights is None else weights
    ids = range(len(data)) if ids is None else ids
    return np.array(list(trainer.train(weights, data, round_number=round_number, client_ids=ids, **options)))


def keras_fit(
    model: Sequential,
    optimizer: RMSprop | SGD,
    samples: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    orders: list[npt.NDArray[Any]] | npt.NDArray[Any],
    batch_size: int,
) -> Sequential:
    """Train with Keras itself, on the same samples in the same order."""
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    x, y = samples
    for order in orders:
        model.fit(x[order], y[order], batch_size=batch_size, epochs=1, shuffle=False, verbose=0)
    return model
