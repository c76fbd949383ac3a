"""The definition of a task on the chain, decoded: the model's tensors, the rule, the servers' training."""

import contextlib
import dataclasses
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from eth_utils.address import is_checksum_address

from fbfl.chain.digests import draw_seed
from fbfl.chain.task import FORMAT, Task
from fbfl.errors import InvalidInputError, require
from fbfl.learning import server_optimizers
from fbfl.learning.aggregation import RULES, AggregationRule, resolve
from fbfl.learning.aggregation.rule_function import CONTEXT
from fbfl.learning.losses import known_classes
from fbfl.learning.models import NAMES
from fbfl.learning.samples import PICTURES, WHOLE, Range
from fbfl.learning.server_optimizers import SERVER_OPTIMIZERS, ServerOptimizer
from fbfl.learning.trainer import TRAINERS
from fbfl.learning.training import Purpose, TrainingSettings
from fbfl.mec.batches import SampleForm
from fbfl.settings import FLOWER, MAX_SERVERS
from fbfl.storage.codecs import check_codec, max_update_size
from fbfl.storage.payload import max_size
from fbfl.system.strictjson import read_object
from fbfl.tensors import ModelSpec, TensorSpec
from fbfl.values import checks

ROOT = "root_server"
"""Additional parameter of a rule that compares with a trusted update: the server that publishes it. In settings it is
the server's number, in a task its address: seats and numbers may later belong to another server."""

_LARGEST = 2**32 - 1  # bytes: what contracts can say of a payload
_MOST_AXES = 32  # of an array in any NumPy

_STATE_SLACK = 65_536  # names and shapes of state tensors in a payload's header
_SERVER_STATE = 32  # bytes per weight that a server optimizer may carry: eight float32, of which ours need two

_RANGES = ("sample_range", "label_range")
_OPTIONAL = ("payload", "signatures", "retention", "sample_type", "trainer", *_RANGES)
"""Entries of a definition that it lacks where they have their defaults."""


