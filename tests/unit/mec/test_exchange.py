"""One server's side of the board, on a fake ledger: what it signs, what it records, and whom it waits for."""

from dataclasses import replace
from pathlib import Path

from eth_hash.auto import keccak

from fbfl.chain.rounds import Ballot, Phase, Stage
from fbfl.chain.seats import SeatSet
from fbfl.chain.signatures import sign_update
from fbfl.mec.exchange import PatienceInSteps, vote_domain
from fbfl.mec.signed_votes import SignedVotes
from fbfl.storage.store import Reference
from tests.support.members import MODEL, TASK, UPDATES, Members
from tests.support.servers import account


def test_the_board_is_told_where_the_task_stands() -> None:
    members = Members()
    members.exchanges[0].observe(members.state)
    seats = members.ledger.seats(1, 1)
    assert members.board.observed == [(members.state, seats, seats)]


# ---------------------------------------------------------------- updates


def test_a_complete_board_is_recorded_by_the_member_whose_turn_it_is() -> None:
    for round_number in (1, 2, 5):
        members = Members()
        members.ledger.contracts.round = round_number - 1
        members.ledger.contracts.phase = Phase.IDLE
        members.ledger.contracts.open_round()
        members.post_updates(0, 1, 2, 3)
        collector = round_number % 4
        assert members.board.collectors == [members.address(collector)] * 4
        for number in {0, 1, 2, 3} - {collector}:
            assert members.exchanges[number].record_updates(members.state), "waiting"
        assert members.sent == [[]] * 4
        assert members.exchanges[collector].record_updates(members.state)
        assert members.sent[collector] == ["submit_batch"]
        recorded = members.ledger.updates(1, round_number)
        assert [(u.server, u.payload, u.samples) for u in recorded] == [
            (members.address(number), UPDATES[number], number + 1) for number in range(4)
        ]
        assert not any(exchange.record_updates(members.state) for exchange in members.exchanges)


def test_the_collector_waits_for_the_others_with_patience() -> None:
    members = Members(patience=2)
    members.post_updates(0, 1)
    assert [members.exchanges[1].record_updates(members.state) for _ in range(2)] == [True, True]
    assert members.sent[1] == []
    assert members.exchanges[1].record_updates(members.state)
    assert members.sent[1] == ["submit_batch"]
    assert members.state.submitted == SeatSet(0b11)


def test_a_collector_without_an_update_of_its_own_records_those_of_the_others() -> None:
    members = Members(patience=1)
    members.post_updates(0)
    assert not members.exchanges[1].record_updates(members.state), "it has nothing to wait for itself"
    assert members.exchanges[1].record_updates(members.state)
    assert (members.sent[1], members.state.submitted) == (["submit_batch"], SeatSet(0b1))


def test_where_the_collector_sleeps_each_sends_its_own_update() -> None:
    members = Members(patience=2)
    members.post_updates(0, 1, 2, 3)
    assert [members.exchanges[2].record_updates(members.state) for _ in range(3)] == [True] * 3
    assert (members.sent[2], members.state.submitted) == (["submit"], SeatSet(0b100))
    (update,) = members.ledger.updates(1, 1)
    assert (update.payload, update.samples) == (UPDATES[2], 3)
    assert not members.exchanges[2].record_updates(members.state)


def test_what_was_recorded_already_is_waited_for_no_more() -> None:
    members = Members(patience=0)
    members.post_updates(0, 1)
    members.participants[0].submit(1, 1, UPDATES[0], 1)
    members.forget()
    assert members.exchanges[1].record_updates(members.state)
    assert members.state.submitted == SeatSet(0b11)
    assert not members.exchanges[0].record_updates(members.state)
    assert not members.exchanges[3].record_updates(members.state)
    assert members.sent == [[], ["submit_batch"], [], []]


