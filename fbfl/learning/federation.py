"""A whole federation without a chain: clients train, an aggregator joins their updates, attackers interfere.

fed = Federation(clients=[(x, y), ...], test=(x, y), model="mlp", aggregator="krum",
                 aggregator_args={"num_byzantine": 2}, attack="sign_flipping", malicious=(0, 1))
for r in fed.rounds(10):
    print(r.round, r.accuracy, r.loss)
"""

import hashlib
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import AggregationError, InvalidInputError, NonFiniteUpdateError, require
from fbfl.learning import aggregation, attacks, checkpoint, evaluation, metrics, samples, sampling, server_optimizers
from fbfl.learning import trainer as trainers
from fbfl.learning.adversary import Adversary
from fbfl.learning.aggregation import Aggregate, AggregationRule, StreamingFedAvg
from fbfl.learning.aggregation.rule_function import RuleFunction, State
from fbfl.learning.attacks import Attack
from fbfl.learning.clients import client_numbers
from fbfl.learning.flower.trainer import FlowerTrainer, standing_for
from fbfl.learning.keras_trainer import KerasTrainer
from fbfl.learning.losses import Loss, known_classes
from fbfl.learning.on_round import OnRound, line_of, teller
from fbfl.learning.pixels import compact
from fbfl.learning.samples import absent_labels, range_of
from fbfl.learning.trainer import DataHolder, Trainer, TrainerLike
from fbfl.learning.training import Model, Purpose, Samples, TrainingSettings
from fbfl.randomness import generator
from fbfl.tensors import Vector
from fbfl.values import checks

Settings = Mapping[str, Any]
AttackLike = str | Callable[..., Any] | Attack


@dataclass(frozen=True)
class Round:
    """One round, and the new global model's figures."""

    round: int
    """Counted from 1."""
    accuracy: float
    """Share of the test samples that the new global model classifies correctly; NaN where labels are numbers."""
    loss: float
    """Mean loss on the test samples."""
    train_seconds: float
    aggregate_seconds: float
    participants: tuple[int, ...]
    """Clients that sent an update."""
    excluded: tuple[int, ...]
    """Participants whose update held NaN or Inf and was left out."""
    selected: tuple[int, ...] | None
    """Clients that the rule let in; None where it judges no client as a whole."""
    recall: tuple[float, ...]
    """Per class: share of its test samples that the model classifies correctly (NaN: it has none)."""
    attack_success_rate: float | None = None
    """With a backdoor: share of triggered test samples of other classes that the model takes for the target."""
    aborted: str | None = None
    """Reason why there is no new global model (the old one stays), or None."""
    warnings: tuple[str, ...] = ()
    """Warnings about its figures, a line each: the loss is not finite."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Further figures by name: those that were asked for, or that the trainer tells of itself."""

    def line(self) -> dict[str, Any]:
        """Return what metrics.jsonl has of a round without a chain; None for values that are not finite."""
        return line_of(
            {
                "round": self.round,
                "accuracy": self.accuracy,
                "loss": self.loss,
                "updates": len(self.participants) - len(self.excluded),
                "train_seconds": round(self.train_seconds, 4),
                "aggregate_seconds": round(self.aggregate_seconds, 4),
                "status": "aborted" if self.aborted else "final",
            },
            attack_success_rate=self.attack_success_rate,
            recall=list(self.recall),
            metrics=dict(self.metrics),
            warnings=list(self.warnings),
        )


