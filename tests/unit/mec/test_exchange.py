"""One server's side of the board, on a fake ledger: what it signs, what it records, and whom it waits for."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from fbfl.chain.rounds import Ballot, Phase, Stage, TaskState
from fbfl.chain.seats import SeatSet
from fbfl.chain.signatures import SignedVote, sign_update, sign_vote
from fbfl.errors import ContractRevertError
from fbfl.mec import exchange as exchanges
from fbfl.mec.exchange import Exchange, LookedThrough, MemoryBoard, PatienceInSeconds, PatienceInSteps, vote_domain
from fbfl.mec.signed_votes import SignedVotes
from fbfl.storage.store import Reference
from tests.support.ledger import FakeLedger, FakeParticipant
from tests.support.servers import account, small_task

TASK = small_task()
UPDATES = [Reference.to(bytes([number])) for number in range(4)]
MODEL = Reference.to(b"model")


class NotedBoard(MemoryBoard):
    """Remembers who was to collect what, and what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.collectors: list[str] = []
        self.observed: list[tuple[TaskState, Mapping[str, int]]] = []

    def observe(self, state: TaskState, seats: Mapping[str, int]) -> None:
        self.observed.append((state, seats))

    def post_update(self, server: str, update: object, collector: str) -> None:
        self.collectors.append(collector)
        super().post_update(server, update, collector)  # type: ignore[arg-type]

    def post_vote(self, server: str, vote: SignedVote, collector: str) -> None:
        self.collectors.append(collector)
        super().post_vote(server, vote, collector)


class Members:
    """Four members of one task, each with its exchange, on one board."""

    def __init__(self, patience: int = 2) -> None:
        self.ledger = FakeLedger(TASK)
        self.board = NotedBoard()
        self.participants = [FakeParticipant(self.ledger, account(number).address) for number in range(4)]
        for participant in self.participants:
            participant.join(1)
        self.ledger.contracts.open_round()
        self.exchanges = [self.exchange(number, PatienceInSteps(patience)) for number in range(4)]
        self.forget()

    def exchange(
        self, number: int, patience: PatienceInSteps | PatienceInSeconds, signed: SignedVotes | None = None
    ) -> Exchange:
        participant = self.participants[number]
        return Exchange(self.board, participant, TASK, account(number), patience, signed=signed)

    @property
    def state(self) -> TaskState:
        return self.ledger.state(1)

    def address(self, number: int) -> str:
        return account(number).address

    def forget(self) -> None:
        for participant in self.participants:
            participant.sent.clear()

    @property
    def sent(self) -> list[list[str]]:
        return [participant.sent for participant in self.participants]

    def post_updates(self, *numbers: int) -> None:
        for number in numbers:
            self.exchanges[number].post_update(self.state, UPDATES[number], number + 1)

    def propose(self, model: Reference = MODEL) -> None:
        """Close the submissions; the leader, member 1, proposes."""
        for number in range(4):
            if number not in self.state.submitted:
                self.participants[number].submit(1, self.state.round, UPDATES[number], 1)
        self.ledger.contracts.poke()
        self.propose_again(model)
        self.forget()

    def propose_again(self, model: Reference) -> None:
        from fbfl.chain.digests import value_digest

        state = self.state
        value = value_digest(
            self.ledger.domain(1),
            state.round,
            parent=state.model.digest,
            closing=self.ledger.closing_hash(1, state.round),
            accumulator=state.accumulator,
            missing=state.missing.word,
            rule=TASK.rule,
            rule_params=TASK.rule_params,
            model=model.digest,
            model_size=model.size,
        )
        leader = next(p for p in self.participants if p.address == state.decision.leader)
        leader.propose(1, state.round, model, self.ledger.contracts.closing_hash, value, b"")

    def send(self, number: int, stage: Stage, accept: bool) -> None:
        """Let a member vote."""
        self.exchanges[number].send(self.state, Ballot.on(1, self.state, stage, accept))

    def vote_of(self, number: int, accept: bool = True, value: bytes | None = None, signer: int | None = None) -> None:
        """Leave a vote on the board by hand."""
        ballot = Ballot.on(1, self.state, Stage.PREPARE, accept)
        ballot = ballot if value is None else replace(ballot, value_digest=value)
        vote = sign_vote(account(number if signer is None else signer), vote_domain(self.ledger, TASK), ballot)
        self.board.post_vote(self.address(number), vote, self.address(1))


def test_the_board_is_told_where_the_task_stands() -> None:
    members = Members()
    members.exchanges[0].observe(members.state)
    assert members.board.observed == [(members.state, members.ledger.seats(1, 1))]


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
    proposal = members.state.decision.proposal
    return sorted((0, 2, 3), key=lambda n: keccak(proposal + bytes.fromhex(members.address(n)[2:])))


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


def test_votes_against_go_to_the_proposer_and_to_others_in_an_order_that_the_proposal_gives() -> None:
    members = Members()
    members.propose(Reference.to(b"a model"))
    proposal, others = members.state.decision.proposal, [members.address(number) for number in (0, 2, 3)]
    order = sorted(others, key=lambda server: keccak(proposal + bytes.fromhex(server[2:])))
    assert order != sorted(others), "or this would not tell"
    members.board.collectors.clear()
    members.send(0, Stage.PREPARE, accept=True)
    members.send(2, Stage.PREPARE, accept=False)
    assert members.board.collectors == [members.address(1), members.address(1), *order]


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


# ---------------------------------------------------------------- equivocation


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


# ---------------------------------------------------------------- boards and patience


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


SIGNED_VOTES = st.builds(
    SignedVote,
    task=st.just(1),
    round=st.just(1),
    view=st.integers(0, 1),
    stage=st.sampled_from((Stage.PREPARE, Stage.COMMIT)),
    value_digest=st.sampled_from((bytes(32), bytes([1] * 32))),
    accept=st.booleans(),
    signature=st.just((bytes(32), bytes(32))),
)
ENTRIES = st.lists(st.tuples(st.sampled_from(("0xa", "0xb")), SIGNED_VOTES), max_size=12).map(tuple)


@given(ENTRIES, st.lists(st.integers(0, 12), max_size=4), ENTRIES)
def test_looking_at_new_votes_finds_what_looking_at_all_finds(
    votes: tuple[tuple[str, SignedVote], ...], stops: list[int], others: tuple[tuple[str, SignedVote], ...]
) -> None:
    """Also where the board is another one all of a sudden, as in the next round."""
    looked = LookedThrough()
    for seen in (*(votes[:stop] for stop in sorted(stops)), votes, others):
        expected = [
            (server, first, second)
            for place, (server, second) in enumerate(seen)
            for voter, first in seen[:place]
            if voter == server and first.conflicts_with(second)
        ]
        assert sorted(looked.conflicts(seen), key=repr) == sorted(expected, key=repr)


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
