"""Payloads that an MEC server cannot fetch or read: patience, reports, and reports that are taken back."""

from pathlib import Path

import pytest

from fbfl.chain.rounds import Phase
from fbfl.chain.seats import SeatSet
from fbfl.errors import ContractRevertError, StorageError
from fbfl.mec.dishonest import Behaviour
from fbfl.mec.exchange import PatienceInSeconds, PatienceInSteps
from fbfl.mec.global_model import weights_of
from fbfl.mec.known_results import KnownResults
from fbfl.mec.plan import TaskPlan
from fbfl.mec.tasks import is_due
from fbfl.storage.codecs import decode_update, max_update_size
from fbfl.storage.local import LocalStore
from fbfl.storage.store import Reference
from fbfl.tensors import ModelSpec, Vector
from tests.support.faulty_store import FaultyStore
from tests.support.ledger import Terms
from tests.support.servers import NONE, Turn, committee, expected_model, proposed, small_task
from tests.support.waiting_store import WaitingStore


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
    for looks in (3, 4, 4, 4, 5, 5, 5, 6):  # again after as much patience as before the report
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
    """By all servers of a process together, if they share their results."""
    fed = committee(tmp_path, options={"results": KnownResults(TaskPlan.of(small_task()))})
    fed.open()
    fed.submit()
    decoded: list[bytes] = []

    def counting(codec: str, spec: ModelSpec, payload: bytes) -> Vector:
        decoded.append(payload)
        return decode_update(codec, spec, payload)

    monkeypatch.setattr("fbfl.mec.known_results.decode_update", counting)
    for _ in range(3):
        for server in fed.servers:
            server.step()
    assert sorted(decoded) == sorted(fed.store.get(update.payload) for update in fed.ledger.updates(1, 1))


def test_servers_of_a_process_hold_each_payload_once_and_decode_the_model_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = KnownResults(TaskPlan.of(small_task()))
    fed = committee(tmp_path, options={"results": results})
    for server in fed.servers:
        server.store = LocalStore(tmp_path)  # each reads bytes of its own
    decoded: list[bytes] = []

    def counting(plan: TaskPlan, payload: bytes) -> Vector:
        decoded.append(payload)
        return weights_of(plan, payload)

    monkeypatch.setattr("fbfl.mec.known_results.weights_of", counting)
    fed.open()
    fed.submit()
    assert decoded == [fed.store.get(fed.task.model)]
    for _ in range(3):
        for server in fed.servers:
            server.step()
    payloads = [fed.task.model, *(update.payload for update in fed.ledger.updates(1, 1))]
    held = [payload for known in results._held.values() for payload in known]
    assert sorted(held) == sorted(fed.store.get(payload) for payload in payloads)


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
    liar.participant.report_missing(1, 1, victim.address, fed.state.accumulator)
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
    # Nor after a restart, by which it has nothing in its memory: the contract would refuse it.
    store.absent[update.payload] = 1_000
    fed.settle_down([fed.again(0)])
    assert fed.sent(0) == []


def test_a_report_is_not_taken_back_while_a_proposal_is_voted_on(tmp_path: Path, store: FaultyStore) -> None:
    fed = proposed(tmp_path, stores={2: store})
    fed.servers[2].participant.report_missing(1, 1, fed.servers[3].address, fed.state.accumulator)
    fed.settle_down([fed.servers[2]])
    assert fed.sent(2) == ["report_missing", "vote"]


def test_what_others_have_had_left_out_is_not_fetched(tmp_path: Path, store: FaultyStore) -> None:
    fed = committee(tmp_path, stores={2: store})
    fed.open()
    fed.submit()
    update = fed.ledger.updates(1, 1)[3]
    for reporter in fed.servers[:2]:
        reporter.participant.report_missing(1, 1, fed.servers[3].address, fed.state.accumulator)
    fed.servers[2].step()
    assert update.payload not in store.fetched
    assert store.fetched


