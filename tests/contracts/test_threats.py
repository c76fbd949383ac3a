"""One test per threat: what an attacker tries, and what it comes to."""

import itertools
from dataclasses import replace

import pytest
import rlp
from eth_hash.auto import keccak

from fbfl.chain.digests import accumulate, initial_accumulator, update_commitment
from fbfl.errors import ContractRevertError
from tests.contracts.abi import Account, Contract, deploy_contract, reverts
from tests.contracts.blocks import BlockChain
from tests.contracts.compiled import compiled_for_tests
from tests.contracts.crowd import Crowd
from tests.contracts.deployment import ADMITTER, MIN_STAKE, SLASHER, UNBONDING, Deployment
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
SALT = keccak(b"salt")


# ---------------------------------------------------------------- updates


def test_a_copied_update_was_not_committed_to(found, servers: list[Account]) -> None:
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


def test_an_inflated_sample_count_is_capped(found, owner: Account, servers: list[Account]) -> None:
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
    outcome = (federation.state.proposal.proposer, INITIAL_MODEL, 0, b"krum".ljust(32, b"\0"), keccak(RULE_PARAMS))
    claims = [(modest.address, update_of(modest), 100, 500), (greedy.address, update_of(greedy), 100, 1000)]
    inflated = [claims[0], (*claims[1][:3], 2**32 - 1)]
    with reverts("RewardsWrongOutcome", task=federation.task, round=1):
        rewards.settle(federation.task, 1, (*outcome, HONEST, 600), inflated, by=greedy)
    rewards.settle(federation.task, 1, (*outcome, HONEST, 600), claims, by=greedy)
    assert rewards.creditOf(modest.address) == 10_000 * 500 // 1500


def test_a_censored_update_reaches_the_chain_by_itself(found, servers: list[Account]) -> None:
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
def test_a_withheld_payload_is_left_out_and_costs_stake(found, servers: list[Account], consensus: str) -> None:
    """Two of four leave it out, all others together have its server slashed. Fewer say it in vain."""
    federation: Federation = found(4, consensus=consensus, withheld_penalty=2500)
    federation.collect()
    withholder = servers[3]
    for reporter, missing, left in zip(servers, (0, 0b1000, 0b1000), (4, 4, 3), strict=False):
        federation.tasks.reportMissing(federation.task, 1, withholder.address, by=reporter)
        assert federation.state.missing == missing
        assert federation.registry.server(withholder.address).stake == MIN_STAKE * left // 4
    federation.decide(HONEST, voters=servers[:3])
    assert federation.state.proposal.missing == 0b1000


@pytest.mark.parametrize("n", [3, 6, 10, 13])
def test_a_minority_leaves_out_and_slashes_nobody(found, servers: list[Account], n: int) -> None:
    """Under a majority a third is not enough to leave updates out: it would contribute all of the aggregate alone."""
    liars = (n - 1) // 2
    federation: Federation = found(n, withheld_penalty=1000)
    federation.collect()
    for victim in servers[liars:n]:
        for liar in servers[:liars]:
            federation.tasks.reportMissing(federation.task, 1, victim.address, by=liar)
        assert federation.registry.server(victim.address).stake == MIN_STAKE
    assert federation.state.missing == 0


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
@pytest.mark.parametrize("n", [2, 3])
def test_one_report_costs_nobody_anything(found, servers: list[Account], consensus: str, n: int) -> None:
    federation: Federation = found(n, consensus=consensus, withheld_penalty=2500)
    federation.collect()
    liar, victim = servers[:2]
    federation.tasks.reportMissing(federation.task, 1, victim.address, by=liar)
    assert federation.registry.server(victim.address).stake == MIN_STAKE


