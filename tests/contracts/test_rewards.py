"""The reward pool: what a final round pays, to whom, and that not a wei comes from nowhere."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.contracts.abi import Account, Contract, Receipt, deploy_contract, reverts
from tests.contracts.compiled import compiled_for_tests
from tests.contracts.deployment import Deployment
from tests.contracts.federation import INITIAL_MODEL, RULE_PARAMS, Federation, Settings, register, update_of

MODEL = keccak(b"new")
REWARD, LEADER_SHARE = 10_000_000, 2_000
RULE = b"krum".ljust(32, b"\0")


@pytest.fixture
def rewards(deployment: Deployment) -> Contract:
    return deployment.rewards


@pytest.fixture
def federation(found: Callable[..., Federation], rewards: Contract, owner: Account) -> Federation:
    """Three servers whose task has money for two rounds."""
    federation: Federation = found(3)
    rewards.setTerms(federation.task, (REWARD, LEADER_SHARE, False), by=owner)
    rewards.fund(federation.task, by=owner, value=2 * REWARD)
    return federation


def outcome(federation: Federation, missing: int = 0, **other: Any) -> tuple[Any, ...]:
    values = {
        "leader": federation.state.proposal.proposer,
        "parent": INITIAL_MODEL,
        "closing": federation.closing,
        "missing": missing,
        "rule": RULE,
        "ruleParamsHash": keccak(RULE_PARAMS),
        "model": MODEL,
        "modelSize": 600,
    }
    return tuple((values | other).values())


def updates(members: list[Account], samples: int = 10) -> list[tuple[str, bytes, int, int]]:
    return [(member.address, update_of(member), 100, samples) for member in members]


def settle(federation: Federation, **other: Any) -> Receipt:
    arguments = (outcome(federation, **other), updates(federation.members))
    teller = federation.chain.accounts[-1]
    receipt: Receipt = federation.on.rewards.settle(federation.task, 1, *arguments, by=teller)
    return receipt


def test_the_owner_sets_terms_once(
    found: Callable[..., Federation], rewards: Contract, owner: Account, servers: list[Account]
) -> None:
    task = found(0).task
    with reverts("RewardsNotOwner", task=task, account=servers[0].address):
        rewards.setTerms(task, (1, 1, True), by=servers[0])
    for terms in ((0, 1, True), (1, 10_001, True)):
        with reverts("RewardsBadTerms", leaderShare=terms[1]):
            rewards.setTerms(task, terms, by=owner)
    (chosen,) = rewards.setTerms(task, (REWARD, LEADER_SHARE, True), by=owner).named("TermsSet")
    assert chosen == {"task": task, "perRound": REWARD, "leaderShare": LEADER_SHARE, "bySamples": True}
    assert rewards.termsOf(task) == SimpleNamespace(perRound=REWARD, leaderShare=LEADER_SHARE, bySamples=True)
    with reverts("RewardsTermsAlreadySet", task=task):
        rewards.setTerms(task, (REWARD, LEADER_SHARE, True), by=owner)


def test_the_owner_alone_funds_a_task_once_its_terms_are_set(
    found: Callable[..., Federation], rewards: Contract, owner: Account, servers: list[Account]
) -> None:
    """The owner gets the rest in the end, so nobody else's money may come in."""
    task = found(0).task
    with reverts("RewardsNoTerms", task=task):
        rewards.fund(task, by=owner, value=7)
    rewards.setTerms(task, (REWARD, LEADER_SHARE, True), by=owner)
    for of in (task, task + 1):
        with reverts("RewardsNotOwner", task=of, account=servers[0].address):
            rewards.fund(of, by=servers[0], value=7)
    (funded,) = rewards.fund(task, by=owner, value=7).named("Funded")
    assert funded == {"task": task, "amount": 7}
    rewards.fund(task, by=owner, value=3)
    assert rewards.balanceOf(task) == 10


