"""The proof-of-work puzzle: who solves it may propose, and how hard it is follows the time that solving took."""

from collections.abc import Callable

import pytest
from eth_hash.auto import keccak

from fbfl.errors import ContractRevertError
from tests.contracts.abi import Account, reverts
from tests.contracts.crowd import Crowd
from tests.contracts.deployment import Deployment
from tests.contracts.federation import EASY, Federation, Phase, Settings

MODEL = keccak(b"new")
HARDEST, EASIEST = 1, 2**256 - 1


def test_a_nonce_entitles_its_finder(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(2)
    federation.collect()
    nonce = federation.nonce(servers[1])
    pow_ = federation.consensus
    digest = pow_.hashOf(federation.task, 1, 0, servers[1].address, nonce)
    assert int.from_bytes(digest, "big") < EASY == pow_.targetOf(federation.task)
    (solved,) = federation.propose(servers[1], MODEL).named("PuzzleSolved")
    assert solved == {
        "task": federation.task,
        "round": 1,
        "solver": servers[1].address,
        "nonce": nonce,
        "nextTarget": EASY,
    }
    assert federation.decision.proposer == servers[1].address


def test_another_nonce_does_not(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(2)
    federation.collect()
    hashes = (
        (nonce, federation.consensus.hashOf(federation.task, 1, 0, servers[0].address, nonce)) for nonce in range(100)
    )
    nonce, digest = next((n, h) for n, h in hashes if int.from_bytes(h, "big") >= EASY)
    with reverts("PowWrongNonce", task=federation.task, hash=digest, target=EASY):
        federation.propose(servers[0], MODEL, proof=nonce.to_bytes(32, "big"))


def test_every_view_has_its_own_puzzle(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(2)
    federation.collect()
    contract = federation.consensus
    first = contract.hashOf(federation.task, 1, 0, servers[0].address, 5)
    assert contract.hashOf(federation.task, 1, 1, servers[0].address, 5) != first
    assert contract.hashOf(federation.task, 2, 0, servers[0].address, 5) != first
    assert contract.hashOf(federation.task, 1, 0, servers[1].address, 5) != first


def test_the_seed_is_the_hash_of_the_closing_block(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(2)
    federation.collect()
    seed_block, seed, stored = federation.consensus.seedOf(federation.task)
    assert (seed_block, stored) == (federation.state.round.closingBlock, False)
    assert seed != bytes(32)
    for member in servers[:2]:
        nonce = federation.nonce(member)
        puzzle = federation.consensus.hashOf(federation.task, 1, 0, member.address, nonce)
        assert int.from_bytes(puzzle, "big") < EASY


def test_a_poke_stores_the_seed_before_it_is_out_of_reach(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(3, timeout=10_000, timeout_cap=10_000)
    federation.collect()
    kept, seed, _ = federation.consensus.seedOf(federation.task)
    federation.chain.mine(200)
    assert federation.poke().events == []  # long before the view's deadline
    federation.chain.mine(100)
    assert federation.consensus.seedOf(federation.task) == [kept, seed, True]
    with reverts("ConsensusNotDue", task=federation.task, deadline=federation.decision.deadline):
        federation.poke()
    federation.propose(servers[0], MODEL)
    assert federation.decision.proposer == servers[0].address


def test_nothing_is_renewed_in_the_closing_block(deployment: Deployment, found: Callable[..., Federation]) -> None:
    """Its hash is not known there yet, and not lost."""
    federation: Federation = found(2)
    federation.open()
    for member in federation.members:
        federation.submit(member)
    with pytest.raises(ContractRevertError, match="ConsensusNotDue"):
        Crowd(deployment, 2).all(federation.tasks, "poke", federation.task)  # twice in one block
    federation.poke()
    assert federation.phase is Phase.DECIDE


def test_where_the_seed_was_lost_the_view_begins_anew_with_a_fresh_one(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(3, timeout=500, timeout_cap=500)
    federation.collect()
    closing = federation.state.round.closingBlock
    federation.chain.mine(300)
    with reverts("PowNoSeed", task=federation.task, seedBlock=closing):
        federation.propose(servers[0], MODEL, proof=bytes(32))
    receipt = federation.poke()
    assert receipt.named("PuzzleRenewed") == [{"task": federation.task, "round": 1, "view_": 0}]
    (started,) = receipt.named("ViewStarted")
    assert (started["view_"], started["deadline"]) == (0, federation.chain.last_time + 500)
    assert not any(federation.consensus.isBarred(federation.task, member.address) for member in servers[:3])
    assert federation.consensus.seedOf(federation.task)[0] == federation.chain.block_number
    federation.decide(MODEL)
    assert federation.phase is Phase.FINAL


def test_the_seed_of_one_round_does_not_serve_the_next(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(2)
    federation.finish(MODEL)
    _, first, _ = federation.consensus.seedOf(federation.task)
    federation.collect()
    block, second, stored = federation.consensus.seedOf(federation.task)
    assert (block, stored) == (federation.state.round.closingBlock, False)
    assert second not in (first, bytes(32))


@pytest.mark.parametrize("target", [HARDEST, EASIEST])
def test_any_target_but_zero_will_do(deployment: Deployment, target: int) -> None:
    receipt = deployment.tasks.createTask(Settings(target=target).encoded(deployment), by=deployment.owner)
    assert deployment.pow.targetOf(receipt.named("TaskCreated")[0]["task"]) == target
    with reverts("PowBadTarget", target=0):
        deployment.tasks.createTask(Settings(target=0).encoded(deployment), by=deployment.owner)


@pytest.mark.parametrize(
    ("target", "taken", "expected"),
    [
        (EASY, 40, EASY),
        (EASY, 20, EASY // 2),
        (EASY, 60, EASY // 2 * 3),
        (EASY, 1, EASY // 4),  # at most a factor of 4
        (EASY - 8, 99, (EASY - 8) // 4 * 4 * 99 // 40),
        (EASIEST, 60, EASIEST),
        (2**255, 99, EASIEST),
    ],
)
def test_the_target_follows_the_time_that_solving_took(
    found: Callable[..., Federation], servers: list[Account], target: int, taken: int, expected: int
) -> None:
    federation: Federation = found(1, target=target, solve_time=40)
    federation.collect()
    federation.chain.travel(federation.decision.openedAt + taken - federation.chain.now)
    (solved,) = federation.propose(servers[0], MODEL).named("PuzzleSolved")
    assert abs(solved["nextTarget"] - expected) <= 4  # what the division loses
    assert solved["nextTarget"] >= -(-target // 4)  # rounded up: a target never becomes 0
    assert federation.consensus.targetOf(federation.task) == target  # for this round
    federation.collect()
    assert federation.consensus.targetOf(federation.task) == solved["nextTarget"]


def test_only_the_first_solution_of_a_round_counts(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(3, solve_time=40)
    federation.collect()
    federation.propose(servers[0], MODEL)
    first = federation.chain.last_time - federation.decision.openedAt
    assert first < 10
    federation.time_out()
    (solved,) = federation.propose(servers[1], MODEL).named("PuzzleSolved")
    assert solved["nextTarget"] == EASY // 4


def test_every_rounds_first_solution_counts(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(1, solve_time=40)
    federation.finish(MODEL)
    federation.collect()
    target = federation.consensus.targetOf(federation.task)
    federation.chain.travel(federation.decision.openedAt + 40 - federation.chain.now)
    (solved,) = federation.propose(servers[0], MODEL).named("PuzzleSolved")
    assert abs(solved["nextTarget"] - target) <= 4  # in the time that it should take


def test_a_puzzle_that_nobody_solves_becomes_easier(found: Callable[..., Federation]) -> None:
    federation: Federation = found(2, target=2**200, solve_time=40)
    for expected in (2**200, 2**202, 2**204):
        federation.collect()
        assert federation.consensus.targetOf(federation.task) == expected
        while federation.phase is Phase.DECIDE:
            federation.time_out()
    fixed: Federation = found(2, target=2**200)
    for _ in range(2):
        fixed.collect()
        assert fixed.consensus.targetOf(fixed.task) == 2**200
        while fixed.phase is Phase.DECIDE:
            fixed.time_out()


def test_a_solution_in_a_later_view_counts_when_it_is_the_first(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(3, solve_time=40)
    federation.collect()
    federation.time_out()
    (solved,) = federation.propose(servers[1], MODEL).named("PuzzleSolved")
    assert solved["nextTarget"] == pytest.approx(min(EASY * 100 // 40, EASIEST), rel=0.1)
