"""Threats by way of the chain: money, time, gas, full blocks and reorganisations."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from eth_hash.auto import keccak

from fbfl.errors import ContractRevertError
from tests.contracts.abi import Account, Contract, deploy_contract, reverts
from tests.contracts.blocks import in_blocks
from tests.contracts.compiled import compiled_for_tests
from tests.contracts.crowd import Crowd
from tests.contracts.deployment import MIN_STAKE, UNBONDING, Deployment
from tests.contracts.federation import (
    EASY,
    INITIAL_MODEL,
    RULE_PARAMS,
    TIMEOUT,
    Federation,
    Phase,
    Settings,
    Stage,
    register,
    update_of,
)

HONEST, WRONG = keccak(b"the right aggregate"), keccak(b"a wrong aggregate")


# ---------------------------------------------------------------- money


def test_a_reentrant_withdrawal_gets_nothing_more(
    deployment: Deployment, found: Callable[..., Federation], owner: Account
) -> None:
    chain, registry, rewards = deployment.chain, deployment.registry, deployment.rewards
    federation: Federation = found(1)
    victim = federation.members[0]
    thief: Contract = deploy_contract(chain, compiled_for_tests("Puppet"))

    def act(contract: Contract, name: str, *arguments: object, value: int = 0) -> None:
        thief.act(contract.address, contract.encode(name, *arguments), by=owner, value=value)

    act(registry, "join", "http://thief", value=MIN_STAKE)
    act(federation.tasks, "join", federation.task)
    rewards.setTerms(federation.task, (1000, 0, False), by=owner)
    rewards.fund(federation.task, by=owner, value=2000)
    federation.open()
    act(federation.tasks, "submit", federation.task, 1, HONEST, 100, 10)
    federation.submit(victim)
    federation.poke()
    federation.propose(victim, HONEST)
    ballot = federation.ballot()
    act(federation.consensus, "attest", ballot.task, 1, 0, ballot.stage, ballot.digest, True)
    about = victim.address, INITIAL_MODEL, federation.closing, 0
    outcome = (*about, b"krum".ljust(32, b"\0"), keccak(RULE_PARAMS), HONEST, 600)
    recorded = [(thief.address, HONEST, 100, 10), (victim.address, update_of(victim), 100, 10)]
    rewards.settle(federation.task, 1, outcome, recorded, by=owner)
    act(registry, "retire")
    act(federation.tasks, "resign", federation.task)
    chain.travel(UNBONDING)
    for contract, due in ((rewards, 500), (registry, MIN_STAKE)):
        thief.whenPaid(contract.address, contract.encode("withdraw"), by=owner)
        before = chain.balance(thief.address)
        act(contract, "withdraw")
        assert chain.balance(thief.address) == before + due
        assert (thief.intrusions(), thief.answer()[:4]) == (0, keccak(b"ReentrancyGuardReentrantCall()")[:4])
    assert deployment.money == (MIN_STAKE, 1500)


def test_a_stake_does_not_leave_by_slashing_oneself(deployment: Deployment, servers: list[Account]) -> None:
    """A liar makes a task of its own and shows there that it equivocates: what it loses goes to nobody."""
    chain, registry, rewards = deployment.chain, deployment.registry, deployment.rewards
    victims = Federation(deployment, Settings(consensus="pbft"), servers[:4])
    liar = servers[3]
    own = Federation(deployment, Settings(target=2**256 - 1), [liar])
    stake = registry.server(liar.address).stake
    own.collect()
    own.propose(liar, WRONG)
    victims.collect()
    victims.propose(victims.leader(), HONEST)
    for federation in (own, victims):
        votes = []
        for accept in (True, False):
            ballot = replace(federation.ballot(accept), stage=Stage.PREPARE)
            values = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest, ballot.accept)
            votes += [values, federation.signed_vote(liar, ballot)]
        # The evidence of the victims still is one after that of its own task.
        receipt = federation.consensus.reportEquivocation(*votes, by=servers[9])
        assert receipt.named("Equivocation")
    assert deployment.money == (3 * MIN_STAKE + stake, 0)
    assert rewards.balanceOf(own.task) == 0
    chain.travel(UNBONDING)
    registry.burn(liar.address, by=servers[9])
    assert deployment.money == (3 * MIN_STAKE, 0)
    victims.tasks.evict(victims.task, liar.address, by=servers[0])
    assert victims.consensus.isBarred(victims.task, liar.address)


# ---------------------------------------------------------------- time, gas and blocks


def test_a_miner_moves_deadlines_by_no_more_than_its_clock(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    """A timestamp some seconds ahead changes nothing: windows are far longer, and the last second still counts."""
    federation: Federation = found(4, consensus="pbft", timeout=600, timeout_cap=600)
    federation.open()
    deadline = federation.state.round.deadline
    federation.chain.travel(15)
    federation.submit(servers[0])
    with reverts("TasksNotDue", task=federation.task, deadline=deadline):
        federation.poke()
    federation.chain.travel(deadline - federation.chain.now)
    assert federation.chain.now == deadline
    federation.submit(servers[1])
    federation.poke()
    decision = federation.decision
    federation.chain.travel(15)
    with reverts("ConsensusNotDue", task=federation.task, deadline=decision.deadline):
        federation.poke()
    # The target of a puzzle follows claimed times by a factor of 4 at most.
    puzzle: Federation = found(1, solve_time=40)
    puzzle.collect()
    puzzle.chain.travel(TIMEOUT - 2)
    (solved,) = puzzle.propose(servers[0], HONEST).named("PuzzleSolved")
    assert solved["nextTarget"] <= 4 * EASY


def test_many_servers_exhaust_no_gas(
    deployment: Deployment, found: Callable[..., Federation], servers: list[Account]
) -> None:
    """With a full committee of 240, every call costs what it costs with 4."""
    few, many = found(4, consensus="pbft", max_views=9), found(4, consensus="pbft", max_views=9)
    Crowd(deployment, 236).join(many)
    register(deployment, servers[20])
    with reverts("TasksFull", task=many.task, maxMembers=240):
        many.tasks.join(many.task, by=servers[20])
    small, large = (gas_of_a_round(federation, servers) for federation in (few, many))
    assert small.keys() == large.keys()
    for call, gas in small.items():
        # Seats above 15 take another byte of call data here and there, and more ones to count.
        assert large[call] <= gas * 1.05 + 1000, call
    assert max(large.values()) < 300_000


def gas_of_a_round(federation: Federation, members: list[Account]) -> dict[str, int]:
    """Return the gas of each call that somebody must make lest the round stop."""
    task, tasks, one, two = federation.task, federation.tasks, members[0], members[1]
    gas = {"open": tasks.openRound(task, by=federation.on.owner).gas}
    federation.submit(one)
    gas["submit"] = federation.submit(two).gas
    federation.expire_round()
    gas["close"] = federation.poke().gas
    gas["report"] = federation.report(one, by=two).gas
    gas["time out"] = federation.time_out().gas
    gas["propose"] = federation.propose(federation.leader(), HONEST).gas
    federation.vote(one)
    gas["vote"] = federation.vote(two, accept=False).gas
    return gas


def test_stuffed_blocks_delay_a_round_but_do_not_stop_it(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    """An attacker buys all blocks until a deadline has passed: what got in counts, and the round still ends."""
    federation: Federation = found(4, consensus="pbft", min_updates=2)
    federation.open()
    federation.submit(servers[0])
    federation.expire_round()
    federation.chain.mine(50)
    with pytest.raises(ContractRevertError, match="TasksDeadlinePassed"):
        federation.submit(servers[1])
    federation.poke()
    assert (federation.phase, federation.state.model) == (Phase.ABORTED, INITIAL_MODEL)
    federation.collect()
    federation.propose(federation.leader(), HONEST)
    federation.expire_view()
    federation.chain.mine(50)
    federation.poke()
    federation.decide(HONEST)
    assert (federation.phase, federation.state.model) == (Phase.FINAL, HONEST)


@pytest.mark.blocks
def test_a_proposal_for_the_updates_of_another_branch_costs_its_leader_nothing(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    """It waited to be mined when a reorganisation took the updates back, and recorded them in another order."""
    federation: Federation = found(3, rejection_penalty=1000)
    federation.open()
    fork = federation.chain.snapshot()
    for server in servers[:3]:
        federation.submit(server)
    late = federation.value(HONEST)
    federation.chain.revert(fork)
    for server in servers[2::-1]:
        federation.submit(server)
    federation.poke()
    before = federation.decision
    with reverts("TasksValueChanged", task=federation.task, value=federation.value(HONEST), expected=late):
        federation.propose(servers[0], HONEST, value=late)
    assert (federation.stage, federation.decision) == (Stage.PROPOSE, before)
    federation.decide(HONEST)
    assert (federation.phase, federation.state.model) == (Phase.FINAL, HONEST)


@pytest.mark.blocks
@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_what_was_sent_behind_another_closing_block_costs_its_sender_nothing(
    found: Callable[..., Federation], consensus: str
) -> None:
    """The same updates, closed by another block, give another draw: what waited to be mined was right on its branch."""
    federation: Federation = found(4, consensus=consensus, rejection_penalty=1000, target=2**256 - 1)
    registry, task = federation.registry, federation.task
    federation.open()
    for server in federation.members:
        federation.submit(server)
    fork = federation.chain.snapshot()
    federation.poke()
    leader, closing, late = federation.leader(), federation.closing, federation.value(WRONG)
    federation.propose(leader, WRONG)
    ballot, voters = federation.ballot(), [server for server in federation.members if server != leader]
    signatures = [federation.signed_vote(voter, ballot) for voter in voters]
    federation.chain.revert(fork)
    federation.chain.travel(1)
    federation.poke()
    assert (federation.leader(), federation.closing != closing) == (leader, True)
    before = federation.decision
    with reverts("TasksOtherBranch", task=task, closing=closing, here=federation.closing):
        federation.propose(leader, WRONG, value=late, closing=closing)
    with reverts("TasksValueChanged", task=task, value=federation.value(WRONG), expected=late):
        federation.propose(leader, WRONG, value=late)
    assert (federation.stage, federation.decision) == (Stage.PROPOSE, before)
    federation.propose(leader, HONEST)
    right = federation.ballot().digest
    attest = federation.consensus.attestSigned
    for voter, accept in zip(voters, (True, False, True), strict=True):
        with reverts("ConsensusWrongDigest", task=task, digest=ballot.digest, proposal=right):
            federation.vote(voter, accept, digest=ballot.digest)
    with reverts("ConsensusWrongDigest", task=task, digest=ballot.digest, proposal=right):
        attest(task, 1, 0, Stage.PREPARE, ballot.digest, signatures, by=leader)
    with pytest.raises(ContractRevertError, match="ConsensusNotMember"):  # of another digest nobody's
        attest(task, 1, 0, Stage.PREPARE, right, signatures, by=leader)
    assert (federation.decision.accepts, federation.decision.rejects) == (1, 0)
    for stage, people in ((Stage.PREPARE, voters), (Stage.COMMIT, federation.members)):
        for voter in people:
            if federation.phase is Phase.DECIDE and federation.stage is stage:
                federation.vote(voter)
    assert (federation.phase, federation.state.model) == (Phase.FINAL, HONEST)
    assert not federation.consensus.isBarred(task, leader.address)
    assert {registry.server(server.address).stake for server in federation.members} == {MIN_STAKE}


@pytest.mark.blocks
def test_nobody_proposes_in_the_closing_block(
    found: Callable[..., Federation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that a reorganisation took back may be mined again in one block, which has no hash yet."""
    federation: Federation = found(1, consensus="pbft")
    chain, task, leader = federation.chain, federation.task, federation.members[0]
    federation.open()
    federation.submit(leader)
    for closing in (in_blocks(chain).head.hash, bytes(32)):
        fork = chain.snapshot()
        with monkeypatch.context() as patch:
            patch.setattr(chain, "mine_blocks", lambda: ())
            federation.poke()
            with reverts("TasksOtherBranch", task=task, closing=closing, here=bytes(32)):
                federation.tasks.propose(task, 1, HONEST, 600, closing, bytes(32), b"", by=leader)
        chain.revert(fork)


