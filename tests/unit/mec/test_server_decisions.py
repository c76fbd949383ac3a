"""What an MEC server proposes, and what it votes for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fbfl.chain import digests
from fbfl.chain.rounds import ABORT, Ballot, Phase, Stage
from fbfl.chain.seats import SeatSet
from fbfl.mec.dishonest import Behaviour
from fbfl.mec.exchange import PatienceInSeconds
from fbfl.mec.global_model import next_model
from fbfl.storage.store import Reference
from tests.support.faulty_store import FaultyStore
from tests.support.ledger import Terms
from tests.support.servers import NONE, Turn, account, committee, expected_model, proposed, small_task, value_of

# ---------------------------------------------------------------- proposals


def test_the_leader_proposes_what_the_updates_make_and_nobody_else(tmp_path: Path) -> None:
    fed = committee(tmp_path)
    fed.open()
    fed.submit()
    for server in fed.others:
        assert not server.step()
    assert fed.leader is fed.servers[1]
    assert fed.leader.step()
    assert fed.state.proposal.model == expected_model(fed)
    assert fed.state.decision.proposal == value_of(fed, expected_model(fed))
    assert fed.store.has(expected_model(fed))
    assert fed.leader.without_model(1) == ""


def test_nobody_proposes_after_the_deadline(tmp_path: Path) -> None:
    fed = committee(tmp_path)
    fed.open()
    fed.submit()
    fed.ledger.travel(fed.state.decision.deadline + 1 - fed.state.now)
    assert not fed.leader.step()
    assert fed.sent(1) == []
    fed.ledger.travel(-1)
    assert fed.leader.step()


def test_who_was_barred_does_not_search_for_a_proof_again(tmp_path: Path) -> None:
    turns = {number: Turn() for number in range(4)}
    fed = committee(tmp_path, task=small_task("pow"), elections=turns)
    fed.open()
    fed.submit()
    assert fed.servers[2].step()
    for number in (0, 1, 3):
        fed.servers[number].participant.vote(Ballot.on(1, fed.state, Stage.PREPARE, accept=False))
    asked = turns[2].asked
    assert not fed.servers[2].step()
    assert turns[2].asked == asked
    assert fed.servers[3].step()
    assert fed.state.proposal.proposer == fed.servers[3].address


def test_a_leader_without_proof_waits_and_goes_on_only_where_it_searches(tmp_path: Path) -> None:
    for consensus, goes_on in (("pow", True), ("pbft", False)):
        fed = committee(tmp_path, task=small_task(consensus), elections={1: Turn(None)})
        fed.open()
        fed.submit()
        assert fed.servers[1].step() == goes_on
        assert fed.sent(1) == []


def test_a_leader_that_misses_a_payload_proposes_nothing_until_it_comes(tmp_path: Path, store: FaultyStore) -> None:
    fed = committee(tmp_path, stores={1: store}, options={"patience": PatienceInSeconds(10)})
    fed.open()
    fed.submit()
    store.absent[fed.ledger.updates(1, 1)[0].payload] = 2
    assert not fed.leader.step()
    assert not fed.leader.step()
    assert fed.leader.step()
    assert fed.sent(1) == ["propose"]


def test_a_leader_without_the_parent_proposes_nothing(tmp_path: Path, store: FaultyStore) -> None:
    fed = committee(tmp_path, stores={1: store})
    fed.open()
    fed.submit()
    store.absent[fed.task.model] = 1
    assert not fed.leader.step()
    assert fed.leader.step()
    assert fed.sent(1) == ["propose"]


def test_what_the_rule_cannot_aggregate_is_given_up(tmp_path: Path) -> None:
    fed = committee(tmp_path, task=small_task("pbft", "fltrust", root_server=account(0).address), samples=(0, 1, 1, 1))
    fed.open()
    fed.settle_down()
    fed.travel_past_deadline()
    assert fed.leader.step()
    assert fed.sent(1)[-1] == "propose"
    reason = Reference(digests.short_text(ABORT), 0)
    assert fed.state.proposal == replace(fed.state.proposal, model=reason, missing=NONE)
    assert fed.state.decision.proposal == value_of(fed, reason)
    fed.settle_down()
    assert fed.state.phase is Phase.ABORTED
    assert [event.args["reason"] for event in fed.events("RoundAborted")] == [digests.short_text(ABORT)]
    assert not fed.events("ProposerBarred")
    why = f"round 1 has no update of the trusted server {account(0).address}"
    assert [server.without_model(1) for server in fed.servers] == [why] * 4
    assert fed.leader.without_model(2) == ""


def test_logs_of_another_branch_are_not_aggregated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fed = committee(tmp_path)
    fed.open()
    fed.submit()
    monkeypatch.setattr(fed.ledger, "accumulator", lambda *_: bytes(32))
    assert not fed.leader.step()
    assert fed.sent(1) == []


def test_the_same_updates_are_aggregated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fed = committee(tmp_path)
    fed.open()
    fed.submit()
    calls = []

    def counting(*arguments: Any) -> Any:
        calls.append(arguments)
        return next_model(*arguments)

    monkeypatch.setattr("fbfl.mec.known_results.next_model", counting)
    fed.settle_down()
    assert fed.state.phase is Phase.FINAL
    assert len(calls) == 4


# ---------------------------------------------------------------- votes


def test_a_proposal_that_differs_is_rejected_and_its_proposer_barred(tmp_path: Path) -> None:
    fed = committee(tmp_path, behaviours={1: Behaviour(proposes="wrong")})
    fed.open()
    fed.submit()
    fed.settle_down()
    assert fed.state.phase is Phase.FINAL
    assert fed.state.model == expected_model(fed)
    assert [event.args["proposer"] for event in fed.events("ProposerBarred")] == [fed.servers[1].address]
    rejections = {event.args["voter"] for event in fed.events("Voted") if not event.args["accept"]}
    assert rejections == {fed.servers[number].address for number in (0, 2, 3)}


def test_signed_votes_against_a_proposal_are_one_transaction(tmp_path: Path) -> None:
    fed = committee(tmp_path, behaviours={1: Behaviour(proposes="wrong", votes="inverted")}, signatures=True)
    fed.open()
    fed.submit()
    fed.settle_down()
    assert (fed.state.phase, fed.state.model) == (Phase.FINAL, expected_model(fed))
    assert [event.args["proposer"] for event in fed.events("ProposerBarred")] == [fed.servers[1].address]
    (recorded,) = fed.events("RejectionsRecorded")
    assert recorded.args["voters"] == 0b1101
    assert not fed.events("Voted")


def test_voters_recompute_what_was_proposed_though_the_next_proposal_would_leave_more_out(tmp_path: Path) -> None:
    fed = proposed(tmp_path)
    accused, *reporters = fed.others
    for reporter in reporters:
        reporter.participant.report_missing(1, 1, accused.address, fed.state.accumulator)
    assert (fed.state.missing, fed.state.proposal.missing) == (SeatSet(0b1), NONE)
    fed.settle_down()
    assert fed.state.phase is Phase.FINAL
    assert fed.state.model == expected_model(fed)
    assert all(event.args["accept"] for event in fed.events("Voted"))


def test_voters_recompute_without_what_the_proposal_leaves_out(tmp_path: Path) -> None:
    fed = committee(tmp_path)
    fed.open()
    fed.submit()
    for reporter in fed.servers[2:]:
        reporter.participant.report_missing(1, 1, fed.servers[0].address, fed.state.accumulator)
    fed.settle_down()
    assert (fed.state.phase, fed.state.proposal.missing) == (Phase.FINAL, SeatSet(0b1))
    assert fed.state.model == expected_model(fed, SeatSet(0b1))


def test_a_server_votes_once_in_each_stage(tmp_path: Path) -> None:
    fed = proposed(tmp_path)
    server = fed.servers[0]
    assert server.step()
    assert not server.step()
    assert fed.sent(0) == ["vote"]
    fed.settle_down(fed.servers[2:])
    assert fed.state.decision.stage is Stage.COMMIT
    assert server.step()
    assert not server.step()
    assert fed.sent(0) == ["vote"]


@pytest.mark.parametrize("signatures", [False, True])
def test_a_vote_is_cast_until_the_last_second_and_not_after(tmp_path: Path, signatures: bool) -> None:
    fed = proposed(tmp_path, signatures=signatures)
    fed.ledger.travel(fed.state.decision.deadline + 1 - fed.state.now)
    assert not fed.servers[0].step()
    fed.ledger.travel(-1)
    assert fed.servers[0].step()
    assert fed.sent(0) == ([] if signatures else ["vote"])


def test_the_record_of_a_final_round_is_completed_until_its_deadline(tmp_path: Path) -> None:
    for consensus in ("pbft", "pow"):
        turns = {number: Turn(b"" if number == 1 else None) for number in range(4)}
        fed = committee(tmp_path, task=small_task(consensus), elections=turns if consensus == "pow" else None)
        fed.open()
        fed.submit()
        fed.settle_down(fed.servers[:3])
        assert fed.state.phase is Phase.FINAL
        late = fed.ledger.snapshot()
        fed.ledger.travel(fed.state.decision.deadline + 1 - fed.state.now)
        assert not fed.servers[3].step()
        fed.ledger.reorganise(late)
        assert fed.servers[3].step()
        assert fed.sent(3) == ["vote"]
        assert not fed.servers[3].step()


def test_nobody_votes_in_a_round_that_was_aborted_or_whose_decision_is_of_another(tmp_path: Path) -> None:
    fed = committee(tmp_path, terms=Terms(min_updates=4, max_views=1))
    fed.open()
    fed.submit()
    fed.settle_down()
    assert fed.state.phase is Phase.FINAL
    fed.open()
    state = fed.state
    assert (state.round, state.decision.round, state.decision.stage) == (2, 1, Stage.DECIDED)
    fed.ledger.contracts.phase = Phase.FINAL  # as far as only the ledger would say it
    assert not fed.servers[0]._vote(fed.state)
    fed.ledger.contracts.phase = Phase.SUBMIT
    fed.submit()
    fed.travel_past_deadline()
    assert fed.state.phase is Phase.ABORTED
    fed.settle_down()
    assert [fed.sent(number) for number in range(4)] == [[]] * 4


def test_who_cannot_recompute_does_not_vote(tmp_path: Path, store: FaultyStore) -> None:
    fed = committee(tmp_path, stores={0: store}, options={"patience": PatienceInSeconds(10)})
    fed.open()
    fed.submit()
    payload = fed.ledger.updates(1, 1)[3].payload
    store.absent[payload] = 1_000
    assert fed.leader.step()
    assert not fed.servers[0].step()
    store.absent.clear()
    assert fed.servers[0].step()
    assert fed.sent(0) == ["vote"]


def test_who_accepts_a_model_serves_it_and_who_rejects_one_does_not(tmp_path: Path) -> None:
    fed = committee(tmp_path / "shared", stores={0: (own := FaultyStore(tmp_path / "own"))})
    fed.open()
    own.put(fed.store.get(fed.task.model))
    fed.submit()
    for update in fed.ledger.updates(1, 1):
        kept, lacking = (own, fed.store) if update.seat == 0 else (fed.store, own)
        lacking.put(kept.get(update.payload))
    fed.leader.step()
    assert not own.has(expected_model(fed))
    fed.servers[0].step()
    assert own.has(expected_model(fed))
    liar = committee(tmp_path, behaviours={1: Behaviour(proposes="wrong")})
    liar.open()
    liar.submit()
    liar.leader.step()
    liar.servers[0].step()
    assert not liar.store.has(expected_model(liar))


def test_a_vote_for_giving_the_round_up_publishes_nothing(tmp_path: Path) -> None:
    fed = committee(tmp_path, task=small_task("pbft", "fltrust", root_server=account(0).address), samples=(0, 1, 1, 1))
    fed.open()
    fed.settle_down()
    fed.travel_past_deadline()
    fed.leader.step()
    put: list[bytes] = []
    fed.store.put = put.append  # type: ignore[method-assign,assignment]
    assert fed.servers[2].step()
    assert fed.sent(2)[-1] == "vote"
    assert put == []
