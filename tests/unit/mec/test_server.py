"""One MEC server after the other, on a fake ledger: what it sends, and what it holds back."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_hash.auto import keccak

from fbfl.chain import digests
from fbfl.chain.rounds import ABORT, Ballot, Phase, Stage
from fbfl.chain.seats import SeatSet
from fbfl.chain.task import Payment
from fbfl.errors import ContractRevertError, PayloadNotFoundError, PayloadRefusedError, StorageError
from fbfl.mec.dishonest import Behaviour
from fbfl.mec.exchange import PatienceInSeconds, PatienceInSteps
from fbfl.mec.global_model import next_model
from fbfl.storage.codecs import decode_update, max_update_size
from fbfl.storage.local import LocalStore
from fbfl.storage.store import Reference
from fbfl.tensors import ModelSpec, Vector
from tests.support.ledger import Terms
from tests.support.servers import START, Committee, Turn, account, adding, committee, small_task, update_of

NONE = SeatSet()


class FaultyStore(LocalStore):
    """Raises what it is told to raise, and remembers what it was asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.absent: dict[Reference, int] = {}
        """Times that each payload is not found before it is."""
        self.busy = 0
        """Times that it cannot pin."""
        self.fetched: list[Reference] = []
        self.pinned: list[Reference] = []

    def get(self, reference: Reference) -> bytes:
        self.fetched.append(reference)
        if self.absent.get(reference, 0):
            self.absent[reference] -= 1
            raise PayloadNotFoundError("nobody answers in time")
        return super().get(reference)

    def pin(self, reference: Reference) -> None:
        if self.busy:
            self.busy -= 1
            raise StorageError("busy")
        self.pinned.append(reference)


@pytest.fixture
def store(tmp_path: Path) -> FaultyStore:
    return FaultyStore(tmp_path)


def expected_model(
    fed: Committee, left_out: SeatSet = NONE, round_number: int = 1, parent: bytes | None = None
) -> Reference:
    """The next global model, from what is recorded."""
    kept = [update for update in fed.ledger.updates(1, round_number) if update.seat not in left_out]
    payloads = [(update, fed.store.get(update.payload)) for update in kept]
    closing = fed.ledger.closing_hash(1, round_number)
    assert closing is not None
    seed = fed.plan.seed_of_draws(closing, fed.ledger.accumulator(1, round_number), round_number)
    return next_model(fed.plan, round_number, parent or fed.store.get(fed.task.model), payloads, seed).reference


def value_of(fed: Committee, model: Reference, missing: int = 0) -> bytes:
    (opened,) = fed.events("RoundOpened", fed.state.round)
    return digests.value_digest(
        fed.ledger.domain(1),
        fed.state.round,
        parent=opened.args["parent"],
        closing=fed.ledger.closing_hash(1, fed.state.round),
        accumulator=fed.state.accumulator,
        missing=missing,
        rule=fed.task.rule,
        rule_params=fed.task.rule_params,
        model=model.digest,
        model_size=model.size,
    )


def proposed(folder: Path, **options: Any) -> Committee:
    """A committee in whose round the leader has proposed."""
    fed = committee(folder, **options)
    fed.open()
    fed.submit()
    assert fed.leader.step()
    assert fed.state.decision.stage is Stage.PREPARE
    for number in range(4):
        fed.sent(number)
    return fed


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


def test_a_search_for_a_proof_ends_with_the_turn(tmp_path: Path) -> None:
    turns = {number: Turn(None) for number in range(4)}
    fed = committee(tmp_path, task=small_task("pow"), elections=turns)
    fed.open()
    assert turns[0].stood_down == 0
    fed.servers[0].step()
    assert (turns[0].stood_down, turns[0].asked) == (1, 0)
    fed.submit()
    stood_down = turns[0].stood_down
    assert fed.servers[0].step(), "the search goes on"
    assert (turns[0].stood_down, turns[0].asked) == (stood_down, 1)
    turns[1].proofs = b""
    assert fed.servers[1].step()
    assert fed.sent(1) == ["propose"]
    fed.servers[0].step()
    assert (turns[0].stood_down, turns[0].asked) == (stood_down + 1, 1)


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


# ---------------------------------------------------------------- updates


def test_an_update_is_trained_once_and_recorded_with_its_samples(tmp_path: Path) -> None:
    fed = committee(tmp_path)
    fed.open()
    trained = []
    train = adding(2)

    def training(weights: np.ndarray, round_number: int) -> np.ndarray:
        trained.append((weights.tolist(), round_number))
        return train(weights, round_number)

    server = fed.servers[2]
    server.training = training
    assert server.step()
    assert not server.step()
    assert fed.sent(2) == ["submit"]
    assert trained == [(START.tolist(), 1)]
    (update,) = fed.ledger.updates(1, 1)
    assert (update.server, update.samples) == (server.address, 3)
    assert fed.store.get(update.payload) == update_of(fed.plan, 3)


