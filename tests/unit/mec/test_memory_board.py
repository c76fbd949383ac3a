"""The board of servers in one process, and how long servers wait for each other."""

from dataclasses import replace

import pytest
from hypothesis import given

from fbfl.chain.rounds import Ballot, Stage
from fbfl.chain.signatures import SignedVote, sign_update, sign_vote
from fbfl.mec import exchange as exchanges
from fbfl.mec.exchange import MemoryBoard, PatienceInSeconds, PatienceInSteps
from tests.support.ledger import FakeLedger
from tests.support.members import TASK, UPDATES
from tests.support.servers import account
from tests.support.votes import ENTRIES


def test_a_board_in_memory_keeps_rounds_and_tasks_apart() -> None:
    board = MemoryBoard()
    for task in (1, 2):
        for number in (1, 2):
            domain = replace(FakeLedger(TASK).domain(1), task=task)
            update = sign_update(account(0), domain, number, TASK.model.digest, UPDATES[0], 1)
            vote = sign_vote(account(0), domain, Ballot(task, number, 0, Stage.PREPARE, bytes(32), True))
            board.post_update("a", update, "b")
            board.post_vote("a", vote, "b")
    assert [(u.task, u.round) for _, u in board.updates(2, 1)] == [(2, 1)]
    assert [(v.task, v.round) for _, v in board.votes(1, 2)] == [(1, 2)]
    assert board.updates(3, 1) == board.votes(1, 3) == ()


def test_patience_in_steps_counts_each_wait_for_itself() -> None:
    patience = PatienceInSteps(2)
    assert patience.waiting_is_a_step
    assert [patience.is_over("one") for _ in range(4)] == [False, False, True, True]
    assert not patience.is_over("other")
    assert [PatienceInSteps().is_over("one") for _ in range(1)] == [False]
    default = PatienceInSteps()
    assert [default.is_over("one") for _ in range(4)] == [False, False, False, True]


def test_patience_ends_by_the_clock() -> None:
    now = [0.0]
    patience = PatienceInSeconds(10, clock=lambda: now[0])
    assert not patience.waiting_is_a_step
    assert not patience.is_over("first")
    now[0] = 10.0
    assert not patience.is_over("first")
    assert not patience.is_over("second")
    now[0] = 10.1
    assert patience.is_over("first")
    assert not patience.is_over("second")


def test_waits_of_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "MAX_WAITS", 2)
    now = [0.0]
    patience = PatienceInSeconds(10, clock=lambda: now[0])
    for wait in "abc":
        patience.is_over(wait)
    now[0] = 11
    assert [patience.is_over(wait) for wait in "bca"] == [True, True, False]


@given(ENTRIES)
def test_a_board_holds_a_vote_once_and_knows_those_of_a_view(votes: tuple[tuple[str, SignedVote], ...]) -> None:
    board = MemoryBoard()
    for server, vote in votes:
        for collector in ("0xc", "0xd"):
            board.post_vote(server, vote, collector)
    once = tuple(dict.fromkeys(votes))
    assert board.votes(1, 1) == once
    for view in (0, 1):
        assert board.votes(1, 1, view) == tuple(entry for entry in once if entry[1].view == view)
