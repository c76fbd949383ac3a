"""A task's round as its contracts have it: phase, decision, and what was recorded."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NoReturn

from fbfl.chain.head import Head
from fbfl.chain.seats import SeatSet
from fbfl.errors import ChainError
from fbfl.storage.store import Reference

ZERO_ADDRESS = "0x" + "0" * 40


class Answered(IntEnum):
    """A number by which contracts answer with one of a few names."""

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ChainError(f"the node says that a contract answers with {cls.__name__.lower()} {value}")


class Phase(Answered):
    """`IFederatedTasks.Phase`: the phase of a round."""

    IDLE = 0
    COMMIT = 1
    SUBMIT = 2
    DECIDE = 3
    FINAL = 4
    ABORTED = 5

    @property
    def is_over(self) -> bool:
        """True if the next round may open."""
        return self in (Phase.IDLE, Phase.FINAL, Phase.ABORTED)


class Stage(Answered):
    """`IConsensus.Stage`: the stage of the decision on a round."""

    NONE = 0
    PROPOSE = 1
    PREPARE = 2
    COMMIT = 3
    DECIDED = 4


@dataclass(frozen=True)
class Decision:
    """`IConsensus.Status`: the decision on the current round."""

    round: int
    view: int
    stage: Stage
    quorum: int
    accepts: int
    rejects: int
    deadline: int
    leader: str
    proposer: str
    proposal: bytes
    prepared: bytes


@dataclass(frozen=True)
class Proposal:
    """`IFederatedTasks.Proposal`: the model before the committee, or the last one that was.

    One of size 0 is no model but a reason to give the round up.
    """

    proposer: str
    model: Reference
    missing: SeatSet
    """The seats whose updates it leaves out."""


ABORT = "the updates cannot be aggregated"
"""Reason to give up a round whose updates the task's rule cannot aggregate, as every server finds for itself."""


@dataclass(frozen=True)
class TaskState:
    """`IFederatedTasks.State`: all that a server needs to take its next step."""

    round: int
    phase: Phase
    commit_reveal: bool
    awaited: int
    """Number of members that may submit: all, or those that were drawn."""
    min_updates: int
    deadline: int
    closing_block: int
    max_payload: int
    max_samples: int
    committee: SeatSet
    committed: SeatSet
    submitted: SeatSet
    missing: SeatSet
    """The seats whose updates the next proposal leaves out."""
    accumulator: bytes
    model: Reference
    proposal: Proposal
    decision: Decision
    block: int
    """The block at which this was read."""
    now: int
    """Its time (s)."""

    @property
    def is_complete(self) -> bool:
        """True if all from whom the current phase expects a commitment, or an update, have made it."""
        if self.phase is Phase.COMMIT:
            return len(self.committed) >= self.awaited
        expected = len(self.committed) if self.commit_reveal else self.awaited
        return self.phase is Phase.SUBMIT and len(self.submitted) >= expected

    @property
    def counted(self) -> SeatSet:
        """The seats whose updates the next proposal has to count."""
        return self.submitted - self.missing

    @property
    def has_too_few(self) -> bool:
        """True if nobody can propose, as too few updates are left; what is prepared, or voted on, counts its own."""
        waiting = self.phase is Phase.DECIDE and self.decision.stage is Stage.PROPOSE
        return waiting and not any(self.decision.prepared) and len(self.counted) < self.min_updates


@dataclass(frozen=True)
class Update:
    """A recorded update."""

    server: str
    seat: int
    payload: Reference
    samples: int
    block: int
    transaction: str


@dataclass(frozen=True)
class Ballot:
    """`IConsensus.Vote`: what a member votes on the proposal of a view."""

    task: int
    round: int
    view: int
    stage: Stage
    value_digest: bytes
    accept: bool

    @classmethod
    def on(cls, task: int, state: TaskState, stage: Stage, accept: bool) -> "Ballot":
        """Return a ballot on the proposal that is before the committee."""
        return Ballot(task, state.round, state.decision.view, stage, state.decision.proposal, accept)

    def as_tuple(self) -> tuple[int, int, int, int, bytes, bool]:
        """Return the form in which contracts take it."""
        return (self.task, self.round, self.view, int(self.stage), self.value_digest, self.accept)

    def conflicts_with(self, other: "Ballot") -> bool:
        """Return True if no honest member can have signed both: see `IConsensus.reportEquivocation`."""
        if (self.task, self.round, self.view, self.stage) != (other.task, other.round, other.view, other.stage):
            return False
        if self.value_digest == other.value_digest:
            return self.accept != other.accept
        return self.accept and other.accept


def state_of(found: Any, head: Head) -> TaskState:
    """Return the state that `FederatedTasks.stateOf` has answered at a block."""
    in_round, proposal, decision = found.round, found.proposal, found.decision
    return TaskState(
        round=in_round.number,
        phase=Phase(in_round.phase),
        commit_reveal=in_round.commitReveal,
        awaited=in_round.awaited,
        min_updates=in_round.minUpdates,
        deadline=in_round.deadline,
        closing_block=in_round.closingBlock,
        max_payload=in_round.maxPayload,
        max_samples=in_round.maxSamples,
        committee=SeatSet(found.committee),
        committed=SeatSet(found.committed),
        submitted=SeatSet(found.submitted),
        missing=SeatSet(found.missing),
        accumulator=found.accumulator,
        model=Reference(found.model, found.modelSize),
        proposal=Proposal(
            proposer=proposal.proposer,
            model=Reference(proposal.model, proposal.modelSize),
            missing=SeatSet(proposal.missing),
        ),
        decision=Decision(
            round=decision.round,
            view=decision.view_,
            stage=Stage(decision.stage),
            quorum=decision.quorum,
            accepts=decision.accepts,
            rejects=decision.rejects,
            deadline=decision.deadline,
            leader=decision.leader,
            proposer=decision.proposer,
            proposal=decision.proposal,
            prepared=decision.prepared,
        ),
        block=head.number,
        now=head.timestamp,
    )
