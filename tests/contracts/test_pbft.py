"""PBFT: taking turns, prepare and commit, the lock on a prepared value, and voting to end a view."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from eth_hash.auto import keccak

from tests.contracts.abi import Account, reverts
from tests.contracts.deployment import Deployment
from tests.contracts.federation import TIMEOUT, Federation, Phase, Settings, Stage

MODEL, OTHER = keccak(b"new"), keccak(b"another")


@pytest.fixture
def pbft(found: Callable[..., Federation]) -> Federation:
    federation: Federation = found(4, consensus="pbft")
    federation.collect()
    return federation


def prepare(federation: Federation) -> None:
    """Propose in this view and prepare what is proposed."""
    leader = federation.leader()
    federation.propose(leader, MODEL)
    for member in [member for member in federation.members if member != leader][:2]:
        federation.vote(member)


def test_only_a_byzantine_quorum_is_safe(deployment: Deployment) -> None:
    values = list(replace(Settings(), consensus="pbft").encoded(deployment))
    values[-1] = values[-1][: 3 * 32] + bytes(32) + values[-1][4 * 32 :]
    with reverts("PbftUnsafeQuorum"):
        deployment.tasks.createTask(tuple(values), by=deployment.owner)


def test_the_lead_goes_round(pbft: Federation) -> None:
    order = [member.address for member in pbft.members]
    leaders = []
    while pbft.phase is Phase.DECIDE:
        leaders.append(pbft.decision.leader)
        (barred,) = pbft.time_out().named("ProposerBarred")
        assert barred["proposer"] == leaders[-1]  # it kept silent
    assert leaders == [order[(1 + view) % 4] for view in range(5)]
    pbft.collect()
    assert pbft.decision.leader == order[2]


def test_the_lead_goes_round_among_the_seats_of_the_committee(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(5, consensus="pbft")
    federation.tasks.resign(federation.task, by=servers[1])
    federation.tasks.resign(federation.task, by=servers[3])
    federation.open()
    for member in (servers[0], servers[2], servers[4]):
        federation.submit(member)
    federation.poke()
    assert federation.decision.leader == servers[2].address
    federation.time_out()
    assert federation.decision.leader == servers[4].address
    federation.time_out()
    assert federation.decision.leader == servers[0].address


def test_the_lead_goes_round_among_those_who_are_left(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(4, consensus="pbft")
    federation.finish(MODEL)
    federation.tasks.resign(federation.task, by=federation.members.pop(0))
    federation.collect()
    assert (federation.state.committee, federation.decision.committeeSize) == (0b1110, 3)
    assert federation.decision.leader == servers[3].address


def test_only_the_leader_proposes(pbft: Federation) -> None:
    leader = pbft.leader()
    impostor = next(member for member in pbft.members if member != leader)
    with reverts("ConsensusNotLeader", task=pbft.task, proposer=impostor.address, leader=leader.address):
        pbft.propose(impostor, MODEL)


def test_prepare_then_commit_then_final(pbft: Federation) -> None:
    leader = pbft.leader()
    pbft.propose(leader, MODEL)
    one, two, three = (member for member in pbft.members if member != leader)
    assert not pbft.vote(one).named("Prepared")
    receipt = pbft.vote(two)
    digest = pbft.value(MODEL)
    assert receipt.named("Prepared") == [{"task": pbft.task, "round": 1, "view_": 0, "valueDigest": digest}]
    decision = pbft.decision
    assert (decision.stage, decision.prepared, decision.accepts) == (Stage.COMMIT, digest, 0)
    assert decision.deadline == pbft.chain.last_time + TIMEOUT
    with reverts("ConsensusWrongStage", task=pbft.task, stage=Stage.PREPARE, current=Stage.COMMIT):
        pbft.vote(three, stage=Stage.PREPARE)
    for member in (leader, one):
        assert not pbft.vote(member).named("RoundFinalized")
    assert pbft.vote(three).named("RoundFinalized")
    pbft.vote(two, stage=Stage.COMMIT)  # late
    assert (pbft.phase, pbft.state.model, pbft.decision.accepts) == (Phase.FINAL, MODEL, 4)


def test_a_prepared_value_must_be_proposed_again(pbft: Federation) -> None:
    prepare(pbft)
    locked = pbft.decision.prepared
    pbft.time_out()
    leader = pbft.leader()
    with reverts("ConsensusMustRepropose", task=pbft.task, prepared=locked):
        pbft.propose(leader, OTHER)
    pbft.decide(MODEL)
    assert (pbft.phase, pbft.state.model, pbft.state.proposal.proposer) == (Phase.FINAL, MODEL, leader.address)


def test_the_lock_ends_with_the_round(pbft: Federation) -> None:
    prepare(pbft)
    while pbft.phase is Phase.DECIDE:
        pbft.time_out()
    assert pbft.phase is Phase.ABORTED
    pbft.finish(OTHER)
    assert pbft.state.model == OTHER


def test_a_value_that_was_not_prepared_is_free(pbft: Federation) -> None:
    pbft.propose(pbft.leader(), MODEL)
    pbft.time_out()
    pbft.decide(OTHER)
    assert pbft.state.model == OTHER


def test_all_votes_of_a_stage_fit_one_transaction(pbft: Federation) -> None:
    pbft.propose(pbft.leader(), MODEL)
    for expected in (Stage.COMMIT, Stage.DECIDED):
        ballot = pbft.ballot()
        signatures = [pbft.signed_vote(member, ballot) for member in pbft.members]
        arguments = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest)
        pbft.consensus.attestSigned(*arguments, signatures, by=pbft.members[0])
        assert pbft.stage is expected
    assert pbft.phase is Phase.FINAL


def test_without_a_quorum_of_the_first_stage_the_second_is_refused(pbft: Federation, servers: list[Account]) -> None:
    pbft.propose(pbft.leader(), MODEL)
    commit = replace(pbft.ballot(), stage=Stage.COMMIT)
    commits = [pbft.signed_vote(member, commit) for member in pbft.members]
    with reverts("ConsensusWrongStage", task=pbft.task, stage=Stage.COMMIT, current=Stage.PREPARE):
        pbft.consensus.attestSigned(commit.task, 1, 0, Stage.COMMIT, commit.digest, commits, by=servers[9])


def test_signed_votes_against_it_end_the_view_of_a_prepared_value_that_stays(pbft: Federation) -> None:
    pbft.propose(pbft.leader(), MODEL)
    for stage, accept in ((Stage.PREPARE, True), (Stage.COMMIT, False)):
        ballot = replace(pbft.ballot(accept), stage=stage)
        signatures = [pbft.signed_vote(member, ballot) for member in pbft.members]
        record = pbft.consensus.attestSigned if accept else pbft.consensus.rejectSigned
        record(ballot.task, 1, 0, stage, ballot.digest, signatures, by=pbft.members[0])
    assert (pbft.decision.view_, pbft.stage, pbft.decision.prepared) == (1, Stage.PROPOSE, ballot.digest)


def test_one_server_alone_still_votes_twice(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(1, consensus="pbft")
    federation.collect()
    federation.propose(servers[0], MODEL)
    assert federation.stage is Stage.COMMIT
    federation.vote(servers[0])
    assert federation.phase is Phase.FINAL
