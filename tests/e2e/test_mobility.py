"""Devices that move between the servers of a federation and upload on their way, and those that come too late."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fbfl.audit import audit
from fbfl.mec import fleet
from fbfl.mec.mobility import random_waypoint
from fbfl.mec.radio import RoundCost, Upload, shannon
from fbfl.mec.samples import MemorySampleStore
from fbfl.simulation import RoundResult
from tests.support.federations import federation

ARGUMENTS: dict[str, Any] = {"collect_rounds": 2, "round_seconds": 300.0}


def test_samples_are_uploaded_once_to_the_server_of_the_cell_and_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = []  # (store, batch)

    class Recorded(MemorySampleStore):
        def receive(self, batch: Any) -> None:
            received.append((self, batch))
            super().receive(batch)

    monkeypatch.setattr(fleet, "MemorySampleStore", Recorded)
    moving: dict[str, Any] = {"mobility": "random_waypoint", "mobility_args": ARGUMENTS, "consensus": "pbft"}
    fed = federation(tmp_path, rounds=3, devices=5, **moving)
    stores = [server.samples for server in fed.servers]
    assert not received
    mobility = random_waypoint(4, **ARGUMENTS)
    held: Counter[int] = Counter()
    for number in range(1, 4):
        received.clear()
        result = fed.play_round()
        record = result.record
        assert record.status == "final"
        for store, batch in received:
            server = stores.index(store)
            assert server == mobility.server_of(0, batch.device, number)
            held.update({server: len(batch.y)})
        sizes = {fed.servers[server].address: count for server, count in held.items() if count}
        assert {update.server: update.samples for update in record.updates} == sizes
        sizes_of: Counter[int] = Counter()
        for _, batch in received:
            sizes_of[batch.device] += batch.x.nbytes + batch.y.nbytes
        uploads = [
            Upload(mobility.server_of(0, device, number), mobility.distance(0, device, number), size)
            for device, size in sizes_of.items()
        ]
        expected = shannon().round_cost(0, uploads, held, 1)
        line = result.line()
        assert line["simulated_seconds"] == pytest.approx(expected.seconds)
        assert line["simulated_energy_joules"] == pytest.approx(expected.joules)
        assert (line["late_devices"], line["late_servers"]) == (0, 0)
        assert (line["simulated_energy_joules"] > 0) == (number < 3)
    assert not received  # in round 3 there is nothing new
    samples = np.concatenate([store.training_set(3)[0] for store in stores if len(store.training_set(3)[1])])
    everything = [each.tobytes() for each in fed.dataset.x_train]
    assert Counter(each.tobytes() for each in samples) == Counter(everything)
    assert audit(fed.ledger, fed.store, fed.task).passed


def test_what_malicious_servers_hold_is_poisoned_again_only_when_it_grows(tmp_path: Path) -> None:
    attack: dict[str, Any] = {"attack": "label_flipping", "malicious": 4, "servers": 4}
    moving: dict[str, Any] = {"mobility": "random_waypoint", "mobility_args": {"collect_rounds": 1}}
    fed = federation(tmp_path, rounds=2, **attack, **moving)
    training = fed._training
    fed.play_round()
    first = {server: training._poisoned[server][1][1] for server in training._poisoned}
    fed.play_round()
    assert first
    for server, labels in first.items():
        assert training._poisoned[server][1][1] is labels
        assert not np.array_equal(labels, fed.servers[server].samples.training_set(2)[1])


def test_who_comes_too_late_is_left_out_of_the_round(tmp_path: Path) -> None:
    plain = federation(tmp_path / "plain", rounds=1, devices=8, consensus="pbft")
    patient = federation(tmp_path / "patient", rounds=1, devices=8, consensus="pbft", radio="shannon")
    for expected, result in zip(plain.rounds(), patient.rounds(), strict=True):
        assert result.record.model_digest == expected.record.model_digest
        assert expected.cost is None
    samples = [len(server.samples.training_set(1)[1]) for server in patient.servers]

    # Each server trains at a frequency of its own; the slowest is over a tenth of a second behind the next one.
    speeds = {"min_frequency": 1e9, "max_frequency": 3e9}
    seconds = [shannon(**speeds).processor(0, number).seconds(samples[number], 1) for number in range(4)]
    *_, second, last = sorted(seconds)
    slowest = seconds.index(last)
    settings = {**speeds, "radius": 1.0, "round_deadline": (second + last) / 2}
    hurried = federation(
        tmp_path / "hurried", rounds=2, devices=8, consensus="pbft", radio="shannon", radio_args=settings
    )
    for result in hurried.rounds():
        assert result.record.status == "final"
        assert cost_of(result).late_servers == {slowest}
        assert hurried.servers[slowest].address not in {update.server for update in result.record.updates}
        assert len(result.record.updates) == 3
        # It has the new global model all the same, and a vote on it.
        assert hurried.servers[slowest].address in {vote.voter for vote in result.record.votes}
        assert result.line()["late_servers"] == 1
    assert audit(hurried.ledger, hurried.store, hurried.task).passed


def test_what_a_deadline_cuts_off_is_uploaded_in_the_next_round(tmp_path: Path) -> None:
    # 100 samples arrive in time from everywhere, all of a device's from near its server only.
    settings = {"bandwidth": 1e5, "radius": 100.0, "upload_deadline": 0.2}
    fed = federation(tmp_path, rounds=2, devices=8, consensus="pbft", radio="shannon", radio_args=settings)
    first, second = fed.rounds()
    held = [update.samples for update in first.record.updates]
    assert 0 < cost_of(first).late_devices < 8
    assert 8 * 100 < sum(held) < len(fed.dataset.y_train)
    assert cost_of(second).late_devices == 0
    assert sum(update.samples for update in second.record.updates) == len(fed.dataset.y_train)
    everything = [each.tobytes() for each in fed.dataset.x_train]
    samples = np.concatenate([server.samples.training_set(2)[0] for server in fed.servers])
    assert Counter(each.tobytes() for each in samples) == Counter(everything)


def test_a_round_for_which_everybody_is_late_aborts(tmp_path: Path) -> None:
    settings = {"round_deadline": 1e-6}
    fed = federation(tmp_path, rounds=1, consensus="pbft", radio="shannon", radio_args=settings)
    result = fed.play_round()
    assert result.record.status == "aborted"
    assert len(cost_of(result).late_servers) == 4
    assert cost_of(result).seconds == 1e-6


def cost_of(result: RoundResult) -> RoundCost:
    assert result.cost is not None
    return result.cost
