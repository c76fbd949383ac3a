"""A whole federation in one process: N MEC servers with their devices, on an embedded chain or a local network.

The servers share a chain node and, for speed, the training engine; each fetches, verifies and recomputes by itself.
"""

import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from eth_account.signers.local import LocalAccount

from fbfl.chain.deploy import deploy, first_block
from fbfl.chain.elections import PuzzleElection, Solver, electing_blocks
from fbfl.chain.embedded import EmbeddedChain, start_chain
from fbfl.chain.ethash import EthashNetwork, NodeChain
from fbfl.chain.ledger import Ledger, Phase, Stage, Task
from fbfl.chain.live import Node, accounts_of, live_nodes
from fbfl.chain.networks import EMBEDDED
from fbfl.chain.participant import Participant
from fbfl.chain.queries import RoundRecord, round_record
from fbfl.chain.transactions import Sender
from fbfl.errors import InvalidInputError
from fbfl.learning import metrics
from fbfl.learning.adversary import Adversary
from fbfl.learning.aggregation import resolve as resolve_aggregator
from fbfl.learning.attacks import resolve as resolve_attack
from fbfl.learning.datasets import Dataset
from fbfl.learning.partition import resolve as resolve_partition
from fbfl.learning.samples import Range
from fbfl.learning.training import Samples, Trainer
from fbfl.mec.device import LocalDevice, device_shares
from fbfl.mec.dishonest import Conduct, DishonestServer, EquivocatingExchange
from fbfl.mec.exchange import Exchange, MemoryBoard
from fbfl.mec.global_model import weights_of
from fbfl.mec.mobility import resolve as resolve_mobility
from fbfl.mec.plan import ROOT, canonical_json, resolve_rule
from fbfl.mec.radio import CostModel, RoundCost, Upload
from fbfl.mec.radio import resolve as resolve_radio
from fbfl.mec.samples import MemorySampleStore, SampleStore
from fbfl.mec.server import MECServer
from fbfl.randomness import generator, seed_sequence
from fbfl.settings import RunSettings
from fbfl.storage.store import Store
from fbfl.tasks import create_task, least_updates, plan_of, promise_rewards, trainer_of, training_of
from fbfl.tensors import Vector

UPLOAD_BATCH = 100
"""Samples that a device sends at a time. A batch that a deadline cuts off is sent again in the next round."""


@dataclass(frozen=True)
class RoundResult:
    """One round of a run, with the global model's quality after it."""

    record: RoundRecord
    accuracy: float
    loss: float
    train_seconds: float
    consensus_seconds: float
    seconds: float
    cpu_seconds: float
    """Processor time of this process, which other processes on the machine do not change."""
    attack_success_rate: float | None = None
    cost: RoundCost | None = None
    """Simulated cost of uploads and training, if simulated."""
    warnings: tuple[str, ...] = ()
    """Warnings about its figures, a line each: the loss is not finite."""


@dataclass(frozen=True)
class Ground:
    """Nodes with deployed contracts, and perhaps registered servers, on which a federation begins."""

    nodes: Sequence[Node]
    addresses: Mapping[str, str]
    """Addresses of the contracts, by name."""

    def copy(self) -> "Ground":
        """Return a copy with nodes of its own. They have to be in this process: an embedded chain or network."""
        nodes = cast(Sequence[EmbeddedChain], self.nodes)
        chain = nodes[0].chain
        copied = chain.network.copy().nodes if isinstance(chain, NodeChain) else [node.copy() for node in nodes]
        return Ground(copied, self.addresses)