class Federation:
    """Federated learning of one model.

    Args:
        clients: per client its samples x [n, ...] (finite floating point, or uint8 in 0..255, which stand for 0 to 1,
            or whole numbers of another type, of words, say, for a model that embeds them)
            and labels y [n], integers from 0, or numbers if the loss takes these; also what NumPy makes such arrays of.
        test: samples and labels that the global model is evaluated on.
        model: a name, `package.module:function`, or a function that returns a model of the trainer's: of Keras, say.
        aggregator: a name of `aggregation.RULES`, `package.module:function`, a function of the updates [n, P], or
            what `aggregation.resolve` returns; its settings in `aggregator_args`.
        attack: likewise a name of `attacks.ATTACKS`, a function, what `attacks.resolve` returns, or several of them
            (a backdoor and `scaling`, say); settings of a single one in `attack_args`.
        malicious: numbers of the clients that attack.
        participation: share of the clients that is sampled for a round.
        draw: what samples them: "seed", or "chain": the clients, at most 240, that a contract draws with the same seed.
        dropout: probability that a sampled client does not answer.
        stragglers: share of the sampled clients that manage only some of their local epochs (or steps).
        server_optimizer: None (add the aggregate), or a name of `server_optimizers.SERVER_OPTIMIZERS` or a
            function; its settings in `server_args`. It steps the weights that are trained; to all others (BatchNorm's
            moving statistics, say) the aggregate is added as it is.
        metric: further figures of the global model: names of `metrics.METRICS`, `package.module:function`, functions of
            its scores [n, classes] and the labels [n], one or several. Where labels are numbers, functions of those of
            the model [n] and the labels, by default `mae`.
        root: trusted samples (x, y), for rules that compare with a trusted update (`fltrust`).
        seed: all randomness is a function of it.
        lanes: processor cores to train on; results do not depend on it.
        trainer: what trains: "keras", "torch", "flower", `package.module:function`, a function that trains (see
            `fbfl.learning.function_trainer`), a class or function that returns a `fbfl.learning.trainer.Trainer`, or
            such a trainer; its settings in `trainer_args`. With "flower", `trainer_args={"app": DIR, "servers": N}`,
            clients, their data, the test set and, unless it is named, the rule are the app's. That of another
            federation with the same model, data shape, training settings and seed saves compiling it again.
        on_round: is called after every round with what metrics.jsonl has of it; what it raises becomes `UserCodeError`.
        loss: a name of `losses.NAMES`, `package.module:function`, or a function of the trainer's framework: of Keras
            one of labels and outputs, of PyTorch of outputs and labels. With `mean_squared_error` labels are numbers.
        num_classes: number of classes (default: 2 with `binary_cross_entropy`, else what the labels say); 0 with a
            function as loss: labels are numbers.

    `local_epochs`, `batch_size`, `optimizer`, `learning_rate`, `proximal`, `fused`, `local_steps`, `shuffle`,
    `schedule` and `schedule_args` are fields of `training.TrainingSettings`. Wrong values raise `InvalidInputError`.
    """

    @checks.arguments
    def __init__(
        self,
        clients: Sequence[Samples] | None = None,
        test: Samples | None = None,
        model: Model = "mlp",
        aggregator: str | Callable[..., Any] | AggregationRule | None = None,
        attack: AttackLike | Sequence[AttackLike] | None = None,
        malicious: Collection[int] = (),
        local_epochs: int = 1,
        batch_size: int = 32,
        optimizer: str | Callable[[], Any] = "adam",
        learning_rate: float | Callable[[int], float] | None = None,
        participation: float = 1.0,
        seed: int = 0,
        *,
        aggregator_args: Settings | None = None,
        attack_args: Settings | None = None,
        proximal: float = 0.0,
        fused: bool = True,
        local_steps: int | None = None,
        shuffle: bool = True,
        schedule: str | Callable[..., float] | None = None,
        schedule_args: Settings | None = None,
        dropout: float = 0.0,
        stragglers: float = 0.0,
        draw: str = "seed",
        server_optimizer: str | Callable[..., server_optimizers.Step] | None = None,
        server_args: Settings | None = None,
        metric: str | Callable[..., Any] | Sequence[str | Callable[..., Any]] | None = None,
        root: Samples | None = None,
        lanes: int | None = None,
        trainer: TrainerLike = "keras",
        trainer_args: Settings | None = None,
        on_round: OnRound | None = None,
        loss: Loss = "cross_entropy",
        num_classes: int | None = None,
    ) -> None:
        self._on_round = teller(on_round)
        self._training = TrainingSettings(
            local_epochs,
            batch_size,
            optimizer,
            learning_rate,
            proximal,
            fused,
            local_steps,
            shuffle,
            schedule,
            schedule_args or {},
            loss,
        )
        if trainer == "flower":
            trainer = trainers.make(
                trainer, trainer_args or {}, Purpose(model, self._training, (1,), 1, seed), lanes=lanes
            )
            trainer_args = None
        if isinstance(trainer, FlowerTrainer):
            if stragglers:
                raise InvalidInputError(
                    f"stragglers is {stragglers:g}; allowed with a Flower app: 0, it has its own work"
                )
            clients, test = _standing_for(trainer, clients, test)
            if aggregator is None:
                aggregator, aggregator_args = trainer.rule[0], {**trainer.rule[1], **(aggregator_args or {})}
        num_classes = known_classes(loss, num_classes)
        clients, test, root = _checked_data(clients, test, root, num_classes)
        self._seed = seed
        self._participation, self._dropout, self._stragglers = participation, dropout, stragglers
        require(draw in sampling.DRAWS, "draw", draw, ", ".join(sampling.DRAWS))
        self._draw = draw
        self._num_classes = _num_classes(*clients, test) if num_classes is None else num_classes
        labels = [y for _, y in (*clients, test)]
        self._absent_labels = absent_labels(self._num_classes, labels) if num_classes is None else ()
        self._adversary = Adversary(
            _resolved_attacks(attack, attack_args),
            tuple(sorted(set(client_numbers("malicious", malicious, len(clients))))),
            seed,
            self._num_classes,
            range_of(x for x, _ in clients),
        )
        if isinstance(trainer, DataHolder) and self._adversary.poisons_samples:
            raise InvalidInputError("attack changes samples; allowed where clients have data elsewhere: one on updates")
        self._rule = _resolved_rule("fedavg" if aggregator is None else aggregator, aggregator_args)
        self._server = _resolved_server(server_optimizer, server_args)
        self._root, self._test = root, (compact(test[0]), test[1])
        self._metrics = evaluation.resolve_metrics(metric, self._num_classes)
        self._check(len(clients))
        poisoned = (self._adversary.poisoned_samples(client, own) for client, own in enumerate(clients))
        self._clients = [(compact(x), y) for x, y in poisoned]
        self._triggered = self._adversary.triggered(*test)
        for line in self.warnings:
            warnings.warn(line, stacklevel=3)  # 2 is the check of the arguments
        shape, sample_type = test[0].shape[1:], samples.type_of(test[0])
        purpose = Purpose(model, self._training, shape, self._num_classes, seed, sample_type)
        self.trainer = _resolved_trainer(trainer, trainer_args, purpose, lanes)
        self._round = 0
        self._weights = self.trainer.initial_weights()
        self._rule_state: State = {}
        self._server_state: server_optimizers.State = {}

    @property
    def weights(self) -> list[npt.NDArray[np.float32]]:
        """The global model: one float32 array per tensor of `trainer.spec`, in its order (copies)."""
        return self.trainer.spec.unflatten(self._weights.copy())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about all figures, a line each: classes have no sample, an attack has changed nothing.

        Those known before the first round are also given as Python's `UserWarning`.
        """
        return (*self._absent_labels, *self._adversary.warnings)

    @checks.arguments
    def rounds(self, n: int) -> Iterator[Round]:
        """Play the next `n` rounds, each when the caller asks for it."""
        for _ in range(n):
            yield self._play(self._round + 1)

    @checks.arguments
    def save(self, path: str | Path) -> None:
        """Write the state after the last round into one file, whole or not at all."""
        tensors = {"weights": self._weights}
        tensors |= {f"rule/{name}": array for name, array in self._rule_state.items()}
        tensors |= {f"server/{name}": array for name, array in self._server_state.items()}
        checkpoint.write(Path(path), self._round, self._identity(), tensors)

    @checks.arguments
    def load(self, path: str | Path) -> None:
        """Go on from a state saved by a federation with the same arguments, to the same bytes as if never stopped.

        Raises `InvalidInputError` for a file that is damaged or of another federation.
        """
        number, tensors = checkpoint.read(Path(path), self._identity())
        weights = tensors.pop("weights", None)
        if weights is None or weights.shape != self._weights.shape or weights.dtype != np.float32:
            raise InvalidInputError(f"{path} is not the saved state of a federation: it holds no weights of its model")
        self._round, self._weights = number, weights
        states: dict[str, dict[str, npt.NDArray[Any]]] = {"rule": {}, "server": {}}
        for key, array in tensors.items():
            owner, _, name = key.partition("/")
            states[owner][name] = array
        self._rule_state, self._server_state = states["rule"], states["server"]

    def _play(self, number: int) -> Round:
        epochs = self._present(number)
        present = tuple(epochs)
        record = _Record()
        started = time.perf_counter()
        updates = self.trainer.train(
            self._weights,
            [self._clients[client] for client in present],
            round_number=number,
            client_ids=present,
            local_epochs=list(epochs.values()),
        )
        try:
            if self._streams:
                aggregate = self._averaged(present, updates, record)
            else:
                aggregate = self._aggregated(number, present, updates, record)
            self._advance(aggregate)
        except AggregationError as error:  # the model stays as it was
            record.aborted = str(error)
        train_seconds = time.perf_counter() - started - record.seconds
        self._round = number
        figures = evaluation.figures(self.trainer, self._weights, *self._test, self._num_classes, self._metrics)
        result = Round(
            number,
            **vars(figures),
            train_seconds=train_seconds,
            aggregate_seconds=record.seconds,
            participants=present,
            excluded=tuple(record.excluded),
            selected=record.selected,
            attack_success_rate=self._attack_success_rate(),
            aborted=record.aborted,
            warnings=metrics.warnings_of(figures.loss),
        )
        self._on_round(result.line())
        return result

    def _present(self, number: int) -> dict[int, int]:
        """Return the participants of a round, with their local work. Clients without samples have nothing to send."""
        seed = self._seed
        asked = sampling.participants(len(self._clients), self._participation, seed, number, self._draw)
        answering = sampling.without_dropouts(asked, self._dropout, seed, number)
        able = [client for client in answering if len(self._clients[client][1])]
        return sampling.straggler_epochs(able, self._training.local_work, self._stragglers, seed, number)

    @property
    def _streams(self) -> bool:
        """True if updates can be averaged as they come, so that they are never all in memory."""
        rule = self._rule
        plain = rule.plugin.function is aggregation.fedavg and not rule.plugin.settings and rule.mixing is None
        return plain and not self._adversary.poisons_updates

    def _averaged(self, present: Sequence[int], updates: Iterator[Vector], record: "_Record") -> Aggregate:
        average, counted = StreamingFedAvg(), self._counted
        for client, update in zip(present, updates, strict=True):
            with record.clock():
                try:
                    average.add(update, counted(client))
                except NonFiniteUpdateError:
                    record.excluded.append(client)
        with record.clock():
            return Aggregate(average.result())

    def _aggregated(
        self, number: int, present: Sequence[int], updates: Iterator[Vector], record: "_Record"
    ) -> Aggregate:
        rows = np.empty((len(present), self.trainer.spec.size), np.float32)
        for row, update in zip(rows, updates, strict=True):
            row[:] = update
        clients, rows = _finite(present, rows, record)  # attackers too see finite updates only
        self._adversary.poison_updates(number, clients, rows)
        clients, rows = _finite(clients, rows, record)
        root, counted = self._root_update(number) if self._rule.needs_root_update else None, self._counted
        with record.clock():
            aggregate = self._rule(
                rows,
                [counted(client) for client in clients],
                state=self._rule_state,
                clients=clients,
                seed=self._seed,
                round_number=number,
                root_update=root,
            )
        if aggregate.selected is not None:
            record.selected = tuple(clients[row] for row in aggregate.selected)
        return aggregate

    @property
    def _counted(self) -> Callable[[int], int]:
        """Function that returns the number of samples of a client's update, once it is trained."""
        if isinstance(self.trainer, DataHolder):
            return self.trainer.counted
        return lambda client: len(self._clients[client][1])

    def _advance(self, aggregate: Aggregate) -> None:
        step, server_state = aggregate.vector, self._server_state
        if self._server:
            trained = self.trainer.trainable
            step = step.copy()
            step[trained], server_state = self._server(step[trained], self._server_state)
            weights = server_optimizers.moved(self._weights, step)
        else:
            with np.errstate(over="ignore"):
                weights = self._weights + step
        if not np.isfinite(weights).all():
            raise AggregationError("the new global model is not finite")
        self._weights, self._rule_state, self._server_state = weights, aggregate.state, server_state

    def _root_update(self, number: int) -> Vector:
        assert self._root is not None  # checked at the start
        trusted = len(self._clients)  # a number that no client has
        (update,) = self.trainer.train(self._weights, [self._root], round_number=number, client_ids=[trusted])
        return update

    def _attack_success_rate(self) -> float | None:
        if self._triggered is None:
            return None
        return evaluation.attack_success_rate(self.trainer, self._weights, *self._triggered)

    def _check(self, num_clients: int) -> None:
        if bool(self._adversary.attacks) != bool(self._adversary.malicious):
            raise InvalidInputError(
                "attack and malicious belong together: an attack needs attackers, and they an attack"
            )
        if self._rule.needs_root_update and self._root is None:
            raise InvalidInputError(f"aggregator {self._rule.name} needs root: trusted samples (x, y)")
        self._adversary.check(num_clients)
        asked = sampling.participants(num_clients, self._participation, self._seed, 1, self._draw)
        sampling.without_dropouts(asked, self._dropout, self._seed, 1)
        sampling.straggler_epochs(asked, 1, self._stragglers, self._seed, 1)
        if isinstance(self._rule.plugin.function, RuleFunction):
            # Made-up updates show now what the settings do not allow with this number of clients.
            made_up = generator(0, "made-up updates").standard_normal((len(asked), 8)).astype(np.float32)
            try:
                self._rule(made_up, root_update=made_up[0])
            except AggregationError as error:
                drawn = f" (participation = {self._participation:g} of {num_clients})"
                raise AggregationError(f"{error}{drawn if len(asked) < num_clients else ''}") from error

    def _identity(self) -> dict[str, str]:
        """Return all that must be the same for a saved state to be of use."""
        digest = hashlib.sha256()
        for x, y in (*self._clients, *((self._root,) if self._root else ())):
            digest.update(f"{x.dtype} {x.shape} {y.dtype} {y.shape}".encode())
            digest.update(np.ascontiguousarray(x).data)
            digest.update(np.ascontiguousarray(y).data)
        plugins = (
            self._rule.plugin,
            *(attack.plugin for attack in self._adversary.attacks),
            *((self._server.plugin,) if self._server else ()),
        )
        trained = self.trainer.trainable
        stepped = {"stepped weights": str(int(trained.sum()))} if self._server and not trained.all() else {}
        return {
            "model": str([(tensor.name, tensor.shape) for tensor in self.trainer.spec.tensors]),
            "data": digest.hexdigest(),
            "plugins": "; ".join(f"{plugin.name} {dict(plugin.settings)}" for plugin in plugins),
            "malicious": str(self._adversary.malicious),
            "seed": str(self._seed),
            "training": _words(self._training),
            **_name_of(self.trainer),
            "sampling": f"{self._participation} {self._dropout} {self._stragglers}",
            **({"draw": self._draw} if self._draw != "seed" else {}),
            **stepped,
        }


