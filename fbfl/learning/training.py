"""Local training, whatever trains: its settings, its draws, and what every trainer accepts and refuses."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError, require
from fbfl.learning import losses, plugins
from fbfl.learning.clients import client_numbers
from fbfl.learning.samples import WHOLE, integers_of, numbers_of, type_of
from fbfl.learning.schedules import SCHEDULES
from fbfl.randomness import generator
from fbfl.tensors import ModelSpec, Vector
from fbfl.values import checks
from fbfl.values.fields import field

Samples = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""Inputs x [n, ...], uint8 in 0..255, which stand for 0 to 1, or floating point, and labels y [n]: classes, which are
integers from 0, or numbers."""

Model = str | Callable[[], Any]
"""A name of `fbfl.learning.models.NAMES`, `package.module:function`, or a function without arguments that returns a new
model of the trainer's."""

MOST_LANES = 1024
"""Most lanes: each holds a model of its own, and a typing error must not fill the memory."""

LARGEST = float(np.finfo(np.float32).max)
"""Largest learning rate."""


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a client's local training."""

    # Beyond the largest numbers a round does not end: TensorFlow takes time and memory in proportion to the
    # size of a batch, and the order of all samples is drawn before the first step.
    local_epochs: int = field(1, "passes over a server's samples per round", least=1, most=10_000)
    batch_size: int = field(
        32, "samples of a training step; the last one of an epoch may be smaller", least=1, most=2**24
    )
    optimizer: str | Callable[[], Any] = field(
        "adam", "the optimizer of the local training: a name that its trainer knows, or package.module:function"
    )
    """Name of an optimizer, or a function (or class) that returns a new one; of PyTorch, one of the parameters."""
    learning_rate: float | Callable[[int], float] | None = field(
        None, "its learning rate", least=0, most=LARGEST, by_default="the optimizer's own"
    )
    """Learning rate, or a function of the round (from 1)."""
    proximal: float = field(
        0.0,
        "FedProx: mu, how strongly training is drawn back to the global weights (Li et al. 2020, formula 2)",
        least=0,
        most=LARGEST,
    )
    fused: bool = True
    """Use fused kernels, for plain SGD and Adam before all; without them training equals Keras's `fit` bit for bit."""
    local_steps: int | None = field(
        None,
        "instead of epochs: steps per round, each on a batch drawn afresh from all samples",
        least=1,
        most=10**6,
        by_default="none, so epochs count",
    )
    shuffle: bool = True
    """Go through the samples in a new random order in every epoch; else always in the order in which they are given."""
    schedule: str | Callable[..., float] | None = field(
        None,
        f"course of the learning rate over the rounds: {', '.join(SCHEDULES)}, or package.module:function",
        by_default="none, so it stays the same",
    )
    schedule_args: Mapping[str, Any] = field(dict, "parameters of the schedule")
    loss: str | Callable[..., Any] = field(
        "cross_entropy",
        f"what training makes small: {', '.join(losses.NAMES)}, or package.module:function, a loss of the trainer's "
        "framework",
    )
    """A name, or a function of the trainer's framework; see `fbfl.learning.losses`."""

    def __post_init__(self) -> None:
        checks.fields(self)
        losses.known_classes(self.loss, None)
        if self.schedule is None and self.schedule_args:
            raise InvalidInputError(f"schedule_args is {dict(self.schedule_args)} but no schedule is named")
        if self.schedule is not None:
            if not isinstance(self.learning_rate, int | float):
                raise InvalidInputError(
                    f"learning_rate is {plugins.label_of(self.learning_rate)}, but schedule is "
                    f"{plugins.label_of(self.schedule)}; allowed: a number, from which it starts"
                )
            self.rate(1)
        if self.local_steps is not None and self.local_epochs != 1:
            raise InvalidInputError(
                f"local_steps is {self.local_steps}, local_epochs is {self.local_epochs}; allowed: steps take the place"
                " of epochs, which then stay 1"
            )
        if self.local_steps is not None and not self.shuffle:
            raise InvalidInputError("shuffle is False, but local_steps draws batches at random; allowed: one of them")

    @property
    def local_work(self) -> int:
        """Work of a client in a round: a number of epochs, or of steps if they are set."""
        return self.local_steps or self.local_epochs

    def rate(self, round_number: int) -> float | None:
        """Return the learning rate of a round, counted from 1; None for the optimizer's own.

        What a user's function returns for it raises `InvalidInputError` if it is no such rate.
        """
        rate = self.learning_rate
        if self.schedule is not None:
            schedule = plugins.resolve("schedule", self.schedule, SCHEDULES, self.schedule_args, data=2)
            return _rate_of(f"schedule {schedule.name}", schedule(round_number, rate), round_number)
        if not callable(rate):
            return None if rate is None else float(rate)
        label = f"learning_rate {plugins.label_of(rate)}"
        with plugins.users_code(label):
            returned = rate(round_number)
        return _rate_of(label, returned, round_number)


@dataclass(frozen=True)
class Purpose:
    """Purpose that a trainer is made for; with the same one, two of one kind compute the same bytes."""

    model: Model
    settings: TrainingSettings
    input_shape: tuple[int, ...]
    num_classes: int
    """Number of classes; 0: labels are numbers."""
    seed: int
    sample_type: str = "float32"
    """Type of samples as the model sees them: float32, or int32 for whole numbers, such as numbers of words."""

    def __post_init__(self) -> None:
        losses.known_classes(self.settings.loss, self.num_classes)

    @property
    def num_outputs(self) -> int:
        """Number of outputs of the model per sample."""
        return losses.num_outputs(self.settings.loss, self.num_classes)