class Simulation:
    """A federation that is set up and ready for its rounds.

    `solver` makes each server's solver of puzzles, if the consensus is `pow` (default: turns in this process).
    `nodes` are the full nodes that the servers use in turn (default: that of the network, embedded ones if it is
    `eth-tester`). `deployment` is a file that records the contracts of a network that lasts: they are deployed once.
    `ground` has existing nodes, contracts and servers, for example those of another federation: only the task is new
    then. `conducts` gives servers (by number) another conduct than the honest one; `stores` another store than the
    common one (a server with a broken disk). `trainer` is that of another federation with the same model and training,
    which saves compiling it again; by default there is a new one on `lanes` cores (default: all).
    """

    def __init__(
        self,
        settings: RunSettings,
        dataset: Dataset,
        store: Store,
        *,
        nodes: Sequence[Node] | None = None,
        deployment: Path | None = None,
        ground: Ground | None = None,
        conducts: Mapping[int, Conduct] | None = None,
        stores: Mapping[int, Store] | None = None,
        solver: Callable[[], Solver] | None = None,
        trainer: Trainer | None = None,
        lanes: int | None = None,
    ) -> None:
        self.settings = settings
        self.dataset = dataset
        self.store = store
        self.nodes: Sequence[Node] = ground.nodes if ground else nodes or _start_nodes(settings)
        self.chain = self.nodes[0]
        self.trainer = trainer or trainer_of(settings, dataset, lanes)
        if not self.trainer.is_for(
            settings.model,
            training_of(settings),
            input_shape=dataset.input_shape,
            num_classes=dataset.num_classes,
            seed=settings.seed,
        ):
            raise InvalidInputError("trainer was made for another model, data shape, training or seed")
        accounts = accounts_of(self.nodes, settings.servers + 1)
        self.plan = plan_of(settings, self.trainer, dataset, [account.address for account in accounts[1:]])
        self._devices = _devices(settings, dataset)
        self._mobility = (
            resolve_mobility(settings.mobility, settings.servers, settings.mobility_args) if settings.mobility else None
        )
        self._costs = _cost_model(settings)
        self._samples = [MemorySampleStore() for _ in range(settings.servers)]
        if self._costs is None:
            self._upload(0)
        self._adversary = _adversary(settings, dataset.num_classes, self.plan.sample_range)
        self._triggered = self._adversary.triggered(dataset.x_test, dataset.y_test)
        self._training = _JointTraining(self.trainer, self._samples, self._adversary)
        self._training.poison(0)
        owner = Sender(self.chain.w3, accounts[0])
        self.addresses: Mapping[str, str] = ground.addresses if ground else deploy(self.chain.w3, owner, deployment)
        self.start_block = first_block(self.chain.w3, deployment) if deployment else 0
        """Block of the first contract: there are no events before it."""
        ledgers = [Ledger(node.w3, self.addresses, self.start_block, head=node.head) for node in self.nodes]
        self.ledger = ledgers[0]
        self.owner = Participant(self.ledger, owner)
        participants = _participants(self.nodes, ledgers, accounts[1:])
        self.task = self._create_task(participants)
        liar = Conduct(proposes="wrong", votes="inverted")
        conducts = {**dict.fromkeys(range(settings.liars), liar), **(conducts or {})}
        stores = stores or {}
        board = MemoryBoard()
        self.servers: list[MECServer] = []
        for number, (participant, account) in enumerate(zip(participants, accounts[1:], strict=True)):
            conduct = conducts.get(number)
            server = partial(DishonestServer, conduct) if conduct else MECServer
            exchange = EquivocatingExchange if conduct and conduct.votes == "both" else Exchange
            self.servers.append(
                server(
                    participant,
                    stores.get(number, store),
                    self.task,
                    self.plan,
                    self._training.of(number),
                    self._samples[number],
                    exchange=exchange(board, participant, self.task, account) if settings.signatures else None,
                    election=self._puzzle(participant, solver) if solver else None,
                    salt_secret=number.to_bytes(4, "big"),
                )
            )

    @property
    def ground(self) -> Ground:
        """Nodes and contracts for another federation beside this one."""
        return Ground(self.nodes, self.addresses)

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

    def rounds(self) -> Iterator[RoundResult]:
        """Play the rounds, one at each step."""
        for _ in range(self.settings.rounds):
            yield self.play_round()

    def play_round(self) -> RoundResult:
        """Open a round, or go on with the open one; let every server act until it is over, and evaluate the model."""
        started, cpu_started = time.perf_counter(), time.process_time()
        trained_before = self._training.seconds
        if self.ledger.state(self.task.id).phase.is_over:
            self.owner.open_round(self.task.id)
        number = self.ledger.state(self.task.id).round
        cost = self._collect(number)
        late = cost.late_servers if cost else frozenset()
        self._training.absent = late
        self._submit_updates([server for place, server in enumerate(self.servers) if place not in late])
        decided_from = time.perf_counter()
        self._decide(number)
        over = time.perf_counter()
        weights = self.weights
        evaluation = self.trainer.evaluate(weights, self.dataset.x_test, self.dataset.y_test)
        return RoundResult(
            record=round_record(self.ledger, self.task.id, number),
            accuracy=evaluation.accuracy,
            loss=evaluation.loss,
            train_seconds=self._training.seconds - trained_before,
            consensus_seconds=over - decided_from,
            seconds=time.perf_counter() - started,
            cpu_seconds=time.process_time() - cpu_started,
            attack_success_rate=self._attack_success_rate(weights),
            cost=cost,
            warnings=metrics.warnings_of(evaluation.loss),
        )

    def _collect(self, round_number: int) -> RoundCost | None:
        """Have the devices upload for a round, unless all was uploaded before the first; return the round's cost."""
        if self._costs is None:
            return None
        uploads = self._upload(round_number)
        samples = {server: len(store.training_set(round_number)[1]) for server, store in enumerate(self._samples)}
        return self._costs.round_cost(self.settings.seed, uploads, samples, self.settings.local_epochs)

    def _upload(self, round_number: int) -> list[Upload]:
        """Upload each device's new samples to the server to which it is attached, until a deadline."""
        uploads = []
        seed, mobility, costs = self.settings.seed, self._mobility, self._costs
        for device in self._devices:
            server = mobility.server_of(seed, device.id, round_number) if mobility else device.id % len(self._samples)
            collected = mobility.collected(len(device), round_number) if mobility else None
            distance = 0.0
            if costs:
                distance = (
                    mobility.distance(seed, device.id, round_number) if mobility else costs.distance(seed, device.id)
                )
            size, late = 0, False
            for batch in device.upload(UPLOAD_BATCH, collected=collected):
                more = batch.x.nbytes + batch.y.nbytes
                if costs and not costs.in_time(distance, size + more):
                    late = True
                    break
                self._samples[server].receive(batch)
                size += more
            if size or late:
                uploads.append(Upload(server, distance, size, late))
        return uploads

    def _attack_success_rate(self, weights: Vector) -> float | None:
        if self._triggered is None:
            return None
        x, y, target = self._triggered
        return metrics.attack_success_rate(self.trainer.logits(weights, x), y, target)

    def _submit_updates(self, servers: Sequence[MECServer]) -> None:
        while not self._has_closed():
            if not self._sweep(servers):
                self._end_phase()

    def _has_closed(self) -> bool:
        return self.ledger.state(self.task.id).phase not in (Phase.COMMIT, Phase.SUBMIT)

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
        return sum(server.step() for server in servers) > 0  # all of them: any() would stop at the first

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
        deciding = state.phase is Phase.DECIDE
        done, expected = (
            (state.committed, state.committee)
            if state.phase is Phase.COMMIT
            else (state.submitted, state.committed if state.commit_reveal else state.committee)
        )
        if deciding or done.bit_count() < expected.bit_count():
            deadline = state.decision.deadline if deciding else state.deadline
            self.chain.travel(max(1, deadline + 1 - state.now))
            if self.ledger.state(self.task.id).now <= deadline:
                return  # on a live network time cannot be made to pass
        self.owner.poke(self.task.id)

    def _puzzle(self, participant: Participant, solver: Callable[[], Solver]) -> PuzzleElection:
        return PuzzleElection(participant.ledger, self.task, participant.address, solver())

    def _largest_share(self) -> int:
        """Return the most samples that a server can ever hold: no honest server claims more."""
        if self._mobility:
            return len(self.dataset.y_train)  # all devices may come to the same server
        held = [0] * self.settings.servers
        for device in self._devices:
            held[device.id % self.settings.servers] += len(device)
        return max(held)

    def _create_task(self, servers: Sequence[Participant]) -> Task:
        _register(self.owner, servers, self.settings.stake)
        # If uploads take time, the late servers are not known beforehand.
        with_samples = sum(bool(len(samples.training_set(0)[1])) for samples in self._samples)
        expected = with_samples if self._costs is None else 0
        task = create_task(
            self.owner,
            self.store,
            self.settings,
            self.plan,
            self.trainer,
            self.dataset,
            expected=expected,
            max_samples=self._largest_share(),
        )
        for server in servers:
            server.join(task)
        promise_rewards(self.owner, task, self.settings)
        return self.ledger.task(task)


