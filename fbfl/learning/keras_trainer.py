"""Local training and evaluation of any Keras model, on all cores, with results that do not depend on how many.

Each core has a *lane*: a thread with a model of its own and one compiled graph. Clients are handed to the lanes in
chunks; a client's update depends only on (seed, round, client, its data, the global weights).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError, require
from fbfl.learning import losses, plugins
from fbfl.learning.backend import load_tensorflow
from fbfl.learning.base_trainer import Job, LaneTrainer
from fbfl.learning.lanes import Lanes
from fbfl.learning.models import NAMES, build, spec_of, trainable_of, weights_of
from fbfl.learning.training import Model, Purpose, TrainingSettings, num_lanes, shape_of
from fbfl.tensors import Vector
from fbfl.values import checks

if TYPE_CHECKING:
    from fbfl.learning.lane import Lane, Work

# A chunk is what one call of the graph handles: large enough to make calls cheap, small enough to keep lanes busy.
_CHUNK_CLIENTS = 64
_CHUNK_SAMPLES = 4096
_CHUNK_BYTES = 32 * 2**20


class KerasTrainer(LaneTrainer):
    """Trains Keras models in compiled graphs; imports TensorFlow when it is made.

    A `fbfl.learning.trainer.Classifier`. `model` is a name, `package.module:function` or a function (see
    `fbfl.learning.models.build`); `lanes` the number of cores to use (default: all).
    """

    @checks.arguments
    def __init__(
        self,
        model: Model = "mlp",
        settings: TrainingSettings | None = None,
        *,
        input_shape: tuple[int, ...] = (28, 28),
        num_classes: int = 10,
        lanes: int | None = None,
        seed: int = 0,
        sample_type: str = "float32",
    ) -> None:
        load_tensorflow()
        from fbfl.learning.lane import Lane, loss_on

        lanes = num_lanes(lanes)
        settings = TrainingSettings() if settings is None else settings
        require(isinstance(settings, TrainingSettings), "settings", settings, "TrainingSettings(...)")
        self.settings = settings
        purpose = self._purpose = Purpose(model, settings, shape_of(input_shape), num_classes, seed, sample_type)

        def lane() -> tuple[Any, Lane]:
            own = build(purpose)
            made, _ = _optimizer(settings)
            with self._users_code("set-up"):
                return own, Lane(own, made, settings, num_classes)

        models, made = zip(*(lane() for _ in range(lanes)), strict=True)
        self.spec, self.trainable, self._initial = spec_of(models[0]), trainable_of(models[0]), weights_of(models[0])
        _, self._default_rate = _optimizer(self.settings)
        self._lanes, self._loss_on = Lanes(made), loss_on

    def warm_up(self, dtype: npt.DTypeLike = np.uint8) -> None:
        """Compile the graphs for samples of this type (uint8, float32 or int32) now rather than in the first round.

        For measurements of rounds, and for a trainer that serves several federations.
        """
        # One sample: oneDNN cannot chain convolutions of an empty batch.
        labels = np.int32 if self._purpose.num_classes else np.float32
        x, y = np.zeros((1, *self._purpose.input_shape), dtype), np.zeros(1, labels)
        job = self._job(0, x, y, 1)
        for lane in self._lanes.all:
            work = _joined([job], [self._draws(job, 1, lane.num_generators)])
            with self._users_code("training"):
                lane.train(self._initial, work, self._learning_rate(1))
            with self._users_code("evaluation"):
                lane.logits(self._initial, [x])

    def _updates(self, start: Vector, jobs: list[Job], round_number: int) -> Iterator[Vector]:
        rate = self._learning_rate(round_number)

        def run(lane: "Lane", chunk: list[Job]) -> Vector:
            work = _joined(chunk, [self._draws(job, round_number, lane.num_generators) for job in chunk])
            with self._users_code("training"):
                return lane.train(start, work, rate)

        chunks = _chunks(jobs, max(1, _CHUNK_BYTES // (4 * self.spec.size)))
        return (update for rows in self._lanes.stream(run, chunks) for update in rows)

    def _users_code(self, activity: str) -> AbstractContextManager[None]:
        """Report errors raised inside as the user's, if layers or optimizer are."""
        ours = self._purpose.model in NAMES and self.settings.loss in losses.NAMES
        ours = ours and isinstance(self.settings.optimizer, str)
        return nullcontext() if ours else super()._users_code(activity)

    def _learning_rate(self, round_number: int) -> float:
        rate = self.settings.rate(round_number)
        if rate is None:
            return math.nan if self._default_rate is None else self._default_rate  # NaN: never used
        return rate


def _chunks(jobs: list[Job], most_clients: int) -> list[list[Job]]:
    """Split into runs of neighbours with samples of one type (uint8 and float32 are scaled differently)."""
    chunks: list[list[Job]] = []
    samples = 0
    for job in jobs:
        samples += job.num_samples
        full = not chunks or len(chunks[-1]) >= min(most_clients, _CHUNK_CLIENTS) or samples > _CHUNK_SAMPLES
        if full or chunks[-1][0].x.dtype != job.x.dtype:
            chunks.append([])
            samples = job.num_samples
        chunks[-1].append(job)
    return chunks


def _joined(chunk: list[Job], drawn: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]) -> "Work":
    from fbfl.learning.lane import Work

    xs, ys, orders = [job.x for job in chunk], [job.y for job in chunk], [order.ravel() for order, _ in drawn]
    if chunk[0].batch_size is not None:  # the graph needs the drawn samples only
        xs, ys = ([part[order] for part, order in zip(parts, orders, strict=True)] for parts in (xs, ys))
        orders = [np.arange(order.size) for order in orders]
    lengths = np.array([len(y) for y in ys])
    placed = [first + order for first, order in zip(np.cumsum(lengths) - lengths, orders, strict=True)]
    alone = len(chunk) == 1  # the usual case with many samples: no copy
    return Work(
        x=xs[0] if alone else np.concatenate(xs),
        y=ys[0] if alone else np.concatenate(ys),
        order=np.concatenate(placed).astype(np.int32),
        sizes=np.array([order.shape[1] for order, _ in drawn], np.int32),
        epochs=np.array([job.work for job in chunk], np.int32),
        seeds=np.array([seeds for _, seeds in drawn], np.int32),
    )


def _optimizer(settings: TrainingSettings) -> tuple[Any, float | None]:
    """Return a new optimizer, and its learning rate if that is a number."""
    from fbfl.learning import optimizers

    made = optimizers.make(settings.optimizer)
    with plugins.users_code(f"optimizer {plugins.label_of(settings.optimizer)}"):
        rate = optimizers.rate_of(made)
    if settings.learning_rate is not None and rate is None:
        raise InvalidInputError("learning_rate cannot be set where the optimizer has a schedule of its own, or several")
    return made, rate
