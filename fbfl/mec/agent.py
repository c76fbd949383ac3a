"""A MEC server as a process of its own: it joins its task, follows the chain, and survives failures around it.

It reads its next step from the chain each time, so that after a crash and a restart it goes on where it was.
"""

import contextlib
import dataclasses
import logging
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from web3 import Web3
from web3.exceptions import Web3Exception

from fbfl.chain.elections import seed_waits
from fbfl.chain.participant import Participant
from fbfl.chain.queries import Standing, losses_of, registered_url, standing_of
from fbfl.chain.rounds import Phase, TaskState
from fbfl.chain.seats import SeatSet
from fbfl.chain.task import Payment
from fbfl.errors import ChainError, ContractRevertError, FbflError, InvalidInputError
from fbfl.learning import tensor_names
from fbfl.learning.trainer import Trainer, make
from fbfl.mec.app_node import AppNode
from fbfl.mec.courier import health_of, is_endpoint
from fbfl.mec.plan import TaskPlan
from fbfl.mec.retention import Retention
from fbfl.mec.samples import SampleStore
from fbfl.mec.server import MECServer
from fbfl.mec.tasks import is_due
from fbfl.system.backoff import Reluctance, pause_after
from fbfl.system.locks import only_process
from fbfl.tensors import Vector

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
"""Seconds after a first failure; each further one in a row doubles them."""

LONGEST_PAUSE = 30.0
"""Most seconds between two attempts."""

KEPT_ROUNDS = 64
"""Number of newest rounds whose records an agent keeps: more than any reorganisation goes back."""

UNMINED = 120.0
"""Most seconds that a new process, or one after a failed attempt, waits for transactions sent before."""


class LocalTraining:
    """One server's local training: the same bytes as in a simulation where it has the same seat and samples.

    Its framework is imported when it first trains. `names` are the tensors' names here if not those of the task.
    """

    def __init__(
        self,
        participant: Participant,
        task: int,
        plan: TaskPlan,
        samples: SampleStore,
        *,
        names: tensor_names.Names | None = None,
    ) -> None:
        self._names = names
        self._participant = participant
        self._task = task
        self._plan = plan
        self._samples = samples
        self._trainer: Trainer | None = None
        self.seconds = 0.0
        """Seconds spent in training so far."""

    def __call__(self, weights: Vector, round_number: int) -> Vector:
        """Train from the global weights [P]; returns the update [P]."""
        started = time.perf_counter()
        seat = self._participant.ledger.seats(self._task, round_number)[self._participant.address]
        samples = self._samples.training_set(round_number)
        (update,) = self._trained_by().train(weights, [samples], round_number=round_number, client_ids=[seat])
        self.seconds += time.perf_counter() - started
        return update

    def _trained_by(self) -> Trainer:
        if self._trainer is None:
            plan = self._plan
            trainer = make(plan.trainer, plan.trainer_args, plan.purpose, lanes=1)  # one client at a time
            self._trainer = tensor_names.fitted(trainer, plan.spec, self._names, f"the model {plan.model!r}")
        return self._trainer


