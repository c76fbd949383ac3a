"""Global models of a run, or of a task on a network: by round, as Keras models, as files."""

import numbers
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fbfl.chain.queries import model_after, round_records
from fbfl.chain.records import RoundRecord
from fbfl.errors import InvalidInputError
from fbfl.learning.models import NAMES
from fbfl.mec.global_model import weights_of
from fbfl.mec.plan import TaskPlan, tensors_of
from fbfl.runs.folder import StoredRun
from fbfl.storage.payload import decode, encode
from fbfl.system.atomic import write_file
from fbfl.tensors import ModelSpec, Vector


@dataclass(frozen=True)
class StoredWeights:
    """The weights of a global model as they were published."""

    spec: ModelSpec
    round: int
    """The round after which it was the global model."""
    vector: Vector
    """Weights [P]."""

    @property
    def weights(self) -> list[Vector]:
        """Tensors of the model, in order."""
        return self.spec.unflatten(self.vector)


@dataclass(frozen=True)
class StoredModel(StoredWeights):
    """A global model as it was published."""

    plan: TaskPlan

    def keras_model(self) -> Any:
        """Return a new Keras model with these weights, not compiled; it gives logits."""
        from fbfl.learning.models import build, spec_of

        plan = self.plan
        model = build(plan.purpose)
        if spec_of(model) != self.spec:
            raise InvalidInputError(
                f"the run's tensors are not those of the Keras model {plan.model!r}; allowed: its weights"
            )
        model.set_weights(self.weights)
        return model


def after(
    stored: StoredRun,
    plugins: Collection[str] = (),
    number: int | None = None,
    records: Sequence[RoundRecord] | None = None,
) -> StoredModel:
    """Return the global model after a round (0: before the first; default: the last).

    After an aborted round it is the one before it. A payload that is missing or damaged raises `StorageError`, a round
    that does not exist `InvalidInputError`. `records` are those of all rounds, if they are known.
    """
    plan = TaskPlan.of(stored.task, plugins)
    last, payload = _published(stored, number, records)
    return StoredModel(plan.spec, last, weights_of(plan, payload), plan)


def weights_after(stored: StoredRun, number: int | None = None) -> StoredWeights:
    """Return the weights of the global model after a round, for which no code that the task names is run; as `after`.

    What a rule keeps in the payload may be as large as it likes: the chain has its hash.
    """
    spec = tensors_of(stored.task)
    last, payload = _published(stored, number)
    return StoredWeights(spec, last, decode(spec, payload, len(payload))[0])


def _published(
    stored: StoredRun, number: int | None, records: Sequence[RoundRecord] | None = None
) -> tuple[int, bytes]:
    """Return the round, and the payload of the global model after it."""
    records = list(round_records(stored.ledger, stored.task.id)) if records is None else records
    if number is not None and (not isinstance(number, numbers.Integral) or not 0 <= number <= len(records)):
        raise InvalidInputError(f"round is {number!r}; allowed: 0 to {len(records)}")
    reference = model_after(stored.task, records[:number])
    return len(records) if number is None else int(number), stored.store.get(reference)


def write_safetensors(model: StoredWeights, path: Path) -> None:
    """Write the weights, in the bytes of which summary.json has the SHA-256."""
    write_file(path, encode(model.spec, model.vector))


def write_keras(model: StoredModel, path: Path) -> None:
    """Write a file that `keras.models.load_model` reads, without fbfl if the model is one of ours."""
    keras_model = model.keras_model()
    if model.plan.model in NAMES:
        from fbfl.learning.layers import of_keras_alone

        keras_model = of_keras_alone(keras_model)
    with tempfile.TemporaryDirectory(prefix="fbfl-") as folder:
        file = Path(folder) / "model.keras"
        keras_model.save(file)
        write_file(path, file.read_bytes())
