"""What trainers have in common that hold a model per core: the weights to begin with, and the evaluation."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.learning import losses, metrics, plugins
from fbfl.learning.lanes import Lanes
from fbfl.learning.training import Purpose, accepted, flat, inputs
from fbfl.tensors import ModelSpec, Vector

_BLOCK = 1000  # samples per evaluation step, whatever the number of lanes: the kernels' rounding depends on it

Array = npt.NDArray[Any]


class LaneTrainer:
    """A `fbfl.learning.trainer.Classifier` but for `train`."""

    spec: ModelSpec
    trainable: npt.NDArray[np.bool_]
    """Mask of the P weights that are trained, bool [P]; others are, for one, BatchNorm's statistics."""
    _purpose: Purpose
    _initial: Vector
    _lanes: Lanes[Any]
    _loss_on: Callable[..., float]
    """Finds a loss of the user's with its framework."""

    def is_for(self, **purpose: Any) -> bool:
        """Return True if a trainer for this purpose would compute the same bytes."""
        return self._purpose == Purpose(**purpose)

    def initial_weights(self) -> Vector:
        """Return the weights [P] that the seed gives to a new model."""
        return self._initial.copy()

    def evaluate(self, weights: Vector, x: Array, y: Array) -> dict[str, float]:
        """Return the loss of `weights` [P] on samples x [n, ...], y [n], and with classes the accuracy."""
        x, y = accepted((x, y), None, self._purpose)
        scores = self.logits(weights, x)
        accuracy = {"accuracy": metrics.accuracy(scores, y)} if self._purpose.num_classes else {}
        return {**accuracy, "loss": self.loss(scores, y)}

    def loss(self, scores: npt.NDArray[np.float32], y: Array) -> float:
        """Return the mean loss of what `logits` returns for samples with the labels y [n]."""
        loss, num_classes = self._purpose.settings.loss, self._purpose.num_classes
        return losses.measured(loss, scores, y, lambda: self._loss_on(loss, num_classes, scores, y))

    def logits(self, weights: Vector, x: Array) -> npt.NDArray[np.float32]:
        """Return scores with `weights` [P] for x [n, ...], before the softmax: float32 [n, classes]; or numbers [n]."""
        purpose = self._purpose
        start, x = flat(weights, self.spec), inputs(x, "x", purpose)
        blocks = [x[first : first + _BLOCK] for first in range(0, len(x), _BLOCK)]
        busy = min(len(self._lanes), len(blocks))

        def run(lane: Any, share: int) -> list[npt.NDArray[np.float32]]:
            with self._users_code("evaluation"):
                outputs: list[npt.NDArray[np.float32]] = lane.logits(start, blocks[share::busy])
            return outputs

        shares = list(self._lanes.stream(run, range(busy)))
        parts = [shares[place % busy][place // busy] for place in range(len(blocks))]
        outputs = np.concatenate(parts) if parts else np.zeros((0, purpose.num_outputs), np.float32)
        return losses.scores_of(purpose.settings.loss, purpose.num_classes, outputs)

    def _users_code(self, activity: str) -> AbstractContextManager[None]:
        """Report errors raised inside as the user's."""
        return plugins.users_code(f"the {activity} of model {plugins.label_of(self._purpose.model)}")
