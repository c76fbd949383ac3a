"""The benchmark's models in plain Keras, as the peers' users would write them."""

import functools
from typing import Any

import keras
from rounds import LAYERS


def compiled(name: str) -> Any:
    layers = keras.layers
    if name == "cnn":
        body = [layers.Reshape((28, 28, 1))]
        for filters in (32, 64):
            body += [layers.Conv2D(filters, 5, padding="same", activation="relu"), layers.MaxPooling2D()]
        body += [layers.Flatten(), layers.Dense(512, activation="relu")]
    else:
        body = [layers.Flatten(), *(layers.Dense(units, activation="relu") for units in LAYERS[name])]
        if name == "mlp":
            body.append(layers.Dropout(0.2))
    model = keras.Sequential([keras.Input((28, 28)), *body, layers.Dense(10)])
    model.compile(
        optimizer=keras.optimizers.SGD(0.1) if name == "cnn" else keras.optimizers.Adam(0.001),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


@functools.cache  # once per process
def reusable(name: str) -> tuple[Any, list[Any]]:
    """A compiled model that its caller shares, and the first values of its optimizer's variables."""
    model = compiled(name)
    model.optimizer.build(model.trainable_variables)
    return model, [variable.numpy() for variable in model.optimizer.variables]
