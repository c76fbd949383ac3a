"""Other names for the tensors of a model, so that servers with several frameworks train one model.

[names]
"output.bias" = "mlp/output/bias"
"output.weight" = { name = "mlp/output/kernel", transpose = true }
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError
from fbfl.learning.trainer import Trainer
from fbfl.learning.training import Samples
from fbfl.system.textfile import read_toml
from fbfl.tensors import ModelSpec, Vector
from fbfl.values import checks

Names = Mapping[str, tuple[str, tuple[int, ...] | None]]
"""By a trainer's own names: the task's names, and how to transpose; see `Renamed`."""


class Renamed:
    """A `fbfl.learning.trainer.Trainer` that gives and takes its weights in the order and the shapes of a task.

    `names` maps the trainer's own names to those of the task; the axes are those of `numpy.transpose` that make the
    task's tensor of its own, None if they are alike. Tensors that are not mapped have the same name in both. Raises
    `InvalidInputError` where the two do not fit.
    """

    def __init__(self, trainer: Trainer, spec: ModelSpec, names: Names) -> None:
        self._trainer = trainer
        self.spec = spec
        self._places = _places(trainer.spec, spec, names)
        self.trainable = trainer.trainable[self._places]

    def initial_weights(self) -> Vector:
        """Return the trainer's initial weights, float32 [P]."""
        return self._trainer.initial_weights()[self._places]

    def train(self, weights: Vector, clients: Sequence[Samples], **work: Any) -> Iterator[Vector]:
        """Train as the trainer does; see `fbfl.learning.trainer.Trainer.train`."""
        return (update[self._places] for update in self._trainer.train(self._own(weights), clients, **work))

    def evaluate(self, weights: Vector, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Mapping[str, float]:
        """Evaluate as the trainer does."""
        return self._trainer.evaluate(self._own(weights), x, y)

    def _own(self, weights: Vector) -> Vector:
        own = np.empty_like(weights)
        own[self._places] = weights
        return own


def fitted(trainer: Trainer, spec: ModelSpec, names: Names | None, what: str) -> Trainer:
    """Return the trainer, renamed if there are `names`. Where its tensors are not those of a task, `spec`,
    `InvalidInputError` says so of `what`.
    """
    found = trainer if names is None else Renamed(trainer, spec, names)
    if found.spec != spec:
        raise InvalidInputError(
            f"{what} has other tensors here than the task says; allowed: the same, or --trainer-arg names=FILE with "
            "those of the task"
        )
    return found


def read(path: Path) -> Names:
    """Return the table [names] of a TOML file, as `Renamed` takes it."""
    where = f"names {path}"
    content = read_toml(path, where)
    table = content.get("names")
    if not isinstance(table, dict) or len(content) != 1:
        raise InvalidInputError(f"{where}: holds {', '.join(content) or 'nothing'}; needed: one table [names]")
    return {own: _entry(f"{where}: {own!r}", value) for own, value in table.items()}


def _entry(where: str, value: object) -> tuple[str, tuple[int, ...] | None]:
    if isinstance(value, str):
        return value, None
    if isinstance(value, dict) and isinstance(value.get("name"), str) and set(value) <= {"name", "transpose"}:
        axes = value.get("transpose", False)
        if isinstance(axes, bool):
            return value["name"], () if axes else None
        if isinstance(axes, list) and axes and all(map(checks.is_whole, axes)):
            return value["name"], tuple(axes)
    raise InvalidInputError(f"{where} is {value!r}; allowed: a name, or {{name = NAME, transpose = true or [AXES]}}")


def _places(own: ModelSpec, task: ModelSpec, names: Names) -> npt.NDArray[np.int64]:
    """Return where each of the task's weights stands among the trainer's own, int64 [P]."""
    unknown = set(names) - {tensor.name for tensor in own.tensors}
    if unknown:
        raise InvalidInputError(
            f"names: {', '.join(sorted(unknown))} is no tensor of this server; allowed: "
            f"{', '.join(tensor.name for tensor in own.tensors)}"
        )
    found: dict[str, npt.NDArray[np.int64]] = {}
    start = 0
    for tensor in own.tensors:
        name, axes = names.get(tensor.name, (tensor.name, None))
        places = np.arange(start, start + tensor.size).reshape(tensor.shape)
        start += tensor.size
        if axes is not None:
            try:
                places = places.transpose(axes or None)
            except ValueError as error:
                raise InvalidInputError(f"names: {tensor.name} of the shape {list(tensor.shape)}: {error}") from error
        if name in found:
            raise InvalidInputError(f"names: {name} is given twice; needed: a tensor of the task for each of one's own")
        found[name] = places
    for tensor in task.tensors:
        if tensor.name not in found:
            raise InvalidInputError(
                f"the task's tensor {tensor.name} has no counterpart here; needed: a file [names] with one for each of "
                f"{', '.join(each.name for each in own.tensors)}"
            )
        if found[tensor.name].shape != tensor.shape:
            raise InvalidInputError(
                f"the task's tensor {tensor.name} is {list(tensor.shape)}, its counterpart here "
                f"{list(found[tensor.name].shape)}; needed: the same shape, perhaps by transpose"
            )
    if len(found) != len(task.tensors):
        extra = sorted(set(found) - {tensor.name for tensor in task.tensors})
        raise InvalidInputError(f"the task has no tensor {', '.join(extra)}; needed: the same tensors")
    return np.concatenate([found[tensor.name].ravel() for tensor in task.tensors])
