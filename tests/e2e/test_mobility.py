"""Devices that move between the servers of a federation and upload on their way."""

from collections import Counter

import numpy as np
import pytest

from fbfl import simulation
from fbfl.audit import audit
from fbfl.mec.mobility import random_waypoint
from fbfl.mec.radio import Processor, Radio, Upload, round_cost
from fbfl.mec.samples import MemorySampleStore
from fbfl.runs import metrics_line
from tests.e2e.federations import federation

ARGUMENTS = {"collect_rounds": 2, "round_seconds": 300.0}


def test_samples_are_uploaded_once_to_the_server_of_the_cell_and_trained_on(tmp_path, monkeypatch):
    received = []  # (store, batch)

    class Recorded(MemorySampleStore):
        def receive(self, batch):
            received.append((self, batch))
            super().receive(batch)

    monkeypatch.setattr(simulation, "MemorySampleStore", Recorded)
    moving = {"mobility": "random_waypoint", "mobility_args": ARGUMENTS, "consensus": "pbft"}
    fed = federation(tmp_path, rounds=3, devices=5, **moving)
    stores = [server.samples for server in fed.servers]
    assert not received
    mobility = random_waypoint(4, **ARGUMENTS)
    held = Counter()
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
        sizes_of = Counter()
        for _, batch in received:
            sizes_of[batch.device] += batch.x.nbytes + batch.y.nbytes
        uploads = [
            Upload(mobility.server_of(0, device, number), mobility.distance(0, device, number), size)
            for device, size in sizes_of.items()
        ]
        expected = round_cost(Radio(), Processor(), uploads, held, 1)
        line = metrics_line(result)
        assert (line["simulated_seconds"], line["simulated_energy_joules"]) == pytest.approx(expected)
        assert (line["simulated_energy_joules"] > 0) == (number < 3)
    assert not received  # in round 3 there is nothing new
    samples = np.concatenate([store.training_set(3)[0] for store in stores if len(store.training_set(3)[1])])
    everything = [each.tobytes() for each in fed.dataset.x_train]
    assert Counter(each.tobytes() for each in samples) == Counter(everything)
    assert audit(fed.ledger, fed.store, fed.task).passed


def test_what_malicious_servers_hold_is_poisoned_again_only_when_it_grows(tmp_path):
    attack = {"attack": "label_flipping", "malicious": 4, "servers": 4}
    moving = {"mobility": "random_waypoint", "mobility_args": {"collect_rounds": 1}}
    fed = federation(tmp_path, rounds=2, **attack, **moving)
    training = fed._training
    fed.play_round()
    first = {server: training._poisoned[server][1][1] for server in training._poisoned}
    fed.play_round()
    assert first
    for server, labels in first.items():
        assert training._poisoned[server][1][1] is labels
        assert not np.array_equal(labels, fed.servers[server].samples.training_set(2)[1])
