"""Threats to updates: copying, inflating, censoring and withholding them, and reporting them falsely."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from eth_hash.auto import keccak

from fbfl.chain.digests import accumulate, initial_accumulator, update_commitment
from fbfl.errors import ContractRevertError
from tests.contracts.abi import Account, reverts
from tests.contracts.deployment import MIN_STAKE
from tests.contracts.federation import (
    INITIAL_MODEL,
    RULE_PARAMS,
    Federation,
    Phase,
    Stage,
    drawn_in,
    update_of,
)

HONEST, WRONG = keccak(b"the right aggregate"), keccak(b"a wrong aggregate")
SALT = keccak(b"salt")
THREE_OF_TEN: dict[str, Any] = {"participation": 3000, "seed": 5, "min_updates": 2}
"""A task that draws three of its ten members, of whom one may be absent."""


def test_a_copied_update_was_not_committed_to(found: Callable[..., Federation], servers: list[Account]) -> None:
    """A thief sees an update when it is revealed; by then it must have committed itself to something."""
    federation: Federation = found(3, commit_window=500)
    victim, thief, bystander = servers[:3]
    number, tasks, task = federation.open(), federation.tasks, federation.task
    loot = update_of(victim)
    own = update_commitment(federation.domain, number, victim.address, loot, 100, 10, SALT)
    tasks.commit(task, number, own, by=victim)
    tasks.commit(task, number, own, by=thief)  # the commitment itself can be copied, but names its sender
    federation.expire_round()
    federation.poke()
    tasks.reveal(task, number, loot, 100, 10, SALT, by=victim)
    for copier in (thief, bystander):
        with reverts("TasksWrongCommitment", task=task, round=number, server=copier.address):
            tasks.reveal(task, number, loot, 100, 10, SALT, by=copier)
    assert federation.state.submitted == 0b001


def test_strangers_fill_no_log_with_batches_in_which_nothing_is_new(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(4)
    federation.open()
    record, stranger = federation.tasks.submitBatch, servers[9]
    with reverts("TasksNothingNew", task=federation.task, round=1):
        record(federation.task, 1, [], by=stranger)
    batch = [federation.signed_update(member) for member in servers[:2]]
    federation.submit(servers[0])
    with reverts("TasksNothingNew", task=federation.task, round=1):
        record(federation.task, 1, batch[:1], by=stranger)
    (recorded,) = record(federation.task, 1, batch, by=stranger).named("UpdatesSubmitted")
    assert [update.server for update in recorded["updates"]] == [servers[1].address]
    with reverts("TasksNothingNew", task=federation.task, round=1):
        record(federation.task, 1, batch, by=stranger)


def test_an_inflated_sample_count_is_capped(
    found: Callable[..., Federation], owner: Account, servers: list[Account]
) -> None:
    """Samples weight the average and the rewards; nobody claims more than the task allows."""
    federation: Federation = found(2)
    rewards = federation.on.rewards
    rewards.setTerms(federation.task, (10_000, 0, True), by=owner)
    rewards.fund(federation.task, by=owner, value=10_000)
    federation.open()
    modest, greedy = servers[:2]
    federation.submit(modest, samples=500)
    with reverts("TasksBadSampleCount", samples=2**32 - 1, maxSamples=1000):
        federation.submit(greedy, samples=2**32 - 1)
    federation.submit(greedy, samples=1000)
    federation.poke()
    federation.decide(HONEST)
    about = federation.state.proposal.proposer, INITIAL_MODEL, federation.closing, 0
    outcome = (*about, b"krum".ljust(32, b"\0"), keccak(RULE_PARAMS))
    claims = [(modest.address, update_of(modest), 100, 500), (greedy.address, update_of(greedy), 100, 1000)]
    inflated = [claims[0], (*claims[1][:3], 2**32 - 1)]
    with reverts("RewardsWrongOutcome", task=federation.task, round=1):
        rewards.settle(federation.task, 1, (*outcome, HONEST, 600), inflated, by=greedy)
    rewards.settle(federation.task, 1, (*outcome, HONEST, 600), claims, by=greedy)
    assert rewards.creditOf(modest.address) == 10_000 * 500 // 1500


def test_a_censored_update_reaches_the_chain_by_itself(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    """The collector of a batch leaves one server out; that server submits alone, and no leader can drop it then."""
    federation: Federation = found(4)
    federation.open()
    victim = servers[0]
    batch = [federation.signed_update(member) for member in servers[1:4]]
    federation.tasks.submitBatch(federation.task, 1, batch, by=servers[1])
    federation.submit(victim)
    federation.poke()
    state = federation.state
    order = [(member.address, update_of(member), 100, 10) for member in (*servers[1:4], victim)]
    assert state.accumulator == accumulate(initial_accumulator(federation.domain, 1), order)
    # Whatever a leader proposes, the contract puts its own running hash and its own bitmap into the digest.
    (proposed,) = federation.propose(servers[1], HONEST).named("ModelProposed")
    assert (proposed["valueDigest"], proposed["missing"]) == (federation.value(HONEST, missing=0), 0)


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_a_withheld_payload_is_left_out_and_costs_stake(
    found: Callable[..., Federation], servers: list[Account], consensus: str
) -> None:
    """Two of four leave it out, all others together have its server slashed. Fewer say it in vain."""
    federation: Federation = found(4, consensus=consensus, withheld_penalty=2500)
    federation.collect()
    withholder = servers[3]
    for reporter, missing, left in zip(servers, (0, 0b1000, 0b1000), (4, 4, 3), strict=False):
        federation.report(withholder, by=reporter)
        assert federation.state.missing == missing
        assert federation.registry.server(withholder.address).stake == MIN_STAKE * left // 4
    federation.decide(HONEST, voters=servers[:3])
    assert federation.state.proposal.missing == 0b1000


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
@pytest.mark.parametrize("withholding", [2, 3])
@pytest.mark.parametrize("late", [False, True])
def test_who_withholds_among_few_that_are_drawn_pays_as_elsewhere(
    found: Callable[..., Federation], consensus: str, withholding: int, late: bool
) -> None:
    """Without their updates too few are left, so the round cannot go on: it must not end before they have paid.

    Nor where the honest look for payloads longer than a view lasts, as long as nobody ends that.
    """
    federation: Federation = found(10, consensus=consensus, withheld_penalty=2500, **THREE_OF_TEN)
    attackers = collect_drawn(federation)[:withholding]
    honest = [member for member in federation.members if member not in attackers]
    for reporter, attacker in itertools.product(attackers, attackers):
        if reporter != attacker:
            federation.report(attacker, by=reporter)  # so that it ends sooner, they hope
    if late:
        federation.expire_view()
    for reporter, attacker in itertools.product(honest, attackers):
        if federation.phase is Phase.DECIDE:
            federation.report(attacker, by=reporter)
    stakes = [federation.registry.server(member.address).stake for member in attackers]
    assert stakes == [MIN_STAKE * 3 // 4] * withholding
    assert {federation.registry.server(member.address).stake for member in honest} == {MIN_STAKE}
    assert (federation.phase, federation.state.model) == (Phase.ABORTED, INITIAL_MODEL)


@pytest.mark.parametrize(("consensus", "liars"), [("pow", 4), ("pbft", 3)])
def test_reports_that_honest_members_take_back_end_no_round_of_few_that_are_drawn(
    found: Callable[..., Federation], consensus: str, liars: int
) -> None:
    """Liars alone leave no update out; one honest member with a slow daemon beside them ends no round, either."""
    federation: Federation = found(10, consensus=consensus, withheld_penalty=2500, **THREE_OF_TEN)
    victims = collect_drawn(federation)[:2]
    others = [member for member in federation.members if member not in victims]
    slow = others[-1]
    for reporter, victim in itertools.product((*others[:liars], slow), victims):
        federation.report(victim, by=reporter)
    state = federation.state
    assert (state.submitted & ~state.missing).bit_count() == 1
    for victim in victims:
        federation.take_back(victim, by=slow)
    federation.decide(HONEST, voters=[*victims, *others])
    assert (federation.phase, federation.state.model, federation.state.proposal.missing) == (Phase.FINAL, HONEST, 0)
    assert {federation.registry.server(member.address).stake for member in federation.members} == {MIN_STAKE}


@pytest.mark.parametrize("n", [3, 6, 10, 13])
def test_a_minority_leaves_out_and_slashes_nobody(
    found: Callable[..., Federation], servers: list[Account], n: int
) -> None:
    """Under a majority a third is not enough to leave updates out: it would contribute all of the aggregate alone."""
    liars = (n - 1) // 2
    federation: Federation = found(n, withheld_penalty=1000)
    federation.collect()
    for victim in servers[liars:n]:
        for liar in servers[:liars]:
            federation.report(victim, by=liar)
        assert federation.registry.server(victim.address).stake == MIN_STAKE
    assert federation.state.missing == 0


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
@pytest.mark.parametrize("n", [2, 3])
def test_one_report_costs_nobody_anything(
    found: Callable[..., Federation], servers: list[Account], consensus: str, n: int
) -> None:
    federation: Federation = found(n, consensus=consensus, withheld_penalty=2500)
    federation.collect()
    liar, victim = servers[:2]
    federation.report(victim, by=liar)
    assert federation.registry.server(victim.address).stake == MIN_STAKE


def test_one_mistake_beside_a_liar_is_taken_back(found: Callable[..., Federation], servers: list[Account]) -> None:
    """The liar reports everybody; an honest server's daemon was slow for a while. Nobody is expelled for ever."""
    federation: Federation = found(4, consensus="pbft", withheld_penalty=1000)
    federation.collect()
    liar, slow, victim, another = servers[:4]
    for reporter in (liar, slow):
        federation.report(victim, by=reporter)
    assert federation.state.missing == 0b100
    (back,) = federation.take_back(victim, by=slow).named("ReportWithdrawn")
    assert (back["server"], back["reporter"]) == (victim.address, slow.address)
    assert federation.state.missing == 0
    federation.report(victim, by=another)
    assert federation.registry.server(victim.address).stake == MIN_STAKE
    federation.propose(federation.leader(), HONEST)
    with reverts("TasksAlreadyProposed", task=federation.task, round=1):
        federation.take_back(victim, by=another)


