"""Shared by every consensus: views, votes, quorums, timeouts, signed votes and evidence of equivocation.

Tested on `PowPuzzle`, which adds nothing to it but the right to propose.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from eth_hash.auto import keccak

from fbfl.chain.artifacts import load_artifact
from fbfl.errors import ContractRevertError
from tests.contracts.abi import NOBODY, Account, Receipt, deploy_contract, reverts
from tests.contracts.compiled import compiled_for_tests
from tests.contracts.deployment import MIN_STAKE, Deployment
from tests.contracts.federation import MAX_VIEWS, TIMEOUT, TIMEOUT_CAP, Ballot, Federation, Phase, Settings, Stage

MODEL = keccak(b"new")
EXPELLED = 3


@pytest.fixture
def voting(found: Callable[..., Federation]) -> Federation:
    """Four servers; the first has proposed."""
    federation: Federation = found(4, rejection_penalty=1000)
    federation.collect()
    federation.propose(federation.members[0], MODEL)
    return federation


def test_only_the_ledger_opens_and_moves_decisions(deployment: Deployment, servers: list[Account]) -> None:
    stranger = servers[0]
    for consensus in (deployment.pow, deployment.pbft, deployment.ethash):
        for call, arguments in {
            "configure": (1, b""),
            "enroll": (1, stranger.address, 0, 1, 2),
            "open": (1, 1, 1),
            "propose": (1, 1, stranger.address, MODEL, b""),
            "onTimeout": (1, 1),
            "expel": (1, 1, 0),
            "abandon": (1, 1),
        }.items():
            with reverts("ConsensusOnlyTasks", caller=stranger.address):
                getattr(consensus, call)(*arguments, by=stranger)
        assert consensus.ledger() == deployment.tasks.address


def test_the_ledger_means_the_round_that_is_open(deployment: Deployment, owner: Account) -> None:
    ledger = deploy_contract(deployment.chain, compiled_for_tests("Puppet"))
    consensus = deploy_contract(deployment.chain, load_artifact("PowPuzzle"), ledger.address)
    ledger.act(consensus.address, consensus.encode("open", 1, 3, 0b1), by=owner)
    for call, other in itertools.product(("onTimeout", "abandon"), (2, 4)):
        with reverts("ConsensusWrongRound", task=1, round=other, current=3):
            ledger.act(consensus.address, consensus.encode(call, 1, other), by=owner)


@pytest.mark.parametrize("rules", [{"timeout": 0}, {"timeout_cap": TIMEOUT - 1}, {"max_views": 0}])
def test_rules_that_cannot_work_are_refused(deployment: Deployment, rules: dict[str, Any]) -> None:
    settings = replace(Settings(), **rules)
    values = {"timeout": settings.timeout, "timeoutCap": settings.timeout_cap, "maxViews": settings.max_views}
    with reverts("ConsensusBadParameters", **values):
        deployment.tasks.createTask(settings.encoded(deployment), by=deployment.owner)


def test_a_penalty_is_a_quarter_of_the_stake_at_most(deployment: Deployment) -> None:
    settings = replace(Settings(), rejection_penalty=2501)
    with reverts("ConsensusBadParameters", timeout=TIMEOUT, timeoutCap=TIMEOUT_CAP, maxViews=MAX_VIEWS):
        deployment.tasks.createTask(settings.encoded(deployment), by=deployment.owner)


@pytest.mark.parametrize(
    ("members", "majority", "byzantine"),
    [(1, 1, 1), (2, 2, 2), (3, 2, 2), (4, 3, 3), (5, 3, 4), (6, 4, 4), (7, 4, 5), (9, 5, 6)],
)
def test_quorums(found: Callable[..., Federation], members: int, majority: int, byzantine: int) -> None:
    for byzantine_quorum, quorum in ((False, majority), (True, byzantine)):
        federation: Federation = found(members, byzantine_quorum=byzantine_quorum)
        federation.collect()
        assert federation.decision.quorum == quorum


@pytest.mark.parametrize(
    ("members", "majority", "byzantine", "to_slash"),
    [(2, 1, 1, 2), (3, 2, 1, 2), (4, 2, 2, 3), (5, 3, 2, 3), (6, 3, 2, 3), (7, 4, 3, 5), (10, 5, 4, 7)],
)
def test_how_many_reports_leave_out_and_slash(
    found: Callable[..., Federation], members: int, majority: int, byzantine: int, to_slash: int
) -> None:
    """Of the others; f of n-1."""
    for byzantine_quorum, to_leave_out in ((False, majority), (True, byzantine)):
        federation: Federation = found(members, byzantine_quorum=byzantine_quorum)
        federation.collect()
        assert federation.consensus.reportThresholds(federation.task) == [to_leave_out, to_slash]


def test_before_the_first_round_nobody_leads(found: Callable[..., Federation]) -> None:
    decision = found(4, consensus="pbft").decision
    assert (decision.stage, decision.leader, decision.proposer, decision.proposal) == (0, NOBODY, NOBODY, bytes(32))


def test_a_decision_opens_with_the_rounds_committee(found: Callable[..., Federation]) -> None:
    federation: Federation = found(4)
    assert federation.decision.stage == Stage.NONE
    federation.open()
    for member in federation.members:
        federation.submit(member)
    receipt, opened = federation.poke(), federation.chain.last_time
    (started,) = receipt.named("ViewStarted")
    deadline = opened + TIMEOUT
    assert started == {"task": federation.task, "round": 1, "view_": 0, "leader": NOBODY, "deadline": deadline}
    assert federation.decision == SimpleNamespace(
        round=1,
        view_=0,
        stage=Stage.PROPOSE,
        committeeSize=4,
        quorum=3,
        accepts=0,
        rejects=0,
        openedAt=opened,
        deadline=deadline,
        leader=NOBODY,
        proposer=NOBODY,
        proposal=bytes(32),
        prepared=bytes(32),
    )


def test_a_proposal_is_its_proposers_vote(found: Callable[..., Federation]) -> None:
    federation: Federation = found(4)
    federation.collect()
    first = federation.members[0]
    receipt = federation.propose(first, MODEL)
    digest = federation.value(MODEL)
    (proposed,) = receipt.named("Proposed")
    assert proposed == {
        "task": federation.task,
        "round": 1,
        "proposer": first.address,
        "view_": 0,
        "valueDigest": digest,
    }
    decision = federation.decision
    assert (decision.stage, decision.proposer, decision.proposal) == (Stage.PREPARE, first.address, digest)
    assert (decision.accepts, decision.rejects) == (1, 0)
    assert decision.deadline == federation.chain.last_time + TIMEOUT
    with reverts("ConsensusAlreadyVoted", task=federation.task, voter=first.address):
        federation.vote(first)


def test_votes_are_counted_until_the_quorum_decides(voting: Federation) -> None:
    receipt = voting.vote(voting.members[1])
    assert receipt.named("Voted") == [
        {
            "task": voting.task,
            "round": 1,
            "voter": voting.members[1].address,
            "view_": 0,
            "stage": Stage.PREPARE,
            "valueDigest": voting.value(MODEL),
            "accept": True,
        }
    ]
    assert (voting.decision.accepts, voting.phase) == (2, Phase.DECIDE)
    assert voting.vote(voting.members[2]).named("RoundFinalized")
    assert (voting.phase, voting.stage, voting.state.model) == (Phase.FINAL, Stage.DECIDED, MODEL)


def test_late_votes_are_recorded_and_change_nothing(voting: Federation) -> None:
    for member in voting.members[1:3]:
        voting.vote(member)
    voting.vote(voting.members[3], accept=False, stage=Stage.PREPARE)
    assert (voting.decision.accepts, voting.decision.rejects, voting.phase) == (3, 1, Phase.FINAL)
    with reverts("ConsensusAlreadyVoted", task=voting.task, voter=voting.members[3].address):
        voting.vote(voting.members[3], stage=Stage.PREPARE)


def test_a_quorum_of_rejections_gives_somebody_else_the_turn(voting: Federation) -> None:
    proposer, *others = voting.members
    for member in others[:2]:
        voting.vote(member, accept=False)
    receipt = voting.vote(others[2], accept=False)
    assert receipt.named("ProposerBarred") == [
        {"task": voting.task, "round": 1, "proposer": proposer.address, "view_": 0}
    ]
    (started,) = receipt.named("ViewStarted")
    assert (started["view_"], started["deadline"]) == (1, voting.chain.last_time + 2 * TIMEOUT)
    now = voting.decision
    assert (now.stage, now.proposer, now.proposal, now.accepts) == (Stage.PROPOSE, NOBODY, bytes(32), 0)
    assert voting.consensus.isBarred(voting.task, proposer.address)
    assert not voting.consensus.isBarred(voting.task, others[0].address)
    with reverts("ConsensusBarred", task=voting.task, proposer=proposer.address):
        voting.propose(proposer, MODEL)
    voting.decide(MODEL)
    assert voting.phase is Phase.FINAL
    voting.collect()
    assert not voting.consensus.isBarred(voting.task, proposer.address)


@pytest.mark.parametrize(("penalty", "left", "status"), [(0, MIN_STAKE, 1), (2500, 3 * MIN_STAKE // 4, EXPELLED)])
def test_a_leader_that_was_voted_down_pays(
    found: Callable[..., Federation], penalty: int, left: int, status: int
) -> None:
    federation: Federation = found(4, rejection_penalty=penalty)
    federation.collect()
    proposer, *others = federation.members
    federation.propose(proposer, MODEL)
    for member in others:
        receipt = federation.vote(member, accept=False)
    assert len(receipt.named("ServerSlashed")) == (1 if penalty else 0)
    server = federation.registry.server(proposer.address)
    assert (server.stake, server.status) == (left, status)
    assert server.held == MIN_STAKE - left


def test_who_has_nothing_left_to_lose_does_not_stop_the_round(voting: Federation, servers: list[Account]) -> None:
    proposer, *others = voting.members
    accuse(voting, proposer, voting.ballot(), replace(voting.ballot(), accept=False), by=servers[9])
    assert voting.registry.server(proposer.address).stake == 0
    for member in others:
        receipt = voting.vote(member, accept=False)
    assert [entry["amount"] for entry in receipt.named("ServerSlashed")] == [0]
    assert voting.decision.view_ == 1


def test_views_double_up_to_the_cap_and_end(found: Callable[..., Federation]) -> None:
    federation: Federation = found(2)
    federation.collect()
    lengths = []
    while federation.phase is Phase.DECIDE:
        federation.expire_view()
        receipt = federation.poke()
        lengths += [view["deadline"] - federation.chain.last_time for view in receipt.named("ViewStarted")]
    assert lengths == [2 * TIMEOUT, TIMEOUT_CAP, TIMEOUT_CAP, TIMEOUT_CAP]
    (aborted,) = receipt.named("RoundAborted")
    assert aborted["reason"] == b"too many views".ljust(32, b"\0")
    assert (federation.phase, federation.stage) == (Phase.ABORTED, Stage.DECIDED)
    with reverts("ConsensusWrongStage", task=federation.task, stage=Stage.PREPARE, current=Stage.DECIDED):
        federation.vote(federation.members[0], stage=Stage.PREPARE)


def test_a_view_ends_after_its_deadline_and_not_before(voting: Federation) -> None:
    deadline = voting.decision.deadline
    with reverts("ConsensusNotDue", task=voting.task, deadline=deadline):
        voting.poke()
    voting.expire_view()
    with reverts("ConsensusDeadlinePassed", task=voting.task, deadline=deadline):
        voting.vote(voting.members[1])
    voting.poke()
    assert voting.consensus.isBarred(voting.task, voting.members[0].address)
    deadline = voting.decision.deadline
    voting.expire_view()
    with reverts("ConsensusDeadlinePassed", task=voting.task, deadline=deadline):
        voting.propose(voting.members[1], MODEL)


def test_a_ballot_ends_with_its_view(voting: Federation) -> None:
    """Its votes do not count for the next proposal, nor any vote for what was proposed before."""
    others = voting.members[1:]
    old = voting.decision.proposal
    voting.vote(others[0])
    voting.time_out()
    voting.propose(others[0], keccak(b"another"))
    now = voting.decision.proposal
    with reverts("ConsensusWrongDigest", task=voting.task, digest=old, proposal=now):
        voting.vote(others[1], digest=old)
    assert (voting.decision.accepts, voting.decision.rejects) == (1, 0)
    voting.time_out()
    voting.propose(others[1], MODEL)  # the same as at first
    assert (voting.decision.accepts, voting.decision.proposal) == (1, old)


def test_a_ballot_ends_with_its_round(voting: Federation) -> None:
    old = voting.decision.proposal
    for member in voting.members[1:3]:
        voting.vote(member)
    assert voting.phase is Phase.FINAL
    voting.collect()
    voting.propose(voting.members[0], keccak(b"another"))
    now = voting.decision.proposal
    with reverts("ConsensusWrongDigest", task=voting.task, digest=old, proposal=now):
        voting.consensus.attestSigned(voting.task, 2, 0, Stage.PREPARE, old, [], by=voting.members[0])
    assert (voting.decision.accepts, voting.phase) == (1, Phase.DECIDE)


def test_a_seat_votes_from_its_first_round_to_its_last(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(4)
    leaver, newcomer = servers[3], servers[4]
    federation.collect()
    federation.enlist(newcomer)
    federation.tasks.resign(federation.task, by=leaver)
    federation.propose(servers[0], MODEL)
    with reverts("ConsensusNotMember", task=federation.task, account=newcomer.address):
        federation.vote(newcomer)
    federation.vote(leaver)
    federation.vote(servers[1])
    assert federation.phase is Phase.FINAL
    federation.members.remove(leaver)
    federation.collect()
    federation.propose(servers[0], keccak(b"second"))
    with reverts("ConsensusNotMember", task=federation.task, account=leaver.address):
        federation.vote(leaver)
    federation.vote(newcomer)
    assert federation.decision.accepts == 2


def test_the_last_second_of_a_view_is_part_of_it(found: Callable[..., Federation]) -> None:
    federation: Federation = found(4, consensus="pbft")
    federation.collect()
    leader = federation.leader()
    voter = next(member for member in federation.members if member != leader)
    acts: list[Callable[[], Receipt]] = [lambda: federation.propose(leader, MODEL), lambda: federation.vote(voter)]
    for act in acts:
        deadline = federation.decision.deadline
        federation.chain.travel(deadline - federation.chain.now)
        before = federation.chain.snapshot()
        with reverts("ConsensusNotDue", task=federation.task, deadline=deadline):
            federation.poke()
        federation.chain.revert(before)
        act()
        assert federation.chain.last_time == deadline


def test_late_views_last_as_long_as_the_cap(found: Callable[..., Federation]) -> None:
    """However often the first one's time would have doubled by then."""
    federation: Federation = found(1, timeout=1, timeout_cap=4, max_views=300)
    federation.collect()
    for _ in range(260):
        federation.time_out()
        if federation.decision.view_ in (1, 2, 33, 40, 260):
            assert federation.decision.deadline - federation.chain.last_time == min(2**federation.decision.view_, 4)
    assert federation.decision.view_ == 260