def test_after_a_failure_the_update_is_not_trained_again_in_its_round_and_anew_in_the_next(tmp_path: Path) -> None:
    fed = committee(tmp_path)
    fed.open()
    server = fed.servers[0]
    trained = []
    train = server.training

    def training(weights: np.ndarray, round_number: int) -> np.ndarray:
        trained.append(round_number)
        return train(weights, round_number)

    server.training = training
    before = fed.ledger.snapshot()
    server.step()
    fed.ledger.reorganise(before)
    server.step()
    assert (fed.sent(0), trained) == (["submit"] * 2, [1])
    fed.travel_past_deadline()
    fed.settle_down()
    fed.open()
    server.step()
    assert trained == [1, 2]


def test_a_server_without_samples_has_no_update(tmp_path: Path) -> None:
    for terms in (Terms(), Terms(commit_window=100)):
        fed = committee(tmp_path, samples=(0, 1, 1, 1), terms=terms)
        fed.open()
        assert not fed.servers[0].step()
        assert fed.sent(0) == []


def test_more_samples_than_the_task_counts_are_cut_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fed = committee(tmp_path, terms=Terms(max_samples=3))
    fed.open()
    with caplog.at_level(logging.WARNING):
        fed.submit()
    assert [update.samples for update in fed.ledger.updates(1, 1)] == [1, 2, 3, 3]
    assert len([record for record in caplog.records if "samples" in record.message]) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, 70_000])
def test_an_update_that_cannot_be_published_is_none(tmp_path: Path, bad: float) -> None:
    fed = committee(tmp_path, task=small_task(payload="float16"))
    fed.open()
    fed.servers[0].training = lambda weights, _: np.full(weights.size, bad, np.float32)
    assert not fed.servers[0].step()
    assert fed.sent(0) == []


def test_who_cannot_read_the_global_model_has_no_update_and_a_store_that_lacks_it_raises(
    tmp_path: Path, store: FaultyStore
) -> None:
    fed = committee(tmp_path, stores={0: store})
    fed.open()
    store.absent[fed.task.model] = 1
    with pytest.raises(PayloadNotFoundError):
        fed.servers[0].step()

    def refuse(reference: Reference) -> bytes:
        raise PayloadRefusedError("no model")

    store.get = refuse  # type: ignore[method-assign]
    assert not fed.servers[0].step()
    assert fed.sent(0) == []


def test_an_update_is_recorded_until_the_last_second_and_not_after(tmp_path: Path) -> None:
    fed = committee(tmp_path)
    fed.open()
    fed.ledger.travel(fed.state.deadline - fed.state.now)
    assert fed.servers[0].step()
    fed.ledger.travel(1)
    assert not fed.servers[1].step()
    assert (fed.sent(0), fed.sent(1)) == (["submit"], [])


def test_updates_are_committed_to_and_then_revealed(tmp_path: Path) -> None:
    fed = committee(tmp_path, terms=Terms(commit_window=100))
    fed.open()
    for server in fed.servers[:3]:
        assert server.step()
        assert not server.step()
    fed.ledger.travel(fed.state.deadline - fed.state.now)
    fed.again(0, salt_secret=bytes([0]))  # it must reveal what its former process has committed to
    fed.ledger.travel(1)
    assert not fed.servers[3].step()
    fed.ledger.contracts.poke()
    for server in fed.servers:
        server.step()
        server.step()
    assert [fed.sent(number) for number in range(4)] == [["commit", "reveal"]] * 3 + [[]]
    assert [update.seat for update in fed.ledger.updates(1, 1)] == [0, 1, 2]


def test_commitments_are_made_until_the_last_second(tmp_path: Path) -> None:
    fed = committee(tmp_path, terms=Terms(commit_window=100))
    fed.open()
    fed.ledger.travel(fed.state.deadline - fed.state.now)
    assert fed.servers[0].step()
    assert fed.sent(0) == ["commit"]


def test_the_salt_is_secret_and_differs_from_round_to_round(tmp_path: Path) -> None:
    fed = committee(tmp_path, terms=Terms(commit_window=100))
    salts = {server._salt(number) for server in fed.servers for number in (1, 2, 3)}
    assert len(salts) == 12
    assert fed.servers[1]._salt(2) == keccak(b"\x01" + (1).to_bytes(32, "big") + (2).to_bytes(4, "big"))
    assert fed.again(1)._salt(2) == keccak((1).to_bytes(32, "big") + (2).to_bytes(4, "big"))