def test_who_withholds_where_too_few_updates_are_left_is_reported_until_it_pays(tmp_path: Path) -> None:
    """With the reports that leave it out the round would be over for it, at no cost; nobody has anything else to do."""
    turn = Turn()
    fed = committee(tmp_path, terms=Terms(min_updates=4), behaviours={3: Behaviour(serves=False)}, elections={1: turn})
    fed.open()
    fed.submit()
    fed.settle_down(fed.servers[:1])
    asked = turn.asked
    fed.settle_down(fed.servers[:2])
    assert (fed.state.missing, fed.state.has_too_few, fed.state.phase) == (SeatSet(0b1000), True, Phase.DECIDE)
    assert not is_due(fed.state, clock=0)
    assert not fed.leader.step()
    assert turn.asked == asked, "nobody searches for a proof that is of no use"
    fed.settle_down()
    assert fed.state.phase is Phase.ABORTED
    assert [fed.sent(number) for number in range(4)] == [["report_missing"]] * 3 + [[]]


def test_where_too_few_updates_are_left_who_has_fetched_one_after_all_takes_its_report_back_at_once(
    tmp_path: Path, store: FaultyStore
) -> None:
    """Otherwise one slow daemon beside f liars would end a round."""
    fed = committee(tmp_path, terms=Terms(min_updates=4), stores={0: store})
    fed.open()
    fed.submit()
    honest, liar, _, victim = fed.servers
    liar.participant.report_missing(1, 1, victim.address, fed.state.accumulator)
    store.absent[fed.ledger.updates(1, 1)[3].payload] = 3
    while not fed.state.has_too_few:
        assert honest.step()
    for _ in range(4):
        honest.step()
    assert fed.sent(0) == ["report_missing", "withdraw_report"]
    assert (fed.state.missing, fed.state.decision.view) == (NONE, 0)
    fed.settle_down()
    assert fed.state.phase is Phase.FINAL


def test_its_own_update_is_neither_fetched_nor_reported(tmp_path: Path, store: FaultyStore) -> None:
    fed = committee(tmp_path, stores={2: store}, behaviours={2: Behaviour(serves=False)})
    fed.open()
    fed.submit()
    fed.settle_down([fed.servers[2]])
    assert fed.ledger.updates(1, 1)[2].payload not in store.fetched
    assert fed.sent(2) == []


@pytest.mark.parametrize("more", [0, 1])
def test_an_update_larger_than_any_of_the_model_is_reported_and_not_fetched(
    tmp_path: Path, store: FaultyStore, caplog: pytest.LogCaptureFixture, more: int
) -> None:
    fed = committee(tmp_path, stores={2: store})
    update = Reference(b"\x11" * 32, max_update_size(fed.plan.payload, fed.plan.spec) + more)
    fed.open()
    fed.servers[3].participant.submit(1, 1, update, 1)
    fed.submit()
    fed.settle_down([fed.servers[2]])
    assert fed.sent(2) == ["report_missing"]
    assert (f"it has {update.size} bytes on record" in caplog.text) == bool(more)
    assert (update in store.fetched) == (not more)


def test_liars_who_withhold_their_updates_cost_one_time_out_together(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Fetched one after another, f of them would hold every honest server for f times the time-out, in every view."""
    store = WaitingStore(tmp_path, 2)
    liars = {number: Behaviour(serves=False) for number in (5, 6)}
    fed = committee(tmp_path, stores={0: store}, behaviours=liars, samples=(1,) * 7)
    fed.open()
    fed.submit()
    fed.settle_down([fed.servers[0]])
    assert fed.sent(0) == ["report_missing"] * 2
    assert caplog.text.count("is not in") >= 2, "it says why"


@pytest.mark.parametrize(("refusal", "attempts"), [("TasksMayNotReport", 1), ("TasksAlreadyProposed", 3)])
def test_who_may_not_report_tries_it_once_in_a_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: str, attempts: int
) -> None:
    liars = {number: Behaviour(serves=False) for number in (4, 5, 6)}
    fed = committee(tmp_path, behaviours=liars, samples=(1,) * 7)
    fed.open()
    fed.submit()
    server, tried = fed.servers[0], []

    def refuse(*report: object) -> None:
        tried.append(report)
        raise ContractRevertError(refusal, {})

    monkeypatch.setattr(server.participant, "report_missing", refuse)
    for _ in range(20):
        server.step()
        server._note_refusal(ContractRevertError("TasksValueChanged", {}))  # says nothing about reports
    assert len(tried) == attempts


def test_updates_that_are_all_sound_are_not_looked_through_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a committee of 240 each server would do so 240 times at every step."""
    fed = committee(tmp_path)
    fed.open()
    fed.submit()
    server = fed.servers[2]
    server.step()

    def look(_: object) -> None:
        raise AssertionError("it looks again")

    monkeypatch.setattr(server, "_fetch", look)
    assert not server._report(fed.state)