def draws(
    seed: int,
    round_number: int,
    client_id: int,
    size: int,
    epochs: int,
    num_generators: int = 0,
    batch_size: int | None = None,
    *,
    shuffle: bool = True,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Draw all that is random in a client's round.

    The orders in which it goes through its samples, int64 [epochs, size], and a seed for each of the model's random
    layers, int64 [num_generators] below 2^31. With a batch size there is a batch for each step instead of an order for
    each epoch: int64 [steps, min(batch_size, size)]. Without `shuffle` every order is that of the samples.
    """
    rng = generator(seed, "local training", round_number=round_number, server=client_id)
    length = size if batch_size is None else min(batch_size, size)
    order = rng.permutation if shuffle else np.arange
    orders = np.array([order(size)[:length] for _ in range(epochs)], np.int64).reshape(epochs, length)
    return orders, rng.integers(2**31, size=num_generators)


def accepted(samples: Samples, client: int | None, purpose: Purpose) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return samples x [n, *input_shape], uint8, float32 or int32, and labels y [n], classes int32 or numbers float32.

    `client` begins the message of the `InvalidInputError` for anything else; None is the test set.
    """
    where = "the test set" if client is None else f"client {client}"
    if not isinstance(samples, tuple | list) or len(samples) != 2:
        raise InvalidInputError(f"{where} is a {type(samples).__name__}; needed: a pair (x, y)")
    num_classes, labels_of = purpose.num_classes, integers_of if purpose.num_classes else numbers_of
    x, y = inputs(samples[0], where, purpose), labels_of(samples[1], f"{where}: y")
    if len(x) != len(y):
        raise InvalidInputError(f"{where}: x holds {len(x)} samples, y {len(y)} labels; needed: as many")
    if not num_classes:
        return x, y
    if len(y) and not 0 <= y.min() <= y.max() < num_classes:
        raise InvalidInputError(f"{where}: labels have to be integers from 0 to {num_classes - 1}")
    return x, y.astype(np.int32, copy=False)


def inputs(x: npt.ArrayLike, where: str, purpose: Purpose) -> npt.NDArray[Any]:
    """Return samples [n, *input_shape] as uint8 or float32, or where they are whole numbers as int32."""
    array = np.asarray(x)
    if array.shape[1:] != purpose.input_shape or not array.ndim:
        raise InvalidInputError(f"{where}: x has the shape {array.shape}; needed: [n, *{purpose.input_shape}]")
    if purpose.sample_type == WHOLE:
        if len(array) and type_of(array) != WHOLE:
            raise InvalidInputError(f"{where}: x is {array.dtype}; allowed in this task: whole numbers, int32")
        return array.astype(np.int32, copy=False)
    if array.dtype == np.uint8:
        return array
    require(array.dtype.kind == "f", f"{where}: x", array.dtype, "uint8 and floating point")
    return array.astype(np.float32, copy=False)


def flat(weights: npt.ArrayLike, spec: ModelSpec) -> Vector:
    """Return weights [P] of a model as float32 in one piece."""
    array = np.asarray(weights)
    if array.shape != (spec.size,) or array.dtype.kind not in "fiu":
        raise InvalidInputError(
            f"weights have the shape {array.shape}, of {array.dtype}: the model has numbers ({spec.size},)"
        )
    return np.ascontiguousarray(array, np.float32)


def work_of(
    clients: Sequence[Samples], client_ids: Sequence[int], local_epochs: int | Sequence[int] | None, usual: int
) -> tuple[tuple[int, ...], list[int]]:
    """Return the clients' numbers, and the local work of each: `local_epochs`, by default the `usual` one."""
    client_ids = client_numbers("client_ids", client_ids)
    if len(client_ids) != len(clients):
        raise InvalidInputError(f"{len(clients)} clients, but {len(client_ids)} client ids")
    if local_epochs is None:
        local_epochs = usual
    epochs = list(local_epochs) if isinstance(local_epochs, Iterable) else [local_epochs] * len(clients)
    if len(epochs) != len(clients) or not all(checks.is_whole(number) and number >= 0 for number in epochs):
        raise InvalidInputError(f"local_epochs is {epochs}: one number of at least 0 per client is needed")
    return client_ids, epochs


def _rate_of(label: str, returned: Any, round_number: int) -> float:
    """Return what a function of the round returned, if that is a learning rate."""
    with plugins.users_code(label):
        number = float(returned)
    if not 0 <= number <= LARGEST:
        raise InvalidInputError(
            f"{label} returned {returned!r} for round {round_number};"
            f" needed: a finite number of at least 0 (as float32: up to 3.4e38)"
        )
    return number


def shape_of(input_shape: object) -> tuple[int, ...]:
    """Return the shape of a sample as whole numbers; `InvalidInputError` for anything else."""
    sizes = tuple(input_shape) if isinstance(input_shape, Iterable) else (input_shape,)
    if not all(checks.is_whole(size) and size >= 1 for size in sizes):
        raise InvalidInputError(f"input_shape is {input_shape!r}; allowed: whole numbers of at least 1, one per axis")
    return tuple(int(size) for size in sizes)


def num_lanes(lanes: int | None) -> int:
    """Return the number of lanes: those that are asked for, or one per processor core that this process may use."""
    if lanes is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not 1 <= lanes <= MOST_LANES:
        raise InvalidInputError(f"lanes is {lanes}: it has to be at least 1 and at most {MOST_LANES}")
    return lanes