@dataclass
class _Record:
    """Notes taken while the updates are aggregated."""

    excluded: list[int] = field(default_factory=list)
    selected: tuple[int, ...] | None = None
    seconds: float = 0.0
    aborted: str | None = None

    @contextmanager
    def clock(self) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - begun


def _standing_for(app: FlowerTrainer, clients: object, test: object) -> tuple[list[Samples], Samples]:
    """Return samples that stand for an app's own data; `InvalidInputError` if there are others."""
    for name, given in (("clients", clients), ("test", test)):
        if given is not None:
            raise InvalidInputError(f"{name} is given; allowed with a Flower app: none, its nodes have their data")
    data = standing_for(app.app, app.servers)
    return [(data.x_train[:1], data.y_train[:1])] * app.servers, (data.x_test, data.y_test)


def _checked_data(
    clients: Iterable[Samples] | None, test: Samples | None, root: Samples | None, num_classes: int | None
) -> tuple[list[Samples], Samples, Samples | None]:
    """Return all samples as NumPy arrays that fit together. Clients may have none."""
    checked = partial(samples.checked, num_classes=num_classes)
    if not isinstance(clients, Iterable):
        raise InvalidInputError(f"clients is {clients!r}; needed: a list of pairs (x, y), one per client")
    owners = {f"client {number}": checked(own, f"client {number}") for number, own in enumerate(clients)}
    if not owners:
        raise InvalidInputError("clients is empty: a federation needs at least one")
    if test is None:
        raise InvalidInputError("test is None; needed: a pair (x, y)")
    test = checked(test, "the test set", "test[0]", "test[1]")
    others = owners | ({"root": checked(root, "root")} if root is not None else {})
    for owner, (_, y) in (("the test set", test), ("root", others.get("root", test))):
        if not len(y):
            raise InvalidInputError(f"{owner} holds no sample; needed: at least 1")
    shape = test[0].shape[1:]
    for owner, (x, _) in others.items():
        if len(x) and x.shape[1:] != shape:
            raise InvalidInputError(f"{owner}: samples have the shape {x.shape[1:]}, those of the test set {shape}")
        if len(x) and samples.type_of(x) != samples.type_of(test[0]):
            raise InvalidInputError(
                f"{owner}: samples are {x.dtype}, those of the test set {test[0].dtype}; needed: whole numbers in "
                "all of them, or in none"
            )
    classes = _num_classes(*owners.values(), test) if num_classes is None else num_classes
    if root is not None and classes and others["root"][1].max(initial=0) >= classes:
        raise InvalidInputError(f"root: labels that neither clients nor tests have; allowed: 0 to {classes - 1}")
    return list(owners.values()), test, others.get("root")


