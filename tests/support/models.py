"""Keras models of ours, built for samples of any form."""

from typing import Any

from fbfl.learning.losses import Loss
from fbfl.learning.models import build
from fbfl.learning.training import Model, Purpose, TrainingSettings


def built(
    model: Model,
    *,
    input_shape: tuple[int, ...] = (28, 28),
    num_classes: int = 10,
    seed: int = 0,
    loss: Loss = "cross_entropy",
    sample_type: str = "float32",
) -> Any:
    """Return a new model, of pictures as MNIST's unless said otherwise."""
    return build(Purpose(model, TrainingSettings(loss=loss), input_shape, num_classes, seed, sample_type))