class _JointTraining:
    """All servers' local training at once, so that the lanes are never idle; each result is as if trained alone.

    Malicious servers, which see all updates, make theirs here, too.
    """

    def __init__(self, trainer: Trainer, stores: Sequence[SampleStore], adversary: Adversary) -> None:
        self._trainer = trainer
        self._stores = stores
        self._adversary = adversary
        self._poisoned: dict[int, tuple[Samples, Samples]] = {}
        self._key: tuple[int, bytes] | None = None
        self._updates: dict[int, Vector] = {}
        self.absent: frozenset[int] = frozenset()
        """Servers that do not train in this round."""
        self.seconds = 0.0
        """Seconds spent in training so far."""

    def of(self, server: int) -> Callable[[Vector, int], Vector]:
        """Return one server's local training."""
        return lambda weights, round_number: self._update(server, weights, round_number)

    def poison(self, round_number: int) -> None:
        """Poison malicious servers' samples now rather than when they train."""
        for server in self._adversary.malicious:
            held = self._stores[server].training_set(round_number)
            if len(held[1]):
                self._trained_on(server, held)

    def _update(self, server: int, weights: Vector, round_number: int) -> Vector:
        key = (round_number, weights.tobytes())
        if key != self._key:
            started = time.perf_counter()
            held = {number: store.training_set(round_number) for number, store in enumerate(self._stores)}
            servers = [number for number, (_, y) in held.items() if len(y) and number not in self.absent]
            samples = [self._trained_on(number, held[number]) for number in servers]
            rows = list(self._trainer.train(weights, samples, round_number=round_number, client_ids=servers))
            if self._adversary.poisons_updates:
                matrix = np.stack(rows)
                self._adversary.poison_updates(round_number, servers, matrix)
                rows = list(matrix)
            self._updates = dict(zip(servers, rows, strict=True))
            self._key = key
            self.seconds += time.perf_counter() - started
        return self._updates[server]

    def _trained_on(self, server: int, held: Samples) -> Samples:
        """Return a server's training samples; poisoned anew only if it holds other samples than in the round before."""
        before, poisoned = self._poisoned.get(server, (None, held))
        if before is not held:
            poisoned = self._adversary.poisoned_samples(server, held)
            self._poisoned[server] = held, poisoned
        return poisoned


