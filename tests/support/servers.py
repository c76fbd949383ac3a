"""Servers on a fake ledger: a model of eight weights, training that adds a number, payloads in a folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from eth_account.signers.local import LocalAccount

from fbfl.chain import digests
from fbfl.chain.accounts import development_account
from fbfl.chain.elections import Election
from fbfl.chain.logs import Event
from fbfl.chain.rounds import Phase, Stage, TaskState
from fbfl.chain.seats import SeatSet
from fbfl.chain.task import Task
from fbfl.mec.dishonest import Behaviour, DishonestServer, EquivocatingExchange
from fbfl.mec.exchange import Exchange, MemoryBoard
from fbfl.mec.global_model import initial_model, next_model
from fbfl.mec.plan import TaskPlan, canonical_json
from fbfl.mec.samples import Batch, MemorySampleStore
from fbfl.mec.server import MECServer
from fbfl.storage.codecs import encode_update
from fbfl.storage.local import LocalStore
from fbfl.storage.store import Reference, Store
from fbfl.tensors import ModelSpec, TensorSpec, Vector
from tests.support.ledger import FakeLedger, FakeParticipant, Terms

SPEC = ModelSpec((TensorSpec("dense/kernel", (3, 2)), TensorSpec("dense/bias", (2,))))
START: Vector = np.arange(8, dtype=np.float32)

NONE = SeatSet()


def account(number: int) -> LocalAccount:
    """A member's key."""
    return development_account(number)


def definition(spec: ModelSpec = SPEC, **more: Any) -> dict[str, Any]:
    """Return the definition of a small task whose model has these tensors."""
    return {
        "model": "mlp",
        "tensors": [[tensor.name, list(tensor.shape)] for tensor in spec.tensors],
        "input_shape": [3],
        "num_classes": 2,
        "training": {},
        "seed": 1,
        "max_members": 4,
        **more,
    }


def small_task(consensus: str = "pbft", rule: str = "fedavg", payload: str = "float32", **params: Any) -> Task:
    about = definition(payload=payload)
    task = Task(1, "0x", consensus, "0x" + "22" * 20, rule, canonical_json(params), about, Reference(b"", 0), 0)
    model = initial_model(TaskPlan.of(task), START)
    return Task(**{**vars(task), "model": model.reference})


@dataclass
class Turn:
    """An election that a test decides."""

    proofs: bytes | None = b""
    asked: int = 0

    def __call__(self, state: TaskState) -> bytes | None:
        self.asked += 1
        return self.proofs


@dataclass
class Committee:
    """Servers that share a ledger, a store and a board, in the order of their seats."""

    ledger: FakeLedger
    task: Task
    plan: TaskPlan
    store: LocalStore
    board: MemoryBoard
    servers: list[MECServer] = field(default_factory=list)

    @property
    def state(self) -> TaskState:
        return self.ledger.state(1)

    @property
    def leader(self) -> MECServer:
        return next(server for server in self.servers if server.address == self.state.decision.leader)

    @property
    def others(self) -> list[MECServer]:
        return [server for server in self.servers if server is not self.leader]

    def sent(self, number: int) -> list[str]:
        """Return what a server has sent since it was last asked about."""
        participant = self.servers[number].participant
        assert isinstance(participant, FakeParticipant)
        sent, participant.sent = participant.sent, []
        return sent

    def open(self) -> None:
        self.ledger.contracts.open_round()

    def submit(self) -> None:
        """All record their updates, and the submissions close."""
        while sum(server.step() for server in self.servers):
            pass
        self.ledger.contracts.poke()
        assert self.state.phase is Phase.DECIDE
        for number in range(len(self.servers)):
            self.sent(number)

    def travel_past_deadline(self) -> None:
        """The phase ends unused."""
        state = self.state
        deadline = state.decision.deadline if state.phase is Phase.DECIDE else state.deadline
        self.ledger.travel(deadline + 1 - state.now)
        self.ledger.contracts.poke()

    def settle_down(self, servers: Sequence[MECServer] | None = None) -> None:
        """All, or these, act until nobody has anything left to do."""
        while sum(server.step() for server in servers or self.servers):
            pass

    def events(self, name: str, round_number: int = 1) -> list[Event]:
        return list(self.ledger.round_events(1, round_number, name))

    def again(self, number: int, **options: Any) -> MECServer:
        """The server as a new process of it would be, with nothing in its memory."""
        former = self.servers[number]
        arguments = (former.participant, former.store, self.task, self.plan, former.training, former.samples)
        self.servers[number] = MECServer(*arguments, **options)
        return self.servers[number]