def test_votes_out_of_place_are_refused(voting: Federation, servers: list[Account]) -> None:
    task, member, digest = voting.task, voting.members[1], voting.value(MODEL)
    other = keccak(b"another value")
    for number in (0, 2):
        with reverts("ConsensusWrongRound", task=task, round=number, current=1):
            voting.vote(member, round=number)
    with reverts("ConsensusWrongView", task=task, view_=1, current=0):
        voting.vote(member, view=1)
    for stage in (Stage.NONE, Stage.PROPOSE, Stage.COMMIT, Stage.DECIDED):
        with reverts("ConsensusWrongStage", task=task, stage=stage, current=Stage.PREPARE):
            voting.vote(member, stage=stage)
    with reverts("ConsensusWrongDigest", task=task, digest=other, proposal=digest):
        voting.vote(member, digest=other)
    with reverts("ConsensusNotMember", task=task, account=servers[9].address):
        voting.vote(servers[9])


def test_one_proposal_at_a_time(voting: Federation) -> None:
    with reverts("ConsensusWrongStage", task=voting.task, stage=Stage.PROPOSE, current=Stage.PREPARE):
        voting.propose(voting.members[1], MODEL)


# ---------------------------------------------------------------- signed votes


def test_signed_votes_count_like_transactions(voting: Federation, servers: list[Account]) -> None:
    ballot = voting.ballot()
    signatures = [voting.signed_vote(member, ballot) for member in voting.members]
    arguments = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest)
    receipt = voting.consensus.attestSigned(*arguments, signatures, by=servers[9])
    assert receipt.named("VotesRecorded") == [
        {
            "task": voting.task,
            "round": 1,
            "view_": 0,
            "stage": Stage.PREPARE,
            "valueDigest": ballot.digest,
            "voters": 0b1110,  # the proposer had voted
        }
    ]
    assert (voting.decision.accepts, voting.phase) == (4, Phase.FINAL)


