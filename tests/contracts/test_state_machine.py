"""Any call by any actor in any order, with jumps in time; what must always hold is checked after every step.

Calls are made with values that are often wrong. Whether a submission counts is predicted by a model in Python, the rest
is held to invariants: money is conserved, phases only go forward, a round has at most one outcome, and time alone ends
it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from eth_hash.auto import keccak
from hypothesis import assume
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fbfl.chain.digests import accumulate, initial_accumulator, update_commitment
from fbfl.chain.seats import SeatSet
from fbfl.errors import ContractRevertError
from fbfl.learning.sampling import number_drawn
from fbfl.randomness import drawn_seats
from tests.contracts import histories
from tests.contracts.abi import Account, Receipt
from tests.contracts.deployment import MIN_STAKE, UNBONDING, Deployment
from tests.contracts.federation import (
    INITIAL_MODEL,
    RULE_PARAMS,
    Ballot,
    Federation,
    Phase,
    Settings,
    Stage,
    update_of,
)

ACTORS = 6
OWNER = ACTORS + 1
REWARD = 1000
SALT = keccak(b"salt")
MODELS = [keccak(b"model %d" % number) for number in range(2)]
TASKS = {
    "pow": Settings(target=2**256 - 1, rejection_penalty=100, withheld_penalty=50, max_views=3),
    "pow, hidden updates": Settings(target=2**256 - 1, commit_window=500, min_updates=2, max_views=3),
    "pow, drawn": Settings(target=2**256 - 1, participation=5000, seed=7, max_views=3),
    "pbft": Settings(consensus="pbft", rejection_penalty=2500, withheld_penalty=50, max_views=3),
    "ethash": Settings(consensus="ethash", timeout=2000, timeout_cap=2000, rejection_penalty=100, max_views=3),
}

actors = st.integers(0, ACTORS - 1)
anybody = st.integers(0, OWNER)  # the last two are no servers


class Actions(RuleBasedStateMachine):
    """The calls, and the model of what they should do."""

    deployment: Deployment
    settings: Settings
    finals: list[int]
    """Final rounds of all examples: a search that never gets there shows nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = self.deployment.chain
        self.before = self.chain.snapshot()
        self.people = [*self.chain.accounts[1 : ACTORS + 2], self.deployment.owner]
        self.federation = Federation(self.deployment, self.settings, self.people[:4])
        self.task = self.federation.task
        rewards, owner = self.deployment.rewards, self.deployment.owner
        rewards.setTerms(self.task, (REWARD, 3000, True), by=owner)
        self.funded = 0
        self.updates: dict[int, list[tuple[str, bytes, int, int]]] = {}
        self.outcomes: dict[int, tuple[Any, ...]] = {}
        self.seen = (0, 0, 0, 0)
        self.model = INITIAL_MODEL

    def teardown(self) -> None:
        try:
            self.everything_is_got()
        finally:
            self.chain.revert(self.before)

    def everything_is_got(self) -> None:
        """Whatever has happened: what came in is owed to somebody who can get it, and then there is nothing left."""
        registry, rewards, tasks = self.deployment.registry, self.deployment.rewards, self.federation.tasks
        self.let_time_pass()
        self.attempt(tasks.endTask, self.task, by=OWNER)
        self.attempt(rewards.reclaim, self.task, by=OWNER)
        for number in self.outcomes:
            self._settle(number, ACTORS)
        self.attempt(rewards.reclaim, self.task, by=OWNER)
        for actor, person in enumerate(self.people):
            self.attempt(rewards.withdraw, by=actor)
            self.attempt(tasks.resign, self.task, by=actor)
            self.attempt(registry.retire, by=actor)
            self.chain.travel(UNBONDING)
            self.attempt(registry.withdraw, by=actor)
            self.attempt(registry.burn, person.address, by=ACTORS)
        assert self.deployment.money == (0, 0)

    def attempt(self, call: Callable[..., Receipt], *arguments: Any, by: int, **options: Any) -> Receipt | None:
        """Make a call; None if the contract refuses it, with an error of its own."""
        try:
            receipt = call(*arguments, by=self.people[by], **options)
        except ContractRevertError as refusal:
            if refusal.error in ("", "Panic"):
                raise  # no contract meant it
            return None
        for final in receipt.named("RoundFinalized"):
            assert final["round"] not in self.outcomes, "a second outcome"
            self.finals.append(final["round"])
            parent, self.model = self.model, final["model"]
            closing = self.federation.closing
            self.outcomes[final["round"]] = (final["leader"], parent, closing, final["missing"], final["model"])
        return receipt

    # ------------------------------------------------------------ servers

    @rule(actor=anybody, stake=st.sampled_from([0, MIN_STAKE, 2 * MIN_STAKE]))
    def register(self, actor: int, stake: int) -> None:
        self.attempt(self.deployment.registry.join, "http://server", by=actor, value=stake)

    @rule(actor=actors, call=st.sampled_from(["retire", "withdraw"]))
    def leave(self, actor: int, call: str) -> None:
        self.attempt(getattr(self.deployment.registry, call), by=actor)

    @rule(actor=anybody, other=actors)
    def burn(self, actor: int, other: int) -> None:
        self.attempt(self.deployment.registry.burn, self.people[other].address, by=actor)

    @rule(actor=anybody, call=st.sampled_from(["join", "resign", "openRound", "poke"]))
    def move(self, actor: int, call: str) -> None:
        self.attempt(getattr(self.federation.tasks, call), self.task, by=actor)

    @rule(actor=anybody)
    def end(self, actor: int) -> None:
        """The owner may end its task at any time; whoever else tries to is refused."""
        ended = self.attempt(self.federation.tasks.endTask, self.task, by=actor)
        assert ended is None or actor == OWNER

    @rule(actor=anybody, other=actors)
    def evict(self, actor: int, other: int) -> None:
        self.attempt(self.federation.tasks.evict, self.task, self.people[other].address, by=actor)

    # ------------------------------------------------------------ updates

    @rule(actor=anybody, samples=st.sampled_from([0, 1, 900, 1001]), stale=st.booleans())
    def submit(self, actor: int, samples: int, stale: bool) -> None:
        assume(self.federation.round > 0)
        self._submit(actor, samples, self.federation.round - stale)

    def _submit(self, actor: int, samples: int, number: int) -> None:
        who, tasks = self.people[actor], self.federation.tasks
        allowed = self.may_submit(who, number) and 1 <= samples <= self.settings.max_samples
        # Commitments are all to 900 samples.
        allowed = allowed and (samples == 900 or not self.settings.commit_window)
        content = (self.task, number, update_of(who), 100, samples)
        if self.settings.commit_window:
            done = self.attempt(tasks.reveal, *content, SALT, by=actor)
            allowed = allowed and bool(self.federation.state.committed >> self.seat(who) & 1)
        else:
            done = self.attempt(tasks.submit, *content, by=actor)
        assert (done is not None) == allowed
        if done:
            self.record(number, who, samples)

    @precondition(lambda self: not self.settings.commit_window)
    @rule(signers=st.lists(actors, max_size=ACTORS), actor=anybody)
    def submit_batch(self, signers: list[int], actor: int) -> None:
        number = self.federation.round
        assume(number > 0)
        batch = [self.federation.signed_update(self.people[signer], round_number=number) for signer in signers]
        if self.attempt(self.federation.tasks.submitBatch, self.task, number, batch, by=actor):
            for signer in dict.fromkeys(signers):
                if self.people[signer].address not in {entry[0] for entry in self.updates.get(number, [])}:
                    self.record(number, self.people[signer], 10)

    @precondition(lambda self: self.settings.commit_window)
    @rule(actor=anybody, ahead=st.booleans())
    def commit(self, actor: int, ahead: bool) -> None:
        self._commit(actor, self.federation.round + ahead)

    def _commit(self, actor: int, about: int) -> None:
        who = self.people[actor]
        content = update_commitment(self.federation.domain, about, who.address, update_of(who), 100, 900, SALT)
        self.attempt(self.federation.tasks.commit, self.task, self.federation.round, content, by=actor)

    @rule(actor=anybody, other=actors, call=st.sampled_from(["reportMissing", "reportMissing", "withdrawReport"]))
    def report(self, actor: int, other: int, call: str) -> None:
        state = self.federation.state
        about = (self.task, state.round.number, self.people[other].address, state.accumulator)
        self.attempt(getattr(self.federation.tasks, call), *about, by=actor)

    # ------------------------------------------------------------ decisions

    @rule(actor=anybody, model=st.sampled_from(MODELS), outdated=st.sampled_from([0, 0, 0, 1]))
    def propose(self, actor: int, model: bytes, outdated: int) -> None:
        self._propose(actor, model, outdated)

    def _propose(self, actor: int, model: bytes, outdated: int = 0) -> None:
        if self.settings.consensus == "ethash":
            self.chain.mine(201)  # past the window in which only a miner may propose
        proof = bytes(32) if self.settings.consensus == "pow" else b""
        value = self.federation.value(model, missing=self.federation.state.missing ^ outdated)
        arguments = (self.task, self.federation.round, model, 600, self.federation.closing, value, proof)
        self.attempt(self.federation.tasks.propose, *arguments, by=actor)

    @rule(actor=anybody, accept=st.booleans(), stale=st.sampled_from(["", "view", "round", "stage"]))
    def vote(self, actor: int, accept: bool, stale: str) -> None:
        ballot = self.federation.ballot(accept)
        if stale:
            ballot = replace(ballot, **{stale: min(getattr(ballot, stale) + 1, 4)})
        self._vote(actor, ballot)

    def _vote(self, actor: int, ballot: Ballot) -> None:
        values = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest, ballot.accept)
        self.attempt(self.federation.consensus.attest, *values, by=actor)

    @rule(signers=st.lists(actors, max_size=ACTORS), actor=anybody, accept=st.booleans())
    def vote_signed(self, signers: list[int], actor: int, accept: bool) -> None:
        ballot = self.federation.ballot(accept)
        signatures = [self.federation.signed_vote(self.people[signer], ballot) for signer in signers]
        values = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest)
        record = self.federation.consensus.attestSigned if accept else self.federation.consensus.rejectSigned
        self.attempt(record, *values, signatures, by=actor)

    @rule(actor=actors)
    def equivocate(self, actor: int) -> None:
        votes: list[Any] = []
        for accept in (True, False):
            ballot = self.federation.ballot(accept)
            values = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest, ballot.accept)
            votes += [values, self.federation.signed_vote(self.people[actor], ballot)]
        self.attempt(self.federation.consensus.reportEquivocation, *votes, by=ACTORS)

    @rule(model=st.sampled_from(MODELS))
    def agree(self, model: bytes) -> None:
        """All servers do what the protocol says, as far as the round still lets them."""
        if self.federation.phase in (Phase.IDLE, Phase.FINAL, Phase.ABORTED):
            self.attempt(self.federation.tasks.openRound, self.task, by=OWNER)
        for phase in (Phase.COMMIT, Phase.SUBMIT):
            if self.federation.phase is not phase:
                continue
            for actor in range(ACTORS):
                if phase is Phase.COMMIT:
                    self._commit(actor, self.federation.round)
                else:
                    self._submit(actor, 900, self.federation.round)
            self.attempt(self.federation.tasks.poke, self.task, by=ACTORS)
        for actor in range(ACTORS):
            if self.federation.stage is Stage.PROPOSE:
                self._propose(actor, model)
        for stage in (Stage.PREPARE, Stage.COMMIT):
            for actor in range(ACTORS):
                if self.federation.stage is stage:
                    self._vote(actor, self.federation.ballot())

    # ------------------------------------------------------------ money and time

    @rule(actor=st.sampled_from([0, OWNER, OWNER]), amount=st.sampled_from([1, REWARD, 3 * REWARD]))
    def fund(self, actor: int, amount: int) -> None:
        self.attempt(self.deployment.rewards.fund, self.task, by=actor, value=amount)

    @precondition(lambda self: self.outcomes)
    @rule(data=st.data(), actor=anybody, honest=st.booleans())
    def settle(self, data: st.DataObject, actor: int, honest: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.outcomes)))
        self._settle(number, actor, "" if honest else self.people[actor].address)

    def _settle(self, number: int, actor: int, other_leader: str = "") -> None:
        leader, parent, closing, missing, model = self.outcomes[number]
        leader = other_leader or leader
        rule_name, params = b"krum".ljust(32, b"\0"), keccak(RULE_PARAMS)
        outcome = (leader, parent, closing, missing, rule_name, params, model, 600)
        self.attempt(self.deployment.rewards.settle, self.task, number, outcome, self.updates[number], by=actor)

    @rule(actor=anybody)
    def reclaim(self, actor: int) -> None:
        self.attempt(self.deployment.rewards.reclaim, self.task, by=actor)

    @rule(actor=anybody)
    def earn(self, actor: int) -> None:
        self.attempt(self.deployment.rewards.withdraw, by=actor)

    @rule(how=st.sampled_from(["a bit", "the round's deadline", "the view's deadline", "unbonding"]))
    def wait(self, how: str) -> None:
        state = self.federation.state
        until = {"the round's deadline": state.round.deadline, "the view's deadline": state.decision.deadline}.get(how)
        seconds = {"a bit": 30, "unbonding": UNBONDING}.get(how) or max(1, (until or 0) + 1 - self.chain.now)
        self.chain.travel(seconds)

    @rule()
    def let_time_pass(self) -> None:
        """Whatever the members do or do not do, time and anybody's pokes end the round."""
        pokes = 0
        while self.federation.phase in (Phase.COMMIT, Phase.SUBMIT, Phase.DECIDE):
            state = self.federation.state
            deciding = self.federation.phase is Phase.DECIDE
            deadline = state.decision.deadline if deciding else state.round.deadline
            self.chain.travel(max(0, deadline + 1 - self.chain.now))
            assert self.attempt(self.federation.tasks.poke, self.task, by=ACTORS) is not None
            pokes += 1
        assert pokes <= 2 + self.settings.max_views

    # ------------------------------------------------------------ the model

    def may_submit(self, who: Account, number: int) -> bool:
        state, member = self.federation.state, self.federation.tasks.memberOf(self.task, who.address)
        recorded = {entry[0] for entry in self.updates.get(number, [])}
        return (
            (state.round.number, state.round.phase) == (number, Phase.SUBMIT)
            and self.chain.now <= state.round.deadline
            and member.since <= number < member.until
            and who.address not in recorded
            and self.is_drawn(member.seat)
        )

    def is_drawn(self, seat: int) -> bool:
        """Whether the seat is among those that follow from the seed."""
        state, settings = self.federation.state, self.settings
        seats = SeatSet(state.committee)
        count = number_drawn(len(seats), settings.participation, settings.min_updates)
        return seat in drawn_seats(seats, count, settings.seed, state.round.number)

    def seat(self, who: Account) -> int:
        return int(self.federation.tasks.memberOf(self.task, who.address).seat)

    def record(self, number: int, who: Account, samples: int) -> None:
        self.updates.setdefault(number, []).append((who.address, update_of(who), 100, samples))


