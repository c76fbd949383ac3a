"""A ledger in memory: what the contracts do with one task, for tests that need no chain.

`Ledger` computes everything from events and from one state, and so it does here; only the contracts are replaced, by
`Contracts`. What servers and their exchange never meet is left out: the registry with its stakes, the bars of members
that report too much, puzzles and miners. `tests/unit/chain/test_fake_ledger.py` plays the same script on both.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from eth_hash.auto import keccak

from fbfl.chain import digests
from fbfl.chain.digests import Domain, short_text
from fbfl.chain.ledger import Ledger
from fbfl.chain.logs import Event
from fbfl.chain.participant import Participant
from fbfl.chain.rounds import ZERO_ADDRESS, Ballot, Decision, Phase, Proposal, Stage, TaskState
from fbfl.chain.seats import SeatSet
from fbfl.chain.signatures import SignedUpdate, SignedVote, signer_of_update, signer_of_vote
from fbfl.chain.task import Payment, Task
from fbfl.errors import ContractRevertError
from fbfl.learning.sampling import number_drawn
from fbfl.randomness import drawn_seats
from fbfl.storage.store import Reference

NOTHING = bytes(32)
FOR_EVER = 2**32 - 1


@dataclass(frozen=True)
class Terms:
    """Terms of the task beside what `Task` says; times in seconds."""

    min_updates: int = 1
    max_payload: int = 10_000
    max_samples: int = 1_000
    submit_window: int = 1_000
    commit_window: int = 0
    timeout: int = 100
    timeout_cap: int = 400
    max_views: int = 5


@dataclass(frozen=True)
class Member:
    """`IFederatedTasks.Member`."""

    seat: int
    since: int
    until: int


class Contracts:
    """FederatedTasks and the consensus of one task; `emit` takes an event's name and arguments."""

    def __init__(self, task: Task, terms: Terms, domain: Domain, emit: Callable[[str, dict[str, Any]], None]) -> None:
        self.task, self.terms, self.domain = task, terms, domain
        self.now, self.block = 1_000, 1
        self.given_hash: bytes | None = None
        self._emitted = emit
        self.members: dict[str, Member] = {}
        self.seats = SeatSet()
        self.round, self.phase, self.deadline, self.closing_block = 0, Phase.IDLE, 0, 0
        self.closing_hash = NOTHING
        self.committee = self.drawn = self.committed = self.submitted = self.missing = SeatSet()
        self.commitments: dict[str, bytes] = {}
        self.reports: dict[int, set[str]] = {}
        self.reported: set[tuple[str, str]] = set()
        self.paid = SeatSet()
        self.shown: set[tuple[int, int, Stage, str]] = set()
        self.accumulator = NOTHING
        self.model = task.model
        self.proposal = Proposal(ZERO_ADDRESS, Reference(NOTHING, 0), SeatSet())
        self.settled: set[int] = set()
        self.decided_round, self.view, self.stage, self.decided_in = 0, 0, Stage.NONE, Stage.NONE
        self.size = self.quorum = self.view_deadline = 0
        self.barred: set[str] = set()
        self.votes: dict[str, bool] | None = None
        self.value, self.proposer, self.prepared = NOTHING, ZERO_ADDRESS, NOTHING

    @property
    def block_hash(self) -> bytes:
        return self.given_hash or keccak(self.block.to_bytes(8, "big") + self.now.to_bytes(8, "big"))

    @property
    def byzantine(self) -> bool:
        return self.task.consensus == "pbft"

    def state(self) -> TaskState:
        """`stateOf`."""
        proposed = self.stage not in (Stage.NONE, Stage.PROPOSE)
        votes = (self.votes or {}) if proposed else {}
        decision = Decision(
            round=self.decided_round,
            view=self.view,
            stage=self.stage,
            quorum=self.quorum,
            accepts=sum(votes.values()),
            rejects=len(votes) - sum(votes.values()),
            deadline=self.view_deadline,
            leader=self._leader(),
            proposer=self.proposer if proposed else ZERO_ADDRESS,
            proposal=self.value if proposed else NOTHING,
            prepared=self.prepared,
        )
        return TaskState(
            round=self.round,
            phase=self.phase,
            commit_reveal=self.terms.commit_window > 0,
            awaited=len(self.drawn),
            min_updates=self.terms.min_updates,
            deadline=self.deadline,
            closing_block=self.closing_block,
            max_payload=self.terms.max_payload,
            max_samples=self.terms.max_samples,
            committee=self.committee,
            committed=self.committed,
            submitted=self.submitted,
            missing=self._missing(),
            accumulator=self.accumulator,
            model=self.model,
            proposal=self.proposal,
            decision=decision,
            block=self.block,
            now=self.now,
        )

    # ------------------------------------------------------------ members and rounds

    def join(self, server: str) -> None:
        seat = next(n for n in range(240) if n not in self.seats)
        self.seats |= SeatSet.of([seat])
        self.members[server] = Member(seat, self.round + 1, FOR_EVER)
        self._emit("MemberJoined", server=server, seat=seat, since=self.round + 1)

    def resign(self, server: str) -> None:
        member = self.members[server]
        self.members[server] = replace(member, until=self.round + 1)
        self.seats -= SeatSet.of([member.seat])
        self._emit("MemberLeft", server=server, seat=member.seat, until=self.round + 1)

    def open_round(self) -> None:
        _require(self.phase.is_over, "TasksWrongPhase")
        self.round += 1
        self.phase = Phase.COMMIT if self.terms.commit_window else Phase.SUBMIT
        self.deadline = self.now + (self.terms.commit_window or self.terms.submit_window)
        self.committee = self.seats
        self.committed = self.submitted = self.missing = SeatSet()
        self.reports, self.reported, self.paid = {}, set(), SeatSet()
        self.accumulator = digests.initial_accumulator(self.domain, self.round)
        parent = {"parent": self.model.digest, "parentSize": self.model.size}
        self._round_event("RoundOpened", **parent, committee=self.committee.word, deadline=self.deadline)
        self.drawn = self.committee
        if self.task.draws:
            number = number_drawn(len(self.committee), self.task.participation, self.terms.min_updates)
            self.drawn = SeatSet.of(drawn_seats(self.committee, number, self.task.seed, self.round))
            self._round_event("ParticipantsDrawn", drawn=self.drawn.word)

    def commit(self, server: str, round_number: int, commitment: bytes) -> None:
        self._is_open(round_number, Phase.COMMIT)
        _require(self._seat(server) in self.drawn, "TasksNotDrawn")
        _require(self._seat(server) not in self.committed, "TasksAlreadySubmitted")
        self.committed |= SeatSet.of([self._seat(server)])
        self.commitments[server] = commitment
        self._round_event("UpdateCommitted", server=server, commitment=commitment)

    def submit(self, server: str, round_number: int, update: Reference, samples: int) -> None:
        self._is_open(round_number, Phase.SUBMIT)
        _require(not self.terms.commit_window, "TasksWrongCommitment")
        self._submitted_alone(server, update, samples)

    def reveal(self, server: str, round_number: int, update: Reference, samples: int, salt: bytes) -> None:
        self._is_open(round_number, Phase.SUBMIT)
        place = self.domain, round_number, server
        commitment = digests.update_commitment(*place, update.digest, update.size, samples, salt)
        right = self._seat(server) in self.committed and self.commitments[server] == commitment
        _require(right, "TasksWrongCommitment")
        self._submitted_alone(server, update, samples)

    def submit_batch(self, round_number: int, updates: Sequence[SignedUpdate]) -> None:
        self._is_open(round_number, Phase.SUBMIT)
        _require(not self.terms.commit_window, "TasksWrongCommitment")
        signed = [replace(u, task=self.task.id, round=self.round, parent=self.model.digest) for u in updates]
        entries = [(signer_of_update(self.domain, each), each.payload, each.samples) for each in signed]
        for server, update, samples in entries:
            self._check_update(update, samples)
            _require(self._seat(server) in self.drawn, "TasksNotDrawn")
        recorded = []
        for server, update, samples in entries:
            if self._seat(server) not in self.submitted:
                self._count_update(server, update, samples)
                recorded.append(_entry(server, update, samples))
        _require(bool(recorded), "TasksNothingNew")
        self._round_event("UpdatesSubmitted", updates=recorded)

    def report_missing(self, reporter: str, round_number: int, server: str, accumulator: bytes) -> None:
        self._is_deciding(round_number)
        reports = self._reports(reporter, server, accumulator)
        _require((reporter, server) not in self.reported, "TasksAlreadyReported")
        self.reported.add((reporter, server))
        reports.add(reporter)
        self._round_event("PayloadReported", server=server, reporter=reporter)
        if len(reports) == self._reports_needed():
            self.missing |= SeatSet.of([self._seat(server)])
            self._round_event("PayloadMissing", server=server)
        if len(reports) >= self._reports_to_slash():
            self.paid |= SeatSet.of([self._seat(server)])
        if self._is_lost(ends_view=False):
            self._give_up()

    def withdraw_report(self, reporter: str, round_number: int, server: str, accumulator: bytes) -> None:
        self._is_deciding(round_number)
        reports = self._reports(reporter, server, accumulator)
        _require(self.stage is Stage.PROPOSE, "TasksAlreadyProposed")
        _require(reporter in reports, "TasksNotReported")
        reports.remove(reporter)
        self._round_event("ReportWithdrawn", server=server, reporter=reporter)
        if len(reports) + 1 == self._reports_needed():
            self.missing -= SeatSet.of([self._seat(server)])

    def poke(self) -> None:
        _require(not self.phase.is_over, "TasksWrongPhase")
        if self.phase is Phase.DECIDE:
            if self._is_lost(ends_view=True):
                self._give_up()
            else:
                _require(self.now > self.view_deadline, "ConsensusNotDue")
                self._next_view()
            return
        committing = self.phase is Phase.COMMIT
        done = len(self.committed if committing else self.submitted)
        _require(self.state().is_complete or self.now > self.deadline, "TasksNotDue")
        if done < self.terms.min_updates:
            self._abort("too few updates")
        elif committing:
            self.phase = Phase.SUBMIT
            self.deadline = self.now + self.terms.submit_window
        else:
            self._close(done)

    # ------------------------------------------------------------ decisions

    def propose(self, proposer: str, round_number: int, model: Reference, closing: bytes, value: bytes) -> None:
        self._is_deciding(round_number)
        self._seat(proposer)
        _require(closing == self.closing_hash, "TasksOtherBranch")
        _require(model.size <= self.terms.max_payload, "TasksPayloadTooLarge")
        missing = self._missing()
        _require(len(self.submitted - missing) >= self.terms.min_updates, "TasksTooFewUpdates")
        digest = digests.value_digest(
            self.domain,
            self.round,
            parent=self.model.digest,
            closing=closing,
            accumulator=self.accumulator,
            missing=missing.word,
            rule=self.task.rule,
            rule_params=self.task.rule_params,
            model=model.digest,
            model_size=model.size,
        )
        _require(digest == value, "TasksValueChanged")
        _require(self.stage is Stage.PROPOSE, "ConsensusWrongStage")
        _require(self.now <= self.view_deadline, "ConsensusDeadlinePassed")
        _require(proposer not in self.barred, "ConsensusBarred")
        _require(self.prepared in (NOTHING, digest), "ConsensusMustRepropose")
        _require(not self.byzantine or proposer == self._leader(), "ConsensusNotLeader")
        self.proposal = Proposal(proposer, model, missing)
        what = {"valueDigest": digest, "missing": missing.word}
        if model.size:
            self._round_event("ModelProposed", proposer=proposer, model=model.digest, modelSize=model.size, **what)
        else:
            self._round_event("AbortProposed", proposer=proposer, reason=model.digest, **what)
        self.stage, self.value, self.proposer = Stage.PREPARE, digest, proposer
        self.view_deadline = self.now + self._timeout()
        self._round_event("Proposed", proposer=proposer, view_=self.view, valueDigest=digest)
        self.votes = {proposer: True}
        if self.quorum == 1:
            self._on_quorum()

    def vote(self, voter: str, round_number: int, view: int, stage: Stage, value: bytes, accept: bool) -> None:
        votes = self._voting(round_number, view, stage, value)
        self._seat(voter, "ConsensusNotMember")
        _require(voter not in votes, "ConsensusAlreadyVoted")
        votes[voter] = accept
        at = {"view_": view, "stage": int(stage), "valueDigest": value, "accept": accept}
        self._round_event("Voted", voter=voter, **at)
        if self.stage is Stage.DECIDED:
            return
        if accept and sum(votes.values()) == self.quorum:
            self._on_quorum()
        elif not accept and len(votes) - sum(votes.values()) == self.quorum:
            self._next_view()

    def vote_signed(
        self, round_number: int, view: int, stage: Stage, value: bytes, signed: Sequence[SignedVote], accept: bool
    ) -> None:
        votes = self._voting(round_number, view, stage, value)
        domain = replace(self.domain, ledger=self.task.consensus_address)
        about = self.task.id, round_number, view, stage, value, accept
        signers = [signer_of_vote(domain, SignedVote(*about, vote.signature)) for vote in signed]
        seats = {voter: self._seat(voter, "ConsensusNotMember") for voter in signers}
        new = {voter for voter in signers if voter not in votes}
        _require(bool(new), "ConsensusNothingNew")
        votes |= dict.fromkeys(new, accept)
        voters = SeatSet.of(seats[voter] for voter in new).word
        name = "VotesRecorded" if accept else "RejectionsRecorded"
        self._round_event(name, view_=view, stage=int(stage), valueDigest=value, voters=voters)
        accepts = sum(votes.values())
        if self.stage is not Stage.DECIDED and accept and accepts >= self.quorum:
            self._on_quorum()
        elif self.stage is not Stage.DECIDED and not accept and len(votes) - accepts >= self.quorum:
            self._next_view()

    def report_equivocation(self, first: SignedVote, second: SignedVote) -> None:
        domain = replace(self.domain, ledger=self.task.consensus_address)
        voter = signer_of_vote(domain, first)
        same = voter == signer_of_vote(domain, second)
        _require(same and first.conflicts_with(second), "ConsensusNoEquivocation")
        _require(voter in self.members, "ConsensusNotMember")
        misconduct = first.round, first.view, first.stage, voter
        _require(misconduct not in self.shown, "ConsensusNothingNew")
        self.shown.add(misconduct)
        where = {"view_": first.view, "stage": int(first.stage)}
        self._emit("Equivocation", round=first.round, voter=voter, **where)

    # ------------------------------------------------------------ inside

    def _emit(self, name: str, **args: Any) -> None:
        self._emitted(name, {"task": self.task.id, **args})

    def _round_event(self, name: str, **args: Any) -> None:
        self._emit(name, round=self.round, **args)

    def _seat(self, server: str, error: str = "TasksNotMember") -> int:
        member = self.members.get(server)
        if member is None or not member.since <= self.round < member.until:
            raise ContractRevertError(error, {})
        return member.seat

    def _is_open(self, round_number: int, phase: Phase) -> None:
        _require(round_number == self.round, "TasksWrongRound")
        _require(phase is self.phase, "TasksWrongPhase")
        _require(self.now <= self.deadline, "TasksDeadlinePassed")

    def _is_deciding(self, round_number: int) -> None:
        _require(round_number == self.round, "TasksWrongRound")
        _require(self.phase is Phase.DECIDE, "TasksWrongPhase")

    def _submitted_alone(self, server: str, update: Reference, samples: int) -> None:
        _require(self._seat(server) in self.drawn, "TasksNotDrawn")
        _require(self._seat(server) not in self.submitted, "TasksAlreadySubmitted")
        self._check_update(update, samples)
        self._count_update(server, update, samples)
        self._round_event("UpdateSubmitted", **_entry(server, update, samples))

    def _check_update(self, update: Reference, samples: int) -> None:
        _require(1 <= update.size <= self.terms.max_payload, "TasksPayloadTooLarge")
        _require(1 <= samples <= self.terms.max_samples, "TasksBadSampleCount")

    def _count_update(self, server: str, update: Reference, samples: int) -> None:
        self.submitted |= SeatSet.of([self._seat(server)])
        self.accumulator = digests.accumulate(self.accumulator, [(server, update.digest, update.size, samples)])

    def _reports(self, reporter: str, server: str, accumulator: bytes) -> set[str]:
        self._seat(reporter)
        _require(self._seat(server) in self.submitted, "TasksNotSubmitted")
        _require(reporter != server, "TasksNotMember")
        _require(accumulator == self.accumulator, "TasksOtherUpdates")
        return self.reports.setdefault(self.members[server].seat, set())

    def _reports_needed(self) -> int:
        others = self.size - 1
        return others // 3 + 1 if self.byzantine else others // 2 + 1

    def _reports_to_slash(self) -> int:
        faulty = (self.size - 1) // 3
        return 2 * faulty + 1 if faulty else 2

    def _missing(self) -> SeatSet:
        """A prepared value must be proposed again as it was, so what was missing then holds."""
        if self.prepared != NOTHING and self.decided_round == self.round:
            return self.proposal.missing
        return self.missing

    def _is_lost(self, ends_view: bool) -> bool:
        is_over = ends_view and self.now > self.view_deadline
        return self.state().has_too_few and (is_over or not self.missing - self.paid)

    def _give_up(self) -> None:
        self._abort("too few updates")
        self.votes, self.stage = None, Stage.DECIDED

    def _abort(self, reason: str | bytes) -> None:
        self.phase = Phase.ABORTED
        self._round_event("RoundAborted", reason=short_text(reason) if isinstance(reason, str) else reason)

    def _close(self, updates: int) -> None:
        self.phase, self.closing_block, self.closing_hash = Phase.DECIDE, self.block, self.block_hash
        self._round_event("SubmissionsClosed", updates=updates, accumulator=self.accumulator)
        self.decided_round, self.view, self.stage, self.decided_in = self.round, 0, Stage.PROPOSE, Stage.NONE
        self.size = len(self.committee)
        self.quorum = (2 * self.size - 1) // 3 + 1 if self.byzantine else self.size // 2 + 1
        self.view_deadline = self.now + self.terms.timeout
        self.barred, self.votes, self.prepared = set(), None, NOTHING
        self._view_started()

    def _view_started(self) -> None:
        self._round_event("ViewStarted", view_=self.view, leader=self._leader(), deadline=self.view_deadline)

    def _leader(self) -> str:
        if not self.byzantine or self.stage is Stage.NONE:
            return ZERO_ADDRESS
        sitting = {m.seat: s for s, m in self.members.items() if m.seat in self.committee}
        return sitting[sorted(sitting)[(self.decided_round + self.view) % len(sitting)]]

    def _timeout(self) -> int:
        return min(self.terms.timeout << self.view, self.terms.timeout_cap)

    def _voting(self, round_number: int, view: int, stage: Stage, value: bytes) -> dict[str, bool]:
        _require(round_number == self.decided_round, "ConsensusWrongRound")
        _require(view == self.view, "ConsensusWrongView")
        counted = self.decided_in if self.stage is Stage.DECIDED else self.stage
        _require(stage is counted and stage in (Stage.PREPARE, Stage.COMMIT), "ConsensusWrongStage")
        _require(self.now <= self.view_deadline, "ConsensusDeadlinePassed")
        _require(self.votes is not None and value == self.value, "ConsensusWrongDigest")
        assert self.votes is not None
        return self.votes

    def _on_quorum(self) -> None:
        if self.byzantine and self.stage is Stage.PREPARE:
            self.prepared = self.value
            self._round_event("Prepared", view_=self.view, valueDigest=self.value)
            self.stage, self.votes = Stage.COMMIT, {}
            self.view_deadline = self.now + self._timeout()
            return
        self.decided_in, self.stage = self.stage, Stage.DECIDED
        leader, model, missing = self.proposal.proposer, self.proposal.model, self.proposal.missing
        if not model.size:
            self._abort(model.digest)
            return
        self.phase, self.model = Phase.FINAL, model
        new = {"valueDigest": self.value, "model": model.digest, "modelSize": model.size, "missing": missing.word}
        self._round_event("RoundFinalized", leader=leader, **new)

    def _next_view(self) -> None:
        blamed = self._leader() if self.stage is Stage.PROPOSE else self.proposer
        if blamed != ZERO_ADDRESS:
            self.barred.add(blamed)
            self._round_event("ProposerBarred", proposer=blamed, view_=self.view)
        self.votes = None
        self.view += 1
        given_up = self.view >= self.terms.max_views
        self.stage = Stage.DECIDED if given_up else Stage.PROPOSE
        self.view_deadline = self.now + self._timeout()
        if given_up:
            self._abort("too many views")
        else:
            self._view_started()


