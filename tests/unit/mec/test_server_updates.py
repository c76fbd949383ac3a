"""The updates of an MEC server: what it trains on, and when it records, commits to and reveals them."""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eth_hash.auto import keccak

from fbfl.chain.rounds import Phase
from fbfl.chain.seats import SeatSet
from fbfl.chain.signatures import SignedUpdate
from fbfl.errors import PayloadNotFoundError, PayloadRefusedError, StorageError
from fbfl.mec.server import Training
from fbfl.storage.store import Reference
from fbfl.tensors import Vector
from tests.support.faulty_store import FaultyStore
from tests.support.ledger import Terms
from tests.support.servers import (
    START,
    adding,
    committee,
    small_task,
    update_of,
)


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
        assert fed.servers[0].without_update(1) == "no samples"


def test_why_there_is_no_update_is_logged_again_only_when_there_was_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fed = committee(tmp_path)
    server = fed.servers[0]
    honest = server.training
    for bad in (True, True, False, True):
        server.training = (lambda weights, _: weights * np.nan) if bad else honest
        fed.open()
        fed.settle_down()
        while not fed.state.phase.is_over:
            fed.travel_past_deadline()
            fed.settle_down()
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == [f"round {number}: {server.address} has no update: training diverged" for number in (1, 4)]


def test_more_samples_than_the_task_counts_are_cut_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fed = committee(tmp_path, terms=Terms(max_samples=3))
    fed.open()
    with caplog.at_level(logging.WARNING):
        fed.submit()
    assert [update.samples for update in fed.ledger.updates(1, 1)] == [1, 2, 3, 3]
    assert len([record for record in caplog.records if "samples" in record.message]) == 1


def test_an_update_counts_the_samples_that_its_training_tells(tmp_path: Path) -> None:
    fed = committee(tmp_path, samples=(0, 1, 2, 3), options={"counted": lambda: 7})
    fed.open()
    fed.settle_down()
    assert {update.server: update.samples for update in fed.ledger.updates(1, 1)} == {
        server.address: 7 for server in fed.servers[1:]
    }


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (np.nan, "training diverged"),
        (np.inf, "training diverged"),
        (70_000, "it cannot be published: tensor .* float16"),
    ],
)
def test_an_update_that_cannot_be_published_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: float, why: str
) -> None:
    fed = committee(tmp_path, task=small_task(payload="float16"))
    server = fed.servers[0]
    assert server.without_update(0) == ""
    fed.open()
    trained = []

    def train(weights: Vector, round_number: int) -> Vector:
        trained.append(round_number)
        return np.full(weights.size, bad, np.float32)

    server.training = train
    with caplog.at_level(logging.WARNING):
        assert [server.step(), server.step()] == [False, False]
    assert (fed.sent(0), trained) == ([], [1]), "training again would give the same"
    assert re.match(why, server.without_update(1))
    assert server.without_update(2) == ""
    (said,) = (record.getMessage() for record in caplog.records)
    assert said == f"round 1: {server.address} has no update: {server.without_update(1)}"


def test_a_disk_that_fails_for_a_while_costs_no_update(tmp_path: Path, store: FaultyStore) -> None:
    fed = committee(tmp_path, stores={0: store})
    fed.open()
    put = store.put

    def fail(data: bytes) -> Reference:
        store.put = put  # type: ignore[method-assign]
        raise StorageError("the disk is full")

    store.put = fail  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="the disk is full"):
        fed.servers[0].step()
    assert fed.servers[0].step()
    assert fed.sent(0) == ["submit"]


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

    read, store.get = store.get, refuse  # type: ignore[method-assign]
    assert not fed.servers[0].step()
    assert fed.sent(0) == []
    assert fed.servers[0].without_update(1) == "the global model cannot be read: no model"
    store.get = read  # type: ignore[method-assign]
    assert fed.servers[0].step()
    assert fed.servers[0].without_update(1) == "", "it has one after all"


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


def test_who_was_second_with_a_batch_says_nothing_of_a_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fed = committee(tmp_path, signatures=True)
    fed.open()
    collector, stranger = fed.servers[1].participant, fed.servers[0].participant
    record = collector.submit_batch

    def too_late(task: int, round_number: int, updates: Sequence[SignedUpdate]) -> None:
        stranger.submit_batch(task, round_number, updates)
        record(task, round_number, updates)

    collector.submit_batch = too_late  # type: ignore[method-assign]
    with caplog.at_level(logging.INFO, logger="fbfl.mec.server"):
        fed.settle_down()
    assert fed.sent(1) == ["submit_batch"]
    assert fed.state.submitted == SeatSet(0b1111)
    assert "refused" not in caplog.text


@pytest.mark.parametrize("commit_window", [0, 500])
def test_who_was_not_drawn_neither_trains_nor_submits_and_votes(tmp_path: Path, commit_window: int) -> None:
    task = replace(small_task(), participation=5000, seed=3)
    fed = committee(tmp_path, task=task, terms=Terms(commit_window=commit_window))
    fed.open()
    drawn = fed.ledger.drawn(1, 1)
    assert len(drawn) == 2
    trained: list[int] = []
    for seat, server in enumerate(fed.servers):
        server.training = noting(trained, seat, server.training)
    fed.settle_down()
    fed.ledger.contracts.poke()
    fed.settle_down()
    if commit_window:
        fed.ledger.contracts.poke()
        fed.settle_down()
    assert (sorted(trained), fed.state.submitted) == ([*drawn], drawn)
    assert fed.state.phase is Phase.FINAL
    assert {event.args["voter"] for event in fed.events("Voted")} >= {
        server.address for seat, server in enumerate(fed.servers) if seat not in drawn and server is not fed.leader
    }


def noting(trained: list[int], seat: int, training: Training) -> Training:
    def train(weights: Vector, round_number: int) -> Vector:
        trained.append(seat)
        return training(weights, round_number)

    return train