class Federations(Actions):
    """The invariants."""

    @invariant()
    def money_is_conserved(self) -> None:
        registry, rewards = self.deployment.registry, self.deployment.rewards
        known = [registry.server(person.address) for person in self.people]
        stakes = sum(server.stake + server.held for server in known)
        credits = sum(rewards.creditOf(person.address) for person in self.people)
        assert self.deployment.money == (stakes, rewards.balanceOf(self.task) + credits)

    @invariant()
    def everything_goes_forward(self) -> None:
        state = self.federation.state
        view, stage = (state.decision.view_, state.decision.stage) if state.round.phase >= Phase.DECIDE else (0, 0)
        over = state.round.phase in (Phase.FINAL, Phase.ABORTED)
        now = (state.round.number, min(state.round.phase, Phase.FINAL), 99 if over else view, 0 if over else stage)
        assert now >= self.seen
        self.seen = now

    @invariant()
    def the_running_hash_is_the_models(self) -> None:
        state = self.federation.state
        number = state.round.number
        updates = self.updates.get(number, [])
        assert state.submitted.bit_count() == len(updates)
        assert len({entry[0] for entry in updates}) == len(updates)
        if number:
            start = initial_accumulator(self.federation.domain, number)
            assert state.accumulator == accumulate(start, updates)
        if number:
            assert all(self.is_drawn(seat) for seat in SeatSet(state.submitted))
            assert state.round.awaited == sum(map(self.is_drawn, SeatSet(state.committee)))
        if self.settings.commit_window and state.round.phase >= Phase.SUBMIT:
            assert state.submitted & ~state.committed == 0

    @invariant()
    def a_round_has_at_most_one_outcome(self) -> None:
        state = self.federation.state
        assert state.model == self.model
        for number in range(1, state.round.number + 1):
            assert (self.federation.tasks.outcomeOf(self.task, number) != bytes(32)) == (number in self.outcomes)

    @invariant()
    def votes_add_up(self) -> None:
        decision = self.federation.decision
        assert decision.accepts + decision.rejects <= decision.committeeSize
        if decision.stage in (Stage.PREPARE, Stage.COMMIT):
            assert max(decision.accepts, decision.rejects) < decision.quorum

    @invariant()
    def a_prepared_value_stays(self) -> None:
        decision = self.federation.decision
        if decision.prepared != bytes(32) and decision.stage in (Stage.PREPARE, Stage.COMMIT):
            assert decision.proposal == decision.prepared


@pytest.mark.parametrize("task", TASKS)
def test_any_calls_in_any_order(deployment: Deployment, task: str) -> None:
    histories.play(Federations, examples=5, steps=25, deployment=deployment, settings=TASKS[task])


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_many_more_calls(deployment: Deployment, task: str) -> None:
    histories.play(Federations, examples=40, steps=60, deployment=deployment, settings=TASKS[task])