def test_signed_votes_below_the_quorum_wait(voting: Federation) -> None:
    ballot = voting.ballot()
    arguments = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest)
    first = voting.signed_vote(voting.members[1], ballot)
    voting.consensus.attestSigned(*arguments, [first, first], by=voting.members[0])
    assert (voting.decision.accepts, voting.phase) == (2, Phase.DECIDE)
    with reverts("ConsensusAlreadyVoted", task=voting.task, voter=voting.members[1].address):
        voting.vote(voting.members[1])
    late = voting.signed_vote(voting.members[3], ballot)
    voting.vote(voting.members[2])
    voting.consensus.attestSigned(*arguments, [late], by=voting.members[0])
    assert (voting.decision.accepts, voting.phase) == (4, Phase.FINAL)


def test_signatures_of_others_or_of_other_votes_do_not_count(voting: Federation, servers: list[Account]) -> None:
    ballot = voting.ballot()
    arguments = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest)
    with reverts("ConsensusNotMember", task=voting.task, account=servers[9].address):
        voting.consensus.attestSigned(*arguments, [voting.signed_vote(servers[9], ballot)], by=servers[9])
    against = voting.signed_vote(voting.members[1], replace(ballot, accept=False))
    with pytest.raises(ContractRevertError, match="ConsensusNotMember"):
        voting.consensus.attestSigned(*arguments, [against], by=servers[9])
    r, _ = voting.signed_vote(voting.members[1], ballot)
    with reverts("ConsensusNotMember", task=voting.task, account=NOBODY):
        voting.consensus.attestSigned(*arguments, [(r, bytes(32))], by=servers[9])
    assert voting.decision.accepts == 1