@pytest.mark.blocks
def test_after_256_blocks_the_votes_tell_the_branch(found: Callable[..., Federation]) -> None:
    """The contract cannot compare hashes any more, but what is voted on still names the block."""
    federation: Federation = found(4, consensus="pbft", timeout=10_000, timeout_cap=10_000)
    task = federation.task
    federation.collect()
    leader, right = federation.leader(), federation.closing
    federation.chain.mine(255)
    with reverts("TasksOtherBranch", task=task, closing=WRONG, here=right):
        federation.propose(leader, HONEST, closing=WRONG)
    fork = federation.chain.snapshot()
    federation.propose(leader, HONEST, closing=WRONG)
    assert federation.decision.proposal != federation.value(HONEST)
    federation.chain.revert(fork)
    federation.propose(leader, HONEST, closing=right)
    assert federation.decision.proposal == federation.value(HONEST)


@pytest.mark.blocks
def test_after_a_reorganisation_the_state_is_the_other_branchs(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(3)
    federation.collect()
    fork = federation.chain.snapshot()
    federation.propose(servers[0], WRONG)
    federation.vote(servers[1])
    assert federation.state.model == WRONG
    orphaned = in_blocks(federation.chain).head.hash
    federation.chain.revert(fork)
    assert (federation.phase, federation.stage, federation.state.model) == (Phase.DECIDE, Stage.PROPOSE, INITIAL_MODEL)
    assert federation.tasks.outcomeOf(federation.task, 1) == bytes(32)
    federation.propose(servers[2], HONEST)
    federation.vote(servers[1])
    assert (federation.phase, federation.state.model) == (Phase.FINAL, HONEST)
    assert in_blocks(federation.chain).head.hash != orphaned
    assert federation.finish(keccak(b"second")) == 2
