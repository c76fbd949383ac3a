"""Layers that are faster inside a compiled graph than Keras's own. Importing this module imports TensorFlow."""

from typing import Any

from fbfl.learning.backend import load_tensorflow

load_tensorflow()  # so that a first import of this module also has its settings

import keras  # noqa: E402


class Dropout(keras.layers.Dropout):  # type: ignore[misc]
    """Keras's dropout (Srivastava et al. 2014) by a product instead of a selection.

    In training each input x becomes 0 with probability `rate`, else x / (1 - rate). The random numbers are those of
    Keras's layer and so are the results, for finite inputs. TensorFlow's selection takes one element after the other,
    forward and backward; a product takes eight at a time.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the inputs, of any shape, after dropout, in the same shape and dtype."""
        if not training or not 0 < self.rate < 1 or self.noise_shape is not None:
            return super().call(inputs, training=training)
        uniform = keras.random.uniform(keras.ops.shape(inputs), dtype=inputs.dtype, seed=self.seed_generator)
        return inputs * (keras.ops.cast(uniform >= self.rate, inputs.dtype) * (1 / (1 - self.rate)))


def of_keras_alone(model: Any) -> Any:
    """Return a copy of a model of ours without layers of this module, so that its file opens where fbfl is not."""
    copy = keras.models.clone_model(model, clone_function=_as_keras_has_it)
    copy.set_weights(model.get_weights())
    return copy


def _as_keras_has_it(layer: Any) -> Any:
    kind = keras.layers.Dropout if isinstance(layer, Dropout) else type(layer)
    return kind.from_config(layer.get_config())
