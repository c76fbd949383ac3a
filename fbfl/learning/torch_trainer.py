"""Local training and evaluation of any PyTorch module, on all cores, with results that do not depend on how many.

A client's update depends only on (seed, round, client, its data, the global weights): what the module draws comes from
a generator of the client's. Steps of small models are Python for the most part, of which threads run one at a time:
clients train in forks of this process, and threads, with a module each, evaluate.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fbfl.errors import InvalidInputError, UserCodeError
from fbfl.learning import forks, plugins
from fbfl.learning.backend import without_packages
from fbfl.learning.base_trainer import Job, LaneTrainer
from fbfl.learning.lanes import Lanes
from fbfl.learning.training import Model, Purpose, TrainingSettings, num_lanes, shape_of
from fbfl.tensors import Vector
from fbfl.values import checks

_NO_FORK = "in combination with fork-based multiprocessing"
"""What PyTorch says in a fork after a backward pass of the program's own on a GPU, or a compilation."""


class TorchTrainer(LaneTrainer):
    """Trains modules of PyTorch; imports PyTorch when it is made.

    A `fbfl.learning.trainer.Classifier`. `model` is a function, or class, that returns a new `nn.Module` from samples
    float32 [n, *input_shape], or int64 where they are whole numbers, to logits [n, num_classes], or its name
    `package.module:function`; `lanes` the number of cores to use (default: all). The optimizer of the settings is a
    name of `torch.optim` or a function of the parameters, the loss a name of `fbfl.learning.losses.NAMES` or a function
    of the outputs and of labels, int64 [n], or float32 [n] where they are numbers (and so are the outputs), each
    perhaps as `package.module:function`.

    The tensors are those of the module's `state_dict` that are float32; a tied one counts once. Other buffers, such as
    counters, are the client's own and begin anew in every round.
    """

    @checks.arguments
    def __init__(
        self,
        model: Model,
        settings: TrainingSettings | None = None,
        *,
        input_shape: tuple[int, ...] = (28, 28),
        num_classes: int = 10,
        lanes: int | None = None,
        seed: int = 0,
        sample_type: str = "float32",
    ) -> None:
        _load_torch()
        from fbfl.learning.torch_lane import TorchLane, loss_on

        settings = TrainingSettings() if settings is None else settings
        self._purpose = Purpose(model, settings, shape_of(input_shape), num_classes, seed, sample_type)
        label = plugins.label_of(model)
        made = [TorchLane(self._purpose) for _ in range(num_lanes(lanes))]
        first = made[0]
        for other in made[1:]:
            if other.spec != first.spec or not np.array_equal(other.weights(), first.weights()):
                raise InvalidInputError(
                    f"model {label} returned two modules that differ; needed: new ones that depend on nothing "
                    "but PyTorch's, NumPy's and Python's random numbers"
                )
            if other.shares_with(first):
                raise InvalidInputError(
                    f"model {label} returned the same module twice, or one with the same tensors: it has to "
                    "build a new one"
                )
        self.spec, self.trainable, self._initial = first.spec, first.trainable, first.weights()
        self._lanes, self._loss_on = Lanes(made), loss_on

    def _updates(self, start: Vector, jobs: list[Job], round_number: int) -> Iterator[Vector]:
        rate = self._purpose.settings.rate(round_number)

        def run(lane: Any, place: int) -> Vector:
            job = jobs[place]
            order, (seed,) = self._draws(job, round_number, 1)
            with self._users_code("training"):
                update: Vector = lane.train(start, job.x, job.y, order, int(seed), rate)
            return update

        busy = min(len(self._lanes), sum(len(job.y) > 0 for job in jobs))
        if busy > 1 and forks.available():
            return self._forked(run, len(jobs), busy)
        return self._lanes.stream(run, range(len(jobs)))

    def _forked(self, run: Callable[[Any, int], Vector], count: int, busy: int) -> Iterator[Vector]:
        """Yield what `run` computes in forks, or in threads where PyTorch or the system refuses forks."""
        lane, done = self._lanes.all[0], 0
        try:
            for update in forks.rows(lambda place: run(lane, place), count, self.spec.size, busy):
                yield update
                done += 1
        except (UserCodeError, forks.NoForksError) as error:
            if isinstance(error, UserCodeError) and _NO_FORK not in str(error):
                raise
            yield from self._lanes.stream(run, range(done, count))


def _load_torch() -> None:
    """Import PyTorch (3-6 s), with one thread per operation.

    Many small operations gain nothing from several threads each: the trainer runs a client per core instead.
    """
    # Triton, for GPUs, ends a process in which TensorFlow is: both bring their own LLVM. PyTorch would import it with
    # the first optimizer.
    unused = ("triton",) if "tensorflow" in sys.modules else ()
    try:
        with without_packages(unused):
            import torch
            import torch._dynamo
    except ImportError as error:
        raise InvalidInputError(
            f"trainer torch: {error}; needed: the package torch (pip install 'fbfl[torch]')"
        ) from error
    torch.set_num_threads(1)
