"""Threats to seats: many identities, wrong roles, foreign tasks, and members that are expelled."""

from collections.abc import Callable

import pytest
from eth_hash.auto import keccak

from tests.contracts.abi import Account, reverts
from tests.contracts.deployment import ADMITTER, MIN_STAKE, SLASHER, UNBONDING, Deployment
from tests.contracts.federation import (
    Federation,
    Phase,
    Settings,
    Stage,
    register,
)

HONEST, WRONG = keccak(b"the right aggregate"), keccak(b"a wrong aggregate")


def test_sybils_cost_a_stake_each_or_an_admitters_consent(deployment: Deployment, servers: list[Account]) -> None:
    federation = Federation(deployment, Settings(), servers[:1])
    for sybil in servers[1:4]:
        with reverts("RegistryNotAdmitted", server=sybil.address, stake=0, needed=MIN_STAKE):
            deployment.registry.join("http://sybil", by=sybil)
        with reverts("TasksNotActive", server=sybil.address):
            federation.tasks.join(federation.task, by=sybil)
    # One stake makes one server: taking it back and passing it on leaves the first without a seat in the next round.
    one, two = servers[1], servers[2]
    federation.enlist(one)
    federation.registry.retire(by=one)
    federation.chain.travel(UNBONDING)
    with reverts("RegistryStillSeated", server=one.address, seats=1):
        federation.registry.withdraw(by=one)
    federation.tasks.evict(federation.task, one.address, by=two)
    unbonds_at = federation.chain.last_time + UNBONDING
    with reverts("RegistryStillBonded", server=one.address, unbondsAt=unbonds_at):
        federation.registry.withdraw(by=one)
    federation.chain.travel(UNBONDING)
    federation.registry.withdraw(by=one)
    federation.enlist(two)
    # And one stake takes one seat.
    another = Federation(deployment, Settings(), [])
    with reverts("RegistryStakeLocked", server=two.address, stake=MIN_STAKE, needed=2 * MIN_STAKE):
        another.tasks.join(another.task, by=two)
    federation.open()
    assert federation.state.round.awaited == 2


