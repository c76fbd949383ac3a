"""Signed updates and votes on their way to their collector: one transaction instead of one per server.

The collector of updates is, of the members that may submit, the one whose turn it is by the number of the round; the
collector of votes is the server that proposed, and of votes against its proposal the first few others in an order that
it cannot choose. A server whose message is not on the chain after some patience sends its own transaction, so a
collector that sleeps or censors costs gas, but nothing else.
"""

import functools
import logging
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Protocol

from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak

from fbfl.chain.digests import Domain
from fbfl.chain.ledger import Ledger
from fbfl.chain.participant import Participant
from fbfl.chain.rounds import Ballot, Stage, TaskState
from fbfl.chain.signatures import (
    SignedUpdate,
    SignedVote,
    sign_update,
    signer_of_update,
    signer_of_vote,
)
from fbfl.chain.task import Task
from fbfl.errors import ContractRevertError
from fbfl.mec.signed_votes import SignedVotes
from fbfl.storage.store import Reference

log = logging.getLogger(__name__)

Conflict = tuple[str, SignedVote, SignedVote]
"""A voter, and two votes of its that exclude each other."""


class Board(Protocol):
    """A store for signed messages: their senders and their collectors find them there."""

    def observe(self, state: TaskState, seats: Mapping[str, int], submitters: Mapping[str, int]) -> None:
        """Take note of the task's state, the members of its round, and those that may submit: others' are useless."""

    def post_update(self, server: str, update: SignedUpdate, collector: str) -> None:
        """Leave an update for its collector, an address."""

    def post_vote(self, server: str, vote: SignedVote, collector: str) -> None:
        """Leave a vote for its collector, an address."""

    def updates(self, task: int, round_number: int) -> Sequence[tuple[str, SignedUpdate]]:
        """Return the updates left for a round, with their servers."""

    def votes(self, task: int, round_number: int, view: int | None = None) -> Sequence[tuple[str, SignedVote]]:
        """Return the votes left for a round, or for one of its views, with their servers."""

    def conflicts(self, task: int, round_number: int) -> Sequence[Conflict]:
        """Return the pairs among the votes left for a round that exclude each other."""


class Conflicts:
    """Pairs of votes of a round that exclude each other, found as votes arrive: each is compared once for all who look.

    In a large committee with liars thousands of votes lie on a board, and each server looks at every step.
    """

    def __init__(self) -> None:
        self._comparable: dict[tuple[str, int, Stage], list[SignedVote]] = {}
        self._found: list[Conflict] = []

    def add(self, server: str, vote: SignedVote) -> None:
        """Compare a vote, which was not added yet, with those of its server in its stage of its view: no others can."""
        others = self._comparable.setdefault((server, vote.view, vote.stage), [])
        self._found += [(server, other, vote) for other in others if other.conflicts_with(vote)]
        others.append(vote)

    def found(self) -> Sequence[Conflict]:
        """Return the pairs so far, with their servers."""
        return tuple(self._found)


class MemoryBoard:
    """A board for servers in one process."""

    def __init__(self) -> None:
        self._updates: dict[tuple[int, int], list[tuple[str, SignedUpdate]]] = {}
        self._votes: dict[tuple[int, int, int | None], dict[tuple[str, SignedVote], None]] = {}
        """Votes, each once in the order of posting, of a round and of each of its views."""
        self._conflicts: dict[tuple[int, int], Conflicts] = {}

    def observe(self, state: TaskState, seats: Mapping[str, int], submitters: Mapping[str, int]) -> None:
        """Do nothing: only members post here."""

    def post_update(self, server: str, update: SignedUpdate, collector: str) -> None:  # noqa: ARG002
        """Leave an update where all find it."""
        self._updates.setdefault((update.task, update.round), []).append((server, update))

    def post_vote(self, server: str, vote: SignedVote, collector: str) -> None:  # noqa: ARG002
        """Leave a vote where all find it, once, whoever collects it."""
        entry = (server, vote)
        if entry in self._votes.get((vote.task, vote.round, vote.view), ()):
            return
        self._conflicts.setdefault((vote.task, vote.round), Conflicts()).add(server, vote)
        for view in (None, vote.view):
            self._votes.setdefault((vote.task, vote.round, view), {}).setdefault(entry)

    def updates(self, task: int, round_number: int) -> Sequence[tuple[str, SignedUpdate]]:
        """Return the updates left for a round."""
        return tuple(self._updates.get((task, round_number), ()))

    def votes(self, task: int, round_number: int, view: int | None = None) -> Sequence[tuple[str, SignedVote]]:
        """Return the votes left for a round, or for one of its views."""
        return tuple(self._votes.get((task, round_number, view), ()))

    def conflicts(self, task: int, round_number: int) -> Sequence[Conflict]:
        """Return the pairs among the votes left for a round that exclude each other."""
        known = self._conflicts.get((task, round_number))
        return known.found() if known else ()


