"""A whole federation in one process: N MEC servers with their devices, on an embedded chain or a local network.

The servers share a chain node and, for speed, the training engine; each fetches, verifies and recomputes by itself.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fbfl.chain.devnet import Devnet, start_nodes
from fbfl.chain.elections import PuzzleElection, electing_blocks
from fbfl.chain.participant import Participant
from fbfl.chain.queries import model_after, round_record, round_records
from fbfl.chain.records import RoundRecord
from fbfl.chain.rounds import Phase, Stage
from fbfl.chain.task import Task
from fbfl.errors import AggregationError, InvalidInputError, require
from fbfl.learning import evaluation, losses, metrics, plugins, sampling, server_optimizers
from fbfl.learning.adversary import Adversary
from fbfl.learning.aggregation import resolve as resolve_aggregator
from fbfl.learning.attacks import resolve as resolve_attack
from fbfl.learning.datasets import Dataset
from fbfl.learning.on_round import OnRound, line_of, teller
from fbfl.learning.partition import resolve as resolve_partition
from fbfl.learning.samples import Range
from fbfl.learning.trainer import DataHolder, Trainer, check_purpose
from fbfl.mec.dishonest import Behaviour, DishonestServer, EquivocatingExchange
from fbfl.mec.exchange import Exchange, MemoryBoard
from fbfl.mec.fleet import Fleet, cost_model
from fbfl.mec.global_model import weights_of
from fbfl.mec.joint_training import JointTraining
from fbfl.mec.known_results import KnownResults
from fbfl.mec.mobility import resolve as resolve_mobility
from fbfl.mec.plan import ROOT, canonical_json, resolve_rule, resolve_server_optimizer
from fbfl.mec.radio import RoundCost
from fbfl.mec.server import MECServer
from fbfl.mec.tasks import (
    create_task,
    least_updates,
    number_drawn,
    on_drawing,
    plan_of,
    promise_rewards,
    purpose_of,
    trainer_of,
    training_of,
)
from fbfl.randomness import generator, seed_sequence
from fbfl.settings import LARGEST, RunSettings
from fbfl.storage.store import Reference, Store
from fbfl.system.printable import counted
from fbfl.tensors import Vector


@dataclass(frozen=True)
class RoundResult:
    """One round of a run, with the global model's quality after it."""

    record: RoundRecord
    accuracy: float
    loss: float
    train_seconds: float = 0.0
    consensus_seconds: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Processor time of this process, which other processes on the machine do not change."""
    attack_success_rate: float | None = None
    hashes: int | None = None
    """Tried by all servers together, where they solve puzzles."""
    cost: RoundCost | None = None
    """Simulated cost of uploads and training, if simulated."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Further figures of the model, by name."""
    recall: tuple[float, ...] = ()
    """Per class: share of its test samples that the model classifies correctly (NaN: it has none)."""
    warnings: tuple[str, ...] = ()
    """Warnings, a line each: the loss is not finite; servers have no update, or there is no model, and why."""

    def line(self) -> dict[str, Any]:
        """Return the line of metrics.jsonl; times in seconds; None for values that are not finite."""
        record, simulated = self.record, dict[str, float]()
        if self.cost is not None:
            simulated["simulated_seconds"] = self.cost.seconds
            simulated["simulated_energy_joules"] = self.cost.joules
            simulated["late_devices"] = self.cost.late_devices
            simulated["late_servers"] = len(self.cost.late_servers)
        return line_of(
            {
                "round": record.round,
                "accuracy": self.accuracy,
                "loss": self.loss,
                "leader": record.leader,
                "consensus": record.consensus,
                "updates": sum(update.included for update in record.updates),
                "gas_used": record.gas_used,
                "transactions": record.transactions,
                "calldata_bytes": record.calldata_bytes,
                "payload_bytes": record.payload_bytes,
                "seconds": round(self.seconds, 4),
                "train_seconds": round(self.train_seconds, 4),
                "consensus_seconds": round(self.consensus_seconds, 4),
                "cpu_seconds": round(self.cpu_seconds, 4),
                "status": record.status,
                "views": record.views,
            },
            reason=record.reason,
            attack_success_rate=self.attack_success_rate,
            recall=list(self.recall),
            metrics=dict(self.metrics),
            hashes=self.hashes,
            **simulated,
            warnings=list(self.warnings),
        )


