"""A function as a trainer: anything that can make new weights of old ones and samples, with NumPy arrays.

`train(weights, x, y, rng, round)` returns the trained weights; the first three are lists of float32 arrays, samples
float32 [n, ...] (bytes as 0 to 1; int32 where they are whole numbers) and labels int32 [n] (float32 where they are
numbers). Its attributes `initial(rng)` and `evaluate(weights, x, y)` give the weights to begin with and the figures;
without both, the model of the task, a Keras model, gives them.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError
from fbfl.learning import plugins
from fbfl.learning.base_trainer import BaseTrainer, Job
from fbfl.learning.keras_trainer import KerasTrainer
from fbfl.learning.plugins import Plugin
from fbfl.learning.training import Purpose, TrainingSettings, accepted, flat, inputs
from fbfl.randomness import generator
from fbfl.tensors import ModelSpec, TensorSpec, Vector

LEADING = ("weights", "x", "y", "rng", "round")
"""The first parameters of such a function; the first one's name tells it from a function that returns a trainer."""

# Of compiled graphs; what the learning rate that is given follows; and what also says what labels are.
_OURS = ("fused", "schedule", "schedule_args", "loss")
SETTINGS = tuple(each.name for each in fields(TrainingSettings) if each.name not in _OURS)
"""Settings of the training that a function is given if it has parameters of these names, as it is `loss`."""

_CONTEXT = (*SETTINGS, "loss")

_DEFAULT = TrainingSettings()

Arrays = list[npt.NDArray[np.float32]]