def test_one_mistake_beside_a_liar_is_taken_back(found, servers: list[Account]) -> None:
    """The liar reports everybody; an honest server's daemon was slow for a while. Nobody is expelled for ever."""
    federation: Federation = found(4, consensus="pbft", withheld_penalty=1000)
    federation.collect()
    liar, slow, victim, another = servers[:4]
    for reporter in (liar, slow):
        federation.tasks.reportMissing(federation.task, 1, victim.address, by=reporter)
    assert federation.state.missing == 0b100
    (back,) = federation.tasks.withdrawReport(federation.task, 1, victim.address, by=slow).named("ReportWithdrawn")
    assert (back["server"], back["reporter"]) == (victim.address, slow.address)
    assert federation.state.missing == 0
    with reverts("TasksNotReported", task=federation.task, round=1, server=victim.address):
        federation.tasks.withdrawReport(federation.task, 1, victim.address, by=slow)
    federation.tasks.reportMissing(federation.task, 1, victim.address, by=slow)
    federation.tasks.reportMissing(federation.task, 1, victim.address, by=another)
    assert federation.registry.server(victim.address).stake == MIN_STAKE * 9 // 10
    # A penalty is taken once, whoever takes a report back and makes it again.
    federation.tasks.withdrawReport(federation.task, 1, victim.address, by=slow)
    federation.tasks.reportMissing(federation.task, 1, victim.address, by=slow)
    assert federation.registry.server(victim.address).stake == MIN_STAKE * 9 // 10
    federation.registry.join("http://again", by=victim, value=MIN_STAKE // 10)
    assert federation.registry.isActive(victim.address)
    federation.propose(federation.leader(), HONEST)
    with reverts("TasksAlreadyProposed", task=federation.task, round=1):
        federation.tasks.withdrawReport(federation.task, 1, victim.address, by=slow)


def test_who_is_alone_with_reports_for_three_rounds_is_not_heard_for_ten(found, servers: list[Account]) -> None:
    federation: Federation = found(4, withheld_penalty=1000)
    liar, victim, honest = servers[:3]
    for number in range(1, 15):
        federation.collect()
        if number in (1, 2, 3):
            federation.tasks.reportMissing(federation.task, number, victim.address, by=liar)
        elif number <= 13:
            with reverts("TasksMayNotReport", task=federation.task, account=liar.address, barredUntil=13):
                federation.tasks.reportMissing(federation.task, number, victim.address, by=liar)
        else:
            federation.tasks.reportMissing(federation.task, number, victim.address, by=liar)
        federation.decide(keccak(b"%d" % number))
    assert federation.registry.server(victim.address).stake == MIN_STAKE
    assert federation.registry.server(honest.address).stake == MIN_STAKE


@pytest.mark.parametrize("relief", ["another reporter", "withdrawn", "a round without"])
def test_who_is_not_alone_with_its_reports_is_heard(found, servers: list[Account], relief: str) -> None:
    federation: Federation = found(4)
    reporter, victim, other = servers[:3]
    for number in range(1, 8):
        federation.collect()
        report = (federation.task, number, victim.address)
        if relief != "a round without" or number % 3 != 0:
            federation.tasks.reportMissing(*report, by=reporter)
        if relief == "another reporter":
            federation.tasks.reportMissing(*report, by=other)
        if relief == "withdrawn":
            federation.tasks.withdrawReport(*report, by=reporter)
        federation.decide(keccak(b"%d" % number))


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_a_last_report_before_the_proposal_costs_the_leader_nothing(
    found, servers: list[Account], consensus: str
) -> None:
    """A server withholds its update from one member; an accomplice reports it just before the proposal is mined."""
    federation: Federation = found(4, consensus=consensus, rejection_penalty=1000, withheld_penalty=2500)
    federation.collect()
    leader, withholder = federation.leader(), servers[3]
    with reverts("TasksNotMember", task=federation.task, account=withholder.address):
        federation.tasks.reportMissing(federation.task, 1, withholder.address, by=withholder)
    federation.tasks.reportMissing(federation.task, 1, withholder.address, by=servers[2])
    model, proof = keccak(b"of all"), federation.proof(leader)
    computed = federation.value(model)
    accomplice = next(server for server in servers[:2] if server != leader)
    federation.tasks.reportMissing(federation.task, 1, withholder.address, by=accomplice)
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


def test_no_gas_limit_spares_an_accomplice(found, servers: list[Account]) -> None:
    """Whoever triggers a penalty chooses the gas: it suffices for all that the call does, or for nothing."""
    reporting: Federation = found(4, withheld_penalty=2500)
    reporting.collect()
    for reporter in servers[:2]:
        reporting.tasks.reportMissing(reporting.task, 1, servers[3].address, by=reporter)
    assert_all_or_nothing(
        reporting,
        servers[3],
        lambda gas: reporting.tasks.reportMissing(reporting.task, 1, servers[3].address, by=servers[2], gas=gas),
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


def assert_all_or_nothing(federation: Federation, culprit: Account, call) -> None:
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


# ---------------------------------------------------------------- identities and roles


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
    assert federation.state.round.committeeSize == 2


def test_wrong_roles_are_refused_everywhere(deployment: Deployment, found, servers: list[Account]) -> None:
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


# ---------------------------------------------------------------- leaders


def test_a_silent_leader_loses_its_turn(found) -> None:
    federation: Federation = found(4, consensus="pbft")
    federation.collect()
    silent = federation.leader()
    federation.time_out()
    assert federation.leader() != silent
    assert federation.consensus.isBarred(federation.task, silent.address)
    federation.decide(HONEST)
    assert federation.state.model == HONEST


def test_a_lying_leader_is_voted_down_and_pays(found) -> None:
    federation: Federation = found(4, consensus="pbft", rejection_penalty=2500)
    federation.collect()
    liar = federation.leader()
    federation.propose(liar, WRONG)
    for member in federation.members:
        if member != liar:
            federation.vote(member, accept=False)
    assert federation.registry.server(liar.address).stake == MIN_STAKE * 3 // 4
    with reverts("ConsensusBarred", task=federation.task, proposer=liar.address):
        federation.propose(liar, WRONG)
    federation.decide(HONEST)
    assert federation.state.model == HONEST


def test_a_stolen_nonce_is_worth_nothing(found, servers: list[Account]) -> None:
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
def test_who_submits_last_knows_no_puzzle_before_the_others(found, servers: list[Account]) -> None:
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
        assert chain.head.hash in seeds
        chain.revert(fork)
    assert len(seeds) == 2  # the same updates, another second: another puzzle
    assert accumulator != bytes(32)


@pytest.mark.blocks
def test_a_miner_does_not_elect_itself_by_what_it_puts_into_its_block(found, servers: list[Account]) -> None:
    """It holds its update back until it finds a block, and closes the round there: the next block elects."""
    federation: Federation = found(4, consensus="ethash")
    chain: BlockChain = federation.chain
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
def test_a_forged_header_elects_nobody(found, servers: list[Account]) -> None:
    federation: Federation = found(4, consensus="ethash")
    chain: BlockChain = federation.chain
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


def test_replayed_votes_do_not_count(deployment: Deployment, found, servers: list[Account]) -> None:
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


def test_updates_signed_for_elsewhere_are_not_recorded(found, servers: list[Account]) -> None:
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


def test_equivocation_is_proved_by_two_signatures(found, servers: list[Account]) -> None:
    """Also by an expelled server, and after it has started to leave: until its stake is out."""
    federation: Federation = found(4, consensus="pbft", withheld_penalty=1)
    federation.collect()
    traitor = servers[3]
    for reporter in servers[:3]:
        federation.tasks.reportMissing(federation.task, 1, traitor.address, by=reporter)
    assert federation.registry.server(traitor.address).status == 3  # expelled for little, with most of its stake
    federation.propose(federation.leader(), HONEST)
    mine, other = federation.ballot(), replace(federation.ballot(), digest=keccak(b"another"))
    votes = []
    for ballot in (mine, other):
        values = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest, ballot.accept)
        votes += [values, federation.signed_vote(traitor, ballot)]
    federation.consensus.reportEquivocation(*votes, by=servers[9])
    assert federation.registry.server(traitor.address).stake == 0


# ---------------------------------------------------------------- money


def test_a_reentrant_withdrawal_gets_nothing_more(deployment: Deployment, found, owner: Account) -> None:
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
    outcome = (victim.address, INITIAL_MODEL, 0, b"krum".ljust(32, b"\0"), keccak(RULE_PARAMS), HONEST, 600)
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
    tasks.reportMissing(trap.task, 1, victim.address, by=liar)
    assert deployment.registry.server(victim.address).stake == MIN_STAKE


def test_nobody_plays_the_paid_rounds_alone(found, servers: list[Account]) -> None:
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


def test_who_is_expelled_neither_opens_nor_proposes_nor_votes_nor_reports(found, servers: list[Account]) -> None:
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
        tasks.reportMissing(task, 1, others[0].address, by=liar)
    assert federation.leader() != liar
    federation.propose(federation.leader(), HONEST)
    quorum = federation.decision.quorum
    tasks.evict(task, liar.address, by=servers[9])  # while a round is under way
    with reverts("ConsensusBarred", task=task, proposer=liar.address):
        federation.vote(liar, accept=False)
    with reverts("ConsensusBarred", task=task, proposer=liar.address):
        federation.consensus.voteViewChange(task, 1, 1, by=liar)
    ballot = federation.ballot()
    arguments = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest)
    receipt = federation.consensus.attestSigned(*arguments, [federation.signed_vote(liar, ballot)], by=servers[9])
    assert (receipt.named("VotesRecorded")[0]["voters"], federation.decision.accepts) == (0, 1)
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


