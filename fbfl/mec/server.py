"""The MEC server: trains on what its devices uploaded, publishes its update, and takes part in the consensus.

A server acts on the chain's state, one step at a time, and keeps nothing in memory that it could not read there or
compute again: it can be stopped anywhere and started again.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from eth_hash.auto import keccak

from fbfl.chain import digests
from fbfl.chain.digests import short_text
from fbfl.chain.elections import Election, election_of, is_barred
from fbfl.chain.participant import Participant
from fbfl.chain.reverts import NOTHING_NEW
from fbfl.chain.rounds import ABORT, Ballot, Phase, Stage, TaskState, Update
from fbfl.chain.seats import SeatSet
from fbfl.chain.task import Payment, Task
from fbfl.chain.transactions import Sent
from fbfl.errors import (
    AggregationError,
    ContractRevertError,
    InvalidInputError,
    PayloadNotFoundError,
    PayloadRefusedError,
)
from fbfl.mec.exchange import Exchange, Patience, PatienceInSteps, VotesByTransaction, VoteSender
from fbfl.mec.global_model import GlobalModel
from fbfl.mec.known_results import KnownResults
from fbfl.mec.plan import TaskPlan
from fbfl.mec.samples import SampleStore
from fbfl.storage.codecs import encode_update, max_update_size
from fbfl.storage.fetching import get_all
from fbfl.storage.store import Reference, Store
from fbfl.tensors import Vector

log = logging.getLogger(__name__)

Training = Callable[[Vector, int], Vector]
"""Local training: (global weights [P], round) -> update [P]."""


@dataclass
class _RoundMemory:
    """Payloads and models that a server has fetched and computed in the current round.

    They are kept by content, since a reorganisation may record other updates in the same round.
    """

    round: int
    trained: dict[Reference, tuple[Reference, int] | None] = field(default_factory=dict)
    """Its own update and number of samples, by the global model; None: training gives none that could be published."""
    payloads: dict[Reference, bytes] = field(default_factory=dict)
    absent: set[Reference] = field(default_factory=set)
    """Payloads that could not be fetched in this step: another attempt would take as long again."""
    sound: set[Reference] = field(default_factory=set)
    """Payloads that are updates of this task."""
    whole: set[bytes] = field(default_factory=set)
    """Running hashes over updates of which each is sound."""
    reported: set[tuple[int, str, Reference]] = field(default_factory=set)
    """View, server and payload of those that could not be fetched."""
    looks: Counter[Reference] = field(default_factory=Counter)
    """Times that a payload was looked for again after it was reported."""
    without_update: str = ""
    """Why it has no update, if it has none."""
    without_model: str = ""
    """Why the updates cannot be aggregated, if it has found that they cannot."""
    may_report: bool = True
    """False once a report was refused since this server was alone with earlier ones: a further one would cost gas."""
    models: dict[tuple[Reference, bytes, SeatSet, int | None], GlobalModel | None] = field(default_factory=dict)
    """Models by the parent, the running hash over the updates, the seats of those left out, and the seed of what the
    rule draws; None: no model."""


@dataclass(frozen=True)
class _Value:
    """A value to decide on: the next global model, or to give the round up (`model` is None)."""

    closing: bytes
    """Hash of the block that closed the submissions."""
    missing: SeatSet
    model: GlobalModel | None
    reference: Reference


class MECServer:
    """One server in one task.

    With an `exchange`, updates and votes are signed and recorded together; without, each is a transaction. `election`
    replaces the task's usual way to become leader. `salt_secret` hides commitments in tasks with commit-reveal; it must
    stay the same over a restart. `patience` is for payloads that cannot be fetched at first (default: one more try).
    `results` are known to other servers of this process, too (default: to this one alone). `counted` tells the number
    of samples of the update that was just trained, where `samples` only stand for data elsewhere (default: theirs).
    """

    def __init__(
        self,
        participant: Participant,
        store: Store,
        task: Task,
        plan: TaskPlan,
        training: Training,
        samples: SampleStore,
        *,
        exchange: Exchange | None = None,
        election: Election | None = None,
        salt_secret: bytes = b"",
        patience: Patience | None = None,
        results: KnownResults | None = None,
        counted: Callable[[], int] | None = None,
    ) -> None:
        self.participant = participant
        self.address = participant.address
        """The server's account."""
        self.ledger = participant.ledger
        self.store = store
        self.task = task
        self.plan = plan
        self.training = training
        self.samples = samples
        self._counted = counted
        self._salt_secret = salt_secret
        self._patience = patience or PatienceInSteps(1)
        self._exchange = exchange
        self._votes: VoteSender = exchange or VotesByTransaction(participant, task.id)
        self._election = election or election_of(self.ledger, task, participant.address)
        self._memory = _RoundMemory(0)
        self._told_without = ""
        self._sent: list[Sent] = []
        self.refusals = 0
        """Number of this server's transactions that contracts refused so far."""
        self._results = results or KnownResults(plan)

    def without_update(self, number: int) -> str:
        """Return why the server has no update for a round; nothing if it has one, or has not been asked for one."""
        return self._memory.without_update if self._memory.round == number else ""

    def without_model(self, number: int) -> str:
        """Return why the updates of a round cannot be aggregated; nothing if they can, or if nobody has asked."""
        return self._memory.without_model if self._memory.round == number else ""

    def step(self) -> bool:
        """Take this server's next step, until what it sends is mined; return True if there was one.

        Failing payloads and refused transactions are logged, and the server goes on with the chain's next state; a
        failing node or store raises.
        """
        acted = self.send_step()
        return self.has_succeeded() and acted

    def send_step(self) -> bool:
        """Take the next step as far as sending; return True if there was one. `has_succeeded` is its second half."""
        with self.participant.without_waiting() as self._sent:
            return self._act()

    def has_succeeded(self) -> bool:
        """Wait for what the step has sent; return False if any of it was refused."""
        sent, self._sent = self._sent, []
        succeeded = True
        for each in sent:
            try:
                self.participant.wait(each)
            except ContractRevertError as error:
                self._note_refusal(error)
                succeeded = False
        return succeeded

    def _act(self) -> bool:
        state = self.ledger.confirm(self.task.id)
        if self._memory.round != state.round:
            self._memory = _RoundMemory(state.round)
        self._memory.absent.clear()
        if self._exchange is not None:
            self._exchange.observe(state)
        if self.address not in self.ledger.seats(self.task.id, state.round):
            return False
        if state.phase in (Phase.COMMIT, Phase.SUBMIT) and not self._may_submit(state):
            return False
        try:
            if state.phase is Phase.COMMIT:
                return self._commit(state)
            if state.phase is Phase.SUBMIT:
                return self._submit(state)
            if state.phase is Phase.DECIDE:
                return self._report(state) or self._propose(state) or self._vote(state) or self._accuse(state)
            # The decision is made, but the record may not be complete.
            return self._vote(state) or self._accuse(state) or self._settle(state)
        except ContractRevertError as error:  # some nodes refuse before they mine
            self._note_refusal(error)
            return False

    def _note_refusal(self, error: ContractRevertError) -> None:
        # Another server was faster: the next step looks again. A leader whose model was for other updates than those
        # that count by now (`TasksValueChanged`, `TasksOtherBranch`) computes it anew then.
        if error.error in NOTHING_NEW:
            log.debug("round %d: what %s has sent was recorded already", self._memory.round, self.address)
        else:
            log.info("round %d: %s was refused: %s", self._memory.round, self.address, error)
        self.refusals += 1
        self._memory.may_report &= error.error != "TasksMayNotReport"

    # ------------------------------------------------------------ update

    def _commit(self, state: TaskState) -> bool:
        if self._seat(state) in state.committed or state.now > state.deadline:
            return False
        update = self._trained(state)
        if update is None:
            return False
        domain = self.ledger.domain(self.task.id)
        salt = self._salt(state.round)
        reference, samples = update
        commitment = digests.update_commitment(
            domain, state.round, self.address, reference.digest, reference.size, samples, salt
        )
        self.participant.commit(self.task.id, state.round, commitment)
        return True

    def _submit(self, state: TaskState) -> bool:
        seat = self._seat(state)
        if seat in state.submitted or (state.commit_reveal and seat not in state.committed):
            return False
        if state.now > state.deadline:
            return False  # it would be refused, and its gas lost
        exchange = None if state.commit_reveal else self._exchange
        if exchange is not None and exchange.has_signed_update(state):
            return exchange.record_updates(state)
        update = self._trained(state)
        if update is None:
            return False
        reference, samples = update
        if exchange is not None:
            exchange.post_update(state, reference, samples)
        elif state.commit_reveal:
            self.participant.reveal(self.task.id, state.round, reference, samples, self._salt(state.round))
        else:
            self.participant.submit(self.task.id, state.round, reference, samples)
        return True

    def _trained(self, state: TaskState) -> tuple[Reference, int] | None:
        """Return the published update and its number of samples; None without samples or without the global model."""
        if state.model in self._memory.trained:
            return self._memory.trained[state.model]
        count = len(self.samples.training_set(state.round)[1])
        if not count:
            self._note_no_update("no samples")
            return None
        try:
            parent = self._results.held_once(state.round, state.model, self.store.get(state.model))
            weights = self._results.weights(state.round, parent)
        except PayloadRefusedError as error:
            self._note_no_update(f"the global model cannot be read: {error}")
            return None
        update = self.training(weights, state.round)
        count = count if self._counted is None else self._counted()
        if not np.isfinite(update).all():
            self._note_no_update("training diverged", state.model)
            return None
        try:
            payload = encode_update(self.plan.payload, self.plan.spec, update)
        except InvalidInputError as error:
            self._note_no_update(f"it cannot be published: {error}", state.model)
            return None
        reference = self._publish(payload)
        self._memory.payloads[reference] = self._results.held_once(state.round, reference, payload)
        self._memory.sound.add(reference)
        if count > state.max_samples:
            log.warning(
                "round %d: %s has %d samples, and %d count", state.round, self.address, count, state.max_samples
            )
        self._memory.trained[state.model] = reference, min(count, state.max_samples)
        self._memory.without_update = self._told_without = ""
        return self._memory.trained[state.model]

    def _note_no_update(self, reason: str, trained_from: Reference | None = None) -> None:
        """Note why there is no update, and log it unless it is as before; training from this model again gives none."""
        if trained_from is not None:
            self._memory.trained[trained_from] = None
        if self._told_without != reason:
            log.warning("round %d: %s has no update: %s", self._memory.round, self.address, reason)
        self._memory.without_update = self._told_without = reason

    # ------------------------------------------------------------ aggregate

    def _report(self, state: TaskState) -> bool:
        """Fetch the recorded updates; report those that cannot be fetched, or are invalid, after some patience.

        One time-out alone makes no report: those of honest servers may add up with those of liars. A server that has
        reported a payload looks for it once in every view, and takes the report back when it has come, for good. Where
        the reports have left too few updates, it looks again and again: the round ends unless some are taken back.
        """
        accused, cleared = self._accused(state)
        if state.accumulator in self._memory.whole and not accused:
            return False
        acted = False
        memory = self._memory
        updates = [each for each in self.ledger.updates(self.task.id, state.round) if each.server != self.address]
        wanted = [
            update
            for update in updates
            # Where nothing is left to propose, those who withhold are reported until they pay.
            if (update.seat not in state.missing or update.server in accused or state.has_too_few)
            # Where this view has its report, another attempt would take as long as the first.
            and (
                update.payload in memory.sound
                or _claim(state, update) not in memory.reported
                or (state.has_too_few and update.payload not in memory.payloads and self._may_look(state, update))
            )
        ]
        faults = self._fetch(wanted)
        for update in wanted:
            problem = faults.get(update.payload)
            if problem is None:
                if update.server in accused and state.decision.stage is Stage.PROPOSE:
                    log.info("round %d: %s has the update of %s after all", state.round, self.address, update.server)
                    self.participant.withdraw_report(self.task.id, state.round, update.server, state.accumulator)
                    acted = True
                continue
            claim = _claim(state, update)
            if update.payload not in memory.payloads and not self._patience.is_over((state.round, claim[1:])):
                log.info("round %d: %s misses the update of %s: %s", state.round, self.address, update.server, problem)
                acted |= self._patience.waiting_is_a_step
                continue
            if claim not in memory.reported:
                text = "round %d: %s reports the update of %s: %s"
                log.warning(text, state.round, self.address, update.server, problem)
            memory.reported.add(claim)
            if update.server not in accused | cleared and memory.may_report:
                self.participant.report_missing(self.task.id, state.round, update.server, state.accumulator)
                acted = True
        if all(update.payload in memory.sound for update in updates):
            memory.whole.add(state.accumulator)
        return acted

    def _fetch(self, updates: Sequence[Update]) -> dict[Reference, str]:
        """Fetch and check the updates that are not known to be sound; return what is wrong with their payloads.

        A failure of this server's own store is not the update's fault, and raises.
        """
        largest = max_update_size(self.plan.payload, self.plan.spec)
        memory, faults = self._memory, dict[Reference, str]()
        wanted = list(dict.fromkeys(update.payload for update in updates if update.payload not in memory.sound))
        unknown = [each for each in wanted if each not in memory.payloads and each.size <= largest]
        for reference, payload in get_all(self.store, unknown):
            if isinstance(payload, bytes):
                # If the store fails from now on, do not fetch it again.
                memory.payloads[reference] = self._results.held_once(memory.round, reference, payload)
            else:
                memory.absent.add(reference)
                faults[reference] = str(payload)
        for reference in wanted:
            if reference.size > largest:
                size = reference.size
                faults[reference] = f"it has {size} bytes on record, an update of this model at most {largest}"
            elif reference in memory.payloads:
                problem = self._check(reference)
                if problem is not None:
                    faults[reference] = problem
        return faults

    def _check(self, reference: Reference) -> str | None:
        """Pin and check the payload of an update; return its fault, or None."""
        try:
            self.store.pin(reference)  # a server that has fetched a payload goes on serving it
            self._results.check_update(self._memory.round, self._memory.payloads[reference])
            self._memory.sound.add(reference)
        except (PayloadNotFoundError, PayloadRefusedError) as error:
            return str(error)
        return None

    def _value(self, state: TaskState, missing: SeatSet) -> _Value | None:
        """Return the value to decide on without the updates of the seats in `missing`: the next global model, or giving
        the round up since its rule has none. None if that is not known here, or not yet.
        """
        closing = self.ledger.closing_hash(self.task.id, state.round)
        if closing is None:
            return None  # the chain was reorganised meanwhile: the next step looks again
        seed = self.plan.seed_of_draws(closing, state.accumulator, state.round)
        key = self._parent(state), state.accumulator, missing, seed
        if key not in self._memory.models:
            recorded = self.ledger.updates(self.task.id, state.round)
            if self.ledger.accumulator(self.task.id, state.round) != state.accumulator:
                return None  # the same
            updates = [update for update in recorded if update.seat not in missing]
            known = self._memory.sound | self._memory.absent
            unknown = [update for update in updates if update.payload not in known]
            self._fetch([update for update in unknown if self._may_look(state, update)])
            try:
                payloads = [(update, self._memory.payloads[update.payload]) for update in updates]
            except KeyError:
                return None  # not remembered: the payload may still arrive
            try:
                parent = self._results.held_once(state.round, key[0], self.store.get(key[0]))
                self._memory.models[key] = self._results.next_model(state.round, parent, payloads, seed)
                self._memory.without_model = ""
            except (PayloadNotFoundError, PayloadRefusedError) as error:
                log.warning("round %d: %s cannot aggregate: %s", state.round, self.address, error)
                return None
            except AggregationError as error:  # as every server with the same bytes finds
                log.warning("round %d: %s would give the round up: %s", state.round, self.address, error)
                self._memory.models[key], self._memory.without_model = None, str(error)
        model = self._memory.models[key]
        return _Value(closing, missing, model, Reference(short_text(ABORT), 0) if model is None else model.reference)

    def _may_look(self, state: TaskState, update: Update) -> bool:
        """Return True if it is time to look for an update: one that was reported is looked for after some patience
        again, and not at every step, each of which may last as long as the store waits for it.
        """
        reported = _claim(state, update) in self._memory.reported
        if update.payload in self._memory.payloads or not reported:
            return True
        if not self._patience.is_over(("again", state.round, update.payload, self._memory.looks[update.payload])):
            return False
        self._memory.looks[update.payload] += 1
        return True

    def _digest(self, state: TaskState, value: _Value) -> bytes:
        return digests.value_digest(
            self.ledger.domain(self.task.id),
            state.round,
            parent=self._parent(state).digest,
            closing=value.closing,
            accumulator=state.accumulator,
            missing=value.missing.word,
            rule=self.task.rule,
            rule_params=self.task.rule_params,
            model=value.reference.digest,
            model_size=value.reference.size,
        )

    def _parent(self, state: TaskState) -> Reference:
        (opened,) = self.ledger.round_events(self.task.id, state.round, "RoundOpened")
        return Reference(opened.args["parent"], opened.args["parentSize"])

    # ------------------------------------------------------------ consensus

    def _propose(self, state: TaskState) -> bool:
        decision = state.decision
        if decision.stage is not Stage.PROPOSE or state.now > decision.deadline or state.has_too_few:
            return False
        value = self._value(state, state.missing)
        if value is None:
            return False
        if is_barred(self.ledger, self.task.id, state.round, self.address):
            return False
        proof = self._election(state)
        if proof is None:
            return self.task.consensus == "pow"  # the search goes on
        if value.model is not None:
            value = replace(value, reference=self.store.put(self._proposal(value.model)))
        digest = self._digest(state, value)
        self.participant.propose(self.task.id, state.round, value.reference, value.closing, digest, proof)
        return True

    def _vote(self, state: TaskState) -> bool:
        stage = self._voting_stage(state)
        if stage is None or state.now > state.decision.deadline:
            return False
        if self._votes.has_voted(state, stage):
            return self._votes.record(state, stage)
        value = self._value(state, state.proposal.missing)
        if value is None:
            return False  # accept only what was recomputed; reject only what was found to differ
        right = self._digest(state, value) == state.decision.proposal
        if right and value.model is not None:
            self._publish(value.model.payload)  # so that every voter serves it, not only its proposer
        self._votes.send(state, self._ballot(state, stage, right))
        return True

    def _voting_stage(self, state: TaskState) -> Stage | None:
        """Return the stage whose votes the committee casts, or still records after the round is final."""
        stage = state.decision.stage
        if stage is Stage.DECIDED and state.phase is Phase.FINAL:
            stage = Stage.COMMIT if self.task.consensus == "pbft" else Stage.PREPARE
        return stage if state.decision.round == state.round and stage in (Stage.PREPARE, Stage.COMMIT) else None

    def _accuse(self, state: TaskState) -> bool:
        return self._exchange is not None and self._exchange.report_equivocation(state.round)

    # ------------------------------------------------------------ the others rely on these

    def _publish(self, payload: bytes) -> Reference:
        """Publish a payload, its own update or a model that it votes for, so that the others can fetch it."""
        return self.store.put(payload)

    def _proposal(self, model: GlobalModel) -> bytes:
        """Return the payload to propose for the next global model."""
        return model.payload

    def _ballot(self, state: TaskState, stage: Stage, right: bool) -> Ballot:
        """Return the vote on a proposal that was found right, or wrong."""
        return Ballot.on(self.task.id, state, stage, right)

    # ------------------------------------------------------------ rewards

    def _settle(self, state: TaskState) -> bool:
        """Settle the reward of a round that this server led; anyone could."""
        if state.phase is not Phase.FINAL or state.proposal.proposer != self.address:
            return False
        if self.ledger.payment(self.task.id, state.round) is not Payment.DUE:
            return False
        self.participant.settle(self.task.id, state.round)
        return True

    # ------------------------------------------------------------ this server on the chain

    def _seat(self, state: TaskState) -> int:
        return self.ledger.seats(self.task.id, state.round)[self.address]

    def _may_submit(self, state: TaskState) -> bool:
        return self.address in self.ledger.submitters(self.task.id, state.round)

    def _accused(self, state: TaskState) -> tuple[set[str], set[str]]:
        """Return the servers whose payloads this server has reported in this round, and those of whom it has taken that
        back: these it cannot report again.
        """
        reported, withdrawn = (
            {
                event.args["server"]
                for event in self.ledger.round_events(self.task.id, state.round, name)
                if event.args["reporter"] == self.address
            }
            for name in ("PayloadReported", "ReportWithdrawn")
        )
        return reported - withdrawn, withdrawn

    def _salt(self, round_number: int) -> bytes:
        return keccak(self._salt_secret + self.task.id.to_bytes(32) + round_number.to_bytes(4))


def _claim(state: TaskState, update: Update) -> tuple[int, str, Reference]:
    """Return what a server remembers of a report: view, server and payload."""
    return state.decision.view, update.server, update.payload
