"""The package's layers beside Keras's own."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from fbfl.learning.layers import Dropout


def outputs_and_gradients(layer: keras.layers.Layer, x: np.ndarray, repeats: int = 3) -> list[np.ndarray]:
    """Return the results of several calls, and the gradients of their squares with respect to x."""

    def once(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            total = tf.reduce_sum(y * y)
        return y, tape.gradient(total, x)

    called = tf.function(once)
    return [part.numpy() for _ in range(repeats) for part in called(tf.constant(x))]


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("options", [{}, {"noise_shape": (None, 1)}])
def test_dropout_draws_and_computes_what_keras_s_does(rate: float, options: dict[str, tuple[None, int]]) -> None:
    x = np.random.default_rng(1).standard_normal((64, 32)).astype(np.float32)
    ours = outputs_and_gradients(Dropout(rate, seed=5, **options), x)
    theirs = outputs_and_gradients(keras.layers.Dropout(rate, seed=5, **options), x)
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert abs(np.mean(ours[0] == 0) - rate) < 0.2


def test_dropout_leaves_inference_alone() -> None:
    x = np.ones((4, 3), np.float32)
    assert np.array_equal(Dropout(0.5, seed=1)(x, training=False), x)
    assert np.array_equal(Dropout(0.5, seed=1)(x), x)
