"""Votes that exclude each other on a board: they are found, and shown to the contracts once."""

import pytest
from hypothesis import given

from fbfl.chain.rounds import Stage
from fbfl.chain.signatures import SignedVote
from fbfl.errors import ContractRevertError
from fbfl.mec.exchange import MemoryBoard
from tests.support.members import Members
from tests.support.votes import ENTRIES


def test_two_votes_that_exclude_each_other_are_shown_once_in_a_round() -> None:
    members = Members(patience=0)
    members.propose()
    reporter = members.exchanges[0]
    assert not reporter.report_equivocation(1)
    members.vote_of(2)
    members.vote_of(3, accept=False)
    members.vote_of(3, accept=False)
    assert not reporter.report_equivocation(1), "those of two members, or twice the same"
    members.vote_of(3)
    assert reporter.report_equivocation(1)
    assert members.sent[0] == ["report_equivocation"]
    (event,) = members.ledger.round_events(1, 1, "Equivocation")
    assert event.args["voter"] == members.address(3)
    assert not reporter.report_equivocation(1)
    assert not members.exchanges[1].report_equivocation(1), "the chain knows"
    members.vote_of(2, value=bytes(32))
    assert reporter.report_equivocation(1)
    assert len(members.sent[0]) == 2


def test_one_member_shows_evidence_and_the_others_where_it_does_not() -> None:
    members = Members(patience=1)
    members.propose()
    members.vote_of(3)
    members.vote_of(3, accept=False)
    assert members.exchanges[0].report_equivocation(1), "to wait is a step where time passes by steps"
    assert members.sent[0] == []
    assert members.exchanges[1].report_equivocation(1), "it is its turn in round 1"
    assert members.sent[1] == ["report_equivocation"]
    assert not members.exchanges[0].report_equivocation(1)
    members.vote_of(1)
    members.vote_of(1, accept=False)
    assert members.exchanges[2].report_equivocation(1), "without the culprit it is another one's turn"
    assert members.sent[2] == ["report_equivocation"]


def test_each_culprit_has_a_patience_of_its_own() -> None:
    members = Members(patience=1)
    members.propose()
    for culprit in (3, 2):
        members.vote_of(culprit)
        members.vote_of(culprit, accept=False)
        assert members.exchanges[0].report_equivocation(1)
        assert len(members.sent[0]) == 3 - culprit, "it waits for another"
        assert members.exchanges[0].report_equivocation(1)
        assert len(members.sent[0]) == 4 - culprit


def test_many_votes_without_evidence_are_looked_through_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """79 liars of 240 leave what a board keeps of each in 120 views: accepting one value, rejecting another."""
    members = Members()
    members.propose()
    compared = []
    monkeypatch.setattr(SignedVote, "conflicts_with", lambda *votes: compared.append(votes))
    votes = [
        SignedVote(1, 1, view, stage, bytes([accept] * 32), accept, (b"", b""))
        for view in range(120)
        for stage in (Stage.PREPARE, Stage.COMMIT)
        for accept in (True, False)
    ]
    for liar in range(79):
        for vote in votes:
            members.board.post_vote(f"liar {liar}", vote, "")
    assert not members.exchanges[0].report_equivocation(1)
    assert len(compared) == 79 * 120 * 2


def test_nobody_shows_its_own_votes() -> None:
    members = Members()
    members.propose()
    members.vote_of(3)
    members.vote_of(3, accept=False)
    assert not members.exchanges[3].report_equivocation(1)


def test_evidence_that_the_chain_refuses_is_not_shown_again_in_its_round() -> None:
    members = Members(patience=0)
    members.propose()
    tried = []

    def refuse(*evidence: object) -> None:
        tried.append(evidence)
        raise ContractRevertError("ConsensusNotMember", {})

    members.participants[0].report_equivocation = refuse  # type: ignore[method-assign,assignment]
    members.vote_of(3)
    members.vote_of(3, accept=False)
    members.vote_of(2)
    members.vote_of(2, accept=False)
    assert [members.exchanges[0].report_equivocation(1) for _ in range(3)] == [True, True, False]
    assert len(tried) == 2
    members.ledger.contracts.round = 2
    members.vote_of(3)
    members.vote_of(3, accept=False)
    assert members.exchanges[0].report_equivocation(2), "another round, other evidence"
    assert members.exchanges[0].report_equivocation(1), "of former rounds nothing is remembered"


@given(ENTRIES)
def test_a_board_finds_each_pair_that_excludes_each_other_whatever_came_between(
    votes: tuple[tuple[str, SignedVote], ...],
) -> None:
    board, once = MemoryBoard(), tuple(dict.fromkeys(votes))
    for server, vote in votes:
        board.post_vote(server, vote, "")
    expected = [
        (server, first, second)
        for place, (server, second) in enumerate(once)
        for voter, first in once[:place]
        if voter == server and first.conflicts_with(second)
    ]
    assert sorted(board.conflicts(1, 1), key=repr) == sorted(expected, key=repr)
    assert board.conflicts(1, 2) == board.conflicts(2, 1) == ()