class PatienceInSteps:
    """Patience of a number of steps of the server, for simulations."""

    waiting_is_a_step = True
    """Waiting counts as a step where time passes by steps."""

    def __init__(self, steps: int = 3) -> None:
        self._steps = steps
        self._waited: dict[Hashable, int] = {}

    def is_over(self, wait: Hashable) -> bool:
        """Return True if it was called more often than the number of steps."""
        self._waited[wait] = self._waited.get(wait, 0) + 1
        return self._waited[wait] > self._steps


MAX_WAITS = 1024
"""Number of waits that an agent remembers: those of many rounds."""


class PatienceInSeconds:
    """Patience of a number of seconds, for agents."""

    waiting_is_a_step = False

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._began: dict[Hashable, float] = {}

    def is_over(self, wait: Hashable) -> bool:
        """Return True if the time is over."""
        now = self._clock()
        while len(self._began) > MAX_WAITS:
            del self._began[next(iter(self._began))]
        return now - self._began.setdefault(wait, now) > self._seconds


Patience = PatienceInSteps | PatienceInSeconds
"""Patience of a server with its collector: a wait begins with the first call of `is_over` that names it."""


class VoteSender(Protocol):
    """The way of one server's votes onto the chain."""

    def has_voted(self, state: TaskState, stage: Stage) -> bool:
        """Return True if the server has voted in this stage of the current view."""

    def send(self, state: TaskState, ballot: Ballot) -> None:
        """Vote on the proposal of the current view."""

    def record(self, state: TaskState, stage: Stage) -> bool:
        """Take the next step after the server's vote; return True if there was one."""


class VotesByTransaction:
    """A transaction for every vote."""

    def __init__(self, participant: Participant, task: int) -> None:
        self._participant = participant
        self._task = task

    def has_voted(self, state: TaskState, stage: Stage) -> bool:
        """Return True if the server's vote is on the chain."""
        ledger = self._participant.ledger
        seat = ledger.seats(self._task, state.round)[self._participant.address]
        return seat in ledger.voters(self._task, state, stage)

    def send(self, state: TaskState, ballot: Ballot) -> None:  # noqa: ARG002
        """Send the vote."""
        self._participant.vote(ballot)

    def record(self, state: TaskState, stage: Stage) -> bool:  # noqa: ARG002
        """Do nothing: the vote is on the chain."""
        return False