def test_signed_updates_need_no_commitment_and_commitments_no_signature(tmp_path: Path) -> None:
    fed = committee(tmp_path, signatures=True)
    fed.open()
    fed.settle_down()
    assert sorted(call for number in range(4) for call in fed.sent(number)) == ["submit_batch"]
    hidden = committee(tmp_path, signatures=True, terms=Terms(commit_window=100))
    hidden.open()
    hidden.settle_down()
    hidden.ledger.contracts.poke()
    hidden.settle_down()
    assert [hidden.sent(number) for number in range(4)] == [["commit", "reveal"]] * 4


# ---------------------------------------------------------------- payloads that are missing


def test_a_payload_that_could_not_be_pinned_accuses_nobody_and_is_pinned_later(
    tmp_path: Path, store: FaultyStore
) -> None:
    fed = committee(tmp_path, stores={1: store}, samples=(1, 1))
    fed.open()
    fed.submit()
    (other,) = (u.payload for u in fed.ledger.recorded(1, 1) if u.seat == 0)
    store.busy = 1
    with pytest.raises(StorageError, match="busy"):
        fed.servers[1].step()
    fed.servers[1].step()
    assert store.fetched.count(other) == 1
    assert store.pinned == [other]
    assert not fed.events("PayloadReported")


@pytest.mark.parametrize("payload", ["float32", "float16", "int8"])
def test_bytes_that_are_no_update_are_reported_at_once_and_left_out(tmp_path: Path, payload: str) -> None:
    fed = committee(tmp_path, task=small_task(payload=payload))
    fed.open()
    fed.servers[0].participant.submit(1, 1, fed.store.put(b"no update"), 1)
    fed.submit()
    for number in (2, 3):
        fed.servers[number].step()
        assert fed.sent(number) == ["report_missing"]
    fed.settle_down()
    assert fed.state.phase is Phase.FINAL
    assert fed.state.proposal.missing == SeatSet(0b1)
    assert fed.state.model == expected_model(fed, SeatSet(0b1))
    assert [event.args["server"] for event in fed.events("PayloadReported")] == [fed.servers[0].address] * 2


def test_one_time_out_accuses_nobody(tmp_path: Path, store: FaultyStore) -> None:
    """The reports of f liars, and of one server that had a time-out, would cost an honest server stake and turn."""
    fed = committee(tmp_path, stores={2: store})
    fed.open()
    fed.submit()
    update = fed.ledger.updates(1, 1)[3]
    store.absent[update.payload] = 1
    assert fed.servers[2].step(), "to wait is a step where time passes by steps"
    assert fed.sent(2) == []
    fed.settle_down()
    assert fed.state.phase is Phase.FINAL
    assert not fed.events("PayloadReported")
    assert store.fetched.count(update.payload) == 2


def test_what_stays_absent_is_reported_once_after_the_patience(tmp_path: Path, store: FaultyStore) -> None:
    fed = committee(tmp_path, stores={2: store}, options={"patience": PatienceInSteps(2)})
    fed.open()
    fed.submit()
    update = fed.ledger.updates(1, 1)[3]
    store.absent[update.payload] = 1_000
    for _ in range(2):
        assert fed.servers[2].step()
        assert fed.sent(2) == []
    assert fed.servers[2].step()
    assert not fed.servers[2].step()
    assert fed.sent(2) == ["report_missing"]
    assert store.fetched.count(update.payload) == 3, "to look for it twice in a step would take as long again"
    for looks in (3, 4, 4, 4, 5):  # again after as much patience as before the report
        fed.servers[2].step()
        assert store.fetched.count(update.payload) == looks
    assert fed.sent(2) == []
    fed.again(2)  # which has forgotten, and reads on the chain what it has reported
    fed.servers[2].step()
    fed.servers[2].step()
    assert fed.sent(2) == []


def test_who_reported_one_payload_goes_on_to_look_for_the_others(tmp_path: Path, store: FaultyStore) -> None:
    fed = committee(tmp_path, stores={2: store})
    fed.open()
    fed.servers[0].participant.submit(1, 1, fed.store.put(b"no update"), 1)
    fed.submit()
    store.absent[fed.ledger.updates(1, 1)[3].payload] = 1_000
    fed.settle_down([fed.servers[2]])
    assert [event.args["server"] for event in fed.events("PayloadReported")] == [
        fed.servers[number].address for number in (0, 3)
    ]


def test_each_update_has_a_patience_of_its_own_though_its_payload_is_that_of_another(
    tmp_path: Path, store: FaultyStore
) -> None:
    fed = committee(tmp_path, stores={2: store})
    fed.open()
    copied = Reference.to(b"absent")
    for number in (0, 3):
        fed.servers[number].participant.submit(1, 1, copied, 1)
    fed.submit()
    assert fed.servers[2].step()
    assert fed.sent(2) == []
    assert fed.servers[2].step()
    assert fed.sent(2) == ["report_missing"] * 2