def test_a_quorum_of_signed_votes_against_a_proposal_ends_the_view(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(5, byzantine_quorum=True, rejection_penalty=1000)
    federation.collect()
    proposer = federation.leader()
    federation.propose(proposer, MODEL)
    ballot = federation.ballot(accept=False)
    arguments = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest)
    one, two, three, four = (member for member in federation.members if member != proposer)
    signed = {member: federation.signed_vote(member, ballot) for member in (one, two, three, four)}
    federation.vote(one, accept=False)
    with pytest.raises(ContractRevertError, match="ConsensusNotMember"):  # a vote for it is none against it
        federation.consensus.rejectSigned(*arguments, [federation.signed_vote(two, federation.ballot())], by=servers[9])
    twice = [signed[one], signed[two], signed[two], signed[three]]
    receipt = federation.consensus.rejectSigned(*arguments, twice, by=servers[9])
    seats = sum(1 << federation.tasks.memberOf(ballot.task, member.address).seat for member in (two, three))
    values = {"round": 1, "view_": 0, "stage": Stage.PREPARE, "valueDigest": ballot.digest, "voters": seats}
    assert receipt.named("RejectionsRecorded") == [{"task": ballot.task, **values}]
    assert (federation.decision.accepts, federation.decision.rejects, federation.decision.quorum) == (1, 3, 4)
    receipt = federation.consensus.rejectSigned(*arguments, [signed[four]], by=servers[9])
    assert [barred["proposer"] for barred in receipt.named("ProposerBarred")] == [proposer.address]
    assert (federation.decision.view_, federation.stage) == (1, Stage.PROPOSE)
    assert federation.registry.server(proposer.address).stake == MIN_STAKE * 9 // 10
    with reverts("ConsensusWrongView", task=ballot.task, view_=0, current=1):
        federation.consensus.rejectSigned(*arguments, list(signed.values()), by=servers[9])


