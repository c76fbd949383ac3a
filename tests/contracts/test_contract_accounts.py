"""Owners and servers that are contracts: a call counts for its sender, not for whoever sent the transaction."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from eth_hash.auto import keccak

from fbfl.chain.digests import update_commitment
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
        return self.chain.transact(self.chain.accounts[0], sender.address, act, value, gas)


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_contracts_own_tasks_and_play_rounds(deployment: Deployment, consensus: str) -> None:
    chain: Any = ThroughContracts(deployment.chain)
    names = ("registry", "tasks", "rewards", "pow", "pbft", "ethash")
    contracts = {
        name: Contract(chain, getattr(deployment, name).artifact, getattr(deployment, name).address) for name in names
    }
    owner: Any = chain.actor()
    members: list[Any] = [chain.actor() for _ in range(4)]
    on = replace(deployment, chain=chain, owner=owner, **contracts)
    federation = Federation(on, Settings(consensus=consensus, commit_window=COMMIT_WINDOW), members)
    tasks, task, rewards, registry = on.tasks, federation.task, on.rewards, on.registry
    assert tasks.ownerOf(task) == owner.address
    rewards.setTerms(task, (1000, 10_000, False), by=owner)
    rewards.fund(task, by=owner, value=1500)

    federation.open()
    for member in members:
        values = (federation.domain, 1, member.address, update_of(member), 100, 10, SALT)
        tasks.commit(task, 1, update_commitment(*values), by=member)
    federation.poke()
    for member in members:
        tasks.reveal(task, 1, update_of(member), 100, 10, SALT, by=member)
    federation.poke()
    tasks.reportMissing(task, 1, members[3].address, by=members[0])
    tasks.withdrawReport(task, 1, members[3].address, by=members[0])
    if consensus == "pbft":
        (vote,) = on.pbft.voteViewChange(task, 1, 0, by=members[1]).named("ViewChangeVoted")
        assert vote["voter"] == members[1].address
    federation.decide(MODEL)
    assert federation.phase is Phase.FINAL

    leader = federation.account(federation.state.proposal.proposer)
    outcome = (leader.address, INITIAL_MODEL, 0, b"krum".ljust(32, b"\0"), keccak(RULE_PARAMS), MODEL, 600)
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