def _num_classes(*parts: Samples) -> int:
    return 1 + max(int(np.max(y, initial=0)) for _, y in parts)


def _finite(
    clients: Sequence[int], rows: npt.NDArray[np.float32], record: _Record
) -> tuple[tuple[int, ...], npt.NDArray[np.float32]]:
    """Leave out the clients whose rows hold NaN or Inf."""
    good = [bool(np.isfinite(row).all()) for row in rows]
    if all(good):
        return tuple(clients), rows
    record.excluded += [client for client, fine in zip(clients, good, strict=True) if not fine]
    return tuple(client for client, fine in zip(clients, good, strict=True) if fine), rows[good]


def _resolved_rule(aggregator: str | Callable[..., Any] | AggregationRule, args: Settings | None) -> AggregationRule:
    if isinstance(aggregator, AggregationRule):
        if args:
            raise InvalidInputError("aggregator_args is for a name or a function; a resolved rule has its settings")
        return aggregator
    return aggregation.resolve(aggregator, **(args or {}))


def _resolved_trainer(trainer: TrainerLike, args: Settings | None, purpose: Purpose, lanes: int | None) -> Trainer:
    if isinstance(trainer, type) or not isinstance(trainer, Trainer):
        return trainers.make(trainer, args or {}, purpose, lanes=lanes)
    if args:
        raise InvalidInputError("trainer_args is for a name, a class or a function; a trainer has its settings")
    trainers.check_purpose(trainer, purpose)
    return trainer


