"""Owners and servers that are contracts: a call counts for its sender, not for whoever sent the transaction."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from eth_hash.auto import keccak

from fbfl.chain.digests import update_commitment
from fbfl.errors import ContractRevertError
from tests.contracts.abi import GAS, Chain, Contract, Receipt, deploy_contract
from tests.contracts.compiled import compiled_for_tests
from tests.contracts.deployment import MIN_STAKE, UNBONDING, Deployment
from tests.contracts.federation import COMMIT_WINDOW, INITIAL_MODEL, RULE_PARAMS, Federation, Phase, Settings, update_of

MODEL, SALT = keccak(b"new"), keccak(b"salt")


@dataclass(frozen=True)
class Actor:
    """An account that is a contract."""

    puppet: Contract

    @property
    def address(self) -> str:
        return self.puppet.address

    @property
    def raw(self) -> bytes:
        return bytes.fromhex(self.address[2:])


class ThroughContracts:
    """A chain on which some of the accounts are contracts; one account sends all their transactions."""

    def __init__(self, chain: Chain) -> None:
        self.chain, self.accounts = chain, [*chain.accounts]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.chain, name)

    def actor(self) -> Actor:
        actor = Actor(deploy_contract(self.chain, compiled_for_tests("Puppet")))
        self.accounts.insert(0, actor)  # type: ignore[arg-type]
        return actor

    def transact(self, sender: Any, to: str, data: bytes, value: int = 0, gas: int = GAS) -> Receipt:
        if not isinstance(sender, Actor):
            return self.chain.transact(sender, to, data, value, gas)
        act = sender.puppet.encode("act", to, data)
        origin = self.chain.accounts[0]
        receipt = self.chain.transact(origin, sender.address, act, value, gas)
        assert not [event for event in receipt.events if origin.address in event.args.values()]
        return receipt


@pytest.fixture
def on(deployment: Deployment) -> Deployment:
    """The deployment, whose contracts and whose owner are called through contracts."""
    chain: Any = ThroughContracts(deployment.chain)
    names = ("registry", "tasks", "rewards", "pow", "pbft", "ethash")
    contracts = {name: getattr(deployment, name) for name in names}
    called = {name: Contract(chain, contract.artifact, contract.address) for name, contract in contracts.items()}
    return replace(deployment, chain=chain, owner=chain.actor(), **called)


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_contracts_own_tasks_and_play_rounds(on: Deployment, consensus: str) -> None:
    chain: Any = on.chain
    owner, members = on.owner, [chain.actor() for _ in range(4)]
    federation = Federation(on, Settings(consensus=consensus, commit_window=COMMIT_WINDOW), members)
    tasks, task, rewards, registry = on.tasks, federation.task, on.rewards, on.registry
    assert tasks.ownerOf(task) == owner.address
    rewards.setTerms(task, (1000, 10_000, False), by=owner)
    rewards.fund(task, by=owner, value=1500)

    assert [tasks.seatHolder(task, seat) for seat in range(4)] == [member.address for member in members]
    federation.open()
    for member in members:
        values = (federation.domain, 1, member.address, update_of(member), 100, 10, SALT)
        tasks.commit(task, 1, update_commitment(*values), by=member)
    federation.poke()
    for member in members:
        tasks.reveal(task, 1, update_of(member), 100, 10, SALT, by=member)
    federation.poke()
    federation.report(members[3], by=members[0])
    federation.take_back(members[3], by=members[0])
    federation.decide(MODEL)
    assert federation.phase is Phase.FINAL

    leader = federation.account(federation.state.proposal.proposer)
    rule = b"krum".ljust(32, b"\0"), keccak(RULE_PARAMS)
    outcome = (leader.address, INITIAL_MODEL, federation.closing, 0, *rule, MODEL, 600)
    recorded = [(member.address, update_of(member), 100, 10) for member in members]
    rewards.settle(task, 1, outcome, recorded, by=owner)
    assert rewards.withdraw(by=leader).named("RewardWithdrawn") == [{"server": leader.address, "amount": 1000}]
    assert chain.balance(leader.address) == 1000
    tasks.openRound(task, by=members[2])  # any member opens a later one
    federation.expire_round()
    federation.poke()
    tasks.resign(task, by=leader)
    tasks.endTask(task, by=owner)
    rewards.reclaim(task, by=owner)
    assert chain.balance(owner.address) == 500
    registry.addStake(by=leader, value=1)
    registry.retire(by=leader)
    chain.travel(UNBONDING)
    registry.withdraw(by=leader)
    assert chain.balance(leader.address) == 1000 + MIN_STAKE + 1


def test_contracts_are_refused_in_their_own_name(on: Deployment, deployment: Deployment) -> None:
    chain: Any = on.chain
    owner, one, two, stranger = on.owner, *(chain.actor() for _ in range(3))
    federation = Federation(on, Settings(consensus="pbft", commit_window=COMMIT_WINDOW), [one, two])
    tasks, task, registry = on.tasks, federation.task, on.registry
    deployment.registry.admit(stranger.address, True, by=deployment.owner)
    registry.join("http://admitted", by=stranger)  # for nothing: it is on the list, and its sender is not
    hidden = (update_of(one), 100, 10, SALT)
    rounds = [
        (lambda: tasks.join(task, by=one), "TasksAlreadyMember"),
        (lambda: tasks.endTask(task, by=one), "TasksNotOwner"),
        (lambda: tasks.openRound(task, by=one), "TasksNotOwner"),
        (lambda: tasks.finalizeRound(task, 1, MODEL, by=one), "TasksOnlyConsensus"),
        (lambda: on.pbft.onTimeout(task, 1, by=one), "ConsensusOnlyTasks"),
        (lambda: registry.join("http://again", by=one), "RegistryWrongStatus"),
        (lambda: registry.withdraw(by=one), "RegistryWrongStatus"),
        (lambda: on.rewards.setTerms(task, (1, 0, False), by=one), "RewardsNotOwner"),
        (lambda: on.rewards.fund(task, by=one), "RewardsNotOwner"),
        (lambda: on.rewards.reclaim(task, by=one), "RewardsNotOwner"),
        (lambda: on.rewards.withdraw(by=one), "RewardsNothingToWithdraw"),
    ]
    assert_all_name(one, rounds)
    assert_all_name(
        newcomer := chain.actor(),
        [
            (lambda: tasks.join(task, by=newcomer), "TasksNotActive"),
            (lambda: registry.join("http://poor", by=newcomer), "RegistryNotAdmitted"),
            (lambda: registry.retire(by=newcomer), "RegistryWrongStatus"),
            (lambda: registry.addStake(by=newcomer), "RegistryWrongStatus"),
        ],
    )
    federation.open()
    for member in (one, two):
        values = (federation.domain, 1, member.address, update_of(member), 100, 10, SALT)
        tasks.commit(task, 1, update_commitment(*values), by=member)
    assert_all_name(one, [(lambda: tasks.commit(task, 1, MODEL, by=one), "TasksAlreadySubmitted")])
    federation.poke()
    late = [
        (lambda: tasks.submit(task, 1, *hidden[:3], by=two), "TasksWrongCommitment"),
        (lambda: tasks.submitBatch(task, 1, [], by=two), "TasksWrongCommitment"),
        (lambda: tasks.reveal(task, 1, *hidden, by=two), "TasksWrongCommitment"),
    ]
    assert_all_name(two, late)
    for member in (one, two):
        tasks.reveal(task, 1, update_of(member), 100, 10, SALT, by=member)
    assert_all_name(one, [(lambda: tasks.reveal(task, 1, *hidden, by=one), "TasksAlreadySubmitted")])
    federation.poke()
    leader = federation.leader()
    assert_all_name(one, [(lambda: federation.report(one, by=one), "TasksNotMember")])
    federation.propose(leader, MODEL)
    assert_all_name(leader, [(lambda: federation.vote(leader), "ConsensusAlreadyVoted")])
    registry.retire(by=one)
    leaving = [
        (lambda: federation.report(two, by=one), "TasksNotActive"),
        (lambda: registry.retire(by=one), "RegistryWrongStatus"),
        (lambda: registry.withdraw(by=one), "RegistryStillSeated"),
    ]
    assert_all_name(one, leaving)
    tasks.evict(task, one.address, by=owner)
    evicted = [
        (lambda: federation.vote(one), "ConsensusBarred"),
        (lambda: registry.withdraw(by=one), "RegistryStillBonded"),
    ]
    assert_all_name(one, evicted)


def assert_all_name(actor: Any, calls: list[tuple[Callable[[], Any], str]]) -> None:
    """Each call is refused with this error, which names the actor."""
    for call, error in calls:
        with pytest.raises(ContractRevertError, match=error) as refused:
            call()
        assert actor.address in refused.value.values.values(), error