def registered_ground(settings: RunSettings) -> Ground:
    """Make nodes in this process on which the settings' servers are registered, each with its stake.

    A federation with these settings then runs as on nodes of its own, block for block.
    """
    nodes = _start_nodes(settings)
    owner, *accounts = accounts_of(nodes, settings.servers + 1)
    sender = Sender(nodes[0].w3, owner)
    addresses = deploy(nodes[0].w3, sender)
    ledgers = [Ledger(node.w3, addresses, head=node.head) for node in nodes]
    _register(Participant(ledgers[0], sender), _participants(nodes, ledgers, accounts), settings.stake)
    return Ground(nodes, addresses)


def _participants(
    nodes: Sequence[Node], ledgers: Sequence[Ledger], accounts: Sequence[LocalAccount]
) -> list[Participant]:
    """Return the servers, which use the nodes in turn."""
    turns = itertools.cycle(zip(nodes, ledgers, strict=True))
    return [
        Participant(ledger, Sender(node.w3, account)) for account, (node, ledger) in zip(accounts, turns, strict=False)
    ]


def _register(owner: Participant, servers: Sequence[Participant], stake: int) -> None:
    registry = owner.ledger.registry.functions
    for server in servers:
        if registry.isActive(server.address).call():
            continue  # it takes part in another task already
        owner.admit(server.address)
        server.register(f"mec://{server.address}", stake)