class Exchange:
    """One server's side of the board. `signed` is all that it has signed before (default: nothing)."""

    def __init__(
        self,
        board: Board,
        participant: Participant,
        task: Task,
        account: LocalAccount,
        patience: Patience | None = None,
        *,
        signed: SignedVotes | None = None,
    ) -> None:
        self._accused: set[tuple[int, str]] = set()
        self._board = board
        self._participant = participant
        self._task = task
        self._account = account
        self._patience = patience or PatienceInSteps()
        ledger = participant.ledger
        self._update_domain = ledger.domain(task.id)
        self._vote_domain = vote_domain(ledger, task)
        self._signed = signed or SignedVotes(account, self._vote_domain)
        self._transactions = VotesByTransaction(participant, task.id)

    def observe(self, state: TaskState) -> None:
        """Tell the board the task's state."""
        self._board.observe(state, self._seats(state), self._submitters(state))

    def has_signed_update(self, state: TaskState) -> bool:
        """Return True if this server's update of the current model is on the board."""
        return self._account.address in self._posted_updates(state)

    def post_update(self, state: TaskState, payload: Reference, samples: int) -> None:
        """Sign an update of the current model and leave it on the board."""
        parent = state.model.digest
        update = sign_update(self._account, self._update_domain, state.round, parent, payload, samples)
        collector = _in_turn(state.round, self._submitters(state))
        self._board.post_update(self._account.address, update, collector)

    def record_updates(self, state: TaskState) -> bool:
        """Record the updates on the board if this server collects them, or its own update if nobody does.

        Returns True if it did something; waiting counts if patience is measured in steps.
        """
        seats = self._submitters(state)
        waiting = {
            server: update
            for server, update in self._posted_updates(state).items()
            if server in seats and seats[server] not in state.submitted
        }
        if not waiting:
            return False
        impatient = self._patience.is_over(("updates", state.round))
        if self._account.address == _in_turn(state.round, seats) and (len(waiting) == len(seats) or impatient):
            valid = [u for server, u in waiting.items() if signer_of_update(self._update_domain, u) == server]
            if valid:
                self._participant.submit_batch(self._task.id, state.round, valid)
            return bool(valid)
        own = waiting.get(self._account.address)
        if own is None:
            return False
        if impatient:
            self._participant.submit(self._task.id, state.round, own.payload, own.samples)
        return impatient or self._patience.waiting_is_a_step

    def _posted_updates(self, state: TaskState) -> dict[str, SignedUpdate]:
        """Return the updates on the board, without those of a model that a reorganisation took back."""
        posted = self._board.updates(self._task.id, state.round)
        return {server: update for server, update in posted if update.parent == state.model.digest}

    def has_voted(self, state: TaskState, stage: Stage) -> bool:
        """Return True if this server's vote in this stage of the current view is on the chain or on the board.

        After the decision the record lacks only votes for it: one against it, on the board, is not sent any more.
        """
        own = dict(self._current_votes(state, stage, of=self._account.address)).get(self._account.address)
        on_board = own is not None and (self._still_counts(state) or not own.accept)
        return on_board or self._transactions.has_voted(state, stage)

    def send(self, state: TaskState, ballot: Ballot) -> None:
        """Sign a vote on the current proposal and leave it on the board; send it if that is useless or not safe.

        A reorganisation may bring another proposal into a view in which this server signed a vote. Two such signatures
        are evidence of equivocation; a second vote by transaction is not.
        """
        vote = self._signed.sign(ballot) if self._still_counts(state) else None
        if vote is None:
            self._participant.vote(ballot)
        else:
            rejections_to = () if ballot.accept else self._collectors_of_rejections(state)
            for collector in (state.decision.proposer, *rejections_to):  # the proposer waits for who has not voted
                self._board.post_vote(self._account.address, vote, collector)

    def record(self, state: TaskState, stage: Stage) -> bool:
        """Record the votes on the board that this server collects, or its own vote if nobody does.

        Returns True if it did something; waiting counts if patience is measured in steps.
        """
        if not self._still_counts(state):
            return False
        seats = self._seats(state)
        voted = self._participant.ledger.voters(self._task.id, state, stage)
        waiting = {
            server: vote
            for server, vote in self._current_votes(state, stage)
            if server in seats and seats[server] not in voted
        }
        own = waiting.get(self._account.address)
        if own is not None and not own.accept:
            rejecting = {server: vote for server, vote in waiting.items() if not vote.accept}
            return self._record_rejections(state, own, rejecting)
        accepting = {server: vote for server, vote in waiting.items() if vote.accept}
        if not accepting:
            return False
        impatient = self._patience.is_over(("votes", state.round, state.decision.view, stage))
        complete = len(voted) + len(waiting) == len(seats)
        if state.decision.proposer == self._account.address and (complete or impatient):
            valid = [v for server, v in accepting.items() if signer_of_vote(self._vote_domain, v) == server]
            if valid:
                self._participant.vote_signed(self._task.id, state, stage, valid)
            return bool(valid)
        if own is None:
            return False
        if impatient:
            self._participant.vote(own)
        return impatient or self._patience.waiting_is_a_step

    def _record_rejections(self, state: TaskState, own: SignedVote, rejecting: Mapping[str, SignedVote]) -> bool:
        """Record votes against the proposal, this server's own among them, once they are a quorum: they end the view.

        The proposer has no reason to. Of the members that may collect them, those that reject the proposal themselves
        do, each in its turn if those before it sleep. In the end each voter sends its own.
        """
        decision = state.decision
        turns = self._collectors_of_rejections(state)
        turn = 0
        while turn < len(turns) and self._patience.is_over(("rejections", state.round, decision.view, own.stage, turn)):
            turn += 1
        if turn == len(turns):
            self._participant.vote(own)
            return True
        if self._account.address in turns[: turn + 1]:
            valid = [v for server, v in rejecting.items() if signer_of_vote(self._vote_domain, v) == server]
            if decision.rejects + len(valid) >= decision.quorum:
                self._participant.reject_signed(self._task.id, state, own.stage, valid)
                return True
        return self._patience.waiting_is_a_step

    def _collectors_of_rejections(self, state: TaskState) -> Sequence[str]:
        """Return the members that may collect votes against the proposal, in the order of their turns.

        That follows from the block that closed the submissions, and the view: by its proposal a liar could choose the
        order, and by its update, if that is the last.
        """
        closing = self._participant.ledger.closing_hash(self._task.id, state.round) or b""  # "": a reorganisation
        draw = closing + state.decision.view.to_bytes(2)
        return _first_drawn(draw, tuple(server for server in self._seats(state) if server != state.decision.proposer))

    def report_equivocation(self, round_number: int) -> bool:
        """Report two votes of another member that exclude each other, if the board has such; return True if it did.

        The member whose turn it is does so at once, the others where that has not happened after some patience: one
        report is enough. Waiting counts if patience is measured in steps.
        """
        ledger = self._participant.ledger
        known = {event.args["voter"] for event in ledger.round_events(self._task.id, round_number, "Equivocation")}
        known |= {self._account.address, *(server for number, server in self._accused if number == round_number)}
        for server, first, second in self._board.conflicts(self._task.id, round_number):
            if server not in known:
                if not self._accuses_now(round_number, server):
                    return self._patience.waiting_is_a_step
                try:
                    self._participant.report_equivocation(self._task.id, first, second)
                except ContractRevertError as error:
                    log.info("round %d: the equivocation of %s is not reported: %s", round_number, server, error)
                self._accused = {each for each in self._accused if each[0] == round_number}
                self._accused.add((round_number, server))
                return True
        return False

    def _accuses_now(self, round_number: int, culprit: str) -> bool:
        seats = self._participant.ledger.seats(self._task.id, round_number)
        others = {server: seat for server, seat in seats.items() if server != culprit}
        in_turn = self._account.address == _in_turn(round_number, others)
        return in_turn or self._patience.is_over(("equivocation", round_number, culprit))

    def _seats(self, state: TaskState) -> Mapping[str, int]:
        return self._participant.ledger.seats(self._task.id, state.round)

    def _submitters(self, state: TaskState) -> Mapping[str, int]:
        """Return the seats of the members that may submit: the contracts refuse a batch with an update of another."""
        return self._participant.ledger.submitters(self._task.id, state.round)

    def _still_counts(self, state: TaskState) -> bool:
        """Return True if the proposer still has a reason to record signed votes."""
        return state.decision.stage is not Stage.DECIDED

    def _current_votes(self, state: TaskState, stage: Stage, of: str | None = None) -> list[tuple[str, SignedVote]]:
        """Return the votes on the board on the current proposal, or only those `of` one server."""
        decision = state.decision
        return [
            (server, vote)
            for server, vote in self._board.votes(self._task.id, state.round, decision.view)
            if of in (None, server) and vote.stage == stage and vote.value_digest == decision.proposal
        ]


def vote_domain(ledger: Ledger, task: Task) -> Domain:
    """Return the scope of signatures of votes in a task."""
    return Domain(ledger.chain_id, task.consensus_address, task.id)


REJECTION_COLLECTORS = 5
"""Number of members that may collect the votes against a proposal: rarely do liars come first in all places."""


@functools.lru_cache(maxsize=64)
def _first_drawn(draw: bytes, members: tuple[str, ...]) -> Sequence[str]:
    """Return the members that may collect the votes against a proposal; the same for all that are in one process."""
    order = sorted(members, key=lambda member: keccak(draw + bytes.fromhex(member[2:])))
    return tuple(order[:REJECTION_COLLECTORS])


def _in_turn(round_number: int, seats: Mapping[str, int]) -> str:
    members = sorted(seats, key=lambda server: seats[server])
    return members[round_number % len(members)]