def test_wrong_roles_are_refused_everywhere(
    deployment: Deployment, found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(2)
    federation.collect()
    task, stranger, member = federation.task, servers[9], servers[0]
    unauthorized = "AccessControlUnauthorizedAccount"
    with reverts(unauthorized, account=member.address, neededRole=ADMITTER):
        deployment.registry.admit(stranger.address, True, by=member)
    with reverts(unauthorized, account=member.address, neededRole=SLASHER):
        deployment.registry.slash(servers[1].address, 10_000, bytes(32), task, by=member)
    with reverts(unauthorized, account=member.address, neededRole=bytes(32)):
        deployment.registry.grantRole(SLASHER, member.address, by=member)
    with reverts("TasksNotMember", task=task, account=stranger.address):
        federation.propose(stranger, WRONG, proof=bytes(32))
    with reverts("ConsensusOnlyTasks", caller=member.address):
        federation.consensus.propose(task, 1, member.address, WRONG, bytes(32), by=member)
    with reverts("TasksOnlyConsensus", caller=member.address):
        federation.tasks.finalizeRound(task, 1, WRONG, by=member)
    with reverts("RewardsNotOwner", task=task, account=member.address):
        deployment.rewards.setTerms(task, (1, 1, False), by=member)
    # A consensus contract decides the tasks that chose it, and no others.
    pbft: Federation = found(4, consensus="pbft")
    pbft.collect()
    pbft.propose(pbft.leader(), HONEST)
    decision = pbft.decision
    with reverts("ConsensusWrongRound", task=pbft.task, round=1, current=0):
        deployment.pow.attest(pbft.task, 1, 0, Stage.PREPARE, decision.proposal, True, by=servers[0])


def test_a_foreign_task_takes_no_stake(deployment: Deployment, servers: list[Account]) -> None:
    """Anybody creates tasks. A penalty has a cap, is published, takes two reporters, and pays nobody; and the judge is
    one that those who run the deployment have chosen.
    """
    liar, victim = servers[:2]
    register(deployment, liar)
    tasks = deployment.tasks
    for settings, what in (
        (Settings(withheld_penalty=2501), "withheldPenalty"),
        (Settings(consensus="registry"), "consensus"),  # any contract that is no slasher
    ):
        with reverts("TasksBadSettings", what=what.encode().ljust(32, b"\0")):
            tasks.createTask(settings.encoded(deployment), by=liar)
    created = tasks.createTask(Settings(withheld_penalty=2500).encoded(deployment), by=liar)
    assert created.named("TaskTerms")[0]["withheldPenalty"] == 2500
    trap = Federation(deployment, Settings(withheld_penalty=2500), [liar, victim])
    trap.collect()
    trap.report(victim, by=liar)
    assert deployment.registry.server(victim.address).stake == MIN_STAKE


def test_nobody_plays_the_paid_rounds_alone(found: Callable[..., Federation], servers: list[Account]) -> None:
    """The first member to join opens nothing; the owner opens the first round once enough members sit."""
    federation: Federation = found(1, min_members=4, min_updates=3)
    with reverts("TasksNotOwner", task=federation.task, account=servers[0].address):
        federation.tasks.openRound(federation.task, by=servers[0])
    for late in servers[1:4]:
        with reverts("TasksTooFewMembers", task=federation.task, members=len(federation.members), needed=4):
            federation.open()
        federation.enlist(late)
    federation.collect(servers[:1])
    assert federation.phase is Phase.ABORTED  # one update of four is no round


def test_who_is_expelled_neither_opens_nor_proposes_nor_votes_nor_reports(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(5, consensus="pbft", rejection_penalty=1000)
    tasks, task = federation.tasks, federation.task
    federation.collect()
    liar = federation.leader()
    others = [member for member in federation.members if member != liar]
    federation.propose(liar, WRONG)
    for member in others:
        federation.vote(member, accept=False)
    assert not federation.registry.isActive(liar.address)
    with reverts("TasksNotActive", server=liar.address):
        federation.report(others[0], by=liar)
    assert federation.leader() != liar
    federation.propose(federation.leader(), HONEST)
    quorum = federation.decision.quorum
    tasks.evict(task, liar.address, by=servers[9])  # while a round is under way
    assert federation.consensus.isBarred(task, liar.address)
    with reverts("ConsensusBarred", task=task, proposer=liar.address):
        federation.vote(liar, accept=False)
    ballot = federation.ballot()
    arguments = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest)
    with reverts("ConsensusNothingNew", task=task, round=1):
        federation.consensus.attestSigned(*arguments, [federation.signed_vote(liar, ballot)], by=servers[9])
    for member in others:
        if federation.stage is Stage.PREPARE and member.address != federation.decision.proposer:
            federation.vote(member)
    with reverts("ConsensusBarred", task=task, proposer=liar.address):
        federation.vote(liar, accept=False)
    for member in others:
        if federation.stage is Stage.COMMIT:
            federation.vote(member)
    assert (federation.phase, federation.decision.quorum) == (Phase.FINAL, quorum)  # it does not shrink in the round
    with reverts("TasksNotMember", task=task, account=liar.address):
        tasks.openRound(task, by=liar)
    federation.members.remove(liar)
    assert federation.finish(keccak(b"second")) == 2
    assert federation.decision.quorum == 3


def test_who_is_expelled_opens_no_round_before_it_is_evicted(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(4, rejection_penalty=1000)
    federation.collect()
    liar, *others = federation.members
    federation.propose(liar, WRONG)
    for member in others:
        federation.vote(member, accept=False)
    federation.decide(HONEST, voters=others)
    with reverts("TasksNotActive", server=liar.address):
        federation.tasks.openRound(federation.task, by=liar)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_eviction_holds_for_the_round_in_which_it_happens(
    found: Callable[..., Federation], servers: list[Account], when: str
) -> None:
    """Also before the decision opens, and for who has resigned; and not for the next holder of the seat."""
    federation: Federation = found(4)
    tasks, task, leaver = federation.tasks, federation.task, servers[0]
    federation.open()
    if when == "after":
        tasks.resign(task, by=leaver)
    federation.registry.retire(by=leaver)
    tasks.evict(task, leaver.address, by=servers[9])
    for member in federation.members:
        federation.submit(member)
    federation.poke()
    with reverts("ConsensusBarred", task=task, proposer=leaver.address):
        federation.propose(leaver, WRONG)
    federation.propose(servers[1], HONEST)
    with reverts("ConsensusBarred", task=task, proposer=leaver.address):
        federation.vote(leaver)
    federation.vote(servers[2])
    federation.vote(servers[3])
    assert federation.phase is Phase.FINAL
    with reverts("TasksNotMember", task=task, account=leaver.address):
        tasks.evict(task, leaver.address, by=servers[9])
    federation.members.remove(leaver)
    assert federation.enlist(servers[5]).named("MemberJoined")[0]["seat"] == 0
    federation.collect()
    federation.propose(servers[5], keccak(b"second"))
    assert federation.decision.proposer == servers[5].address


def test_a_joiner_takes_no_seat_for_which_the_rules_state_has_no_room(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    """FoolsGold's history has a row per seat: one more would make every later model larger than `maxPayload`."""
    federation: Federation = found(3, max_members=3)
    tasks, task = federation.tasks, federation.task
    register(federation.on, servers[3])
    with reverts("TasksFull", task=task, maxMembers=3):
        tasks.join(task, by=servers[3])
    federation.collect()
    tasks.resign(task, by=servers[1])
    with reverts("TasksFull", task=task, maxMembers=3):  # its seat is free when the round is over
        tasks.join(task, by=servers[3])
    federation.decide(HONEST)
    assert federation.enlist(servers[3]).named("MemberJoined")[0]["seat"] == 1