def test_who_is_expelled_opens_no_round_before_it_is_evicted(found, servers: list[Account]) -> None:
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
def test_an_eviction_holds_for_the_round_in_which_it_happens(found, servers: list[Account], when: str) -> None:
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


# ---------------------------------------------------------------- rounds that nobody can aggregate


def test_a_round_with_too_few_updates_left_ends_at_once(found, servers: list[Account]) -> None:
    federation: Federation = found(4, consensus="pbft", min_updates=3)
    federation.collect()
    for culprit in servers[2:4]:
        for reporter in servers[:2]:
            receipt = federation.tasks.reportMissing(federation.task, 1, culprit.address, by=reporter)
    assert [event["reason"].rstrip(b"\0") for event in receipt.named("RoundAborted")] == [b"too few updates"]
    assert (federation.phase, federation.stage, federation.state.model) == (Phase.ABORTED, Stage.DECIDED, INITIAL_MODEL)
    assert not any(federation.consensus.isBarred(federation.task, server.address) for server in servers[:4])
    federation.finish(HONEST)
    assert federation.state.model == HONEST


def test_a_round_with_too_few_updates_ends_once_its_proposal_is_voted_down(found, servers: list[Account]) -> None:
    """While a proposal is voted on, reports end nothing: it may become final yet."""
    federation: Federation = found(4, consensus="pbft", min_updates=3)
    federation.collect()
    federation.propose(federation.leader(), WRONG)
    for culprit in servers[2:4]:
        for reporter in servers[:2]:
            federation.tasks.reportMissing(federation.task, 1, culprit.address, by=reporter)
    assert federation.phase is Phase.DECIDE
    for member in federation.members:
        if federation.stage is Stage.PREPARE and member.address != federation.decision.proposer:
            federation.vote(member, accept=False)
    assert federation.phase is Phase.DECIDE
    assert federation.poke().named("RoundAborted")  # without waiting for a deadline


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_a_quorum_gives_up_a_round_that_its_rule_cannot_aggregate(found, consensus: str) -> None:
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


