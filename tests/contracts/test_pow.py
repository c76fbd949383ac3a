"""The proof-of-work puzzle: who solves it may propose, and how hard it is follows the time that solving took."""

import pytest
from eth_hash.auto import keccak

from tests.contracts.abi import Account, reverts
from tests.contracts.deployment import Deployment
from tests.contracts.federation import EASY, Federation, Phase, Settings

MODEL = keccak(b"new")
HARDEST, EASIEST = 1, 2**256 - 1


def test_a_nonce_entitles_its_finder(found, servers: list[Account]) -> None:
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


def test_another_nonce_does_not(found, servers: list[Account]) -> None:
    federation: Federation = found(2)
    federation.collect()
    hashes = (
        (nonce, federation.consensus.hashOf(federation.task, 1, 0, servers[0].address, nonce)) for nonce in range(100)
    )
    nonce, digest = next((n, h) for n, h in hashes if int.from_bytes(h, "big") >= EASY)
    with reverts("PowWrongNonce", task=federation.task, hash=digest, target=EASY):
        federation.propose(servers[0], MODEL, proof=nonce.to_bytes(32, "big"))


def test_every_view_has_its_own_puzzle(found, servers: list[Account]) -> None:
    federation: Federation = found(2)
    federation.collect()
    contract = federation.consensus
    first = contract.hashOf(federation.task, 1, 0, servers[0].address, 5)
    assert contract.hashOf(federation.task, 1, 1, servers[0].address, 5) != first
    assert contract.hashOf(federation.task, 2, 0, servers[0].address, 5) != first
    assert contract.hashOf(federation.task, 1, 0, servers[1].address, 5) != first


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
    found, servers: list[Account], target: int, taken: int, expected: int
) -> None:
    federation: Federation = found(1, target=target, solve_time=40)
    federation.collect()
    federation.chain.travel(federation.decision.openedAt + taken - federation.chain.now)
    (solved,) = federation.propose(servers[0], MODEL).named("PuzzleSolved")
    assert abs(solved["nextTarget"] - expected) <= 4  # what the division loses
    assert federation.consensus.targetOf(federation.task) == target  # for this round
    federation.collect()
    assert federation.consensus.targetOf(federation.task) == solved["nextTarget"]


def test_only_the_first_solution_of_a_round_counts(found, servers: list[Account]) -> None:
    federation: Federation = found(3, solve_time=40)
    federation.collect()
    federation.propose(servers[0], MODEL)
    first = federation.chain.last_time - federation.decision.openedAt
    assert first < 10
    federation.time_out()
    (solved,) = federation.propose(servers[1], MODEL).named("PuzzleSolved")
    assert solved["nextTarget"] == EASY // 4


def test_a_puzzle_that_nobody_solves_becomes_easier(found) -> None:
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


def test_a_solution_in_a_later_view_counts_when_it_is_the_first(found, servers: list[Account]) -> None:
    federation: Federation = found(3, solve_time=40)
    federation.collect()
    federation.time_out()
    (solved,) = federation.propose(servers[1], MODEL).named("PuzzleSolved")
    assert solved["nextTarget"] == pytest.approx(min(EASY * 100 // 40, EASIEST), rel=0.1)