def test_a_round_pays_its_leader_and_its_updates(federation: Federation, rewards: Contract) -> None:
    federation.finish(MODEL)
    receipt = settle(federation)
    leader = federation.state.proposal.proposer
    for_leader = REWARD * LEADER_SHARE // 10_000
    each = (REWARD - for_leader) // 3
    paid = for_leader + 3 * each
    assert receipt.named("RoundSettled") == [{"task": federation.task, "round": 1, "paid": paid}]
    assert [credit["amount"] for credit in receipt.named("Credited")] == [for_leader, each, each, each]
    for member in federation.members:
        assert rewards.creditOf(member.address) == each + (for_leader if member.address == leader else 0)
    assert rewards.balanceOf(federation.task) == 2 * REWARD - paid  # what rounding leaves, too
    assert rewards.isSettled(federation.task, 1)
    with reverts("RewardsAlreadySettled", task=federation.task, round=1):
        settle(federation)


def test_rewards_may_be_large(found: Callable[..., Federation], rewards: Contract, owner: Account) -> None:
    """A thousand ether are no number of 64 bits."""
    federation: Federation = found(3)
    large = 1000 * 10**18
    rewards.setTerms(federation.task, (large, 10_000, False), by=owner)
    rewards.fund(federation.task, by=owner, value=large)
    rewards.fund(federation.task, by=owner, value=2 * large)
    federation.finish(keccak(b"first"))
    settle(federation, model=keccak(b"first"))
    assert rewards.creditOf(federation.state.proposal.proposer) == large  # all is the leader's
    assert rewards.balanceOf(federation.task) == 2 * large
    federation.finish(MODEL)
    federation.tasks.endTask(federation.task, by=owner)
    assert rewards.reclaim(federation.task, by=owner).named("LeftoverReclaimed")[0]["amount"] == large
    assert rewards.balanceOf(federation.task) == large


@pytest.mark.parametrize(("by_samples", "credits"), [(True, (250, 750)), (False, (500, 500))])
def test_shares_by_samples_or_alike(
    found: Callable[..., Federation], rewards: Contract, owner: Account, by_samples: bool, credits: tuple[int, int]
) -> None:
    federation: Federation = found(2)
    rewards.setTerms(federation.task, (1000, 0, by_samples), by=owner)
    rewards.fund(federation.task, by=owner, value=1000)
    federation.open()
    one, two = federation.members
    federation.submit(one, samples=100)
    federation.submit(two, samples=300)
    federation.poke()
    federation.decide(MODEL)
    recorded = [(one.address, update_of(one), 100, 100), (two.address, update_of(two), 100, 300)]
    rewards.settle(federation.task, 1, outcome(federation), recorded, by=owner)
    assert (rewards.creditOf(one.address), rewards.creditOf(two.address)) == credits


def test_updates_that_nobody_could_fetch_earn_nothing(
    found: Callable[..., Federation], rewards: Contract, owner: Account
) -> None:
    federation: Federation = found(4)
    rewards.setTerms(federation.task, (900, 0, False), by=owner)
    rewards.fund(federation.task, by=owner, value=900)
    federation.collect()
    withheld = federation.members[1]
    for reporter in (federation.members[0], federation.members[3]):
        federation.report(withheld, by=reporter)
    federation.decide(MODEL)
    settle(federation, missing=0b10)
    assert [rewards.creditOf(member.address) for member in federation.members] == [300, 0, 300, 300]


def test_where_updates_are_missing_a_new_seat_hides_the_old_one(
    found: Callable[..., Federation], rewards: Contract, owner: Account
) -> None:
    federation: Federation = found(4)
    rewards.setTerms(federation.task, (900, 0, False), by=owner)
    rewards.fund(federation.task, by=owner, value=900)
    federation.collect()
    for reporter in (federation.members[0], federation.members[3]):
        federation.report(federation.members[1], by=reporter)
    federation.decide(MODEL)
    federation.tasks.resign(federation.task, by=federation.members[2])
    federation.tasks.join(federation.task, by=federation.members[2])
    settle(federation, missing=0b10)
    assert [rewards.creditOf(member.address) for member in federation.members] == [450, 0, 0, 450]


@pytest.mark.parametrize(
    "wrong",
    [
        {"leader": "0x" + "11" * 20},
        {"parent": MODEL},
        {"closing": MODEL},
        {"missing": 1},
        {"rule": bytes(32)},
        {"ruleParamsHash": bytes(32)},
        {"model": INITIAL_MODEL},
        {"modelSize": 601},
    ],
)
def test_another_outcome_is_not_paid(federation: Federation, wrong: dict[str, Any]) -> None:
    federation.finish(MODEL)
    with reverts("RewardsWrongOutcome", task=federation.task, round=1):
        settle(federation, **wrong)