def test_signed_votes_against_what_is_decided_change_nothing(voting: Federation, servers: list[Account]) -> None:
    against = voting.ballot(accept=False)
    late = [voting.signed_vote(voting.members[3], against)]
    for member in voting.members[1:3]:
        voting.vote(member)
    assert voting.phase is Phase.FINAL
    arguments = (against.task, against.round, against.view, against.stage, against.digest)
    receipt = voting.consensus.rejectSigned(*arguments, late, by=servers[9])
    assert receipt.named("RejectionsRecorded")[0]["voters"] == 0b1000
    assert (voting.decision.rejects, voting.phase) == (1, Phase.FINAL)


# ---------------------------------------------------------------- equivocation


def accuse(
    federation: Federation, member: Account, first: Ballot, second: Ballot, by: Account, other: Account | None = None
) -> Receipt:
    votes = []
    for ballot, signer in ((first, member), (second, other or member)):
        values = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest, ballot.accept)
        votes += [values, federation.signed_vote(signer, ballot)]
    receipt: Receipt = federation.consensus.reportEquivocation(*votes, by=by)
    return receipt


@pytest.mark.parametrize("difference", [{"accept": False}, {"digest": keccak(b"another value")}])
def test_two_votes_that_exclude_each_other_cost_the_stake(
    voting: Federation, servers: list[Account], difference: dict[str, Any]
) -> None:
    ballot, traitor = voting.ballot(), voting.members[2]
    receipt = accuse(voting, traitor, ballot, replace(ballot, **difference), by=servers[9])
    assert receipt.named("Equivocation") == [
        {"task": voting.task, "round": 1, "voter": traitor.address, "view_": 0, "stage": Stage.PREPARE}
    ]
    (slashed,) = receipt.named("ServerSlashed")
    assert (slashed["amount"], slashed["reason"]) == (MIN_STAKE, b"equivocation".ljust(32, b"\0"))
    assert voting.registry.server(traitor.address).status == EXPELLED