@dataclass(frozen=True)
class TaskPlan:
    """All that is needed to train for, aggregate and audit one task."""

    spec: ModelSpec
    """The tensors of the model, in order."""
    model: str
    """A name or `package.module:function`."""
    input_shape: tuple[int, ...]
    num_classes: int
    """Number of classes; 0: labels are numbers."""
    training: Mapping[str, Any]
    """Arguments of `fbfl.learning.training.TrainingSettings`."""
    rule: AggregationRule
    rule_params: bytes
    """Canonical JSON."""
    seed: int
    """Seed of training; public."""
    max_members: int
    """Most servers; bounds the state that a rule may carry."""
    payload: str = "float32"
    """The codec of the updates, one of `fbfl.storage.codecs.CODECS`."""
    signatures: bool = False
    """True if servers sign updates and votes, and one transaction records many of them."""
    retention: int | None = None
    """Number of rounds whose payloads servers keep, so that they can be recomputed; None for all."""
    sample_range: Range = PICTURES
    """Range of the training samples, for noise and triggers."""
    sample_type: str = "float32"
    """Type of samples as the model sees them: float32, or int32 for whole numbers, such as numbers of words."""
    label_range: Range = PICTURES
    """Range of the training labels where they are numbers."""
    trainer: str = "keras"
    """The trainer: a name or `package.module:function`."""
    trainer_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    server: ServerOptimizer | None = None
    """What makes a step of the model out of the aggregate; None: the aggregate is the step."""
    untrained: tuple[str, ...] = ()
    """Tensors that no gradient trains (BatchNorm's statistics): the server optimizer does not step them."""
    format: int = FORMAT
    """Format of the task: what draws follow from, and which rules count samples; see `fbfl.chain.ledger.FORMAT`."""

    def __post_init__(self) -> None:
        checks.fields(self)
        check_codec(self.payload)
        require(1 <= self.max_members <= MAX_SERVERS, "max_members", self.max_members, f"1 to {MAX_SERVERS}")
        require(self.retention is None or self.retention >= 1, "retention", self.retention, "1 or more rounds")
        known_classes(self.training.get("loss", "cross_entropy"), self.num_classes)
        require(self.sample_type in ("float32", WHOLE), "sample_type", self.sample_type, f"float32, {WHOLE}")
        for name in _RANGES:
            low, high = getattr(self, name)
            if not -math.inf < low <= high < math.inf:
                raise InvalidInputError(f"{name} is {low} to {high}; allowed: finite numbers, the least first")
        if unknown := {*self.untrained} - {tensor.name for tensor in self.spec.tensors}:
            raise InvalidInputError(f"untrained names {sorted(unknown)[0]!r}; allowed: tensors of the model")
        by_seat = self.format == 1 and isinstance(self.root, int)
        if self.root is not None and not by_seat and not is_checksum_address(self.root):
            raise InvalidInputError(f"{ROOT} is {self.root!r}; allowed in a task: the address of the trusted server")

    @classmethod
    def of(cls, task: Task, plugins: Collection[str] = (), own: Mapping[str, Any] = MappingProxyType({})) -> Self:
        """Return the plan that a task publishes. Missing or invalid parts raise `InvalidInputError`.

        The creator of a task can name code with ``package.module:function``, so only names in `plugins` are imported.
        `own` takes the place of what the task says of `model`, `trainer`, `trainer_args` and `loss`: names in it are
        the reader's.
        """
        with _reading(task):
            _refuse_code(f"the aggregator of task {task.id}", task.rule, RULES, plugins)
            definition = {**task.definition, **own}
            if "model" not in own:
                _refuse_code(f"the model of task {task.id}", definition["model"], NAMES, plugins)
            optional: dict[str, Any] = {name: definition[name] for name in _OPTIONAL if name in definition}
            optional |= {name: _range(optional[name]) for name in _RANGES if name in optional}
            plan = cls(
                spec=_spec(definition["tensors"]),
                model=definition["model"],
                input_shape=_shape("input_shape", definition["input_shape"]),
                num_classes=definition["num_classes"],
                training=_with_loss(definition["training"], own),
                rule=resolve_rule(task.rule, task.rule_params, task.format),
                rule_params=task.rule_params,
                seed=definition["seed"],
                max_members=definition["max_members"],
                trainer_args=definition.get("trainer_args", {}),
                server=_server(task.id, definition, plugins),
                untrained=tuple(definition.get("untrained", ())),
                format=task.format,
                **optional,
            )
            if "trainer" not in own:
                _refuse_code(f"the trainer of task {task.id}", plan.trainer, TRAINERS, plugins)
            named = [] if "trainer_args" in own else [*plan.trainer_args.items()]
            if plan.trainer == FLOWER and "app" in dict(named):
                raise InvalidInputError(
                    f"the Flower app of task {task.id} is {dict(named)['app']!r}; allowed: none, a task names no app"
                )
            of_training = ("optimizer", "schedule", *(() if "loss" in own else ("loss",)))
            for key, value in (*named, *((key, plan.training.get(key)) for key in of_training)):
                if isinstance(value, str):
                    _refuse_code(f"the trainer's {key} of task {task.id}", value, ["names"], plugins)
            return plan

    def definition(self) -> bytes:
        """Return the plan as canonical JSON, which `of` reads."""
        return canonical_json(
            {
                "model": self.model,
                "tensors": [[tensor.name, list(tensor.shape)] for tensor in self.spec.tensors],
                "input_shape": list(self.input_shape),
                "num_classes": self.num_classes,
                "training": dict(self.training),
                "seed": self.seed,
                "max_members": self.max_members,
                **{name: value for name in _OPTIONAL if (value := getattr(self, name)) != getattr(TaskPlan, name)},
                **({"trainer_args": dict(self.trainer_args)} if self.trainer_args else {}),
                **(
                    {"server_optimizer": self.server.name, "server_optimizer_args": dict(self.server.plugin.settings)}
                    if self.server
                    else {}
                ),
                **({"untrained": list(self.untrained)} if self.server and self.untrained else {}),
            }
        )

    @property
    def purpose(self) -> Purpose:
        """The purpose of a trainer of this task."""
        training = TrainingSettings(**self.training)
        return Purpose(self.model, training, self.input_shape, self.num_classes, self.seed, self.sample_type)

    @property
    def sample_form(self) -> SampleForm:
        """The form of samples that servers and devices may bring."""
        return SampleForm(self.input_shape, self.num_classes, self.sample_range, self.label_range, self.sample_type)

    @property
    def root(self) -> str | int | None:
        """Address of the server whose update is the trusted one, and is not averaged itself; None if none is.

        Tasks of the first release have its seat.
        """
        found: str | int | None = json.loads(self.rule_params).get(ROOT)
        return found

    def seed_of_draws(self, closing: bytes, accumulator: bytes, round_number: int) -> int | None:
        """Return the seed of the rule's draws in a round, unknown before the updates are fixed; None without draws.

        See `fbfl.chain.digests.draw_seed`.
        """
        if not self.rule.draws:
            return None
        return self.seed if self.format == 1 else draw_seed(closing, accumulator, round_number)

    @property
    def most_members(self) -> int:
        """Most seats of the task: if the rule carries state, those that fit into a payload."""
        return self.max_members if self.rule.stateful else MAX_SERVERS

    @property
    def state_limit(self) -> int:
        """Bytes that state may add to a global model: of a rule a float32 [P] per member and those of its history."""
        kept = self.max_members + self.rule.kept_vectors
        of_rule = _STATE_SLACK + 4 * self.spec.size * kept if self.rule.stateful else 0
        return of_rule + (_STATE_SLACK + _SERVER_STATE * self.spec.size if self.server else 0)

    @property
    def stepped(self) -> npt.NDArray[np.bool_]:
        """Mask of the weights that the server optimizer steps, bool [P]."""
        return np.concatenate([np.full(tensor.size, tensor.name not in self.untrained) for tensor in self.spec.tensors])

    @property
    def max_payload(self) -> int:
        """Bytes of the largest payload of this task, update or global model."""
        return max(max_size(self.spec, self.state_limit), max_update_size(self.payload, self.spec))


