"""Tasks that draw, when a round opens, which members submit in it: the draw, what follows from it, and who bends it."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from eth_hash.auto import keccak

from fbfl.chain.digests import update_commitment
from fbfl.chain.seats import SeatSet
from fbfl.learning.sampling import number_drawn
from fbfl.randomness import drawn_seats
from tests.contracts.abi import Account, Contract, deploy_contract, reverts
from tests.contracts.compiled import compiled_for_tests
from tests.contracts.crowd import Crowd
from tests.contracts.deployment import Deployment
from tests.contracts.federation import Federation, Phase, Settings, create, drawn_in, update_of

FULL = (1 << 240) - 1
HALF = Settings(participation=5000, seed=5)
MODEL = keccak(b"model")


@pytest.fixture
def libraries(deployment: Deployment) -> Contract:
    return deploy_contract(deployment.chain, compiled_for_tests("Libraries"))


@pytest.fixture
def federation(deployment: Deployment, servers: list[Account]) -> Federation:
    """Six members, of whom three are drawn for a round."""
    return Federation(deployment, HALF, servers[:6])


def others(federation: Federation, drawn: list[Account]) -> list[Account]:
    return [member for member in federation.members if member not in drawn]


# ---------------------------------------------------------------- the draw


def test_contracts_and_python_draw_the_same(libraries: Contract) -> None:
    chance = random.Random(3)
    sets = [1, 1 << 239, FULL, *(chance.getrandbits(240) & chance.getrandbits(240) for _ in range(20))]
    for seats in sets:
        seed, number = chance.choice([0, 2**63 - 1, 2**256 - 1]), chance.randrange(1, 2**16)
        for count in {0, 1, chance.randrange(1, seats.bit_count() + 1), seats.bit_count()}:
            expected = SeatSet.of(drawn_seats(SeatSet(seats), count, seed, number)).word
            assert libraries.draw(seats, count, seed, number) == expected


def test_contracts_and_python_draw_as_many(libraries: Contract) -> None:
    for members in (1, 2, 3, 7, 10, 239, 240):
        for participation in (1, 100, 2500, 3333, 5000, 9999, 10_000):
            for least in (1, members):
                assert libraries.share(members, participation, least) == number_drawn(members, participation, least)


def test_a_task_publishes_how_it_draws(deployment: Deployment) -> None:
    assert create(deployment, HALF).named("TaskSampled") == [{"task": 1, "participation": 5000, "seed": 5}]
    encoded = Settings().encoded(deployment)
    for participation in (0, 10_001):
        with reverts("TasksBadSettings", what=b"participation".ljust(32, b"\0")):
            deployment.tasks.createSampledTask(encoded, participation, 5, by=deployment.owner)


def test_a_task_in_which_all_take_part_draws_nobody(deployment: Deployment, servers: list[Account]) -> None:
    plain = create(deployment, Settings())
    whole = deployment.tasks.createSampledTask(Settings().encoded(deployment), 10_000, 5, by=deployment.owner)
    assert [event.name for event in plain.events] == [event.name for event in whole.events]
    federation = Federation(deployment, Settings(), servers[:2])
    opened = federation.tasks.openRound(federation.task, by=deployment.owner)
    assert opened.named("ParticipantsDrawn") == []


def test_opening_a_round_draws_who_submits_in_it(deployment: Deployment, federation: Federation) -> None:
    for number in (1, 2, 3):
        drawn = drawn_in(federation, number)
        opened = federation.tasks.openRound(federation.task, by=deployment.owner)
        word = SeatSet.of(federation.seat(member) for member in drawn).word
        assert opened.named("ParticipantsDrawn") == [{"task": federation.task, "round": number, "drawn": word}]
        assert (federation.state.round.awaited, federation.state.committee) == (3, 0b111111)
        for member in others(federation, drawn):
            with reverts("TasksNotDrawn", task=federation.task, round=number, server=member.address):
                federation.submit(member)
        for member in drawn:
            with reverts("TasksNotDue", task=federation.task, deadline=federation.state.round.deadline):
                federation.poke()
            federation.submit(member)
        federation.poke()  # all that were drawn have submitted
        assert (federation.phase, federation.decision.committeeSize) == (Phase.DECIDE, 6)
        federation.decide(keccak(b"%d" % number), voters=[*others(federation, drawn), *drawn])
        assert federation.phase is Phase.FINAL


def test_who_was_not_drawn_proposes_votes_and_reports(federation: Federation) -> None:
    number = federation.open()
    drawn = drawn_in(federation, number)
    one, two, three = others(federation, drawn)
    for member in drawn:
        federation.submit(member)
    federation.poke()
    federation.report(drawn[0], by=one)
    federation.propose(two, MODEL)
    for member in (one, three, drawn[0]):
        federation.vote(member)
    assert (federation.phase, federation.state.proposal.proposer) == (Phase.FINAL, two.address)


def test_who_was_not_drawn_commits_to_nothing(deployment: Deployment, servers: list[Account]) -> None:
    federation = Federation(deployment, replace(HALF, commit_window=500), servers[:6])
    number, task, salt = federation.open(), federation.task, keccak(b"salt")
    drawn = drawn_in(federation, number)
    for member in others(federation, drawn):
        with reverts("TasksNotDrawn", task=task, round=number, server=member.address):
            federation.tasks.commit(task, number, keccak(b"commitment"), by=member)
    for member in drawn:
        content = (update_of(member), 100, 10, salt)
        commitment = update_commitment(federation.domain, number, member.address, *content)
        federation.tasks.commit(task, number, commitment, by=member)
    federation.poke()  # all that were drawn have committed
    assert federation.phase is Phase.SUBMIT
    for member in drawn:
        federation.tasks.reveal(task, number, update_of(member), 100, 10, salt, by=member)
    federation.poke()
    assert federation.phase is Phase.DECIDE


def test_a_batch_holds_no_update_of_who_was_not_drawn(federation: Federation) -> None:
    number, task = federation.open(), federation.task
    drawn = drawn_in(federation, number)
    stranger = others(federation, drawn)[0]
    batch = [federation.signed_update(member) for member in (*drawn, stranger)]
    with reverts("TasksNotDrawn", task=task, round=number, server=stranger.address):
        federation.tasks.submitBatch(task, number, batch, by=drawn[0])
    federation.tasks.submitBatch(task, number, batch[:-1], by=drawn[0])
    assert federation.state.submitted == SeatSet.of(federation.seat(member) for member in drawn).word


def test_at_least_as_many_are_drawn_as_a_round_aggregates(deployment: Deployment, servers: list[Account]) -> None:
    federation = Federation(deployment, Settings(participation=1, min_updates=2), servers[:6])
    assert len(drawn_in(federation, federation.open())) == federation.state.round.awaited == 2
    few = Federation(deployment, replace(HALF, min_members=1), servers[6:7])
    assert drawn_in(few, few.open()) == servers[6:7]


def test_an_aborted_round_is_followed_by_a_draw_of_its_own(federation: Federation) -> None:
    draws = []
    for number in range(1, 7):
        assert federation.open() == number
        draws.append(drawn_in(federation, number))
        federation.submit(draws[-1][0])
        federation.expire_round()
        federation.tasks.poke(federation.task, by=federation.members[0])
        federation.time_out()
        while federation.phase is not Phase.ABORTED:
            federation.time_out()
    assert len({tuple(member.address for member in drawn) for drawn in draws}) > 1


def test_a_full_committee_draws_within_a_small_part_of_a_block(deployment: Deployment) -> None:
    federation = Federation(deployment, HALF, [])
    crowd = Crowd(deployment, 240)
    crowd.join(federation)
    opened = federation.tasks.openRound(federation.task, by=deployment.owner)
    expected = SeatSet.of(drawn_seats(range(240), 120, 5, 1))
    assert opened.named("ParticipantsDrawn")[0]["drawn"] == expected.word
    assert opened.gas < 300_000
    first = expected.word & -expected.word
    seat = first.bit_length() - 1
    crowd.all(federation.tasks, "submit", federation.task, 1, MODEL, 100, 10, seats=range(seat, seat + 1))
    assert (federation.state.submitted, federation.state.round.awaited) == (first, 120)


# ---------------------------------------------------------------- who would bend it


def test_neither_time_nor_sender_of_the_opening_changes_the_draw(
    deployment: Deployment, federation: Federation
) -> None:
    """Whoever opens a round cannot wait for a block in which it likes the draw."""
    federation.collect(drawn_in(federation, 1))
    federation.decide(MODEL)
    chain, drawn = deployment.chain, set()
    for opener in (deployment.owner, *federation.members):
        for seconds in (0, 1, 1000):
            before = chain.snapshot()
            chain.travel(seconds)
            chain.mine(seconds % 7)
            opened = federation.tasks.openRound(federation.task, by=opener)
            drawn.add(opened.named("ParticipantsDrawn")[0]["drawn"])
            chain.revert(before)
    assert len(drawn) == 1


def test_the_owner_chooses_neither_seed_nor_part_once_members_are_known(
    deployment: Deployment, federation: Federation
) -> None:
    """Both are published when the task is created, before anybody can join, and no call changes them."""
    written = {entry["name"] for entry in federation.tasks.artifact.abi if "seed" in str(entry.get("inputs"))}
    assert written == {"createSampledTask", "TaskSampled"}
    create(deployment, replace(HALF, seed=6, participation=1000))  # another task of the owner's
    opened = federation.tasks.openRound(federation.task, by=deployment.owner)
    word = SeatSet.of(federation.seat(member) for member in drawn_in(federation, 1)).word
    assert opened.named("ParticipantsDrawn")[0]["drawn"] == word


def test_who_comes_or_goes_moves_nobody_but_the_last_that_is_drawn(
    deployment: Deployment, federation: Federation, servers: list[Account]
) -> None:
    """Members that leave and come back cannot try one draw after the other: the order of the rest stays."""

    def drawn() -> SeatSet:
        before = deployment.chain.snapshot()
        opened = federation.tasks.openRound(federation.task, by=deployment.owner)
        deployment.chain.revert(before)
        return SeatSet(opened.named("ParticipantsDrawn")[0]["drawn"])

    before = drawn()
    for member in federation.members:
        fork, seat = deployment.chain.snapshot(), federation.seat(member)
        federation.tasks.resign(federation.task, by=member)
        after = drawn()  # three of five still are
        assert len(after - before) == (seat in before)
        assert before - after == (SeatSet.of([seat]) if seat in before else SeatSet())
        federation.tasks.join(federation.task, by=member)  # and back: it has the seat that it had
        assert (federation.seat(member), drawn()) == (seat, before)
        deployment.chain.revert(fork)


def test_who_comes_back_moves_down_once_for_a_seat_that_became_free(federation: Federation) -> None:
    """So nobody tries one seat after the other until it is drawn in every round."""
    mover = federation.members[5]
    for gone in (3, 1):
        federation.tasks.resign(federation.task, by=federation.members[gone])
    seats = []
    for _ in range(3):
        federation.tasks.resign(federation.task, by=mover)
        federation.tasks.join(federation.task, by=mover)
        seats.append(federation.seat(mover))
    assert seats == [1, 1, 1]


def test_a_committee_that_shrinks_draws_all_that_a_round_needs_or_opens_none(
    deployment: Deployment, servers: list[Account]
) -> None:
    """A draw of more than there are would never end."""
    federation = Federation(deployment, replace(HALF, min_updates=4), servers[:6])
    drawn = []
    for left in (5, 4, 3):
        federation.tasks.resign(federation.task, by=federation.members[left])
        if left < 4:
            with reverts("TasksTooFewMembers", task=federation.task, members=3, needed=4):
                federation.tasks.openRound(federation.task, by=deployment.owner)
        else:
            opened = federation.tasks.openRound(federation.task, by=deployment.owner)
            drawn.append(len(SeatSet(opened.named("ParticipantsDrawn")[0]["drawn"])))
            federation.expire_round()
            federation.poke()
    assert drawn == [4, 4]


def test_an_owner_that_tries_seeds_for_a_long_draw_stops_no_round(deployment: Deployment, libraries: Contract) -> None:
    """Of two seats one is drawn: a hash decides in one of two cases."""

    def steps(seed: int) -> int:
        digits, count = keccak(seed.to_bytes(32) + (1).to_bytes(32)), 1
        while digits[-1] & 3 in (0, 3):
            digits, count = keccak(digits), count + 1
        return count

    longest = max(range(4_096), key=steps)
    assert steps(longest) >= 10
    shortest = min(range(4_096), key=steps)
    asked = [libraries.encode("draw", 0b11, 1, seed, 1) for seed in (shortest, longest)]
    least, most = (deployment.chain.transact(deployment.owner, libraries.address, each).gas for each in asked)
    assert most - least < 1_000 * (steps(longest) - steps(shortest))


@pytest.mark.parametrize("silent", [1, 3])
def test_drawn_members_that_are_silent_hold_a_round_up_to_its_deadline_only(
    federation: Federation, silent: int, found: Callable[..., Federation]
) -> None:
    number = federation.open()
    drawn = drawn_in(federation, number)
    for member in drawn[silent:]:
        federation.submit(member)
    federation.expire_round()
    federation.poke()
    assert federation.phase is (Phase.DECIDE if silent < 3 else Phase.ABORTED)
