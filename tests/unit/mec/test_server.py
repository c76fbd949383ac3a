"""One MEC server after the other, on a fake ledger: whole rounds, rewards and evidence."""

from pathlib import Path
from typing import Any

import pytest

from fbfl.chain import digests
from fbfl.chain.rounds import Phase, Stage
from fbfl.chain.seats import SeatSet
from fbfl.chain.task import Payment
from fbfl.chain.transactions import Sent
from fbfl.errors import ContractRevertError
from fbfl.mec.dishonest import Behaviour
from tests.support.ledger import Terms
from tests.support.servers import NONE, Turn, committee, expected_model, proposed, small_task, update_of

# ---------------------------------------------------------------- the round as a whole


@pytest.mark.parametrize("signatures", [False, True])
def test_honest_servers_make_their_aggregate_final_and_all_vote(tmp_path: Path, signatures: bool) -> None:
    fed = committee(tmp_path, signatures=signatures)
    model = fed.task.model
    for round_number in (1, 2):
        fed.open()
        fed.submit()
        expected = expected_model(fed, NONE, round_number, fed.store.get(model))
        leader = fed.leader.address
        fed.settle_down()
        state = fed.state
        assert (state.round, state.phase, state.model) == (round_number, Phase.FINAL, expected)
        assert state.proposal.proposer == leader
        assert fed.ledger.voters(1, state, Stage.COMMIT) == SeatSet(0b1111) or signatures
        assert not fed.events("ProposerBarred", round_number)
        model = expected
    recorded = fed.ledger.updates(1, 2)
    assert [(update.seat, update.samples) for update in recorded] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert [fed.store.get(update.payload) for update in recorded] == [update_of(fed.plan, n + 2) for n in range(4)]


def test_a_round_that_a_reorganisation_closes_anew_is_drawn_anew(tmp_path: Path) -> None:
    """The same updates behind another closing block: what was computed for the first one is no value any more."""
    fed = committee(tmp_path, task=small_task(rule="random_selection"))
    fed.open()
    before, seeds, models = fed.ledger.snapshot(), set(), set()
    for seconds in range(1, 9):
        fed.ledger.travel(seconds)
        fed.submit()
        fed.settle_down()
        assert (fed.state.phase, fed.state.model) == (Phase.FINAL, expected_model(fed))
        seeds.add(digests.draw_seed(fed.ledger.contracts.closing_hash, fed.state.accumulator, 1))
        models.add(fed.state.model)
        fed.ledger.reorganise(before)
    assert len(seeds) == 8
    assert len(models) > 1


def test_a_leader_whose_proposal_lands_on_another_branch_goes_on_there(tmp_path: Path) -> None:
    """It waited to be mined when a reorganisation replaced the block that closed the submissions."""
    fed = committee(tmp_path, task=small_task(rule="random_selection"))
    fed.open()
    while sum(server.step() for server in fed.servers):
        pass
    before, sent = fed.ledger.snapshot(), []
    fed.ledger.contracts.poke()
    leader = fed.leader
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leader.participant, "propose", lambda *call: sent.append(call))
        assert leader.step()
    fed.ledger.reorganise(before)
    fed.ledger.travel(1)
    fed.ledger.contracts.poke()
    with pytest.raises(ContractRevertError, match="TasksOtherBranch"):
        leader.participant.propose(*sent[0])
    fed.settle_down()
    assert (fed.state.phase, fed.state.proposal.proposer) == (Phase.FINAL, leader.address)
    assert fed.state.model == expected_model(fed)
    assert not fed.events("ProposerBarred")


def test_who_proposes_waits_for_the_log_of_the_closing_block(tmp_path: Path) -> None:
    fed = committee(tmp_path, task=small_task(rule="random_selection"))
    fed.open()
    fed.submit()
    events = fed.ledger._events_of_round[1, 1]
    (closed,) = fed.events("SubmissionsClosed")
    events.remove(closed)
    fed.ledger._answers.clear()
    leader = fed.leader
    assert not leader.step()
    events.append(closed)
    fed.ledger._answers.clear()
    assert leader.step()
    assert fed.state.decision.stage is Stage.PREPARE


def test_who_has_no_seat_does_nothing(tmp_path: Path) -> None:
    fed = committee(tmp_path)
    fed.ledger.contracts.resign(fed.servers[3].address)
    assert not fed.servers[0].step()
    fed.open()
    assert not fed.servers[3].step()
    assert fed.sent(3) == []
    assert fed.servers[0].step()