def test_those_who_were_drawn_are_collected_by_one_of_them_and_nobody_else_is_waited_for() -> None:
    """An update of a member that was not drawn, perhaps sent to spoil the batch, is left out of it."""
    members = Members(patience=9, task=replace(TASK, participation=5000, seed=3))
    drawn = sorted(members.ledger.drawn(1, 1))
    stranger = next(number for number in range(4) if number not in drawn)
    members.post_updates(stranger, *drawn)
    collector = drawn[1 % len(drawn)]
    assert members.board.collectors == [members.address(collector)] * 3
    assert not members.exchanges[stranger].record_updates(members.state)
    assert members.exchanges[collector].record_updates(members.state)
    assert members.sent[collector] == ["submit_batch"]
    assert members.state.submitted == SeatSet.of(drawn)


def test_each_round_has_a_patience_of_its_own() -> None:
    members = Members(patience=1)
    members.post_updates(2)
    assert [members.exchanges[2].record_updates(members.state) for _ in range(2)] == [True, True]
    members.ledger.contracts.phase = Phase.IDLE
    members.ledger.contracts.open_round()
    members.post_updates(3)
    assert members.exchanges[3].record_updates(members.state)
    members.post_updates(2)
    members.forget()
    assert members.exchanges[2].record_updates(members.state)
    assert members.sent[2] == [], "the turn is member 2's, which waits for the others"


def test_nothing_on_the_board_is_no_reason_to_wait() -> None:
    members = Members(patience=1)
    assert [exchange.record_updates(members.state) for exchange in members.exchanges] == [False] * 4
    members.post_updates(0)
    assert members.exchanges[0].record_updates(members.state)
    assert members.sent == [[]] * 4, "the patience begins with the first update"


def test_updates_of_strangers_and_with_forged_signatures_are_not_sent() -> None:
    members = Members(patience=0)
    at = members.ledger.domain(1), 1, TASK.model.digest
    for claimed, signer in ((9, 9), (3, 2)):
        forged = sign_update(account(signer), *at, UPDATES[0], 1)
        members.board.post_update(members.address(claimed), forged, members.address(1))
    members.post_updates(0, 1)
    assert members.exchanges[1].record_updates(members.state)
    assert members.state.submitted == SeatSet(0b11)


def test_an_update_of_a_model_that_was_taken_back_is_signed_anew() -> None:
    members = Members(patience=0)
    members.post_updates(0)
    assert members.exchanges[0].has_signed_update(members.state)
    assert not members.exchanges[1].has_signed_update(members.state)
    members.ledger.contracts.model = MODEL
    assert not members.exchanges[0].has_signed_update(members.state)
    assert not members.exchanges[0].record_updates(members.state)
    members.post_updates(0)
    assert members.exchanges[0].has_signed_update(members.state)
    assert members.exchanges[1].record_updates(members.state)
    assert members.state.submitted == SeatSet(1)


# ---------------------------------------------------------------- votes


def test_votes_are_collected_by_who_proposed_and_recorded_once_they_are_complete() -> None:
    members = Members()
    members.propose()
    for number in (0, 2, 3):
        exchange = members.exchanges[number]
        assert not exchange.has_voted(members.state, Stage.PREPARE)
        exchange.send(members.state, Ballot.on(1, members.state, Stage.PREPARE, accept=True))
        assert exchange.has_voted(members.state, Stage.PREPARE)
        assert exchange.record(members.state, Stage.PREPARE) == True, "waiting"  # noqa: E712
        assert members.exchanges[1].record(members.state, Stage.PREPARE) == (number == 3)
    assert members.board.collectors == [members.address(1)] * 3
    assert members.sent == [[], ["vote_signed"], [], []]
    assert members.state.decision.stage is Stage.COMMIT
    assert [event.args["voters"] for event in members.ledger.round_events(1, 1, "VotesRecorded")] == [0b1101]
    assert not members.exchanges[0].has_voted(members.state, Stage.COMMIT), "another stage"