class FunctionTrainer(BaseTrainer):
    """A `fbfl.learning.trainer.Trainer` whose function has `initial` and `evaluate`."""

    def __init__(self, plugin: Plugin, purpose: Purpose) -> None:
        self._train = plugin
        self._purpose = purpose
        settings = purpose.settings
        for name in SETTINGS:
            value = getattr(settings, name)
            if value != getattr(_DEFAULT, name) and name not in plugin.wants:
                raise InvalidInputError(
                    f"{name} is {value!r}, but trainer {plugin.name} has no parameter {name}; allowed: its default"
                )
        self.spec, self._initial, self.trainable = self._beginning()

    @property
    def name(self) -> str:
        """The function with its settings."""
        return f"{self._train.name} {dict(self._train.settings)}"

    def _updates(self, start: Vector, jobs: list[Job], round_number: int) -> Iterator[Vector]:
        settings = self._purpose.settings
        work = "local_epochs" if settings.local_steps is None else "local_steps"
        for job in jobs:
            if job.work not in (0, settings.local_work) and work not in self._train.wants:
                raise InvalidInputError(
                    f"client {job.client} is to do {job.work} of {settings.local_work} {work}, but trainer "
                    f"{self._train.name} has no parameter {work}"
                )
        context = {name: getattr(settings, name) for name in _CONTEXT}
        context["learning_rate"] = settings.rate(round_number)
        return (self._update(start, job, round_number, {**context, work: job.work}) for job in jobs)

    def evaluate(self, weights: Vector, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Mapping[str, float]:
        """Return the figures that the function's `evaluate` finds."""
        x, y = accepted((x, y), None, self._purpose)
        arrays = [array.copy() for array in self._arrays(weights)]  # the function may change what it is given
        samples = scaled(x) if x.dtype == np.uint8 else x.copy()
        found: Mapping[str, float] = self._attribute("evaluate")(arrays, samples, y.copy())
        return found

    def _beginning(self) -> tuple[ModelSpec, Vector, npt.NDArray[np.bool_]]:
        purpose, name = self._purpose, self._train.name
        if purpose.model != "mlp":
            raise InvalidInputError(
                f"model is {plugins.label_of(purpose.model)}, but trainer {name} has initial and evaluate of its own; "
                "allowed: one of them"
            )
        returned = self._attribute("initial")(generator(purpose.seed, "initial weights"))
        arrays = _arrays_of(f"trainer {name}: initial", returned)
        if not arrays:
            raise InvalidInputError(f"trainer {name}: initial returned no array; needed: at least 1")
        for place, array in enumerate(arrays):
            if not np.isfinite(array).all():
                raise InvalidInputError(
                    f"trainer {name}: initial returned array {place} with NaN or Inf; needed: finite as float32"
                )
        spec = ModelSpec(tuple(TensorSpec(str(place), array.shape) for place, array in enumerate(arrays)))
        return spec, spec.flatten(arrays), np.ones(spec.size, bool)

    def _attribute(self, name: str) -> Callable[..., Any]:
        function = getattr(self._train.function, name)
        return plugins.guarded(f"trainer {self._train.name}:", function)

    def _arrays(self, weights: Vector) -> Arrays:
        return self.spec.unflatten(flat(weights, self.spec))

    def _update(self, start: Vector, job: Job, round_number: int, context: Mapping[str, Any]) -> Vector:
        if not len(job.y) or 0 in (context["local_epochs"], context["local_steps"]):
            return np.zeros_like(start)
        rng = generator(self._purpose.seed, "local training", round_number=round_number, server=job.client)
        returned = self._train(self._arrays(start), scaled(job.x), job.y, rng, round_number, **context)
        trained = _arrays_of(f"trainer {self._train.name}", returned)
        shapes = [list(array.shape) for array in trained]
        needed = [list(tensor.shape) for tensor in self.spec.tensors]
        if shapes != needed:
            raise InvalidInputError(
                f"trainer {self._train.name} returned arrays of the shapes {shapes}; needed: {needed}, as given"
            )
        return self.spec.flatten(trained) - start


class FunctionOnModel(FunctionTrainer):
    """A `fbfl.learning.trainer.Classifier` whose function trains the weights of a Keras model."""

    def __init__(self, plugin: Plugin, purpose: Purpose, lanes: int | None = None) -> None:
        measured = replace(purpose, settings=TrainingSettings(loss=purpose.settings.loss))
        self._keras = KerasTrainer(**vars(measured), lanes=lanes)
        super().__init__(plugin, purpose)

    def evaluate(self, weights: Vector, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Mapping[str, float]:
        """Return the accuracy and the loss of the Keras model."""
        return self._keras.evaluate(weights, x, y)

    def logits(self, weights: Vector, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the scores of the Keras model, float32 [n, classes], or its numbers [n]."""
        return self._keras.logits(weights, inputs(x, "x", self._purpose))

    def loss(self, scores: npt.NDArray[np.float32], y: npt.NDArray[Any]) -> float:
        """Return the mean loss of what `logits` returns for samples with the labels y [n]."""
        return self._keras.loss(scores, y)

    def _beginning(self) -> tuple[ModelSpec, Vector, npt.NDArray[np.bool_]]:
        return self._keras.spec, self._keras.initial_weights(), self._keras.trainable


def trainer_of(
    name: str, function: Callable[..., Any], arguments: Mapping[str, Any], purpose: Purpose, lanes: int | None
) -> FunctionTrainer:
    """Return the trainer of a function that trains; `arguments` are its settings, and `name` that in messages."""
    leading = list(inspect.signature(function).parameters)[: len(LEADING)]
    if len(leading) < len(LEADING):
        raise InvalidInputError(
            f"trainer {name} has the parameters {', '.join(leading)}; needed: {', '.join(LEADING)}, and then settings"
        )
    plugin = plugins.resolve("trainer", name, {name: function}, arguments, data=len(LEADING), context=_CONTEXT)
    attributes = [attribute for attribute in ("initial", "evaluate") if hasattr(function, attribute)]
    for attribute in attributes:
        if not callable(given := getattr(function, attribute)):
            raise InvalidInputError(f"trainer {name}: {attribute} is {given!r}; needed: a function")
    if not attributes:
        return FunctionOnModel(plugin, purpose, lanes)
    if len(attributes) == 1:
        raise InvalidInputError(
            f"trainer {name} has {attributes[0]} only; needed: initial(rng) and evaluate(weights, x, y) as attributes "
            "of the function, or neither, and the model gives both"
        )
    return FunctionTrainer(plugin, purpose)


def scaled(x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return samples as float32, bytes as 0 to 1, or as they are: float32, or int32 for whole numbers."""
    return np.divide(x, np.float32(255), dtype=np.float32) if x.dtype == np.uint8 else x


def _arrays_of(owner: str, returned: object) -> Arrays:
    """Return what a function returned as float32 arrays; `InvalidInputError` if it is no list of arrays of numbers."""
    if not isinstance(returned, list | tuple):
        raise InvalidInputError(f"{owner} returned a {type(returned).__name__}; needed: a list of float32 arrays")
    arrays = []
    for place, each in enumerate(returned):
        try:
            array = np.asarray(each)
        except Exception as error:  # rows of several lengths, a tensor with a gradient
            raise InvalidInputError(f"{owner} returned array {place} that NumPy cannot read: {error}") from error
        if array.dtype.kind not in "fiub":
            raise InvalidInputError(f"{owner} returned array {place} of {array.dtype}; needed: float32")
        with np.errstate(over="ignore"):  # what has diverged is told as such
            arrays.append(array.astype(np.float32, order="C", copy=False))
    return arrays