def test_who_waits_for_one_payload_reports_others_in_the_same_step(
    tmp_path: Path, store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    for junk, absent in ((0, 3), (3, 0)):
        fed = committee(tmp_path, stores={2: store}, options={"patience": PatienceInSeconds(1_000)})
        fed.open()
        fed.servers[junk].participant.submit(1, 1, fed.store.put(b"no update"), 1)
        fed.submit()
        store.absent[fed.ledger.updates(1, 1)[absent].payload] = 1_000
        assert fed.servers[2].step()
        assert fed.sent(2) == ["report_missing"]
        store.absent.clear()
    assert "the update of " + fed.servers[junk].address + ": payload is not in the safetensors format" in caplog.text


def test_a_payload_is_decoded_once_in_a_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fed = committee(tmp_path)
    fed.open()
    fed.submit()
    decoded: list[bytes] = []

    def counting(codec: str, spec: ModelSpec, payload: bytes) -> Vector:
        decoded.append(payload)
        return decode_update(codec, spec, payload)

    monkeypatch.setattr("fbfl.mec.known_results.decode_update", counting)
    for _ in range(3):
        fed.servers[0].step()
    assert sorted(decoded) == sorted(fed.store.get(update.payload) for update in fed.ledger.updates(1, 1))


def test_where_time_passes_by_itself_waiting_is_no_step(tmp_path: Path, store: FaultyStore) -> None:
    now = [0.0]
    patience = PatienceInSeconds(10, clock=lambda: now[0])
    fed = committee(tmp_path, stores={2: store}, options={"patience": patience})
    fed.open()
    fed.submit()
    store.absent[fed.ledger.updates(1, 1)[3].payload] = 1_000
    assert not fed.servers[2].step()
    now[0] = 11
    assert fed.servers[2].step()
    assert fed.sent(2) == ["report_missing"]


def test_who_reported_a_payload_looks_again_in_the_next_view_and_takes_the_report_back(
    tmp_path: Path, store: FaultyStore
) -> None:
    fed = committee(tmp_path, stores={0: store})
    fed.open()
    fed.submit()
    honest, liar, _, victim = fed.servers
    liar.participant.report_missing(1, 1, victim.address)
    update = fed.ledger.updates(1, 1)[3]
    store.absent[update.payload] = 3
    while fed.state.missing != SeatSet(0b1000):  # with the report of the liar it is left out
        assert honest.step()
    fed.settle_down([honest])
    assert store.absent[update.payload] == 1
    fed.travel_past_deadline()
    assert not honest.step(), "once in every view"
    assert store.absent[update.payload] == 0
    assert fed.state.missing == SeatSet(0b1000)
    fed.travel_past_deadline()
    assert fed.state.decision.view == 2
    assert honest.step()
    assert not honest.step()
    assert fed.sent(0) == ["report_missing", "withdraw_report"]
    assert fed.state.missing == NONE


def test_a_report_is_not_taken_back_while_a_proposal_is_voted_on(tmp_path: Path, store: FaultyStore) -> None:
    fed = proposed(tmp_path, stores={2: store})
    fed.servers[2].participant.report_missing(1, 1, fed.servers[3].address)
    fed.settle_down([fed.servers[2]])
    assert fed.sent(2) == ["report_missing", "vote"]


def test_what_others_have_had_left_out_is_not_fetched(tmp_path: Path, store: FaultyStore) -> None:
    fed = committee(tmp_path, stores={2: store})
    fed.open()
    fed.submit()
    update = fed.ledger.updates(1, 1)[3]
    for reporter in fed.servers[:2]:
        reporter.participant.report_missing(1, 1, fed.servers[3].address)
    fed.servers[2].step()
    assert update.payload not in store.fetched
    assert store.fetched


def test_its_own_update_is_neither_fetched_nor_reported(tmp_path: Path, store: FaultyStore) -> None:
    fed = committee(tmp_path, stores={2: store}, behaviours={2: Behaviour(serves=False)})
    fed.open()
    fed.submit()
    fed.settle_down([fed.servers[2]])
    assert fed.ledger.updates(1, 1)[2].payload not in store.fetched
    assert fed.sent(2) == []


@pytest.mark.parametrize("more", [0, 1])
def test_an_update_larger_than_any_of_the_model_is_reported_and_not_fetched(
    tmp_path: Path, store: FaultyStore, more: int
) -> None:
    fed = committee(tmp_path, stores={2: store})
    update = Reference(b"\x11" * 32, max_update_size(fed.plan.payload, fed.plan.spec) + more)
    fed.open()
    fed.servers[3].participant.submit(1, 1, update, 1)
    fed.submit()
    fed.settle_down([fed.servers[2]])
    assert fed.sent(2) == ["report_missing"]
    assert (update in store.fetched) == (not more)


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
        reporter.participant.report_missing(1, 1, accused.address)
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
        reporter.participant.report_missing(1, 1, fed.servers[0].address)
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