def test_a_vote_on_the_chain_counts_as_cast() -> None:
    members = Members()
    members.propose()
    members.participants[0].vote(Ballot.on(1, members.state, Stage.PREPARE, accept=True))
    assert members.exchanges[0].has_voted(members.state, Stage.PREPARE)
    assert members.exchanges[1].has_voted(members.state, Stage.PREPARE), "a proposal is its proposer's vote"
    assert not members.exchanges[2].has_voted(members.state, Stage.PREPARE)
    assert not members.exchanges[0].record(members.state, Stage.PREPARE)


def test_a_vote_that_is_on_the_chain_and_on_the_board_is_not_sent_again() -> None:
    members = Members(patience=0)
    members.propose()
    members.send(2, Stage.PREPARE, accept=True)
    members.participants[2].vote(Ballot.on(1, members.state, Stage.PREPARE, accept=True))
    members.forget()
    assert not members.exchanges[2].record(members.state, Stage.PREPARE)
    assert not members.exchanges[1].record(members.state, Stage.PREPARE)
    assert members.sent == [[]] * 4


def test_who_proposed_waits_for_the_others_with_patience() -> None:
    members = Members(patience=2)
    members.propose()
    for number in (0, 2):
        members.send(number, Stage.PREPARE, accept=True)
    assert [members.exchanges[1].record(members.state, Stage.PREPARE) for _ in range(3)] == [False, False, True]
    assert members.sent[1] == ["vote_signed"]
    assert members.state.decision.stage is Stage.COMMIT


def test_where_the_collector_sleeps_each_sends_its_own_vote() -> None:
    members = Members(patience=1)
    members.propose()
    for number in (0, 2):
        members.send(number, Stage.PREPARE, accept=True)
    assert [members.exchanges[0].record(members.state, Stage.PREPARE) for _ in range(2)] == [True, True]
    assert members.sent == [["vote"], [], [], []]
    assert members.state.decision.accepts == 2
    assert not members.exchanges[3].record(members.state, Stage.PREPARE), "it has no vote to wait for"


def rejecting(members: Members, *numbers: int) -> list[int]:
    """These leave votes against the proposal; returns the others than the proposer in the order of their turns."""
    for number in numbers:
        members.send(number, Stage.PREPARE, accept=False)
    return sorted((0, 2, 3), key=lambda number: turn_of(members, members.address(number)))


def turn_of(members: Members, server: str) -> bytes:
    """Return the word by which the collectors of votes against the proposal of this view are in order."""
    closing = members.ledger.closing_hash(1, 1)
    assert closing is not None
    return keccak(closing + members.state.decision.view.to_bytes(2) + bytes.fromhex(server[2:]))


def test_a_quorum_of_votes_against_is_one_transaction_and_ends_the_view() -> None:
    members = Members(patience=5)
    members.propose()
    first, second, third = rejecting(members, 0, 2)
    assert all(members.exchanges[n].record(members.state, Stage.PREPARE) for n in (0, 2)), "waiting is a step"
    assert members.sent == [[]] * 4, "two are no quorum"
    rejecting(members, 3)
    assert members.exchanges[second].record(members.state, Stage.PREPARE)
    assert members.exchanges[third].record(members.state, Stage.PREPARE)
    assert members.sent == [[]] * 4, "it is not their turn"
    assert members.exchanges[first].record(members.state, Stage.PREPARE)
    assert members.sent[first] == ["reject_signed"]
    assert (members.state.decision.view, members.state.decision.stage) == (1, Stage.PROPOSE)
    (barred,) = members.ledger.round_events(1, 1, "ProposerBarred")
    assert barred.args["proposer"] == members.address(1)