def test_a_refused_transaction_is_looked_at_again_in_the_next_step(tmp_path: Path) -> None:
    fed = committee(tmp_path)
    fed.open()
    server = fed.servers[0]

    def refuse(*_: object) -> None:
        raise ContractRevertError("TasksWrongRound", {})

    submit = server.participant.submit
    server.participant.submit = refuse  # type: ignore[method-assign,assignment]
    assert not server.step()
    server.participant.submit = submit  # type: ignore[method-assign]
    assert server.step()
    assert fed.sent(0) == ["submit"]


def test_a_search_for_a_proof_goes_on_until_somebody_proposes(tmp_path: Path) -> None:
    turns = {number: Turn(None) for number in range(4)}
    fed = committee(tmp_path, task=small_task("pow"), elections=turns)
    fed.open()
    fed.servers[0].step()
    assert not turns[0].asked
    fed.submit()
    assert fed.servers[0].step(), "the search goes on"
    assert turns[0].asked == 1
    turns[1].proofs = b""
    assert fed.servers[1].step()
    assert fed.sent(1) == ["propose"]
    fed.servers[0].step()
    assert turns[0].asked == 1


def test_a_server_stands_for_election_as_its_task_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr("fbfl.mec.server.election_of", lambda *arguments: asked.append(arguments))
    fed = committee(tmp_path)
    assert asked == [(fed.ledger, fed.task, server.address) for server in fed.servers]


def test_what_was_fetched_for_a_round_is_forgotten_in_the_next(tmp_path: Path) -> None:
    fed = committee(tmp_path)
    fed.open()
    fed.submit()
    fed.settle_down()
    former = {update.payload for update in fed.ledger.updates(1, 1)}
    assert former <= fed.servers[3]._memory.payloads.keys()
    fed.open()
    fed.servers[3].step()
    assert not former & fed.servers[3]._memory.payloads.keys()


# ---------------------------------------------------------------- rewards


def test_the_leader_alone_has_the_reward_divided_and_once(tmp_path: Path) -> None:
    fed = committee(tmp_path)
    fed.open()
    fed.submit()
    fed.settle_down()
    assert fed.state.phase is Phase.FINAL
    for number in range(4):
        assert "settle" not in fed.sent(number)
    fed.ledger.pays = Payment.NOT_FUNDED
    assert not fed.servers[1].step()
    fed.ledger.pays = Payment.DUE
    assert [server.step() for server in fed.servers] == [False, True, False, False]
    assert fed.sent(1) == ["settle"]
    assert not fed.servers[1].step()


def test_the_reward_of_an_aborted_round_is_not_divided(tmp_path: Path) -> None:
    fed = proposed(tmp_path, terms=Terms(max_views=1))
    fed.ledger.pays = Payment.DUE
    fed.travel_past_deadline()
    assert fed.state.phase is Phase.ABORTED
    assert not fed.servers[1].step()


# ---------------------------------------------------------------- equivocation


@pytest.mark.parametrize("signatures", [False, True])
def test_two_votes_of_one_member_are_shown_to_the_chain_once(tmp_path: Path, signatures: bool) -> None:
    fed = committee(tmp_path, signatures=signatures, behaviours={3: Behaviour(votes="both")})
    fed.open()
    fed.submit()
    fed.settle_down()
    assert fed.state.phase is Phase.FINAL
    accused = [event.args["voter"] for event in fed.events("Equivocation")]
    assert accused == ([fed.servers[3].address] if signatures else [])


def test_a_liar_accuses_nobody(tmp_path: Path) -> None:
    liars = {number: Behaviour(votes="inverted") for number in range(3)}
    fed = committee(tmp_path, signatures=True, behaviours={**liars, 3: Behaviour(votes="both")})
    fed.open()
    fed.submit()
    fed.settle_down()
    assert not fed.events("Equivocation")


def test_a_step_is_sent_first_and_then_waited_for_and_refusals_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed = committee(tmp_path)
    fed.open()
    server = fed.servers[0]
    assert (server.has_succeeded(), server.refusals) == (True, 0), "nothing was sent"
    transaction, waited = Sent({}, []), []

    def submit(*update: object) -> None:
        assert server.participant._unawaited is not None
        server.participant._unawaited.append(transaction)

    def wait(sent: Sent) -> None:
        waited.append(sent)
        raise ContractRevertError("TasksAlreadySubmitted", {})

    monkeypatch.setattr(server.participant, "submit", submit)
    monkeypatch.setattr(server.participant, "wait", wait)
    assert server.send_step()
    assert waited == []
    assert server.has_succeeded() is False
    assert (waited, server.refusals) == ([transaction], 1)
    assert server.has_succeeded() is True, "the former step is over"
    assert not server.step()
    assert (waited, server.refusals) == ([transaction] * 2, 2)
