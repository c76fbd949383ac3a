"""Threats from leaders and voters: silence, lies, stolen proofs, replayed and contradictory votes."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import rlp
from eth_hash.auto import keccak

from fbfl.errors import ContractRevertError
from fbfl.mec.tasks import committee_rules
from fbfl.settings import RunSettings
from tests.contracts.abi import Account, Receipt, reverts
from tests.contracts.blocks import in_blocks
from tests.contracts.crowd import Crowd
from tests.contracts.deployment import MIN_STAKE, Deployment
from tests.contracts.federation import (
    EASY,
    INITIAL_MODEL,
    Federation,
    Phase,
    Stage,
)

HONEST, WRONG = keccak(b"the right aggregate"), keccak(b"a wrong aggregate")


# ---------------------------------------------------------------- leaders


def test_a_silent_leader_loses_its_turn_but_no_stake(found: Callable[..., Federation]) -> None:
    federation: Federation = found(4, consensus="pbft", rejection_penalty=1000)
    federation.collect()
    silent = federation.leader()
    federation.time_out()
    assert (federation.decision.view_, federation.registry.server(silent.address).stake) == (1, MIN_STAKE)
    assert federation.leader() != silent
    assert federation.consensus.isBarred(federation.task, silent.address)
    federation.decide(HONEST)
    assert federation.state.model == HONEST


@pytest.mark.parametrize(
    ("proposal", "size"), [(WRONG, 600), (b"no reason".ljust(32, b"\0"), 0)], ids=["a wrong model", "to give up"]
)
def test_a_lying_leader_is_voted_down_and_pays(found: Callable[..., Federation], proposal: bytes, size: int) -> None:
    federation: Federation = found(4, consensus="pbft", rejection_penalty=2500)
    federation.collect()
    liar = federation.leader()
    federation.propose(liar, proposal, size)
    for member in federation.members:
        if member != liar:
            federation.vote(member, accept=False)
    assert federation.registry.server(liar.address).stake == MIN_STAKE * 3 // 4
    with reverts("ConsensusBarred", task=federation.task, proposer=liar.address):
        federation.propose(liar, WRONG)
    federation.decide(HONEST)
    assert federation.state.model == HONEST


def test_a_stolen_nonce_is_worth_nothing(found: Callable[..., Federation], servers: list[Account]) -> None:
    """A thief reads the solution out of a pending proposal and sends it first."""
    federation: Federation = found(3)
    federation.collect()
    finder, thief = servers[:2]
    contract, task = federation.consensus, federation.task
    for nonce in itertools.count():
        hashes = [int.from_bytes(contract.hashOf(task, 1, 0, who.address, nonce), "big") for who in (finder, thief)]
        if hashes[0] < EASY <= hashes[1]:
            break
    proof = nonce.to_bytes(32, "big")
    with reverts("PowWrongNonce", task=task, hash=hashes[1].to_bytes(32, "big"), target=EASY):
        federation.propose(thief, WRONG, proof=proof)
    federation.propose(finder, HONEST, proof=proof)
    assert federation.decision.proposer == finder.address


@pytest.mark.blocks
def test_who_submits_last_knows_no_puzzle_before_the_others(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    """It knows the running hash that its own submission will give. The block that closes the round it does not."""
    federation: Federation = found(4)
    chain = federation.chain
    federation.open()
    for honest in servers[:3]:
        federation.submit(honest)
    rusher = servers[3]
    seeds = set()
    for seconds in (1, 2):
        fork = chain.snapshot()
        federation.submit(rusher)
        with reverts("TasksWrongPhase", task=federation.task, phase=Phase.SUBMIT):
            federation.propose(
                rusher, WRONG, proof=bytes(32)
            )  # nothing can be solved before the submissions are closed
        chain.travel(seconds)
        federation.poke()
        accumulator = federation.state.accumulator
        seeds.add(federation.consensus.seedOf(federation.task)[1])
        assert in_blocks(chain).head.hash in seeds
        chain.revert(fork)
    assert len(seeds) == 2  # the same updates, another second: another puzzle
    assert accumulator != bytes(32)


@pytest.mark.blocks
def test_a_miner_does_not_elect_itself_by_what_it_puts_into_its_block(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    """It holds its update back until it finds a block, and closes the round there: the next block elects."""
    federation: Federation = found(4, consensus="ethash")
    chain = in_blocks(federation.chain)
    rusher, other = servers[3], servers[1]
    federation.open()
    for honest in servers[:3]:
        federation.submit(honest)
    chain.set_miner(rusher)
    federation.submit(rusher)
    federation.poke()
    closing = federation.state.round.closingBlock
    chain.set_miner(other)
    chain.mine(2)
    headers = [rlp.encode(chain.chain.get_canonical_block_header_by_number(closing + n)) for n in (0, 1)]
    with reverts("EthashWrongHeader", task=federation.task, electingBlock=closing + 1):
        federation.propose(rusher, WRONG, proof=headers[0])
    with reverts("ConsensusNotLeader", task=federation.task, proposer=rusher.address, leader=other.address):
        federation.propose(rusher, WRONG, proof=headers[1])
    federation.propose(other, HONEST, proof=headers[1])


@pytest.mark.blocks
def test_a_forged_header_elects_nobody(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(4, consensus="ethash")
    chain = in_blocks(federation.chain)
    federation.open()
    for member in federation.members:
        federation.submit(member)
    federation.poke()
    chain.set_miner(servers[1])
    chain.mine(2)
    electing = federation.state.round.closingBlock + 1
    header = rlp.encode(chain.chain.get_canonical_block_header_by_number(electing))
    forger = servers[2]
    other_block = rlp.encode(chain.chain.get_canonical_block_header_by_number(electing - 1))
    for forged in (header[:70] + forger.raw + header[90:], header[:-1], header + b"\0", other_block, b""):
        with reverts("EthashWrongHeader", task=federation.task, electingBlock=electing):
            federation.propose(forger, WRONG, proof=forged)
    federation.propose(servers[1], HONEST, proof=header)


# ---------------------------------------------------------------- votes


def test_replayed_votes_do_not_count(
    deployment: Deployment, found: Callable[..., Federation], servers: list[Account]
) -> None:
    """Signed votes of another round, view, stage, task, contract or chain, shown as votes for this proposal."""
    federation: Federation = found(4, consensus="pbft")
    twin: Federation = found(4, consensus="pbft")
    federation.finish(keccak(b"first"))
    federation.collect()
    federation.time_out()
    federation.propose(federation.leader(), HONEST)
    now, voter = federation.ballot(), next(m for m in servers if m.address != federation.decision.proposer)
    assert (now.round, now.view) == (2, 1)
    replays = [replace(now, round=1), replace(now, view=0), replace(now, stage=Stage.COMMIT)]
    replays += [replace(now, task=twin.task), replace(now, digest=keccak(b"first")), replace(now, accept=False)]
    signatures = [federation.signed_vote(voter, replay) for replay in replays]
    signatures.append(federation.signed_vote(voter, now, chain_id=1))
    signatures.append(found(4).signed_vote(voter, now))  # for the contract of another consensus
    arguments = (now.task, now.round, now.view, now.stage, now.digest)
    for signature in signatures:
        with pytest.raises(ContractRevertError, match="ConsensusNotMember"):  # the recovered signer is nobody
            federation.consensus.attestSigned(*arguments, [signature], by=servers[9])
    assert federation.decision.accepts == 1
    federation.consensus.attestSigned(*arguments, [federation.signed_vote(voter, now)], by=servers[9])
    assert federation.decision.accepts == 2
    for stale, error in (
        ({"round": 1}, "ConsensusWrongRound"),
        ({"view": 0}, "ConsensusWrongView"),
        ({"stage": Stage.COMMIT}, "ConsensusWrongStage"),
        ({"digest": keccak(b"first")}, "ConsensusWrongDigest"),
        ({"task": twin.task}, "ConsensusWrongRound"),
    ):
        with pytest.raises(ContractRevertError, match=error):
            federation.vote(servers[0], **stale)


def test_updates_signed_for_elsewhere_are_not_recorded(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(1)
    twin: Federation = found(1)
    federation.open()
    twin.open()
    for replayed in (
        twin.signed_update(servers[0]),
        federation.signed_update(servers[0], round_number=2),
        federation.signed_update(servers[0], parent=HONEST),  # trained from another model, before a reorganisation
    ):
        with pytest.raises(ContractRevertError, match="TasksNotMember"):
            federation.tasks.submitBatch(federation.task, 1, [replayed], by=servers[1])
    assert federation.state.submitted == 0


@pytest.mark.parametrize("accept", [True, False])
def test_strangers_fill_no_log_with_votes_that_are_recorded(
    found: Callable[..., Federation], servers: list[Account], accept: bool
) -> None:
    """Neither before the decision nor after it, when the record of the votes is still completed."""
    federation: Federation = found(5)
    federation.collect()
    proposer = federation.leader()
    federation.propose(proposer, HONEST)
    ballot = federation.ballot(accept)
    arguments = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest)
    one, two, three, _ = (member for member in federation.members if member != proposer)
    record = federation.consensus.attestSigned if accept else federation.consensus.rejectSigned
    signed = [federation.signed_vote(member, ballot) for member in (one, two)]
    federation.vote(one, accept=not accept)
    for nothing in ([], signed[:1]):
        with reverts("ConsensusNothingNew", task=federation.task, round=1):
            record(*arguments, nothing, by=servers[9])
    record(*arguments, signed, by=servers[9])
    with reverts("ConsensusNothingNew", task=federation.task, round=1):
        record(*arguments, signed, by=servers[9])
    federation.vote(three)
    assert federation.phase is Phase.FINAL
    with reverts("ConsensusNothingNew", task=federation.task, round=1):
        record(*arguments, signed, by=servers[9])


def test_an_equivocation_is_shown_once(found: Callable[..., Federation], servers: list[Account]) -> None:
    """Whoever comes back with a new stake does not lose it for what it has paid for, and evidence fills no log."""
    federation: Federation = found(4, consensus="pbft")
    federation.collect()
    federation.propose(federation.leader(), HONEST)
    traitor = servers[3]

    def show(stage: Stage) -> Receipt:
        votes = []
        for digest in (HONEST, WRONG):
            ballot = replace(federation.ballot(), stage=stage, digest=digest)
            values = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest, ballot.accept)
            votes += [values, federation.signed_vote(traitor, ballot)]
        receipt: Receipt = federation.consensus.reportEquivocation(*votes, by=servers[9])
        return receipt

    assert show(Stage.PREPARE).named("Equivocation")
    federation.registry.join("http://again", by=traitor, value=MIN_STAKE)
    with reverts("ConsensusNothingNew", task=federation.task, round=1):
        show(Stage.PREPARE)
    assert federation.registry.server(traitor.address).stake == MIN_STAKE
    show(Stage.COMMIT)  # the same again is another one
    assert federation.registry.server(traitor.address).stake == 0


def test_equivocation_is_proved_by_two_signatures(found: Callable[..., Federation], servers: list[Account]) -> None:
    """Also by an expelled server, and after it has started to leave: until its stake is out."""
    federation: Federation = found(4, consensus="pbft", withheld_penalty=1)
    federation.collect()
    traitor = servers[3]
    for reporter in servers[:3]:
        federation.report(traitor, by=reporter)
    assert federation.registry.server(traitor.address).status == 3  # expelled for little, with most of its stake
    federation.propose(federation.leader(), HONEST)
    mine, other = federation.ballot(), replace(federation.ballot(), digest=keccak(b"another"))
    votes = []
    for ballot in (mine, other):
        values = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest, ballot.accept)
        votes += [values, federation.signed_vote(traitor, ballot)]
    federation.consensus.reportEquivocation(*votes, by=servers[9])
    assert federation.registry.server(traitor.address).stake == 0


# ---------------------------------------------------------------- rounds that nobody can aggregate


def test_a_round_with_too_few_updates_left_ends_at_once(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    """Once those who withhold the others have paid: there is nothing left to wait for."""
    federation: Federation = found(7, consensus="pbft", min_updates=6)
    federation.collect()
    for reporter in servers[:5]:
        assert federation.phase is Phase.DECIDE
        for culprit in servers[5:7]:
            receipt = federation.report(culprit, by=reporter)
    assert [event["reason"].rstrip(b"\0") for event in receipt.named("RoundAborted")] == [b"too few updates"]
    assert (federation.phase, federation.stage, federation.state.model) == (Phase.ABORTED, Stage.DECIDED, INITIAL_MODEL)
    assert not any(federation.consensus.isBarred(federation.task, server.address) for server in servers[:7])
    federation.finish(HONEST)
    assert federation.state.model == HONEST


def test_a_round_with_too_few_updates_left_ends_with_its_view(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    """Where too few report for a penalty: until then nobody can propose, and nobody is barred for it."""
    federation: Federation = found(4, consensus="pbft", min_updates=3)
    federation.collect()
    for reporter, culprit in itertools.product(servers[:2], servers[2:4]):
        federation.report(culprit, by=reporter)
    with reverts("TasksTooFewUpdates", task=federation.task, updates=2, minUpdates=3):
        federation.propose(federation.leader(), HONEST)
    deadline = federation.decision.deadline
    federation.chain.travel(deadline - federation.chain.now)
    with reverts("ConsensusNotDue", task=federation.task, deadline=deadline):  # in its last second
        federation.poke()
    (aborted,) = federation.time_out().named("RoundAborted")
    assert aborted["reason"].rstrip(b"\0") == b"too few updates"
    assert not any(federation.consensus.isBarred(federation.task, server.address) for server in servers[:4])
    assert federation.stage is Stage.DECIDED


def test_a_round_with_too_few_updates_ends_once_its_proposal_is_voted_down(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    """While a proposal is voted on, reports end nothing: it may become final yet."""
    federation: Federation = found(7, consensus="pbft", min_updates=6)
    federation.collect()
    federation.propose(federation.leader(), WRONG)
    for reporter, culprit in itertools.product(servers[:5], servers[5:7]):
        federation.report(culprit, by=reporter)
    assert federation.phase is Phase.DECIDE
    for member in federation.members:
        if federation.stage is Stage.PREPARE and member.address != federation.decision.proposer:
            federation.vote(member, accept=False)
    assert federation.phase is Phase.DECIDE
    assert federation.poke().named("RoundAborted")  # without waiting for a deadline


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_a_quorum_gives_up_a_round_that_its_rule_cannot_aggregate(
    found: Callable[..., Federation], consensus: str
) -> None:
    """By a proposal like any other: it takes no further view, bars nobody, and leaves the model as it is."""
    federation: Federation = found(4, consensus=consensus, rejection_penalty=1000)
    federation.collect()
    leader, reason = federation.leader(), b"krum needs 5 updates".ljust(32, b"\0")
    (proposed,) = federation.propose(leader, reason, size=0).named("AbortProposed")
    assert (proposed["reason"], proposed["valueDigest"]) == (reason, federation.value(reason, 0))
    while federation.phase is Phase.DECIDE:
        stage = federation.stage
        for member in federation.members:
            if federation.stage is stage and not (stage is Stage.PREPARE and member == leader):
                federation.vote(member)
    assert (federation.phase, federation.state.model, federation.decision.view_) == (Phase.ABORTED, INITIAL_MODEL, 0)
    assert federation.tasks.outcomeOf(federation.task, 1) == bytes(32)
    assert not any(federation.consensus.isBarred(federation.task, member.address) for member in federation.members)
    federation.finish(HONEST)
    assert federation.state.model == HONEST


def test_faulty_leaders_of_the_largest_committee_do_not_use_the_views_up(
    deployment: Deployment, found: Callable[..., Federation]
) -> None:
    """79 of 240 have the first 79 turns, one after the other, and are silent: the 80th view decides."""
    rules = committee_rules(RunSettings(servers=240, consensus="pbft"))
    federation: Federation = found(0, consensus="pbft", max_views=rules.max_views)
    crowd, task = Crowd(deployment, 240), federation.task
    crowd.join(federation)
    number = federation.open()
    crowd.all(federation.tasks, "submit", task, number, HONEST, 100, 10)
    federation.poke()
    for _ in range(79):
        federation.time_out()
    expected = federation.value(HONEST)
    what = HONEST, 600, federation.closing, expected, b""
    crowd.all(federation.tasks, "propose", task, number, *what, seats=range(80, 81))
    for stage, voters in ((Stage.PREPARE, range(81, 240)), (Stage.COMMIT, range(80, 240))):
        assert (federation.stage, federation.decision.quorum) == (stage, 160)
        crowd.all(federation.consensus, "attest", task, number, 79, stage, expected, True, seats=voters)
    assert (federation.phase, federation.state.model) == (Phase.FINAL, HONEST)
