"""Trainers: the interface of each, and how one is found by its name.

Servers recompute and vote on aggregation, never on training, so each may train with what it likes as long as its
tensors are those of the task.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError
from fbfl.learning import function_trainer, plugins
from fbfl.learning.flower.trainer import FlowerTrainer
from fbfl.learning.keras_trainer import KerasTrainer
from fbfl.learning.torch_trainer import TorchTrainer
from fbfl.learning.training import Purpose, Samples
from fbfl.tensors import ModelSpec, Vector


@runtime_checkable
class Trainer(Protocol):
    """Local training and evaluation of one model; nothing in it is of a framework.

    It changes none of the arrays that it is given.
    """

    spec: ModelSpec
    """Names, shapes and order of the tensors, all float32."""
    trainable: npt.NDArray[np.bool_]
    """Mask of the P weights that are trained, bool [P]; others are, for one, BatchNorm's statistics."""

    def initial_weights(self) -> Vector:
        """Return the weights [P] that a task begins with, a function of the seed."""

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

        An update depends on the seed, the round, the client's id and samples and the weights only. `local_epochs`
        overrides the settings' `local_work`, for all clients or for each (a straggler's may be 0).
        """

    def evaluate(self, weights: Vector, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Mapping[str, float]:
        """Return figures of `weights` [P] on samples x [n, ...], y [n]: "loss", and what else there is by its name.

        "accuracy" is the share of right answers; success rates of attacks are measured by it.
        """


@runtime_checkable
class Classifier(Trainer, Protocol):
    """A trainer that also tells what its model answers, so that one pass over the samples gives all figures."""

    def logits(self, weights: Vector, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return scores with `weights` [P] for x [n, ...], before the softmax: float32 [n, classes].

        Where labels are numbers they are the model's numbers [n].
        """

    def loss(self, scores: npt.NDArray[np.float32], y: npt.NDArray[Any]) -> float:
        """Return the mean loss of what `logits` returns for samples with the labels y [n]."""


@runtime_checkable
class DataHolder(Trainer, Protocol):
    """A trainer whose clients have data of their own; the samples that it is given only stand for them."""

    def counted(self, client: int) -> int:
        """Return the number of samples of a client's last update."""


TrainerLike = str | Callable[..., Any] | Trainer
"""A name of `TRAINERS`, `package.module:function`, a class or function that returns a trainer, a function that trains
(see `fbfl.learning.function_trainer`), or a trainer."""

TRAINERS: dict[str, Callable[..., Trainer]] = {"keras": KerasTrainer, "torch": TorchTrainer, "flower": FlowerTrainer}
"""Trainers by name. They take the fields of `Purpose`, and `lanes`, by name; further parameters are settings."""


def make(
    trainer: str | Callable[..., Any], arguments: Mapping[str, Any], purpose: Purpose, *, lanes: int | None = None
) -> Trainer:
    """Return a new trainer of a name, or of a class or function, which takes of the purpose and `lanes` what it names.

    All its other parameters are settings, given by `arguments`. A function whose first parameter is `weights` trains
    by itself. Raises `InvalidInputError` for anything else.
    """
    function = plugins.find("trainer", trainer, TRAINERS) if isinstance(trainer, str) else trainer
    if _trains(function):
        return function_trainer.trainer_of(plugins.label_of(trainer), function, arguments, purpose, lanes)
    context = {**vars(purpose), "lanes": lanes}
    plugin = plugins.resolve("trainer", trainer, TRAINERS, arguments, data=0, context=context)
    made = plugin(**context)
    if not isinstance(made, Trainer):
        lacking = [name for name in _MEMBERS if not hasattr(made, name)]
        raise InvalidInputError(
            f"trainer {plugin.name} returned a {type(made).__name__} without {', '.join(lacking)}; needed: a trainer"
        )
    return made


def check_purpose(trainer: Trainer, purpose: Purpose) -> None:
    """Raise `InvalidInputError` for a trainer that knows what it was made for, and that is something else."""
    is_for = getattr(trainer, "is_for", None)
    if is_for is not None and not is_for(**vars(purpose)):
        raise InvalidInputError("trainer was made for another model, data shape, number of classes, seed or training")


def _trains(function: Callable[..., Any]) -> bool:
    """Return True for a function that trains, rather than returns a trainer."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return False  # refused elsewhere
    return names[:1] == ["weights"] and not isinstance(function, type)


_MEMBERS = ("spec", "trainable", "initial_weights", "train", "evaluate")