def test_if_the_first_collector_of_votes_against_sleeps_the_next_acts_and_in_the_end_each_voter() -> None:
    members = Members(patience=2)
    members.propose()
    first, second, third = rejecting(members, 0, 2, 3)
    before = members.ledger.snapshot()
    for _ in range(2):
        assert members.exchanges[second].record(members.state, Stage.PREPARE)
    assert members.sent == [[]] * 4
    assert members.exchanges[second].record(members.state, Stage.PREPARE)
    assert members.sent[second] == ["reject_signed"]
    members.ledger.reorganise(before)
    members.forget()
    members.participants[third].reject_signed = lambda *_: None  # type: ignore[method-assign]
    for _ in range(6):
        assert members.exchanges[third].record(members.state, Stage.PREPARE)
    assert members.sent == [[]] * 4
    assert members.exchanges[third].record(members.state, Stage.PREPARE)
    assert members.sent[third] == ["vote"]
    assert members.state.decision.rejects == 1
    members.forget()
    assert members.exchanges[first].record(members.state, Stage.PREPARE), "with the vote that is on the chain"
    assert members.sent[first] == ["reject_signed"]
    assert members.state.decision.view == 1


def test_votes_against_go_to_the_proposer_and_to_others_in_an_order_that_it_cannot_choose() -> None:
    for number in range(8):  # it tries until its accomplices would come first
        members = Members()
        members.propose(Reference.to(b"a wrong model %d" % number))
        order = sorted((members.address(other) for other in (0, 2, 3)), key=lambda server: turn_of(members, server))
        assert order != sorted(order), "or this would not tell"
        members.board.collectors.clear()
        members.send(0, Stage.PREPARE, accept=True)
        members.send(2, Stage.PREPARE, accept=False)
        assert members.board.collectors == [members.address(1), members.address(1), *order]


def test_the_collectors_of_votes_against_are_others_in_the_next_view() -> None:
    members = Members()
    members.propose()
    state = members.state
    views = [replace(state, decision=replace(state.decision, view=view)) for view in range(8)]
    orders = {tuple(members.exchanges[0]._collectors_of_rejections(each)) for each in views}
    assert len(orders) > 1


def test_without_patience_each_sends_its_vote_against_itself() -> None:
    members = Members(patience=0)
    members.propose()
    members.send(0, Stage.PREPARE, accept=False)
    assert members.exchanges[0].record(members.state, Stage.PREPARE)
    assert members.sent[0] == ["vote"]


def test_a_vote_against_that_its_sender_did_not_sign_is_not_recorded() -> None:
    members = Members(patience=5)
    members.propose()
    first, *_ = rejecting(members, 0, 2, 3)
    members.board._votes.clear()
    other = next(n for n in (0, 2, 3) if n != first)
    for number in (0, 2, 3):
        members.vote_of(number, accept=False, signer=2 if number == other else None)
    if other == 2:
        members.vote_of(2, accept=False, signer=1)
    assert members.exchanges[first].record(members.state, Stage.PREPARE)
    assert members.sent[first] == [], "two are no quorum"


def test_a_proposer_waits_for_nobody_who_has_voted_against() -> None:
    members = Members(patience=5)
    members.propose()
    rejecting(members, 0)
    for number in (2, 3):
        members.send(number, Stage.PREPARE, accept=True)
    assert members.exchanges[1].record(members.state, Stage.PREPARE), "complete with the one against"
    assert members.sent[1] == ["vote_signed"]
    assert members.state.decision.stage is Stage.COMMIT


def test_votes_against_alone_are_nothing_to_collect() -> None:
    members = Members(patience=0)
    members.propose()
    members.send(0, Stage.PREPARE, accept=False)
    assert not members.exchanges[1].record(members.state, Stage.PREPARE)
    assert members.sent == [[]] * 4


def test_each_stage_and_view_has_a_patience_of_its_own() -> None:
    members = Members(patience=1)
    members.propose()
    for number in (0, 2):
        members.send(number, Stage.PREPARE, accept=True)
    assert [members.exchanges[1].record(members.state, Stage.PREPARE) for _ in range(2)] == [False, True]
    for number in (0, 1):
        members.send(number, Stage.COMMIT, accept=True)
    assert [members.exchanges[1].record(members.state, Stage.COMMIT) for _ in range(2)] == [True, True]
    assert members.sent[1] == ["vote_signed", "vote_signed"]


