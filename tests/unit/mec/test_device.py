"""Servers train on what devices upload, in an order that arrival does not change."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fbfl.learning import partition
from fbfl.mec.device import Journey, LocalDevice, device_shares
from fbfl.mec.mobility import random_waypoint
from fbfl.mec.samples import MemorySampleStore


def device(number: int, count: int) -> LocalDevice:
    x = np.arange(count * 4, dtype=np.uint8).reshape(count, 2, 2) + number
    return LocalDevice(number, x, np.full(count, number))


@given(
    counts=st.lists(st.integers(0, 25), min_size=1, max_size=4),
    batch=st.integers(1, 10),
    order=st.randoms(use_true_random=False),
)
def test_the_training_set_does_not_depend_on_arrival(counts: list[int], batch: int, order: Any) -> None:
    batches = [b for number, count in enumerate(counts) for b in device(number, count).upload(batch)]
    in_order, shuffled = MemorySampleStore(), MemorySampleStore()
    for each in batches:
        in_order.receive(each)
    for each in order.sample(batches * 2, len(batches) * 2):  # everything arrives twice
        shuffled.receive(each)
    for a, b in zip(in_order.training_set(1), shuffled.training_set(1), strict=True):
        np.testing.assert_array_equal(a, b)
    assert in_order.training_set(1)[1].tolist() == [n for n, count in enumerate(counts) for _ in range(count)]


def test_a_device_uploads_each_sample_once() -> None:
    one = device(3, 25)
    assert [(b.first, len(b.y)) for b in one.upload(10)] == [(0, 10), (10, 10), (20, 5)]
    assert list(one.upload(10)) == []


def test_what_arrives_during_a_round_counts_from_the_next_one() -> None:
    store = MemorySampleStore()
    first, second = device(0, 20).upload(10)
    store.receive(first)
    assert len(store.training_set(1)[1]) == 10
    store.receive(second)
    assert len(store.training_set(1)[1]) == 10
    assert len(store.training_set(2)[1]) == 20


@given(servers=st.integers(1, 4), more=st.integers(0, 6), seed=st.integers(0, 9))
def test_devices_share_what_their_server_has(servers: int, more: int, seed: int) -> None:
    labels = np.arange(60) % 10
    devices = servers + more
    shares = device_shares(labels, partition.resolve("iid"), servers, devices, seed)
    assert len(shares) == devices
    for server, whole in enumerate(partition.iid(labels, servers, seed)):
        own = shares[server::servers]
        assert np.concatenate(own).tolist() == whole.tolist()
        assert max(map(len, own)) - min(map(len, own)) <= 1


def test_devices_of_the_data_keep_what_is_theirs() -> None:
    device_of = np.array([2, 0, 1, 0, 2, 2])
    shares = device_shares(np.zeros(6, int), partition.resolve("by_device"), 2, 3, 0, device_of)
    assert [sorted(share.tolist()) for share in shares] == [[1, 3], [2], [0, 4, 5]]


@given(seed=st.integers(0, 99), number=st.integers(0, 99), rounds=st.integers(1, 30), samples=st.integers(0, 99))
def test_a_device_of_its_own_is_where_the_simulation_has_it_when_rounds_start(
    seed: int, number: int, rounds: int, samples: int
) -> None:
    mobility = random_waypoint(4, max_speed=20.0, collect_rounds=7)
    servers = [f"http://{cell}" for cell in range(4)]
    journey = Journey(number, servers, mobility, seed)
    for round_number in range(1, rounds + 1):
        seconds = (round_number - 1) * mobility.round_seconds
        assert journey.server(seconds) == servers[mobility.server_of(seed, number, round_number)]
        assert journey.collected(samples, seconds) == mobility.collected(samples, round_number)
        assert journey.collected(samples, seconds + 59) == mobility.collected(samples, round_number)