def test_other_updates_are_not_paid(federation: Federation, rewards: Contract, owner: Account) -> None:
    federation.finish(MODEL)
    right = updates(federation.members)
    for wrong in (right[:2], right[::-1], [*right, right[0]], updates(federation.members, samples=11), []):
        with reverts("RewardsWrongOutcome", task=federation.task, round=1):
            rewards.settle(federation.task, 1, outcome(federation), wrong, by=owner)


def test_rounds_that_are_not_final_are_not_paid(federation: Federation) -> None:
    federation.collect()
    with reverts("RewardsWrongOutcome", task=federation.task, round=1):
        settle(federation)


def test_nobody_settles_a_round_before_its_money_is_there(
    found: Callable[..., Federation], rewards: Contract, owner: Account
) -> None:
    federation: Federation = found(3)
    federation.finish(MODEL)
    with reverts("RewardsNoTerms", task=federation.task):
        settle(federation)
    rewards.setTerms(federation.task, (REWARD, LEADER_SHARE, False), by=owner)
    rewards.fund(federation.task, by=owner, value=REWARD - 1)
    with reverts("RewardsUnderfunded", task=federation.task, balance=REWARD - 1, perRound=REWARD):
        settle(federation)
    rewards.fund(federation.task, by=owner, value=1)
    settle(federation)


def test_earnings_are_withdrawn_once(federation: Federation, rewards: Contract) -> None:
    federation.finish(MODEL)
    settle(federation)
    member = federation.members[1]
    credit = rewards.creditOf(member.address)
    before = federation.chain.balance(rewards.address)
    (withdrawn,) = rewards.withdraw(by=member).named("RewardWithdrawn")
    assert withdrawn == {"server": member.address, "amount": credit}
    assert federation.chain.balance(rewards.address) == before - credit
    with reverts("RewardsNothingToWithdraw", server=member.address):
        rewards.withdraw(by=member)


def test_a_payment_that_fails_leaves_the_credit(
    found: Callable[..., Federation], rewards: Contract, owner: Account, deployment: Deployment
) -> None:
    federation: Federation = found(0)
    rewards.setTerms(federation.task, (REWARD, 0, False), by=owner)
    rewards.fund(federation.task, by=owner, value=REWARD)
    puppet = deploy_contract(federation.chain, compiled_for_tests("Puppet"))
    other = federation.chain.accounts[1]

    def act(contract: Contract, name: str, *arguments: Any, value: int = 0) -> None:
        puppet.act(contract.address, contract.encode(name, *arguments), by=owner, value=value)

    act(deployment.registry, "join", "http://puppet", value=10**18)
    act(federation.tasks, "join", federation.task)
    register(deployment, other)
    federation.enlist(other)
    federation.open()
    act(federation.tasks, "submit", federation.task, 1, MODEL, 100, 10)
    federation.expire_round()
    federation.poke()
    federation.propose(other, MODEL)
    ballot = federation.ballot()
    act(federation.consensus, "attest", ballot.task, 1, 0, ballot.stage, ballot.digest, True)
    recorded = [(puppet.address, MODEL, 100, 10)]
    rewards.settle(federation.task, 1, outcome(federation), recorded, by=owner)
    puppet.refuseMoney(by=owner)
    with reverts("RewardsPaymentFailed", to=puppet.address, amount=REWARD):
        act(rewards, "withdraw")
    assert rewards.creditOf(puppet.address) == REWARD


# ---------------------------------------------------------------- what is left