def test_who_was_slashed_pays_once_and_comes_back(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(7, withheld_penalty=1000)
    federation.collect()
    victim, *others = servers[:7]
    for reporter in others[:5]:
        federation.report(victim, by=reporter)
    assert federation.registry.server(victim.address).stake == MIN_STAKE * 9 // 10
    federation.take_back(victim, by=others[0])
    federation.report(victim, by=others[5])  # as many as before, and one more
    federation.take_back(victim, by=others[1])
    assert federation.registry.server(victim.address).stake == MIN_STAKE * 9 // 10
    federation.registry.join("http://again", by=victim, value=MIN_STAKE // 10)
    assert federation.registry.isActive(victim.address)


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_a_member_reports_an_update_once_and_takes_that_back_once(
    found: Callable[..., Federation], servers: list[Account], consensus: str
) -> None:
    """Otherwise it could fill the log of the task for nothing but gas."""
    federation: Federation = found(4, consensus=consensus)
    liar, victim, other = servers[:3]
    for number in (1, 2):  # what was withdrawn in the first round may be reported in the second
        federation.collect()
        federation.report(victim, by=liar)
        federation.take_back(victim, by=liar)
        with reverts("TasksNotReported", task=federation.task, round=number, server=victim.address):
            federation.take_back(victim, by=liar)
        with reverts("TasksAlreadyReported", task=federation.task, round=number, server=victim.address):
            federation.report(victim, by=liar)
        federation.report(victim, by=other)
        assert federation.state.missing == 0  # what was taken back does not count
        federation.decide(keccak(b"%d" % number))


def test_a_report_is_of_the_updates_that_its_sender_saw(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    """A report waits while a reorganisation replaces the updates: it is none of what the same server records then."""
    federation: Federation = found(4)
    reporter, victim = servers[:2]
    before = federation.chain.snapshot()
    federation.collect()
    seen, task = federation.state.accumulator, federation.task
    federation.chain.revert(before)
    federation.open()
    for server in servers[:4]:
        federation.submit(server, keccak(b"another" + server.address.encode()))
    federation.poke()
    here = federation.state.accumulator
    for call in (federation.tasks.reportMissing, federation.tasks.withdrawReport):
        with reverts("TasksOtherUpdates", task=task, accumulator=seen, here=here):
            call(task, 1, victim.address, seen, by=reporter)
        call(task, 1, victim.address, here, by=reporter)


def test_who_is_alone_with_reports_for_three_rounds_is_not_heard_for_ten(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(4, withheld_penalty=1000)
    liar, victim, honest = servers[:3]
    for number in range(1, 15):
        federation.collect()
        if number in (1, 2, 3):
            for accused in (victim, honest):
                federation.report(accused, by=liar)
        elif number <= 13:
            with reverts("TasksMayNotReport", task=federation.task, account=liar.address, barredUntil=13):
                federation.report(victim, by=liar)
        else:
            federation.report(victim, by=liar)
        federation.decide(keccak(b"%d" % number))
    assert federation.registry.server(victim.address).stake == MIN_STAKE
    assert federation.registry.server(honest.address).stake == MIN_STAKE


def test_who_is_left_alone_with_reports_was_alone_with_them(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(4)
    reporter, other, *victims = servers[:4]
    for number in (1, 2, 3):
        federation.collect()
        for victim in victims:
            for member in (reporter, other):
                federation.report(victim, by=member)
            federation.take_back(victim, by=other)
        federation.decide(keccak(b"%d" % number))
    federation.collect()
    with reverts("TasksMayNotReport", task=federation.task, account=reporter.address, barredUntil=13):
        federation.report(victims[0], by=reporter)
    federation.report(victims[0], by=other)


def test_who_is_joined_in_every_report_of_several_was_alone_with_none(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(4)
    reporter, other, *victims = servers[:4]
    for number in (1, 2, 3, 4):
        federation.collect()
        for member in (reporter, other):
            for victim in victims:
                federation.report(victim, by=member)
        federation.decide(keccak(b"%d" % number))


def test_nobody_is_alone_where_one_report_is_enough(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(2)
    for number in range(1, 6):
        federation.collect()
        federation.report(servers[1], by=servers[0])
        assert federation.state.missing == 0b10
        if number == 5:
            federation.take_back(servers[1], by=servers[0])
            assert federation.state.missing == 0
        federation.decide(keccak(b"%d" % number))


@pytest.mark.parametrize("relief", ["another reporter", "withdrawn", "a round without"])
def test_who_is_not_alone_with_its_reports_is_heard(
    found: Callable[..., Federation], servers: list[Account], relief: str
) -> None:
    federation: Federation = found(4)
    reporter, victim, other = servers[:3]
    for number in range(1, 8):
        federation.collect()
        if relief != "a round without" or number % 3 != 0:
            federation.report(victim, by=reporter)
        if relief == "another reporter":
            federation.report(victim, by=other)
        if relief == "withdrawn":
            federation.take_back(victim, by=reporter)
        federation.decide(keccak(b"%d" % number))


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_a_last_report_before_the_proposal_costs_the_leader_nothing(
    found: Callable[..., Federation], servers: list[Account], consensus: str
) -> None:
    """A server withholds its update from one member; an accomplice reports it just before the proposal is mined."""
    federation: Federation = found(4, consensus=consensus, rejection_penalty=1000, withheld_penalty=2500)
    federation.collect()
    leader, withholder = federation.leader(), servers[3]
    with reverts("TasksNotMember", task=federation.task, account=withholder.address):
        federation.report(withholder, by=withholder)
    federation.report(withholder, by=servers[2])
    model, proof = keccak(b"of all"), federation.proof(leader)
    computed = federation.value(model)
    accomplice = next(server for server in servers[:2] if server != leader)
    federation.report(withholder, by=accomplice)
    before = federation.decision
    counted = federation.value(model, missing=0b1000)
    with reverts("TasksValueChanged", task=federation.task, value=counted, expected=computed):
        federation.propose(leader, model, proof=proof, value=computed)
    assert (federation.stage, federation.decision) == (Stage.PROPOSE, before)
    assert not federation.consensus.isBarred(federation.task, leader.address)
    receipt = federation.propose(leader, HONEST, proof=proof)
    (proposed,) = receipt.named("ModelProposed")
    assert (proposed["missing"], proposed["valueDigest"]) == (0b1000, federation.value(HONEST, missing=0b1000))
    while federation.phase is Phase.DECIDE:
        stage = federation.stage
        for member in servers[:3]:
            if federation.stage is stage and not (stage is Stage.PREPARE and member == leader):
                federation.vote(member)
    assert (federation.phase, federation.state.model) == (Phase.FINAL, HONEST)
    assert federation.registry.server(leader.address).stake == MIN_STAKE


def test_no_gas_limit_spares_an_accomplice(found: Callable[..., Federation], servers: list[Account]) -> None:
    """Whoever triggers a penalty chooses the gas: it suffices for all that the call does, or for nothing."""
    reporting: Federation = found(4, withheld_penalty=2500)
    reporting.collect()
    for reporter in servers[:2]:
        reporting.report(servers[3], by=reporter)
    assert_all_or_nothing(
        reporting,
        servers[3],
        lambda gas: reporting.report(servers[3], by=servers[2], gas=gas),
    )
    rejecting: Federation = found(4, rejection_penalty=2500)
    rejecting.collect()
    proposer, *others = rejecting.members
    rejecting.propose(proposer, WRONG)
    for member in others[:2]:
        rejecting.vote(member, accept=False)
    ballot = rejecting.ballot(accept=False)
    arguments = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest, ballot.accept)
    assert_all_or_nothing(
        rejecting, proposer, lambda gas: rejecting.consensus.attest(*arguments, by=others[2], gas=gas)
    )


def assert_all_or_nothing(federation: Federation, culprit: Account, call: Callable[..., Any]) -> None:
    chain, registry = federation.chain, federation.registry
    stake = registry.server(culprit.address).stake
    outcomes = set()
    for gas in range(60_000, 240_000, 2_000):
        before = chain.snapshot()
        try:
            call(gas)
            done = True
        except ContractRevertError:
            done = False
        assert (registry.server(culprit.address).stake < stake) is done, gas
        outcomes.add(done)
        chain.revert(before)
    assert outcomes == {True, False}


def collect_drawn(federation: Federation) -> list[Account]:
    """Open a round and collect the updates of all that are drawn for it."""
    drawn = drawn_in(federation, federation.open())
    for member in drawn:
        federation.submit(member)
    federation.poke()
    return drawn