def test_votes_of_strangers_and_with_forged_signatures_are_not_sent() -> None:
    members = Members(patience=0)
    members.propose()
    members.vote_of(9)
    members.vote_of(3, signer=2)
    members.vote_of(0)
    assert members.exchanges[1].record(members.state, Stage.PREPARE)
    assert members.state.decision.accepts == 2


def test_where_no_message_on_the_board_is_valid_nothing_is_sent() -> None:
    """The contracts refuse a batch in which nothing is new, and whoever sent it would pay for that at every step."""
    members = Members(patience=0)
    at = members.ledger.domain(1), 1, members.state.model.digest
    forged = sign_update(account(9), *at, UPDATES[0], 1)
    members.board.post_update(members.address(0), forged, members.address(1))
    assert not members.exchanges[1].record_updates(members.state)
    members.propose()
    members.vote_of(3, signer=2)
    assert not members.exchanges[1].record(members.state, Stage.PREPARE)
    assert members.sent == [[]] * 4


def test_votes_on_other_values_or_views_are_not_counted() -> None:
    members = Members(patience=0)
    members.propose()
    members.vote_of(0, value=bytes(32))
    members.board.votes(1, 1)
    assert not members.exchanges[0].has_voted(members.state, Stage.PREPARE)
    assert not members.exchanges[1].record(members.state, Stage.PREPARE)
    members.vote_of(2)
    decision = members.state.decision
    later = replace(members.state, decision=replace(decision, view=1))
    assert members.exchanges[2].has_voted(members.state, Stage.PREPARE)
    assert not members.exchanges[2].has_voted(later, Stage.PREPARE)


def test_a_server_that_may_have_signed_before_its_restart_votes_by_transaction(tmp_path: Path) -> None:
    members = Members()
    members.propose()
    domain = vote_domain(members.ledger, TASK)
    unsure = SignedVotes(account(0), domain, tmp_path / "votes", unsure=1)
    restarted = members.exchange(0, PatienceInSteps(), unsure)
    restarted.send(members.state, Ballot.on(1, members.state, Stage.PREPARE, accept=True))
    assert members.sent[0] == ["vote"]
    assert not members.board.votes(1, 1)
    assert members.state.decision.accepts == 2
    assert restarted.has_voted(members.state, Stage.PREPARE)


def test_another_value_in_the_same_view_after_a_reorganisation_is_voted_on_by_transaction() -> None:
    members = Members()
    for number in range(4):
        members.participants[number].submit(1, 1, UPDATES[number], 1)
    members.ledger.contracts.poke()
    before = members.ledger.snapshot()
    members.propose_again(MODEL)
    members.send(0, Stage.PREPARE, accept=True)
    first = members.state.decision.proposal
    members.ledger.reorganise(before)
    members.propose_again(Reference.to(b"another model"))
    assert members.state.decision.proposal != first
    members.forget()
    assert not members.exchanges[0].has_voted(members.state, Stage.PREPARE)
    members.send(0, Stage.PREPARE, accept=True)
    assert members.sent[0] == ["vote"]
    assert len(members.board.votes(1, 1)) == 1


def test_once_it_is_decided_votes_are_transactions() -> None:
    members = Members(patience=0)
    members.propose()
    for stage in (Stage.PREPARE, Stage.COMMIT):
        for number in (1, 2, 3) if stage is Stage.COMMIT else (2, 3):
            members.send(number, stage, accept=True)
        members.exchanges[1].record(members.state, stage)
    assert members.state.phase is Phase.FINAL
    members.vote_of(0)
    members.forget()
    exchange = members.exchanges[0]
    assert not exchange.has_voted(members.state, Stage.COMMIT)
    exchange.send(members.state, Ballot.on(1, members.state, Stage.COMMIT, accept=True))
    assert members.sent[0] == ["vote"]
    assert exchange.has_voted(members.state, Stage.COMMIT)
    assert not exchange.record(members.state, Stage.COMMIT)
    assert members.ledger.voters(1, members.state, Stage.COMMIT) == SeatSet(0b1111)