def test_a_liar_gives_up_no_round(found) -> None:
    federation: Federation = found(4, consensus="pbft", rejection_penalty=1000)
    federation.collect()
    liar = federation.leader()
    federation.propose(liar, b"no reason".ljust(32, b"\0"), size=0)
    for member in federation.members:
        if member != liar:
            federation.vote(member, accept=False)
    assert federation.registry.server(liar.address).stake == MIN_STAKE * 9 // 10
    federation.decide(HONEST)
    assert federation.state.model == HONEST


# ---------------------------------------------------------------- time, gas and blocks


def test_a_miner_moves_deadlines_by_no_more_than_its_clock(found, servers: list[Account]) -> None:
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


def test_many_servers_exhaust_no_gas(deployment: Deployment, found, servers: list[Account]) -> None:
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
    """What each call costs that somebody must make lest the round stop."""
    task, tasks, one, two = federation.task, federation.tasks, members[0], members[1]
    gas = {"open": tasks.openRound(task, by=federation.on.owner).gas}
    federation.submit(one)
    gas["submit"] = federation.submit(two).gas
    federation.expire_round()
    gas["close"] = federation.poke().gas
    gas["report"] = tasks.reportMissing(task, 1, one.address, by=two).gas
    gas["time out"] = federation.time_out().gas
    gas["propose"] = federation.propose(federation.leader(), HONEST).gas
    federation.vote(one)
    gas["vote"] = federation.vote(two, accept=False).gas
    gas["end a view"] = federation.consensus.voteViewChange(task, 1, federation.decision.view_, by=one).gas
    return gas


def test_stuffed_blocks_delay_a_round_but_do_not_stop_it(found, servers: list[Account]) -> None:
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
def test_a_proposal_for_the_updates_of_another_branch_costs_its_leader_nothing(found, servers: list[Account]) -> None:
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
def test_after_a_reorganisation_the_state_is_the_other_branchs(found, servers: list[Account]) -> None:
    federation: Federation = found(3)
    federation.collect()
    fork = federation.chain.snapshot()
    federation.propose(servers[0], WRONG)
    federation.vote(servers[1])
    assert federation.state.model == WRONG
    orphaned = federation.chain.head.hash
    federation.chain.revert(fork)
    assert (federation.phase, federation.stage, federation.state.model) == (Phase.DECIDE, Stage.PROPOSE, INITIAL_MODEL)
    assert federation.tasks.outcomeOf(federation.task, 1) == bytes(32)
    federation.propose(servers[2], HONEST)
    federation.vote(servers[1])
    assert (federation.phase, federation.state.model) == (Phase.FINAL, HONEST)
    assert federation.chain.head.hash != orphaned
    assert federation.finish(keccak(b"second")) == 2
