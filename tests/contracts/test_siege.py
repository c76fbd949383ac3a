"""Honest servers besieged: as many liars as a committee stands do what they like, in any order; the others are honest.

The liars have tasks and blocks of their own, report at will, show foreign evidence, join and leave, and take the chain
back over many steps. Time is honest: no deadline passes before the honest have acted. Whatever the liars do, no honest
server loses stake or its turn, a final model is the one that the honest recompute, every round ends with one, and all
money can be got in the end. Where the contract draws who submits, liars may be so many of those that too few updates
are left without theirs: then a round may end without a model, but not before those who withhold have paid.
"""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import hypothesis.strategies as st
import pytest
from eth_hash.auto import keccak
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fbfl.errors import ContractRevertError
from tests.contracts import histories
from tests.contracts.abi import NOBODY, Account, Receipt
from tests.contracts.deployment import MIN_STAKE, UNBONDING, Deployment
from tests.contracts.federation import RULE_PARAMS, Ballot, Federation, Phase, Settings, Stage, update_of

REWARD = 1000
WITHHELD = keccak(b"nobody gets this payload")
PENALTIES: dict[str, Any] = {"rejection_penalty": 2500, "withheld_penalty": 2500}
THREE_OF_SEVEN: dict[str, Any] = {"participation": 4300, "seed": 1, "min_updates": 2}


@dataclass(frozen=True)
class Siege:
    """Numbers of members of a committee that are honest and that are not."""

    settings: Settings
    honest: int
    liars: int

    @property
    def draws(self) -> bool:
        return self.settings.participation < 10_000


SIEGES = {
    "pbft": Siege(Settings(consensus="pbft", min_members=4, min_updates=3, max_views=8, **PENALTIES), 3, 1),
    "pow": Siege(Settings(target=2**256 - 1, min_members=5, min_updates=3, max_views=8, **PENALTIES), 3, 2),
    "pbft, drawn": Siege(Settings(consensus="pbft", min_members=7, max_views=8, **THREE_OF_SEVEN, **PENALTIES), 5, 2),
    "pow, drawn": Siege(Settings(target=2**256 - 1, min_members=7, max_views=8, **THREE_OF_SEVEN, **PENALTIES), 5, 2),
}

liars = st.integers(0, 1)
members = st.integers(0, 4)


@dataclass
class Rounds:
    """Parents, updates and outcomes by round, and who was barred, from the events of a task."""

    parents: dict[int, bytes] = field(default_factory=dict)
    updates: dict[int, list[tuple[str, bytes, int, int]]] = field(default_factory=dict)
    accumulators: dict[int, bytes] = field(default_factory=dict)
    closing: dict[int, bytes] = field(default_factory=dict)
    finals: dict[int, Any] = field(default_factory=dict)
    aborts: dict[int, bytes] = field(default_factory=dict)
    barred: list[str] = field(default_factory=list)
    paid: dict[int, set[str]] = field(default_factory=dict)
    """Servers that were slashed for withholding, by the round that was under way."""

    def read(self, receipt: Receipt, task: int, block_hash: bytes) -> None:
        for event in receipt.events:
            args = event.args
            if args.get("task") != task:
                continue
            if event.name == "RoundOpened":
                self.parents[args["round"]] = args["parent"]
            elif event.name == "UpdateSubmitted":
                entry = (args["server"], args["digest"], args["size"], args["samples"])
                self.updates.setdefault(args["round"], []).append(entry)
            elif event.name == "SubmissionsClosed":
                self.accumulators[args["round"]] = args["accumulator"]
                self.closing[args["round"]] = block_hash
            elif event.name == "RoundFinalized":
                assert args["round"] not in self.finals, "a second outcome"
                self.finals[args["round"]] = args
            elif event.name == "RoundAborted":
                self.aborts[args["round"]] = args["reason"].rstrip(b"\0")
            elif event.name == "ProposerBarred":
                self.barred.append(args["proposer"])
            elif event.name == "ServerSlashed" and args["reason"].rstrip(b"\0") == b"withheld payload":
                self.paid.setdefault(max(self.parents), set()).add(args["server"])