def tensors_of(task: Task) -> ModelSpec:
    """Return the tensors of a task's model, for which no code that it names is needed; raises as `TaskPlan.of`."""
    with _reading(task):
        return _spec(task.definition["tensors"])


@contextlib.contextmanager
def _reading(task: Task) -> Iterator[None]:
    """Raise `InvalidInputError` for a definition that lacks a part, or has one of another kind."""
    try:
        yield
    except InvalidInputError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(f"the definition of task {task.id} is not one of fbfl: {error!r}") from error


def untrained_of(spec: ModelSpec, trainable: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    """Return the names of the tensors of which nothing is trained, by the mask bool [P] of a trainer.

    A tensor that is trained in part raises `InvalidInputError`.
    """
    parts = dict(
        zip((tensor.name for tensor in spec.tensors), spec.unflatten(trainable.astype(np.float32)), strict=True)
    )
    for name, part in parts.items():
        if part.any() != part.all():
            raise InvalidInputError(
                f"tensor {name!r} is trained in part, which a server optimizer on a chain cannot tell; allowed: whole "
                "tensors"
            )
    return tuple(name for name, part in parts.items() if not part.any())


def resolve_server_optimizer(name: str, arguments: Mapping[str, Any]) -> ServerOptimizer:
    """Return the server optimizer of a task. One that is not declared canonical raises `InvalidInputError`.

    This imports the named function: use it for names of one's own, or that were checked.
    """
    server = server_optimizers.resolve(name, **arguments)
    if not server.canonical:
        raise InvalidInputError(
            f"server optimizer {name!r} does not say that it gives the same bytes on every machine, which servers vote "
            f"on; allowed: {name.rpartition(':')[2]}.canonical = True behind the function, or no chain"
        )
    return server


def _server(task: int, definition: Mapping[str, Any], plugins: Collection[str]) -> ServerOptimizer | None:
    if "server_optimizer" not in definition:
        return None
    _refuse_code(f"the server optimizer of task {task}", definition["server_optimizer"], SERVER_OPTIMIZERS, plugins)
    return resolve_server_optimizer(definition["server_optimizer"], definition.get("server_optimizer_args", {}))


def _spec(tensors: Sequence[tuple[str, Sequence[int]]]) -> ModelSpec:
    """Return the tensors that a definition names; what no payload could hold raises `InvalidInputError`."""
    for name, _ in tensors:
        require(isinstance(name, str) and name.isprintable(), "the name of a tensor", name, "printable text")
    spec = ModelSpec(tuple(TensorSpec(name, _shape(f"tensor {name!r}", shape)) for name, shape in tensors))
    if 4 * spec.size > _LARGEST:
        raise InvalidInputError(
            f"the model has {spec.size} parameters; allowed: {_LARGEST // 4}, as payloads have sizes"
        )
    return spec


def _shape(what: str, shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) > _MOST_AXES or not all(checks.is_whole(length) and 0 < length <= _LARGEST for length in shape):
        raise InvalidInputError(
            f"{what} has the shape {str(shape)[:60]}; allowed: at most {_MOST_AXES} whole numbers from 1"
        )
    return tuple(shape)


def _with_loss(training: Mapping[str, Any], own: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**training, "loss": own["loss"]} if "loss" in own else training


def _range(value: Sequence[float]) -> Range:
    low, high = value
    return float(low), float(high)


def _refuse_code(what: str, name: object, names: Collection[str], plugins: Collection[str]) -> None:
    """Raise `InvalidInputError` for a name that would import a function which is not in `plugins`."""
    if not isinstance(name, str) or (":" in name and name not in plugins):
        raise InvalidInputError(
            f"{what} is {name!r}; allowed: {', '.join(names)}, and package.module:function that --plugin names"
        )


def resolve_rule(name: str, params: bytes, task_format: int = FORMAT) -> AggregationRule:
    """Return the rule of a task. One that is not declared canonical raises `InvalidInputError`.

    This imports the named function: use it for names of one's own, or that were checked.

    A rule that compares with a trusted update takes an additional parameter, `ROOT`.
    """
    settings = read_object(params, f"aggregator {name!r}: the text of its settings")
    for key in settings:
        if key in CONTEXT and not (key == "seed" and task_format == 1):
            raise InvalidInputError(f"aggregator {name!r}: {key} follows from the round; allowed: other settings")
    root = settings.get(ROOT)
    own = {key: value for key, value in settings.items() if key != ROOT}
    rule = resolve(name, **own)
    if task_format == 1 and "weights" in rule.plugin.wants and not rule.counts_samples:
        rule = resolve(name, **{**own, "weighted": True})
    if root is not None and not rule.needs_root_update:
        resolve(name, **settings)  # refuses it as any unknown setting
    if not rule.canonical:
        raise InvalidInputError(
            f"aggregator {name!r} does not say that it gives the same bytes on every machine, which servers vote on; "
            f"allowed: {name.rpartition(':')[2]}.canonical = True behind the function, if it keeps to what "
            "docs/extending.md says of rules on a chain, or no chain: fbfl.learning.federation.Federation, or an "
            "experiment with chain = false"
        )
    numbered = isinstance(root, int) and not isinstance(root, bool) and root >= 0
    if rule.needs_root_update and not numbered and not isinstance(root, str):
        raise InvalidInputError(
            f"aggregator {name!r} compares with the update of a trusted server, and {ROOT} is {root!r}; "
            "allowed: the number of that server, from 0"
        )
    return rule


def canonical_json(value: object) -> bytes:
    """Return JSON in one form: sorted keys, no spaces, ASCII. Values that JSON lacks raise `InvalidInputError`."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{value} cannot be published ({error}); allowed: what JSON can say") from error