def test_what_no_round_needs_is_the_owners_once_the_task_has_ended(
    federation: Federation, rewards: Contract, owner: Account
) -> None:
    """The pay of final rounds stays, whoever has not settled them yet; what rounding leaves goes with the rest."""
    task, chain = federation.task, federation.chain
    rewards.fund(task, by=owner, value=3 * REWARD + 5)
    federation.finish(keccak(b"first"))
    settle(federation, model=keccak(b"first"))
    dust = rewards.balanceOf(task) - 4 * REWARD
    assert dust == 5 + 2  # of 8,000,000 among three
    federation.finish(MODEL)  # and nobody settles it
    federation.collect(federation.members[:0])  # aborts
    with reverts("RewardsNotEnded", task=task):
        rewards.reclaim(task, by=owner)
    federation.tasks.endTask(task, by=owner)
    with reverts("RewardsNotOwner", task=task, account=federation.members[0].address):
        rewards.reclaim(task, by=federation.members[0])
    before = chain.balance(rewards.address)
    (back,) = rewards.reclaim(task, by=owner).named("LeftoverReclaimed")
    assert back == {"task": task, "owner": owner.address, "amount": 3 * REWARD + dust}
    assert chain.balance(rewards.address) == before - back["amount"]
    with reverts("RewardsNothingLeft", task=task):
        rewards.reclaim(task, by=owner)
    recorded = (outcome(federation, parent=keccak(b"first")), updates(federation.members))
    rewards.settle(task, 2, *recorded, by=federation.members[0])
    (more,) = rewards.reclaim(task, by=owner).named("LeftoverReclaimed")
    assert (more["amount"], rewards.balanceOf(task)) == (2, 0)


def test_the_owner_ends_a_task_also_if_a_member_opens_every_next_round_at_once(
    federation: Federation, rewards: Contract, owner: Account
) -> None:
    """Who votes last can open the next round in the same transaction: the owner never finds the task between rounds."""
    task, tasks = federation.task, federation.tasks
    rewards.fund(task, by=owner, value=3 * REWARD)
    federation.finish(MODEL)
    tasks.openRound(task, by=federation.members[0])
    tasks.endTask(task, by=owner)
    with reverts("RewardsNotEnded", task=task):
        rewards.reclaim(task, by=owner)
    for member in federation.members:
        federation.submit(member)
    federation.poke()
    federation.decide(keccak(b"last"))
    with reverts("TasksEnded", task=task, maxRounds=2):
        tasks.openRound(task, by=federation.members[0])
    assert rewards.reclaim(task, by=owner).named("LeftoverReclaimed")[0]["amount"] == 3 * REWARD


def test_a_part_of_a_round_is_left_over_too(
    found: Callable[..., Federation], rewards: Contract, owner: Account
) -> None:
    """If the money does not reach for the final rounds, what pays none of them would stay for ever."""
    federation: Federation = found(1)
    task = federation.task
    rewards.setTerms(task, (REWARD, LEADER_SHARE, False), by=owner)
    rewards.fund(task, by=owner, value=REWARD + 3)
    for number in range(3):
        federation.finish(keccak(b"%d" % number))
    federation.tasks.endTask(task, by=owner)
    assert rewards.reclaim(task, by=owner).named("LeftoverReclaimed")[0]["amount"] == 3
    assert rewards.balanceOf(task) == REWARD


def test_a_task_whose_rounds_are_played_leaves_its_rest(
    found: Callable[..., Federation], rewards: Contract, owner: Account
) -> None:
    federation: Federation = found(1, max_rounds=1)
    rewards.setTerms(federation.task, (REWARD, LEADER_SHARE, False), by=owner)
    rewards.fund(federation.task, by=owner, value=3 * REWARD)
    federation.collect()
    with reverts("RewardsNotEnded", task=federation.task):
        rewards.reclaim(federation.task, by=owner)
    federation.decide(MODEL)
    assert rewards.reclaim(federation.task, by=owner).named("LeftoverReclaimed")[0]["amount"] == 2 * REWARD


def test_an_owner_that_takes_no_money_gets_none(rewards: Contract, owner: Account, deployment: Deployment) -> None:
    puppet = deploy_contract(deployment.chain, compiled_for_tests("Puppet"))

    def act(contract: Contract, name: str, *arguments: Any, value: int = 0) -> None:
        puppet.act(contract.address, contract.encode(name, *arguments), by=owner, value=value)

    act(deployment.tasks, "createTask", Settings().encoded(deployment))
    task = deployment.tasks.taskCount()
    act(rewards, "setTerms", task, (REWARD, 0, False))
    act(rewards, "fund", task, value=REWARD)
    act(deployment.tasks, "endTask", task)
    puppet.refuseMoney(by=owner)
    with reverts("RewardsPaymentFailed", to=puppet.address, amount=REWARD):
        act(rewards, "reclaim", task)
    assert rewards.balanceOf(task) == REWARD