def _resolved_server(
    optimizer: str | Callable[..., Any] | None, args: Settings | None
) -> server_optimizers.ServerOptimizer | None:
    if optimizer is None:
        if args:
            raise InvalidInputError(f"server_args is {dict(args)}, but no server_optimizer is named")
        return None
    return server_optimizers.resolve(optimizer, **(args or {}))


def _resolved_attacks(attack: AttackLike | Sequence[AttackLike] | None, args: Settings | None) -> tuple[Attack, ...]:
    if attack is None:
        several: list[AttackLike] = []
    elif isinstance(attack, str | Attack) or callable(attack):
        several = [attack]
    elif isinstance(attack, Iterable):
        several = [*attack]
    else:
        raise InvalidInputError(f"attack is {attack!r}; allowed: a name, a function, an Attack, or several of them")
    if args and len(several) != 1:
        raise InvalidInputError("attack_args needs exactly one attack; give several as attacks.resolve(name, ...)")
    if args and isinstance(several[0], Attack):
        raise InvalidInputError("attack_args is for a name or a function; a resolved attack has its settings")
    return tuple(each if isinstance(each, Attack) else attacks.resolve(each, **(args or {})) for each in several)


def _name_of(trainer: Trainer) -> dict[str, str]:
    """Return what tells a trainer from others in the identity of a state; nothing of Keras."""
    if isinstance(trainer, KerasTrainer):
        return {}
    return {"trainer": f"{type(trainer).__qualname__} {getattr(trainer, 'name', '')}".strip()}


def _words(settings: TrainingSettings) -> str:
    """Return the settings as text that is the same in every process (a function by its name)."""
    values = {entry.name: getattr(settings, entry.name) for entry in fields(settings)}
    if settings.schedule is None:  # states that were saved before there were schedules, or losses, stay of use
        del values["schedule"], values["schedule_args"]
    if settings.loss == "cross_entropy":
        del values["loss"]
    return str({name: getattr(value, "__qualname__", value) for name, value in values.items()})