def recomputed(parent: bytes, accumulator: bytes, missing: int) -> bytes:
    """Return the aggregate of every honest server."""
    return keccak(parent + accumulator + missing.to_bytes(32, "big"))


class Besieged(RuleBasedStateMachine):
    """One committee under siege."""

    deployment: Deployment
    siege: Siege
    finals: list[int]
    """Final rounds of all examples: a siege in which nothing becomes final shows nothing."""

    def __init__(self) -> None:
        super().__init__()
        chain = self.chain = self.deployment.chain
        self.before = chain.snapshot()
        count = self.siege.honest + self.siege.liars
        people = chain.accounts[1 : count + 1]
        # Liars sit among the honest: the first view's leader is one of them.
        self.liars, self.honest = people[1 : 1 + self.siege.liars], [people[0], *people[1 + self.siege.liars :]]
        self.people = people
        self.common = Federation(self.deployment, self.siege.settings, people)
        self.rounds = {self.common.task: Rounds()}
        self.owners = {self.common.task: self.deployment.owner}
        self.deployment.rewards.setTerms(self.common.task, (REWARD, 3000, True), by=self.deployment.owner)
        self.deployment.rewards.fund(self.common.task, by=self.deployment.owner, value=4 * REWARD)
        self.own: Federation | None = None
        self.fork: Any = None
        self.served: set[int] = set()
        """Rounds whose withheld payloads the liars have served after all: the honest keep them from then on."""
        self.signed: dict[tuple[str, int, int, int], list[Ballot]] = {}
        """Signatures of the honest, on whatever branch: they are not forgotten."""

    def teardown(self) -> None:
        try:
            self.end_round()
            self.get_everything()
        finally:
            self.chain.revert(self.before)

    def attempt(self, call: Callable[..., Receipt], *arguments: Any, by: Account, **options: Any) -> Receipt | None:
        """Make a call; None if the contract refuses it, with an error of its own."""
        try:
            receipt = call(*arguments, by=by, **options)
        except ContractRevertError as refusal:
            if refusal.error in ("", "Panic"):
                raise  # no contract meant it
            return None
        for task, rounds in self.rounds.items():
            rounds.read(receipt, task, self.chain.block_hash(self.chain.block_number))
        self.finals += [event["round"] for event in receipt.named("RoundFinalized")]
        return receipt

    # ------------------------------------------------------------ the honest

    @rule(signed=st.booleans())
    def honest_act(self, signed: bool) -> None:
        """Every honest server does what is due, until nothing is."""
        for _ in range(10):
            if not self._honest_step(signed):
                return
        raise AssertionError("the honest never come to rest")

    def _honest_step(self, signed: bool) -> bool:
        common, tasks, task = self.common, self.common.tasks, self.common.task
        state = common.state
        done = False
        if common.phase is Phase.SUBMIT:
            for server in self.honest:
                digest = update_of(server)
                done |= self.attempt(tasks.submit, task, state.round.number, digest, 100, 10, by=server) is not None
            return self.attempt(tasks.poke, task, by=self.honest[0]) is not None or done
        if common.phase is not Phase.DECIDE:
            return False
        if common.stage is Stage.PROPOSE:
            done = self._look_for_payloads(self.honest)
            done |= any(self._propose(server) for server in self.honest)
            return done or self.attempt(tasks.poke, task, by=self.honest[0]) is not None
        right = recomputed(state.model, state.accumulator, state.proposal.missing)
        accept = (state.proposal.model, state.proposal.modelSize) == (right, 600)
        ballot = common.ballot(accept)
        for server in self.honest:
            if signed and accept:
                done |= self._sign(server, ballot)
            else:
                done |= self._vote(server, ballot, by=server)
        return done

    def _look_for_payloads(self, looking: list[Account]) -> bool:
        """Report what cannot be fetched, and take back what was reported and has come after all."""
        tasks, task, state = self.common.tasks, self.common.task, self.common.state
        number, done = state.round.number, False
        call = tasks.withdrawReport if number in self.served else tasks.reportMissing
        gone = [u[0] for u in self.rounds[task].updates.get(number, []) if u[1] == WITHHELD]
        for server, culprit in itertools.product(looking, gone):
            done |= self.attempt(call, task, number, culprit, state.accumulator, by=server) is not None
        return done

    @rule(some=st.integers(1, 4))
    def some_of_the_honest_look(self, some: int) -> None:
        """The others do so later."""
        if self.common.phase is Phase.DECIDE and self.common.stage is Stage.PROPOSE:
            self._look_for_payloads(self.honest[:some])

    def _propose(self, server: Account) -> bool:
        if self.common.stage is not Stage.PROPOSE or self.common.decision.leader not in (NOBODY, server.address):
            return False
        state = self.common.state
        model = recomputed(state.model, state.accumulator, state.missing)
        closing = self.common.closing
        value = self.common.tasks.valueDigest(self.common.task, model, 600, closing)
        arguments = (self.common.task, state.round.number, model, 600, closing, value, bytes(32))
        return self.attempt(self.common.tasks.propose, *arguments, by=server) is not None

    def _sign(self, server: Account, ballot: Ballot) -> bool:
        """Sign a vote and have it recorded; where something else was signed already, vote by transaction."""
        known = self.signed.setdefault((server.address, ballot.round, ballot.view, ballot.stage), [])
        if any(other != ballot for other in known):
            return self._vote(server, ballot, by=server)
        known[:] = [ballot]
        values = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest)
        signature = self.common.signed_vote(server, ballot)
        receipt = self.attempt(self.common.consensus.attestSigned, *values, [signature], by=server)
        return receipt is not None and receipt.named("VotesRecorded")[0]["voters"] != 0

    def _vote(self, server: Account, ballot: Ballot, by: Account) -> bool:
        values = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest, ballot.accept)
        return self.attempt(self.common.consensus.attest, *values, by=by) is not None

    @rule()
    def owner_opens(self) -> None:
        self.attempt(self.common.tasks.openRound, self.common.task, by=self.deployment.owner)

    @rule()
    def deadline_passes(self) -> None:
        """But not before the honest have acted."""
        self.honest_act(signed=False)
        state = self.common.state
        deadline = state.decision.deadline if self.common.phase is Phase.DECIDE else state.round.deadline
        self.chain.travel(max(0, deadline + 1 - self.chain.now))
        self.attempt(self.common.tasks.poke, self.common.task, by=self.honest[0])

    @rule(number=st.integers(1, 3), server=members)
    def settle(self, number: int, server: int) -> None:
        self._settle(self.common.task, number, self.people[server % len(self.people)])

    # ------------------------------------------------------------ the liars

    def federation(self, foreign: bool) -> Federation:
        return self.own if foreign and self.own is not None else self.common

    @precondition(lambda self: self.own is None)
    @rule(consensus=st.sampled_from(["pow", "pbft"]), funded=st.booleans())
    def create_own_task(self, consensus: str, funded: bool) -> None:
        """With the dearest terms, and the liars as its only members."""
        liar = self.liars[0]
        terms = Settings(consensus=consensus, target=2**256 - 1, **PENALTIES)
        created = self.deployment.tasks.createTask(terms.encoded(self.deployment), by=liar)
        own = copy.copy(self.common)
        own.settings, own.consensus = terms, getattr(self.deployment, consensus)
        own.task = created.named("TaskCreated")[0]["task"]
        self.own, self.rounds[own.task], self.owners[own.task] = own, Rounds(), liar
        for each in self.liars:
            self.attempt(self.deployment.registry.addStake, by=each, value=MIN_STAKE)
            self.attempt(own.tasks.join, own.task, by=each)
        self.attempt(own.tasks.openRound, own.task, by=liar)
        if funded:
            self.attempt(self.deployment.rewards.setTerms, own.task, (REWARD, 10_000, False), by=liar)
            self.attempt(self.deployment.rewards.fund, own.task, by=liar, value=2 * REWARD + 1)

    @rule(
        liar=liars,
        foreign=st.booleans(),
        call=st.sampled_from(["join", "resign", "openRound", "openRound", "poke", "endTask"]),
    )
    def move(self, liar: int, foreign: bool, call: str) -> None:
        federation = self.federation(foreign)
        self.attempt(getattr(federation.tasks, call), federation.task, by=self.liar(liar))

    @rule(liar=liars, call=st.sampled_from(["join", "retire", "withdraw", "addStake"]))
    def come_and_go(self, liar: int, call: str) -> None:
        arguments, stake = (("http://liar",), MIN_STAKE) if call == "join" else ((), MIN_STAKE * (call == "addStake"))
        self.attempt(getattr(self.deployment.registry, call), *arguments, by=self.liar(liar), value=stake)

    @rule(liar=liars, victim=members, call=st.sampled_from(["evict", "burn"]))
    def turn_out(self, liar: int, victim: int, call: str) -> None:
        address = self.people[victim % len(self.people)].address
        arguments = (self.common.task, address) if call == "evict" else (address,)
        contract = self.common.tasks if call == "evict" else self.deployment.registry
        self.attempt(getattr(contract, call), *arguments, by=self.liar(liar))

    @rule(liar=liars, foreign=st.booleans(), digest=st.sampled_from([WITHHELD, keccak(b"poison")]))
    def submit(self, liar: int, foreign: bool, digest: bytes) -> None:
        federation, who = self.federation(foreign), self.liar(liar)
        self.attempt(federation.tasks.submit, federation.task, federation.round, digest, 100, 1000, by=who)

    @rule()
    def serve(self) -> None:
        """Late, when some have reported what they withheld."""
        if self.common.phase is Phase.DECIDE:
            self.served.add(self.common.round)

    @rule(liar=liars, victim=members, call=st.sampled_from(["reportMissing", "reportMissing", "withdrawReport"]))
    def report(self, liar: int, victim: int, call: str) -> None:
        address = self.people[victim % len(self.people)].address
        arguments = (self.common.task, self.common.round, address, self.common.state.accumulator)
        self.attempt(getattr(self.common.tasks, call), *arguments, by=self.liar(liar))

    @rule(liar=liars, foreign=st.booleans(), kind=st.sampled_from(["wrong", "wrong", "give up", "right"]))
    def propose(self, liar: int, foreign: bool, kind: str) -> None:
        federation, who = self.federation(foreign), self.liar(liar)
        state = federation.state
        model = recomputed(state.model, state.accumulator, state.missing) if kind == "right" else keccak(kind.encode())
        size = 0 if kind == "give up" else 600
        closing = federation.closing
        value = federation.tasks.valueDigest(federation.task, model, size, closing)
        arguments = (federation.task, state.round.number, model, size, closing, value, bytes(32))
        self.attempt(federation.tasks.propose, *arguments, by=who)

    @rule(liar=liars, foreign=st.booleans(), accept=st.booleans())
    def vote(self, liar: int, foreign: bool, accept: bool) -> None:
        federation = self.federation(foreign)
        ballot = federation.ballot(accept)
        values = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest, ballot.accept)
        self.attempt(federation.consensus.attest, *values, by=self.liar(liar))

    @precondition(lambda self: self.signed)
    @rule(data=st.data(), liar=liars, changed=st.sampled_from(["nothing", "task", "round", "view", "digest"]))
    def replay(self, data: st.DataObject, liar: int, changed: str) -> None:
        """Record a vote of the honest somewhere else, or once more."""
        signer, ballot = data.draw(st.sampled_from(self._signatures()))
        signature = self.common.signed_vote(self.account(signer), ballot)
        other = self._changed(ballot, changed)
        values = (other.task, other.round, other.view, other.stage, other.digest)
        self.attempt(self.common.consensus.attestSigned, *values, [signature], by=self.liar(liar))

    @precondition(lambda self: self.signed)
    @rule(data=st.data(), liar=liars, changed=st.sampled_from(["nothing", "task", "round", "view", "digest", "accept"]))
    def show_foreign_evidence(self, data: st.DataObject, liar: int, changed: str) -> None:
        """Any two votes that an honest server has signed, of which one may be said to be another."""
        pair = [data.draw(st.sampled_from(self._signatures())) for _ in range(2)]
        votes: list[Any] = []
        for place, (signer, ballot) in enumerate(pair):
            told = self._changed(ballot, changed) if place else ballot
            values = (told.task, told.round, told.view, told.stage, told.digest, told.accept)
            votes += [values, self.common.signed_vote(self.account(signer), ballot)]
        self.attempt(self.common.consensus.reportEquivocation, *votes, by=self.liar(liar))

    @rule(liar=liars, foreign=st.booleans(), by=members)
    def equivocate(self, liar: int, foreign: bool, by: int) -> None:
        """Sign two votes that exclude each other, and have anybody show them."""
        federation, votes = self.federation(foreign), []
        for accept in (True, False):
            ballot = replace(federation.ballot(accept), stage=Stage.PREPARE)
            values = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest, ballot.accept)
            votes += [values, federation.signed_vote(self.liar(liar), ballot)]
        who = self.people[by % len(self.people)]
        self.attempt(federation.consensus.reportEquivocation, *votes, by=who)

    @rule(blocks=st.sampled_from([1, 5, 300]))
    def mine(self, blocks: int) -> None:
        """Blocks with nothing in them. They take no time: time is what the honest have."""
        now = self.chain.now
        if self.chain.now + blocks <= self._next_deadline():
            self.chain.mine(blocks)
        assert self.chain.now - now in (0, blocks)

    @precondition(lambda self: self.fork is None)
    @rule()
    def remember(self) -> None:
        """Keep what the chain is now, to come back to it."""
        self.fork = self.chain.snapshot(), copy.deepcopy(self.rounds), dict(self.owners), self.own

    @precondition(lambda self: self.fork is not None)
    @rule()
    def reorganise(self) -> None:
        """Another branch wins. What was signed stays signed."""
        snapshot, self.rounds, self.owners, self.own = self.fork
        self.chain.revert(snapshot)
        self.fork = None

    # ------------------------------------------------------------ what must hold

    @invariant()
    def no_honest_server_loses_stake_or_its_turn(self) -> None:
        for server in self.honest:
            known = self.deployment.registry.server(server.address)
            assert (known.stake, known.held, known.status) == (MIN_STAKE, 0, 1)
        assert not {server.address for server in self.honest} & set(self.rounds[self.common.task].barred)

    @invariant()
    def a_final_model_is_what_the_honest_recompute(self) -> None:
        rounds = self.rounds[self.common.task]
        for number, final in rounds.finals.items():
            right = recomputed(rounds.parents[number], rounds.accumulators[number], final["missing"])
            assert (final["model"], final["modelSize"]) == (right, 600)
            left_out = {seat for seat in range(8) if final["missing"] >> seat & 1}
            seats = {self.common.tasks.memberOf(self.common.task, server.address).seat for server in self.honest}
            assert not left_out & seats

    @invariant()
    def no_round_is_given_up_but_for_those_who_have_paid(self) -> None:
        rounds = self.rounds[self.common.task]
        assert self.siege.draws or rounds.aborts == {}
        for number, reason in rounds.aborts.items():
            assert reason == b"too few updates"
            left = [u for u in rounds.updates.get(number, []) if u[0] not in rounds.paid.get(number, set())]
            assert number not in rounds.accumulators or len(left) < self.siege.settings.min_updates

    def end_round(self) -> None:
        """The honest, and time, end the round with a model, in no more views than there are liars and one."""
        first = self.common.decision.view_ if self.common.phase is Phase.DECIDE else 0
        for _ in range(3 + self.siege.liars):
            if self.common.phase not in (Phase.SUBMIT, Phase.DECIDE):
                break
            self.deadline_passes()
        assert self.common.phase not in (Phase.SUBMIT, Phase.DECIDE)
        self.no_round_is_given_up_but_for_those_who_have_paid()
        assert self.common.decision.view_ <= max(first, self.siege.liars)
        self.no_honest_server_loses_stake_or_its_turn()
        self.a_final_model_is_what_the_honest_recompute()

    def get_everything(self) -> None:
        """Whatever came in is owed to somebody who can get it, in the liars' task, too."""
        registry, rewards, tasks = self.deployment.registry, self.deployment.rewards, self.common.tasks
        for task, owner in self.owners.items():
            while Phase(tasks.stateOf(task).round.phase) in (Phase.SUBMIT, Phase.DECIDE):
                state = tasks.stateOf(task)
                self.chain.travel(max(0, max(state.round.deadline, state.decision.deadline) + 1 - self.chain.now))
                self.attempt(tasks.poke, task, by=owner)
            self.attempt(tasks.endTask, task, by=owner)
            for number in self.rounds[task].finals:
                self._settle(task, number, owner)
            self.attempt(rewards.reclaim, task, by=owner)
        for person in self.people:
            self.attempt(rewards.withdraw, by=person)
            for task in self.owners:
                self.attempt(tasks.resign, task, by=person)
            self.attempt(registry.retire, by=person)
        self.chain.travel(UNBONDING)
        for person in self.people:
            self.attempt(registry.withdraw, by=person)
            self.attempt(registry.burn, person.address, by=self.people[0])
        assert self.deployment.money == (0, 0)

    # ------------------------------------------------------------ inside

    def liar(self, number: int) -> Account:
        return self.liars[number % len(self.liars)]

    def account(self, address: str) -> Account:
        return next(person for person in self.people if person.address == address)

    def _settle(self, task: int, number: int, by: Account) -> None:
        rounds = self.rounds[task]
        if number not in rounds.finals:
            return
        final = rounds.finals[number]
        about = final["leader"], rounds.parents[number], rounds.closing[number], final["missing"]
        rule = b"krum".ljust(32, b"\0"), keccak(RULE_PARAMS)
        outcome = (*about, *rule, final["model"], final["modelSize"])
        self.attempt(self.deployment.rewards.settle, task, number, outcome, rounds.updates[number], by=by)

    def _signatures(self) -> list[tuple[str, Ballot]]:
        return [(key[0], ballot) for key, ballots in self.signed.items() for ballot in ballots]

    def _changed(self, ballot: Ballot, what: str) -> Ballot:
        if what == "nothing":
            return ballot
        if what == "digest":
            return replace(ballot, digest=self.common.decision.proposal)
        if what == "accept":
            return replace(ballot, accept=not ballot.accept)
        return replace(ballot, **{what: getattr(ballot, what) + 1})

    def _next_deadline(self) -> int:
        state = self.common.state
        if self.common.phase is Phase.SUBMIT:
            return int(state.round.deadline)
        return int(state.decision.deadline) if self.common.phase is Phase.DECIDE else 2**40


@pytest.mark.parametrize("name", SIEGES)
def test_honest_servers_withstand_a_siege(deployment: Deployment, name: str) -> None:
    histories.play(Besieged, examples=5, steps=25, deployment=deployment, siege=SIEGES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SIEGES)
def test_honest_servers_withstand_long_sieges(deployment: Deployment, name: str) -> None:
    histories.play(Besieged, examples=40, steps=50, deployment=deployment, siege=SIEGES[name])