@pytest.mark.parametrize(
    "difference",
    [
        {},
        {"round": 2, "digest": keccak(b"another value")},
        {"view": 1, "digest": keccak(b"another value")},
        {"stage": Stage.COMMIT, "digest": keccak(b"another value")},
        {"task": 7, "digest": keccak(b"another value")},
        {"digest": keccak(b"another value"), "accept": False},
    ],
)
def test_votes_that_go_together_are_no_evidence(
    voting: Federation, servers: list[Account], difference: dict[str, Any]
) -> None:
    ballot = voting.ballot()
    with reverts("ConsensusNoEquivocation"):
        accuse(voting, voting.members[2], ballot, replace(ballot, **difference), by=servers[9])


def test_votes_of_two_members_are_no_evidence(voting: Federation, servers: list[Account]) -> None:
    first, second = voting.ballot(), replace(voting.ballot(), accept=False)
    with reverts("ConsensusNoEquivocation"):
        accuse(voting, voting.members[2], first, second, by=servers[9], other=voting.members[3])


def test_strangers_cannot_equivocate(voting: Federation, servers: list[Account]) -> None:
    first, second = voting.ballot(), replace(voting.ballot(), accept=False)
    with reverts("ConsensusNotMember", task=voting.task, account=servers[9].address):
        accuse(voting, servers[9], first, second, by=servers[8])