class FakeLedger(Ledger):
    """One task on contracts in memory; `contracts` may be asked and told anything that a test needs."""

    def __init__(self, task: Task, terms: Terms | None = None, *, chain_id: int = 31337, address: str = "") -> None:
        self.chain_id = chain_id
        self.addresses = {}
        self.tasks = SimpleNamespace(address=address or "0x" + "11" * 20)  # type: ignore[assignment]
        self._about = task
        self._events_of_name: dict[str, list[Event]] = {}
        self._events_of_round: dict[tuple[int, int], list[Event]] = {}
        self._answers = {}
        self._scanned = None
        self._forgotten = {}
        self._complete = set()
        self.pays = Payment.NOT_PROMISED
        """State of the reward of a final round that is not divided yet."""
        domain = Domain(chain_id, self.tasks.address, task.id)
        self.contracts = Contracts(task, terms or Terms(), domain, self._keep)

    def task(self, task: int) -> Task:
        assert task == self._about.id
        return self._about

    def state(self, task: int) -> TaskState:
        assert task == self._about.id
        return self.contracts.state()

    def confirm(self, task: int) -> TaskState:
        return self.state(task)

    def domain(self, task: int) -> Domain:
        assert task == self._about.id
        return super().domain(task)

    def seats(self, task: int, round_number: int) -> Mapping[str, int]:
        assert task == self._about.id
        return super().seats(task, round_number)

    def round_events(self, task: int, round_number: int, *names: str) -> Iterator[Event]:
        assert task == self._about.id
        return super().round_events(task, round_number, *names)

    def payment(self, task: int, round_number: int) -> Payment:
        (_final,) = self.round_events(task, round_number, "RoundFinalized")
        return Payment.SETTLED if round_number in self.contracts.settled else self.pays

    def travel(self, seconds: int) -> None:
        """Let time pass."""
        self.contracts.now += seconds

    def snapshot(self) -> dict[str, Any]:
        """Return what the chain holds, for `reorganise`."""
        kept = {name: value for name, value in vars(self.contracts).items() if name != "_emitted"}
        return copy.deepcopy({"contracts": kept, "events": self._events_of_name, "of_round": self._events_of_round})

    def reorganise(self, snapshot: dict[str, Any]) -> None:
        """Go back to where the chain stood, as a reorganisation does before it goes on otherwise."""
        again = copy.deepcopy(snapshot)
        vars(self.contracts).update(again["contracts"])
        self._events_of_name, self._events_of_round = again["events"], again["of_round"]
        self._answers = {}

    def _refresh(self) -> None:
        """Nothing to read: events are kept as they happen."""

    def _keep(self, name: str, args: dict[str, Any]) -> None:
        here = self.contracts
        place = sum(map(len, self._events_of_name.values()))
        event = Event(name, args, self.tasks.address, here.block, here.block_hash, bytes(32), place)
        self._events_of_name.setdefault(name, []).append(event)
        self._answers = {}
        if "round" in args:
            self._events_of_round.setdefault((args["task"], args["round"]), []).append(event)


