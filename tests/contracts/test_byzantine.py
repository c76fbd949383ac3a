"""Byzantine members in every role and phase.

With at most f of n = 3f+1 the right digest always becomes final. With f+1 liars it may not, but no wrong one ever does.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pytest
from eth_hash.auto import keccak

from tests.contracts.abi import Account, Chain
from tests.contracts.federation import Federation, Phase, Stage

RIGHT, WRONG = keccak(b"the right aggregate"), keccak(b"a wrong aggregate")
EXPELLED = 3


@dataclass(frozen=True)
class Behaviour:
    """Acts of a Byzantine member, by role and phase; by default those of an honest one."""

    submits: bool = True
    lead: str = "right"
    """As leader: `right`, `wrong`, `silent` or `slow` (it proposes, but only just before the deadline)."""
    prepare: str = "honest"
    commit: str = "honest"
    """As voter in a stage: `honest`, `silent`, `slow` (last of all), `against` or `for wrong` (whatever is right), or
    `both` (it signs a second vote that excludes the first)."""


BEHAVIOURS = {
    "silent everywhere": Behaviour(submits=False, lead="silent", prepare="silent", commit="silent"),
    "silent voter after submitting": Behaviour(prepare="silent", commit="silent"),
    "silent in prepare": Behaviour(prepare="silent"),
    "silent in commit": Behaviour(commit="silent"),
    "slow everywhere": Behaviour(lead="slow", prepare="slow", commit="slow"),
    "silent leader": Behaviour(lead="silent"),
    "lying leader": Behaviour(lead="wrong", prepare="for wrong", commit="for wrong"),
    "lying leader, silent voter": Behaviour(lead="wrong", prepare="silent", commit="silent"),
    "lying voter": Behaviour(prepare="against", commit="against"),
    "lying voter in commit": Behaviour(commit="against"),
    "equivocating voter": Behaviour(prepare="both", commit="both"),
    "liar in everything": Behaviour(lead="wrong", prepare="for wrong", commit="against"),
}


class Drama:
    """A round in which some members follow a behaviour and the rest the protocol."""

    def __init__(self, federation: Federation, villains: Sequence[Account], behaviour: Behaviour) -> None:
        self.federation, self.villains, self.behaviour = federation, villains, behaviour
        self.expelled: set[str] = set()

    def play(self) -> None:
        federation = self.federation
        federation.collect([m for m in federation.members if m not in self.villains or self.behaviour.submits])
        while federation.phase is Phase.DECIDE:
            view = federation.decision.view_
            self._lead()
            for stage in (Stage.PREPARE, Stage.COMMIT):
                self._vote(view, stage)
            if federation.phase is Phase.DECIDE and federation.decision.view_ == view:
                federation.time_out()

    def _lead(self) -> None:
        federation = self.federation
        leader = federation.leader()
        villain = leader in self.villains
        if villain and self.behaviour.lead == "silent":
            if federation.settings.consensus == "pbft":
                return
            leader, villain = next(m for m in federation.members if m not in self.villains), False
        if villain and self.behaviour.lead == "slow":
            federation.chain.travel(federation.decision.deadline - federation.chain.now)
        locked = federation.decision.prepared
        model = WRONG if villain and self.behaviour.lead == "wrong" else RIGHT
        if locked not in (bytes(32), federation.value(model)):
            model = WRONG if model == RIGHT else RIGHT  # nothing else may be proposed
        federation.propose(leader, model)

    def _vote(self, view: int, stage: Stage) -> None:
        federation = self.federation
        slow = [m for m in self.villains if getattr(self.behaviour, stage.name.lower()) == "slow"]
        for member in [*(m for m in federation.members if m not in slow), *slow]:
            if (federation.phase, federation.stage, federation.decision.view_) != (Phase.DECIDE, stage, view):
                return
            if stage is Stage.PREPARE and member.address == federation.decision.proposer:
                continue  # the proposal was its vote
            if member in slow:
                federation.chain.travel(federation.decision.deadline - federation.chain.now)
            right = federation.decision.proposal == federation.value(RIGHT)
            match getattr(self.behaviour, stage.name.lower()) if member in self.villains else "honest":
                case "honest" | "slow":
                    federation.vote(member, accept=right)
                case "against" | "for wrong":
                    federation.vote(member, accept=not right)
                case "both":
                    self._denounce(member)
                    federation.vote(member, accept=right)

    def _denounce(self, member: Account) -> None:
        """Its two signatures get about, and cost it its stake; it sits on until the round is over."""
        if member.address in self.expelled:
            return
        mine = self.federation.ballot()
        votes = []
        for ballot in (mine, replace(mine, accept=False)):
            values = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest, ballot.accept)
            votes += [values, self.federation.signed_vote(member, ballot)]
        self.federation.consensus.reportEquivocation(*votes, by=self.federation.chain.accounts[-1])
        assert self.federation.registry.server(member.address).status == EXPELLED
        self.expelled.add(member.address)


def casts(members: Sequence[Account], villains: int, leaders: bool) -> Iterator[list[Account]]:
    """Choose the villains: those who lead first (round 1, so from seat 1 on), or those who never do."""
    in_turn = [*members[1:], members[0]]
    yield in_turn[:villains] if leaders else in_turn[len(members) - villains :]


SIZES = [4, *(pytest.param(size, marks=pytest.mark.slow) for size in (7, 10, 13))]


@pytest.mark.parametrize("leaders", [True, False], ids=["in the lead", "at the back"])
@pytest.mark.parametrize("name", BEHAVIOURS)
@pytest.mark.parametrize("size", SIZES)
def test_with_f_villains_the_right_digest_is_final(
    found: Callable[..., Federation], size: int, name: str, leaders: bool
) -> None:
    federation = found(size, consensus="pbft", max_views=size)
    for villains in casts(federation.members, (size - 1) // 3, leaders):
        Drama(federation, villains, BEHAVIOURS[name]).play()
        assert (federation.phase, federation.state.model) == (Phase.FINAL, RIGHT)


@pytest.mark.parametrize("leaders", [True, False], ids=["in the lead", "at the back"])
@pytest.mark.parametrize("name", BEHAVIOURS)
@pytest.mark.parametrize("size", SIZES)
def test_with_one_more_no_wrong_digest_is_final(
    found: Callable[..., Federation], size: int, name: str, leaders: bool
) -> None:
    federation = found(size, consensus="pbft", max_views=size)
    for villains in casts(federation.members, (size - 1) // 3 + 1, leaders):
        Drama(federation, villains, BEHAVIOURS[name]).play()
        assert federation.phase in (Phase.FINAL, Phase.ABORTED)
        assert federation.state.model != WRONG


@pytest.mark.slow
@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(submits, lead, prepare, commit)
        for submits, lead, prepare, commit in itertools.product(
            (True, False),
            ("right", "wrong", "silent", "slow"),
            ("honest", "silent", "slow", "against", "for wrong", "both"),
            ("honest", "silent", "slow", "against", "for wrong", "both"),
        )
    ],
    ids=lambda behaviour: f"{behaviour.submits}-{behaviour.lead}-{behaviour.prepare}-{behaviour.commit}",
)
def test_every_combination_of_roles_and_phases(
    chain: Chain, found: Callable[..., Federation], behaviour: Behaviour
) -> None:
    for seat in range(4):
        before = chain.snapshot()
        federation = found(4, consensus="pbft", max_views=4)
        Drama(federation, [federation.members[seat]], behaviour).play()
        assert (federation.phase, federation.state.model) == (Phase.FINAL, RIGHT)
        chain.revert(before)


@pytest.mark.parametrize("name", ["silent everywhere", "lying leader", "lying voter"])
def test_under_proof_of_work_a_majority_decides(found: Callable[..., Federation], name: str) -> None:
    federation = found(4, max_views=4)
    Drama(federation, federation.members[:1], BEHAVIOURS[name]).play()
    assert (federation.phase, federation.state.model) == (Phase.FINAL, RIGHT)


def test_the_committee_changes_between_rounds(found: Callable[..., Federation], servers: list[Account]) -> None:
    """Villains are expelled, others resign or come back, and seats are taken again; every round is final."""
    federation = found(7, consensus="pbft", max_views=7)
    traitors = federation.members[1:3]
    Drama(federation, traitors, BEHAVIOURS["equivocating voter"]).play()
    assert federation.state.model == RIGHT
    for traitor in traitors:
        federation.tasks.evict(federation.task, traitor.address, by=servers[20])
        federation.members.remove(traitor)
    assert [federation.enlist(newcomer).named("MemberJoined")[0]["seat"] for newcomer in servers[7:9]] == [1, 2]
    Drama(federation, [servers[7], servers[0]], BEHAVIOURS["lying leader"]).play()
    assert (federation.phase, federation.state.committee) == (Phase.FINAL, 0b1111111)
    gone = federation.members.pop(0)
    federation.tasks.resign(federation.task, by=gone)
    Drama(federation, federation.members[:1], BEHAVIOURS["silent everywhere"]).play()
    assert (federation.phase, federation.decision.committeeSize) == (Phase.FINAL, 6)
    federation.enlist(gone)
    Drama(federation, [gone, servers[8]], BEHAVIOURS["lying voter"]).play()
    assert (federation.phase, federation.decision.committeeSize) == (Phase.FINAL, 7)
    assert federation.state.model == RIGHT