def check(settings: RunSettings, *, chain: bool = True, registered: int | None = None) -> None:
    """Raise `InvalidInputError` for training, a partition, rule or attack that is impossible, before any work.

    Rules that need a trusted update take it on a chain from a server, and without `chain` from samples, as in
    `fbfl.learning.federation`. `registered` is the number of servers in the registry of a running network, of which
    that is one.
    """
    training_of(settings)
    resolve_partition(settings.partition, **settings.partition_args)
    if settings.mobility:
        resolve_mobility(settings.mobility, settings.servers, settings.mobility_args)
    _cost_model(settings)
    attack = _adversary(settings)
    averaged = settings.servers
    if chain:
        rule = resolve_rule(settings.aggregator, canonical_json(dict(settings.aggregator_args)))
        if rule.needs_root_update:
            _check_root(settings, settings.aggregator_args[ROOT], registered)
            averaged -= 1
    else:
        rule = resolve_aggregator(settings.aggregator, **settings.aggregator_args)
    # Made-up updates show now what the rule does not allow with this number of servers.
    made_up = generator(0, "made-up updates").standard_normal((settings.servers, 8)).astype(np.float32)
    rule(made_up[:averaged], [1] * averaged, clients=range(averaged), round_number=1, root_update=made_up[0])
    attack.check(settings.servers)
    if settings.min_updates is not None and settings.min_updates < (least := least_updates(rule, settings.servers)):
        raise InvalidInputError(
            f"min_updates is {settings.min_updates}; allowed with {settings.aggregator}: {least} to {settings.servers}"
        )


def _check_root(settings: RunSettings, root: Any, registered: int | None) -> None:
    if not isinstance(root, int):
        raise InvalidInputError(f"{ROOT} is {root!r}; allowed: the number of the trusted server, from 0")
    if registered is not None and root >= registered:
        raise InvalidInputError(
            f"{ROOT} is {root}; allowed: the number of a server in the registry, which has {registered} "
            "(fbfl register puts one there)"
        )
    known = settings.servers if registered is None else registered
    if not settings.malicious <= root < known or settings.servers < 2:
        raise InvalidInputError(
            f"{ROOT} is {root}, with {settings.servers} servers of which the first {settings.malicious} are malicious; "
            "allowed: an honest server, and at least one other"
        )


def _adversary(settings: RunSettings, num_classes: int | None = None, sample_range: Range | None = None) -> Adversary:
    attacks = (resolve_attack(settings.attack, **settings.attack_args),) if settings.attack else ()
    return Adversary(attacks, tuple(range(settings.malicious)), settings.seed, num_classes, sample_range)


def _cost_model(settings: RunSettings) -> CostModel | None:
    """Return the cost model; None if devices upload everything before the first round, and no radio is set."""
    if settings.radio is None and not settings.mobility:
        return None
    return resolve_radio(settings.radio or "shannon", settings.radio_args)


def _devices(settings: RunSettings, dataset: Dataset) -> list[LocalDevice]:
    """Return the devices with all their samples: equal parts of the servers' shares."""
    partition = resolve_partition(settings.partition, **settings.partition_args)
    shares = device_shares(dataset.y_train, partition, settings.servers, settings.devices, settings.seed)
    return [LocalDevice(device, dataset.x_train[share], dataset.y_train[share]) for device, share in enumerate(shares)]


def _start_nodes(settings: RunSettings) -> Sequence[Node]:
    accounts = settings.servers + 1
    if settings.network != EMBEDDED:
        return live_nodes([settings.network])
    if settings.consensus != "ethash":
        return [start_chain(accounts)]
    return EthashNetwork(nodes=settings.nodes, accounts=accounts).nodes