class Agent:
    """Runs one `MECServer` until it is stopped; `url` and `stake` (wei) are for the registry.

    `poll` is the pause in seconds when there was nothing to do, `patience` the seconds that it gives each member whose
    turn it is before it moves a round on itself. `retention` lets payloads go (default: none). The agent leaves its
    task before penalties there can take more than `most_loss`, from 0 to 1, of its stake in all (default: never).
    """

    def __init__(
        self,
        server: MECServer,
        training: LocalTraining | AppNode,
        *,
        url: str,
        stake: int,
        poll: float = 0.5,
        patience: float = 30.0,
        retention: Retention | None = None,
        most_loss: float = 1.0,
    ) -> None:
        self.server = server
        self.training = training
        self._url = url
        self._stake = stake
        self._poll = poll
        self._patience = patience
        self._due: tuple[tuple[int, Phase, int], float] | None = None
        self._refused_pokes = 0
        self._retention = retention
        self._most_loss = most_loss
        self._was_active = False
        self._stopping = threading.Event()
        self._state: TaskState | None = None
        self._looked_at: int | None = None
        self._reluctance = Reluctance(poll)
        self._settled: set[int] = set()
        self._unpaid: int | None = None
        self._unsettled: dict[int, float] = {}
        self._waits_for_unmined = True
        self._patience_ends = time.monotonic() + UNMINED
        self.last_error: str | None = None
        self.steps = 0
        """Number of steps done so far."""
        self.failures = 0
        """Number of attempts that failed so far."""

    def stop(self) -> None:
        """Ask it to end after the step that it is in; safe from signal handlers and other threads."""
        self._stopping.set()

    def health(self) -> dict[str, Any]:
        """Return its identity and its state, as JSON values; sends no request."""
        state = self._state
        return {
            "address": self.server.address,
            "chain_id": self.server.ledger.chain_id,
            "task": self.server.task.id,
            "round": state.round if state else None,
            "phase": state.phase.name.lower() if state else "starting",
            "samples": self.server.samples.count,
            "last_error": self.last_error,
        }

    def run(self) -> None:
        """Act until `stop` is called. Failures are logged and tried again, after longer and longer pauses."""
        failed = 0
        while not self._stopping.is_set():
            try:
                acted = self._step()
            except Exception as error:
                # Any error: after a reorganisation in mid-step, what was read does not fit together.
                failed += 1
                self.failures += 1
                self.last_error = f"{type(error).__name__}: {error}"
                # A transaction may have arrived although its answer did not.
                self._waits_for_unmined = True
                self._patience_ends = time.monotonic() + UNMINED
                pause = pause_after(failed, first=FIRST_PAUSE, longest=LONGEST_PAUSE)
                unexpected = not isinstance(error, FbflError | Web3Exception)
                log.warning("failed, tried again in %g s: %s", pause, self.last_error, exc_info=unexpected)
                self._stopping.wait(pause)
                continue
            failed = 0
            self.last_error = None
            if acted:
                self.steps += 1
            else:
                self._stopping.wait(self._poll)
        log.info("stopped")

    def _step(self) -> bool:
        if self._waits_for_unmined and self._has_unmined():
            return False  # a transaction sent before is still on its way: look again when it has arrived
        self._waits_for_unmined = False
        server = self.server
        # A refusal here comes again and again: ask the node first, so that none is paid.
        with server.participant.asking_first():
            try:
                self._require_same_task()
                self._limit_losses()
                if self._enrol():
                    return True
            except ChainError:
                # What it has earned is its own, also where it takes no part any more.
                if self._collect(self._look()):
                    return True
                raise
        state = self._look()
        if self._act(state) or self._move_on(state) or (self._retention and self._retention.release(state)):
            return True
        with server.participant.asking_first():
            return self._collect(state)

    def _look(self) -> TaskState:
        """Return the state of the task, after forgetting what is not needed any more with it."""
        state = self.server.ledger.state(self.server.task.id)
        if self._state is None or (self._state.round, self._state.phase) != (state.round, state.phase):
            log.info("round %d: %s", state.round, state.phase.name.lower())
            self._forget(state)
        self._state = state
        return state

    def _act(self, state: TaskState) -> bool:
        """Take the server's step, after a refusal in the same state only when longer and longer pauses are over.

        Every refusal costs gas, and a task may be such that one follows another.
        """
        if self._reluctance.holds_back(dataclasses.replace(state, block=0, now=0)):
            return False
        before = self.server.refusals
        acted = self.server.step()
        if self.server.refusals > before:
            self._reluctance.note_refusal()
        return acted

    def _has_unmined(self) -> bool:
        eth = self.server.ledger.w3.eth
        address = Web3.to_checksum_address(self.server.address)
        if time.monotonic() > self._patience_ends:
            return False
        return eth.get_transaction_count(address, "pending") > eth.get_transaction_count(address, "latest")

    def _enrol(self) -> bool:
        """Register and join, unless the chain has it already; return True if it did something.

        A server that lost its standing comes back with a stake only when its operator starts the agent again.
        """
        server = self.server
        ledger = server.ledger
        if not ledger.is_active(server.address):
            standing = standing_of(ledger, server.address)
            if self._was_active and standing is not Standing.UNKNOWN:  # UNKNOWN now: a reorganisation
                raise ChainError(
                    f"{server.address} is {standing.name.lower()} in the registry; start its agent again to come back, "
                    "with --stake WEI, or where the owner has admitted it anew"
                )
            server.participant.register(self._url, self._stake)
            log.info("registered %s at %s", server.address, self._url)
            return True
        self._was_active = True
        if not ledger.has_seat(server.task.id, server.address, ledger.state(server.task.id).round + 1):
            self._join()
            return True
        return False

    def _require_same_task(self) -> None:
        """Raise `ChainError` where another task has this one's number by now: its terms are not what was agreed to."""
        task = self.server.task
        if dataclasses.replace(self.server.ledger.task(task.id), block=task.block) != task:
            raise ChainError(
                f"task {task.id} is another one by now, as the chain was reorganised or begun anew; start the agent "
                "again to take part in that one"
            )

    def _limit_losses(self) -> None:
        """Leave the task where its next penalty could exceed what its operator allows, and raise `ChainError`."""
        server, ledger, task = self.server, self.server.ledger, self.server.task
        lost, stake = losses_of(ledger, task.id, server.address)
        if not lost:
            return
        if not ledger.is_active(server.address):
            stake += self._stake  # what it would come back with
        if lost + task.dearest * stake <= self._most_loss * (lost + stake):
            return
        if ledger.has_seat(task.id, server.address, ledger.state(task.id).round + 1):
            server.participant.resign(task.id)
        raise ChainError(
            f"task {task.id} has taken {lost / (lost + stake):.2g} of the stake of {server.address}, and its next "
            f"penalty would exceed --most-loss {self._most_loss:g}; its seat is given up"
        )

    def _join(self) -> None:
        server = self.server
        try:
            server.participant.join(server.task.id)
        except ContractRevertError as error:
            lacking = int(str(error.values.get("needed", 0))) - int(str(error.values.get("stake", 0)))
            if error.error != "RegistryStakeLocked" or lacking > self._stake:
                raise
            server.participant.add_stake(lacking)  # its seats in other tasks lock what it has
            server.participant.join(server.task.id)
        log.info("joined task %d", server.task.id)

    def _forget(self, state: TaskState) -> None:
        """Drop the chain's records that a long run no longer needs."""
        needed = (state.round - KEPT_ROUNDS, self._unpaid, self._retention.oldest if self._retention else None)
        first = min(number for number in needed if number is not None)
        self.server.ledger.forget_before(self.server.task.id, first)
        self._settled = {number for number in self._settled if number >= first}
        self._unsettled = {number: since for number, since in self._unsettled.items() if number >= first}

    def _move_on(self, state: TaskState) -> bool:
        """Move on a round that is due, if neither the owner nor a member before this one does.

        The members take turns, by the numbers of seat, round and view, so that only one sends the transaction.
        """
        server = self.server
        seats = server.ledger.seats(server.task.id, state.round)
        due = is_due(state, time.time()) or seed_waits(server.ledger, server.task.id, state)
        if server.address not in seats or state.phase.is_over or not due:
            self._due = None
            return False
        phase = state.round, state.phase, state.decision.view
        if self._due is None or self._due[0] != phase:
            self._due, self._refused_pokes = (phase, time.monotonic()), 0
        members = sorted(seats, key=lambda member: seats[member])
        turn = (members.index(server.address) - state.round - state.decision.view) % len(members)
        if time.monotonic() - self._due[1] < math.ldexp((turn + 1) * self._patience, min(self._refused_pokes, 8)):
            return False
        try:
            server.participant.poke(server.task.id)
        except ContractRevertError as error:
            # Another sender was faster, or the clock here is ahead: then it would be refused again for as long. To ask
            # the node first is no way, since it would answer by the time of a block that is there already.
            log.info("round %d: %s", state.round, error)
            self._due, self._refused_pokes = (phase, time.monotonic()), self._refused_pokes + 1
            return False
        self._due = None
        log.info("round %d: moved on", state.round)
        return True

    def _collect(self, state: TaskState) -> bool:
        """Settle the rounds in which this server earned, also after the next one opened, and withdraw its earnings.

        Settling is its leader's. Where that does not, the others do, in turn: otherwise a leader could keep their pay.
        """
        if state.block == self._looked_at and not self._unsettled:
            return False
        server = self.server
        ledger = server.ledger
        self._unpaid = None
        for number, turn in self._earned() if ledger.reward_terms(server.task.id).per_round else ():
            payment = ledger.payment(server.task.id, number)
            if payment is not Payment.DUE:
                self._unsettled.pop(number, None)
            if payment is Payment.SETTLED:
                self._settled.add(number)
                continue
            self._unpaid = number if self._unpaid is None else self._unpaid
            if payment is Payment.NOT_FUNDED:
                break
            since = self._unsettled.setdefault(number, time.monotonic())
            if time.monotonic() - since >= turn * self._patience:
                server.participant.settle(server.task.id, number)
                log.info("round %d: settled", number)
                return True
        if ledger.earned(server.address):
            server.participant.withdraw_rewards()
            log.info("withdrew rewards")
            return True
        self._looked_at = state.block
        return False

    def _earned(self) -> Iterator[tuple[int, int]]:
        """Yield the final rounds that pay this server and are not known to be settled, each with its turn to settle.

        The leader's turn is 0; those of the others follow from the numbers of seat and round.
        """
        server = self.server
        for event in server.ledger.events("RoundFinalized", task=server.task.id):
            number, leader, missing = event.args["round"], event.args["leader"], SeatSet(event.args["missing"])
            if number in self._settled:
                continue
            paid = [u.server for u in server.ledger.updates(server.task.id, number) if u.seat not in missing]
            if leader == server.address:
                yield number, 0
            elif server.address in paid:
                yield number, 1 + (paid.index(server.address) - number) % len(paid)


@contextlib.contextmanager
def only_one(folder: Path, agent: Agent) -> Iterator[None]:
    """Make sure that this is the account's only agent; if another one runs, raise `InvalidInputError`.

    An agent on this machine holds a lock in `folder`, which a crash releases; one elsewhere answers at the account's
    registered URL.
    """
    address = agent.server.address
    with only_process(folder, f"an agent of {address}"):
        url = registered_url(agent.server.ledger, address)
        if url is not None and _answers_as(url, agent.health()):
            raise InvalidInputError(f"an agent of {address} runs already: it answers at {url}")
        yield


def _answers_as(url: str, expected: dict[str, Any]) -> bool:
    said = health_of(url, 2.0) if is_endpoint(url) else None
    return said is not None and all(said.get(key) == expected[key] for key in ("address", "chain_id"))
