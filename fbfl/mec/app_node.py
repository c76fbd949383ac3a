"""A MEC server that is a node of a Flower app, which has its own data: what it trains with, and what it holds."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.learning import tensor_names
from fbfl.learning.trainer import DataHolder
from fbfl.tensors import ModelSpec, Vector

_STAND_IN = np.zeros((1, 1), np.uint8), np.zeros(1, np.int64)  # the app's samples are never seen here


class AppNode:
    """Node number `node` of the app that `start` starts: a server's training, and the `SampleStore` that stands for it.

    The app is started at once, so that what is wrong with it is told before the server has joined; later again where
    it has failed. `spec` are the task's tensors, `names` are its tensors' names here if not those of the task.
    """

    def __init__(
        self, start: Callable[[], DataHolder], node: int, spec: ModelSpec, names: tensor_names.Names | None = None
    ) -> None:
        self._start = start
        self._node = node
        self._spec = spec
        self._names = names
        self._app: DataHolder | None = start()
        tensor_names.fitted(self._app, spec, names, "the Flower app")
        self.seconds = 0.0
        """Seconds spent in training so far."""
        self.count = 0
        """Number of samples of its last update."""

    def __call__(self, weights: Vector, round_number: int) -> Vector:
        """Train from the global weights [P]; returns the update [P]."""
        started = time.perf_counter()
        app, self._app = self._app or self._start(), None  # an app that fails has ended its processes
        trainer = tensor_names.fitted(app, self._spec, self._names, "the Flower app")
        (update,) = trainer.train(weights, [_STAND_IN], round_number=round_number, client_ids=[self._node])
        self.count = app.counted(self._node)
        self._app = app
        self.seconds += time.perf_counter() - started
        return update

    def counted(self) -> int:
        """Return the number of samples of its last update, as `MECServer` asks for it."""
        return self.count

    def training_set(self, round_number: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:  # noqa: ARG002
        """Return a sample that stands for the app's."""
        return _STAND_IN