class Simulation:
    """A federation that is set up and ready for its rounds.

    `devnet` are the nodes, which the servers use in turn, and the contracts on them, for example those of another
    federation, so that only the task is new (default: contracts of its own on the nodes of the network). `behaviours`
    gives servers (by number) dishonest behaviours, `stores` other stores than the common one (a server
    with a broken disk). `trainer` is that of another federation with the same model and training, which saves compiling
    it again; by default there is a new one on `lanes` cores (default: all). `trainers` gives servers (by number) other
    trainers of the same tensors. `task` is the number of a task on the devnet, made with the same settings and data, to
    go on with (default: a new one). `on_round` is called after every round with its line of metrics.jsonl.
    """

    def __init__(
        self,
        settings: RunSettings,
        dataset: Dataset,
        store: Store,
        *,
        devnet: Devnet | None = None,
        behaviours: Mapping[int, Behaviour] | None = None,
        stores: Mapping[int, Store] | None = None,
        trainer: Trainer | None = None,
        trainers: Mapping[int, Trainer] | None = None,
        lanes: int | None = None,
        task: int | None = None,
        on_round: OnRound | None = None,
    ) -> None:
        self._on_round = teller(on_round)
        self.settings = settings
        self.dataset = dataset
        self.store = store
        self.trainer = trainer or trainer_of(settings, dataset, lanes)
        check_purpose(self.trainer, purpose_of(settings, dataset))
        self._metrics = evaluation.resolve_metrics(settings.metric, dataset.num_classes)
        if settings.loss not in losses.NAMES or not all(plugins.is_ours(metric.function) for metric in self._metrics):
            self._figures(self.trainer.initial_weights())  # functions of the user's that raise do so before all else
        self.devnet = devnet or devnet_of(settings)
        self.chain = self.devnet.nodes[0]
        accounts = self.devnet.accounts(settings.servers)
        self.plan = plan_of(settings, self.trainer, dataset, [account.address for account in accounts[1:]])
        for number, other in (trainers or {}).items():
            if other.spec != self.plan.spec:
                raise InvalidInputError(f"the trainer of server {number} has other tensors; allowed: those of the task")
        self._fleet = Fleet(settings, dataset)
        self._adversary = _adversary(settings, dataset.num_classes, self.plan.sample_range)
        self._triggered = self._adversary.triggered(dataset.x_test, dataset.y_test)
        self._training = JointTraining(self.trainer, self._fleet.stores, self._adversary, trainers or {})
        self._updates: dict[int, Vector] = {}
        self._trained_from: tuple[int, Reference] | None = None
        self._late: frozenset[int] = frozenset()
        self.owner, *participants = self.devnet.participants(accounts)
        self.ledger = self.owner.ledger
        self.task = self._create_task(participants) if task is None else self._known_task(task)
        liar = Behaviour(proposes="wrong", votes="inverted")
        silent = range(settings.servers - settings.silent, settings.servers)
        behaviours = {
            **dict.fromkeys(range(settings.liars), liar),
            **dict.fromkeys(silent, Behaviour(proposes="never")),
            **(behaviours or {}),
        }
        # A sweep tries a quarter of the hashes that a solution takes, so that seldom two are found for the same block.
        nonces = max(1, settings.pow_hashes // (4 * settings.servers))
        solving = participants if settings.consensus == "pow" else []
        self.puzzles = [PuzzleElection(each.ledger, self.task, each.address, nonces) for each in solving]
        """Elections of the servers where they solve puzzles."""
        stores = stores or {}
        board, results = MemoryBoard(), KnownResults(self.plan)
        self.servers: list[MECServer] = []
        for number, (participant, account) in enumerate(zip(participants, accounts[1:], strict=True)):
            behaviour = behaviours.get(number)
            server = partial(DishonestServer, behaviour) if behaviour else MECServer
            exchange = EquivocatingExchange if behaviour and behaviour.votes == "both" else Exchange
            self.servers.append(
                server(
                    participant,
                    stores.get(number, store),
                    self.task,
                    self.plan,
                    partial(self._update_of, number),
                    self._fleet.stores[number],
                    exchange=exchange(board, participant, self.task, account) if settings.signatures else None,
                    election=self.puzzles[number] if self.puzzles else None,
                    salt_secret=number.to_bytes(4, "big"),
                    results=results,
                    counted=partial(self.trainer.counted, number) if isinstance(self.trainer, DataHolder) else None,
                )
            )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about all figures, a line each: classes have no sample, an attack has changed nothing.

        They are complete after the last round; those on data that are there from the start, before the first.
        """
        return (*self.dataset.warnings, *self._adversary.warnings)

    @property
    def weights(self) -> Vector:
        """Current global model [P], read from the chain and the store."""
        return weights_of(self.plan, self.store.get(self.ledger.state(self.task.id).model))

    def rounds(self, after: int = 0) -> Iterator[RoundResult]:
        """Play the rounds, one at each step; of a task that was gone on with, those `after` the ones that are over."""
        for number in range(1, after + 1):
            self._fleet.collect(number, self._work_of(number))
            for store in self._fleet.stores:
                store.training_set(number)
        for _ in range(after, self.settings.rounds):
            yield self.play_round()

    def past_round(self, number: int) -> RoundResult:
        """Return a round that is over as the chain has it; nobody knows any more how long it took."""
        records = list(round_records(self.ledger, self.task.id))[:number]
        model = model_after(self.task, records)
        figures, success = self._evaluated(weights_of(self.plan, self.store.get(model)))
        return RoundResult(
            records[-1],
            **vars(figures),
            attack_success_rate=success,
            warnings=metrics.warnings_of(figures.loss),
        )

    def play_round(self) -> RoundResult:
        """Open a round, or go on with the open one; let every server act until it is over, and evaluate the model."""
        started, cpu_started = time.perf_counter(), time.process_time()
        trained_before, hashed_before = self._training.seconds, self._hashes()
        number = self._open()
        work = self._work_of(number)
        cost = self._fleet.collect(number, work)
        self._late = cost.late_servers if cost else frozenset()
        self._submit([self.servers[place] for place in sorted(work.keys() - self._late)])
        decided_from = time.perf_counter()
        self._decide(number)
        over = time.perf_counter()
        figures, success = self._evaluated(self.weights)
        reasons = Counter(reason for server in self.servers if (reason := server.without_update(number)))
        missing = [f"{counted(count, 'server')} without an update: {reason}" for reason, count in reasons.items()]
        record = round_record(self.ledger, self.task.id, number)
        if record.reason is not None:
            found = [why for server in self.servers if (why := server.without_model(number))]
            missing += [f"no model: {why}" for why in found[:1]]
        result = RoundResult(
            record,
            **vars(figures),
            train_seconds=self._training.seconds - trained_before,
            consensus_seconds=over - decided_from,
            seconds=time.perf_counter() - started,
            cpu_seconds=time.process_time() - cpu_started,
            attack_success_rate=success,
            hashes=None if hashed_before is None else (self._hashes() or 0) - hashed_before,
            cost=cost,
            warnings=(*metrics.warnings_of(figures.loss), *missing),
        )
        self._on_round(result.line())
        return result

    def _open(self) -> int:
        """Open the next round unless one is open; return its number."""
        if self.ledger.state(self.task.id).phase.is_over:
            self.owner.open_round(self.task.id)
        return self.ledger.state(self.task.id).round

    def _work_of(self, number: int) -> dict[int, int]:
        """Return the local work of each server that trains in a round. A trusted server always does."""
        settings = self.settings
        drawn = self._drawn(number)
        present = {*sampling.without_dropouts(drawn, settings.dropout, settings.seed, number), *_trusted(settings)}
        usual = training_of(settings).local_work
        return sampling.straggler_epochs(sorted(present), usual, settings.stragglers, settings.seed, number)

    def _drawn(self, number: int) -> tuple[int, ...]:
        """Return the servers that are drawn for a round, which is open."""
        settings = self.settings
        if settings.draw == "seed":
            return sampling.participants(settings.servers, settings.participation, settings.seed, number)
        drawn = self.ledger.submitters(self.task.id, number)
        return tuple(place for place, server in enumerate(self.servers) if server.address in drawn)

    def _update_of(self, server: int, weights: Vector, round_number: int) -> Vector:
        """Return the update [P] of a server, from the global `weights` [P].

        The first server that asks has all of them trained at once: the lanes are never idle.
        """
        base = round_number, self.ledger.state(self.task.id).model  # a reorganisation may change the model of a round
        if base != self._trained_from:
            work = {place: done for place, done in self._work_of(round_number).items() if place not in self._late}
            self._updates = self._training.updates(weights, round_number, work)
            self._trained_from = base
        return self._updates[server]

    def _evaluated(self, weights: Vector) -> tuple[evaluation.Figures, float | None]:
        """Return a global model's figures on the test set, and the attack's success if it has a trigger."""
        trigger = self._triggered
        success = None if trigger is None else evaluation.attack_success_rate(self.trainer, weights, *trigger)
        return self._figures(weights), success

    def _figures(self, weights: Vector) -> evaluation.Figures:
        data = self.dataset
        return evaluation.figures(self.trainer, weights, data.x_test, data.y_test, data.num_classes, self._metrics)

    def _submit(self, servers: Sequence[MECServer]) -> None:
        while self.ledger.state(self.task.id).phase in (Phase.COMMIT, Phase.SUBMIT):
            if not self._sweep(servers):
                self._end_phase()

    def _decide(self, number: int) -> None:
        """Let servers act until none has anything left to do and the round is over."""
        order = random.Random(str(seed_sequence(self.settings.seed, "turns", round_number=number).generate_state(4)))
        while True:
            acted = self._sweep(order.sample(self.servers, len(self.servers)))
            if acted:
                continue
            if self.ledger.state(self.task.id).phase.is_over:
                return
            if not self._await_election():
                self._end_phase()

    def _sweep(self, servers: Sequence[MECServer]) -> bool:
        """Let each server take its step; return True if any did. What they send is one block, in this order.

        A server that was refused finds out from the receipt, after the block, and acts on it in the next sweep.
        """
        with self.devnet.one_block():
            acted = [server.send_step() for server in servers]
        succeeded = [server.has_succeeded() for server in servers]
        return any(step and done for step, done in zip(acted, succeeded, strict=True))

    def _await_election(self) -> bool:
        """Mine a block if an election by miners still waits for one: nothing else happens on an idle chain."""
        decision = self.ledger.state(self.task.id).decision
        if self.settings.consensus != "ethash" or decision.stage is not Stage.PROPOSE:
            return False
        _, from_block = electing_blocks(self.ledger, self.task.id, decision.view)
        waits = self.chain.w3.eth.block_number + 1 < from_block
        if waits:
            self.chain.mine()
        return waits

    def _end_phase(self) -> None:
        """Close a phase in which no server acts: at once if it is complete, else when its time has passed."""
        state = self.ledger.state(self.task.id)
        if not state.is_complete:
            deadline = state.decision.deadline if state.phase is Phase.DECIDE else state.deadline
            self.chain.travel(max(1, deadline + 1 - state.now))
            if self.ledger.state(self.task.id).now <= deadline:
                return  # on a real network time cannot be made to pass
        self.owner.poke(self.task.id)

    def _hashes(self) -> int | None:
        """Return the hashes that all servers have tried so far; None if they solve no puzzles."""
        return sum(each.slices.hashes for each in self.puzzles) if self.puzzles else None

    def _known_task(self, number: int) -> Task:
        """Return a task of these settings and data; another raises `InvalidInputError`."""
        task = self.ledger.task(number)
        if canonical_json(task.definition) != self.plan.definition():
            raise InvalidInputError(f"task {number} is not one of these settings and data; allowed: the same as it has")
        return task

    def _create_task(self, servers: Sequence[Participant]) -> Task:
        self.devnet.register(self.owner, servers, self.settings.stake)
        task = create_task(
            self.owner,
            self.store,
            self.settings,
            self.plan,
            self.trainer,
            self.dataset,
            expected=0 if self.settings.dropout else min(self._fleet.suppliers, number_drawn(self.settings)),
            max_samples=LARGEST if isinstance(self.trainer, DataHolder) else self._fleet.largest_share,
        )
        with self.devnet.one_block(servers):
            for server in servers:
                server.join(task)
        promise_rewards(self.owner, task, self.settings)
        return self.ledger.task(task)


def devnet_of(settings: RunSettings, deployment: Path | None = None) -> Devnet:
    """Deploy the contracts on the settings' network; embedded nodes start anew.

    `deployment` is a file that records the contracts of a network that lasts: they are deployed once.
    """
    nodes = start_nodes(settings.network, settings.consensus, settings.servers + 1, settings.nodes)
    return Devnet.deployed(nodes, deployment)


def registered_devnet(settings: RunSettings) -> Devnet:
    """Make nodes in this process on which the settings' servers are registered, each with its stake.

    A federation with these settings then runs as on nodes of its own, block for block.
    """
    devnet = devnet_of(settings)
    owner, *servers = devnet.participants(devnet.accounts(settings.servers))
    devnet.register(owner, servers, settings.stake)
    return devnet


def check(settings: RunSettings, *, chain: bool = True, registered: int | None = None) -> None:
    """Raise `InvalidInputError` for training, a partition, rule or attack that is impossible, before any work.

    Rules that need a trusted update take it on a chain from a server, and without `chain` from samples, as in
    `fbfl.learning.federation`. `registered` is the number of servers in the registry of a running network, of which
    that is one.
    """
    training_of(settings)
    num_classes = settings.known_classes
    resolve_partition(settings.partition, **settings.partition_args).check_labels(num_classes)
    if settings.mobility:
        resolve_mobility(settings.mobility, settings.servers, settings.mobility_args)
    cost_model(settings)
    evaluation.resolve_metrics(settings.metric, num_classes)
    attack = _adversary(settings, num_classes)
    averaged = number_drawn(settings)
    if chain:
        rule = resolve_rule(settings.aggregator, canonical_json(dict(settings.aggregator_args)))
        if rule.needs_root_update:
            _check_root(settings, settings.aggregator_args[ROOT], registered)
            require(
                settings.draw == "seed" or settings.participation == 1,
                "participation",
                settings.participation,
                f"1 with {settings.aggregator} where the chain draws, as the trusted server is needed in every round",
            )
            averaged -= 1
    else:
        rule = resolve_aggregator(settings.aggregator, **settings.aggregator_args)
    if settings.server_optimizer is not None:
        name, arguments = settings.server_optimizer, settings.server_optimizer_args
        server = resolve_server_optimizer(name, arguments) if chain else server_optimizers.resolve(name, **arguments)
        step, _ = server(np.linspace(0, 1e-3, 8, dtype=np.float32), {})
        if not np.isfinite(step).all():
            raise InvalidInputError(f"server optimizer {name} returned a step that is not finite; needed: a finite one")
    # Made-up updates show now what the rule does not allow with this number of servers.
    made_up = generator(0, "made-up updates").standard_normal((settings.servers, 8)).astype(np.float32)
    try:
        rule(made_up[:averaged], [1] * averaged, clients=range(averaged), round_number=1, root_update=made_up[0])
    except AggregationError as error:
        raise AggregationError(f"{error}{on_drawing(settings)}") from error
    attack.check(settings.servers)
    if settings.app is not None and attack.poisons_samples:
        raise InvalidInputError(f"attack is {settings.attack!r}; allowed on a Flower app's own data: those on updates")
    least = least_updates(rule, settings.servers)
    most = min(settings.servers, number_drawn(settings) + len(_trusted(settings)))
    if settings.min_updates is not None and not least <= settings.min_updates <= most:
        with_rule = f"{settings.aggregator}{on_drawing(settings)}"
        raise InvalidInputError(f"min_updates is {settings.min_updates}; allowed with {with_rule}: {least} to {most}")


def _trusted(settings: RunSettings) -> tuple[int, ...]:
    """Return the number of the server whose update is the trusted one, if there is one."""
    root = settings.aggregator_args.get(ROOT)
    return (root,) if isinstance(root, int) else ()


def _check_root(settings: RunSettings, root: Any, registered: int | None) -> None:
    require(isinstance(root, int), ROOT, root, "the number of the trusted server, from 0")
    if registered is not None and root >= registered:
        raise InvalidInputError(
            f"{ROOT} is {root}; allowed: the number of a server in the registry, which has {registered} "
            "(fbfl register puts one there)"
        )
    count = settings.servers if registered is None else registered
    if not settings.malicious <= root < count or settings.servers < 2:
        raise InvalidInputError(
            f"{ROOT} is {root}, with {settings.servers} servers of which the first {settings.malicious} are malicious; "
            "allowed: an honest server, and at least one other"
        )


def _adversary(settings: RunSettings, num_classes: int | None = None, sample_range: Range | None = None) -> Adversary:
    attacks = tuple(resolve_attack(name, **arguments) for name, arguments in settings.attacks)
    return Adversary(attacks, tuple(range(settings.malicious)), settings.seed, num_classes, sample_range)