def adding(number: int) -> Callable[[Vector, int], Vector]:
    """Training whose update is the same number for every weight."""
    return lambda weights, round_number: np.full(weights.size, number + round_number, np.float32)


def committee(
    folder: Path,
    *,
    task: Task | None = None,
    terms: Terms | None = None,
    signatures: bool = False,
    behaviours: Mapping[int, Behaviour] | None = None,
    stores: Mapping[int, Store] | None = None,
    samples: Sequence[int] = (1, 2, 3, 4),
    elections: Mapping[int, Election] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Committee:
    """As many servers as `samples` says how many samples each has; `options` are for every server."""
    task = task or small_task()
    plan = TaskPlan.of(task)
    ledger = FakeLedger(task, terms)
    found = Committee(ledger, task, plan, LocalStore(folder), MemoryBoard())
    found.store.put(initial_model(plan, START).payload)
    for number, count in enumerate(samples):
        participant = FakeParticipant(ledger, account(number).address)
        participant.join(1)
        held = MemorySampleStore()
        if count:
            held.receive(Batch(number, 0, np.zeros((count, 3), np.uint8), np.zeros(count, np.int64)))
        behaviour = (behaviours or {}).get(number)
        kind: Any = partial(DishonestServer, behaviour) if behaviour else MECServer
        exchange: Any = EquivocatingExchange if behaviour and behaviour.votes == "both" else Exchange
        found.servers.append(
            kind(
                participant,
                (stores or {}).get(number, found.store),
                task,
                plan,
                adding(number),
                held,
                exchange=exchange(found.board, participant, task, account(number)) if signatures else None,
                election=(elections or {}).get(number),
                salt_secret=bytes([number]),
                **(options or {}),
            )
        )
        participant.sent.clear()
    return found


def update_of(plan: TaskPlan, number: float) -> bytes:
    """The payload of an update that is this number everywhere."""
    return encode_update(plan.payload, plan.spec, np.full(plan.spec.size, number, np.float32))


def expected_model(
    fed: Committee, left_out: SeatSet = NONE, round_number: int = 1, parent: bytes | None = None
) -> Reference:
    """The next global model, from what is recorded."""
    kept = [update for update in fed.ledger.updates(1, round_number) if update.seat not in left_out]
    payloads = [(update, fed.store.get(update.payload)) for update in kept]
    closing = fed.ledger.closing_hash(1, round_number)
    assert closing is not None
    seed = fed.plan.seed_of_draws(closing, fed.ledger.accumulator(1, round_number), round_number)
    return next_model(fed.plan, round_number, parent or fed.store.get(fed.task.model), payloads, seed).reference


def value_of(fed: Committee, model: Reference, missing: int = 0) -> bytes:
    (opened,) = fed.events("RoundOpened", fed.state.round)
    return digests.value_digest(
        fed.ledger.domain(1),
        fed.state.round,
        parent=opened.args["parent"],
        closing=fed.ledger.closing_hash(1, fed.state.round),
        accumulator=fed.state.accumulator,
        missing=missing,
        rule=fed.task.rule,
        rule_params=fed.task.rule_params,
        model=model.digest,
        model_size=model.size,
    )


def proposed(folder: Path, **options: Any) -> Committee:
    """A committee in whose round the leader has proposed."""
    fed = committee(folder, **options)
    fed.open()
    fed.submit()
    assert fed.leader.step()
    assert fed.state.decision.stage is Stage.PREPARE
    for number in range(4):
        fed.sent(number)
    return fed
