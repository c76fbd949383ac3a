"""What the trainers of this package share: what a client has to do, and the evaluation on a model per core."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.learning import losses, metrics, plugins
from fbfl.learning.lanes import Lanes
from fbfl.learning.training import Purpose, Samples, accepted, draws, flat, inputs, work_of
from fbfl.tensors import ModelSpec, Vector

_BLOCK = 1000  # samples per evaluation step, whatever the number of lanes: the kernels' rounding depends on it

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Job:
    """What a client does in a round, on samples x [n, ...] with labels y [n]."""

    client: int
    x: Array
    y: Array
    work: int
    """Number of epochs; of steps if batches are drawn."""
    batch_size: int | None
    """Size of the batches that are drawn; None: epochs."""

    @property
    def num_samples(self) -> int:
        """Number of samples that it takes, in all steps or in an epoch."""
        return len(self.y) if self.batch_size is None else self.work * min(self.batch_size, len(self.y))


class BaseTrainer(ABC):
    """A `fbfl.learning.trainer.Trainer` but for the training of a job and the evaluation."""

    spec: ModelSpec
    trainable: npt.NDArray[np.bool_]
    """Mask of the P weights that are trained, bool [P]; others are, for one, BatchNorm's statistics."""
    _purpose: Purpose
    _initial: Vector

    def is_for(self, **purpose: Any) -> bool:
        """Return True if a trainer of this kind for this purpose would compute the same bytes."""
        return self._purpose == Purpose(**purpose)

    def initial_weights(self) -> Vector:
        """Return the weights [P] that the seed gives to a new model."""
        return self._initial.copy()

    def train(
        self,
        weights: Vector,
        clients: Sequence[Samples],
        *,
        round_number: int,
        client_ids: Sequence[int],
        local_epochs: int | Sequence[int] | None = None,
    ) -> Iterator[Vector]:
        """Train every client from the global `weights` [P]; yield their updates [P] (trained minus global) in order.

        Updates are computed while the caller consumes them, at most a few ahead, so that thousands of clients need no
        more memory than a few. `client_ids` (at least 0) select each client's random numbers. `local_epochs` overrides
        the settings' `local_work`, for all clients or for each (a straggler's may be 0). A client without samples has
        an update of zeros. Raises `InvalidInputError` for samples that the model cannot take.
        """
        settings, start = self._purpose.settings, flat(weights, self.spec)
        client_ids, works = work_of(clients, client_ids, local_epochs, settings.local_work)
        jobs = [
            self._job(client, *accepted(samples, client, self._purpose), work)
            for client, samples, work in zip(client_ids, clients, works, strict=True)
        ]
        return self._updates(start, jobs, round_number)

    @abstractmethod
    def _updates(self, start: Vector, jobs: list[Job], round_number: int) -> Iterator[Vector]:
        """Yield the updates of all jobs, as `train` does."""

    def _job(self, client: int, x: Array, y: Array, work: int) -> Job:
        settings = self._purpose.settings
        return Job(client, x, y, work, None if settings.local_steps is None else settings.batch_size)

    def _draws(
        self, job: Job, round_number: int, num_generators: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the order in which the job takes its samples, and seeds; see `fbfl.learning.training.draws`."""
        seed, shuffle = self._purpose.seed, self._purpose.settings.shuffle
        return draws(
            seed, round_number, job.client, len(job.y), job.work, num_generators, job.batch_size, shuffle=shuffle
        )


class LaneTrainer(BaseTrainer):
    """A `fbfl.learning.trainer.Classifier` but for the training of a job."""

    _lanes: Lanes[Any]
    _loss_on: Callable[..., float]
    """Finds a loss of the user's with its framework."""

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