class FakeParticipant(Participant):
    """One account on a `FakeLedger`; `sent` are the names of what it has sent, refused transactions included."""

    def __init__(self, ledger: FakeLedger, address: str) -> None:
        self.ledger: FakeLedger = ledger
        self.address = address
        self.sent: list[str] = []

    def join(self, task: int) -> None:
        self._to("join", task).join(self.address)

    def resign(self, task: int) -> None:  # type: ignore[override]
        self._to("resign", task).resign(self.address)

    def open_round(self, task: int) -> None:
        self._to("open_round", task).open_round()

    def poke(self, task: int) -> None:
        self._to("poke", task).poke()

    def submit(self, task: int, round_number: int, update: Reference, samples: int) -> None:
        self._to("submit", task).submit(self.address, round_number, update, samples)

    def commit(self, task: int, round_number: int, commitment: bytes) -> None:
        self._to("commit", task).commit(self.address, round_number, commitment)

    def reveal(self, task: int, round_number: int, update: Reference, samples: int, salt: bytes) -> None:
        self._to("reveal", task).reveal(self.address, round_number, update, samples, salt)

    def submit_batch(self, task: int, round_number: int, updates: Sequence[SignedUpdate]) -> None:
        self._to("submit_batch", task).submit_batch(round_number, updates)

    def report_missing(self, task: int, round_number: int, server: str, accumulator: bytes) -> None:
        self._to("report_missing", task).report_missing(self.address, round_number, server, accumulator)

    def withdraw_report(self, task: int, round_number: int, server: str, accumulator: bytes) -> None:
        self._to("withdraw_report", task).withdraw_report(self.address, round_number, server, accumulator)

    def propose(
        self, task: int, round_number: int, model: Reference, closing: bytes, value: bytes, proof: bytes
    ) -> None:
        assert isinstance(proof, bytes)
        self._to("propose", task).propose(self.address, round_number, model, closing, value)

    def vote(self, ballot: Ballot) -> None:
        at = ballot.round, ballot.view, ballot.stage, ballot.value_digest
        self._to("vote", ballot.task).vote(self.address, *at, ballot.accept)

    def vote_signed(self, task: int, state: TaskState, stage: Stage, votes: Sequence[SignedVote]) -> None:
        decision = state.decision
        self._to("vote_signed", task).vote_signed(state.round, decision.view, stage, decision.proposal, votes, True)

    def reject_signed(self, task: int, state: TaskState, stage: Stage, votes: Sequence[SignedVote]) -> None:
        decision = state.decision
        self._to("reject_signed", task).vote_signed(state.round, decision.view, stage, decision.proposal, votes, False)

    def report_equivocation(self, task: int, first: SignedVote, second: SignedVote) -> None:
        self._to("report_equivocation", task).report_equivocation(first, second)

    def settle(self, task: int, round_number: int) -> None:
        contracts = self._to("settle", task)
        (_final,) = self.ledger.round_events(task, round_number, "RoundFinalized")
        _require(round_number not in contracts.settled, "RewardsAlreadySettled")
        contracts.settled.add(round_number)

    def _to(self, call: str, task: int) -> Contracts:
        assert task == self.ledger.contracts.task.id
        self.sent.append(call)
        self.ledger.contracts.block += 1
        return self.ledger.contracts


def _entry(server: str, update: Reference, samples: int) -> dict[str, Any]:
    return {"server": server, "digest": update.digest, "size": update.size, "samples": samples}


def _require(holds: bool, error: str) -> None:
    if not holds:
        raise ContractRevertError(error, {})
