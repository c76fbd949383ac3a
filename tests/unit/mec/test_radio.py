"""The cost model against values worked out by hand, and by formulas written anew."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fbfl.errors import InvalidInputError
from fbfl.mec.radio import CostModel, Processor, Radio, Upload, resolve, shannon

# 1e-9 W arrive over 1000 m, against as much noise: a bit per second and hertz.
BIT_PER_HERTZ = Radio(bandwidth=500.0, power=1.0, noise=1e-9 / 500, loss_at_reference=30.0, exponent=2.0)


def model(**deadlines: Any) -> CostModel:
    return CostModel(BIT_PER_HERTZ, lambda seed, server: Processor(10, 100), lambda seed, device: 1000.0, **deadlines)


def test_the_rate_is_shannons_at_the_received_power() -> None:
    # 100 mW = 20 dBm; 40 + 30 * 2 = 100 dB lost over 100 m: -80 dBm. Noise: -174 + 60 = -114 dBm. So 34 dB.
    assert Radio().rate(100) == pytest.approx(1e6 * math.log2(1 + 10**3.4), rel=1e-12)


def test_a_signal_as_strong_as_the_noise_carries_a_bit_per_hertz() -> None:
    assert BIT_PER_HERTZ.rate(1000) == pytest.approx(500.0)  # 30 + 60 dB lost
    assert BIT_PER_HERTZ.seconds(1000, 125) == pytest.approx(2.0)


@given(
    bandwidth=st.floats(1e3, 1e8),
    dbm=st.floats(-10, 40),
    noise_dbm=st.floats(-180, -150),
    reference=st.floats(20, 80),
    exponent=st.floats(1.6, 6),
    distance=st.floats(1, 1e5),
)
def test_the_rate_is_what_engineers_add_up_in_decibels(
    bandwidth: float, dbm: float, noise_dbm: float, reference: float, exponent: float, distance: float
) -> None:
    def watts(decibels: float) -> float:
        return 10 ** (decibels / 10) / 1000

    radio = Radio(bandwidth, watts(dbm), watts(noise_dbm), reference, exponent)
    snr = dbm - (reference + 10 * exponent * math.log10(distance)) - (noise_dbm + 10 * math.log10(bandwidth))
    expected = bandwidth * math.log1p(10 ** (snr / 10)) / math.log(2)
    assert radio.rate(distance) == pytest.approx(expected, rel=1e-9)


@given(near=st.floats(0, 1e5), further=st.floats(0, 1e5))
def test_more_distance_never_means_a_higher_rate(near: float, further: float) -> None:
    assert Radio().rate(near) >= Radio().rate(near + further) > 0


def test_nearer_than_a_metre_counts_as_a_metre() -> None:
    assert Radio().rate(0) == Radio().rate(1)


def test_a_round_takes_as_long_as_its_slowest_server() -> None:
    uploads = [Upload(0, 1000, 125), Upload(0, 1000, 250), Upload(1, 1000, 125)]  # 2 s, 4 s, 2 s
    cost = model().round_cost(0, uploads, {0: 5, 1: 20, 2: 3}, epochs=2)
    # 20 samples * 10 cycles * 2 / 100 Hz, on top of 2 s; server 0: 4 + 1
    assert cost.seconds == pytest.approx(2 + 4)
    assert cost.joules == pytest.approx(8)
    assert (cost.late_devices, cost.late_servers) == (0, frozenset())
    nothing = model().round_cost(0, [], {}, epochs=1)
    assert (nothing.seconds, nothing.joules) == (0.0, 0.0)


def test_a_device_that_is_cut_off_was_sending_until_then() -> None:
    costs = model(upload_deadline=3.0)
    assert costs.in_time(1000, 187)
    assert not costs.in_time(1000, 188)
    cost = costs.round_cost(0, [Upload(0, 1000, 125, late=True), Upload(1, 1000, 125)], {0: 5, 1: 5}, epochs=1)
    assert cost.joules == pytest.approx(3 + 2)
    assert cost.seconds == pytest.approx(3 + 0.5)
    assert (cost.late_devices, cost.late_servers) == (1, frozenset())


def test_a_round_waits_no_longer_than_its_deadline() -> None:
    # Server 0 ends at 2 + 1 s, server 1 at 2 s, server 2 at 4 s with nothing to train on.
    uploads = [Upload(0, 1000, 125), Upload(1, 1000, 125), Upload(2, 1000, 250)]
    cost = model(round_deadline=2.5).round_cost(0, uploads, {0: 10, 1: 0, 2: 0}, epochs=1)
    assert cost.late_servers == {0}
    assert cost.seconds == 2.5
    assert model(round_deadline=4.0).round_cost(0, uploads, {0: 10, 1: 0, 2: 0}, epochs=1).late_servers == set()


def test_devices_are_spread_evenly_and_processors_between_two_frequencies() -> None:
    costs = shannon(radius=200.0, min_frequency=1e9, max_frequency=3e9)
    distances = np.array([costs.distance(7, device) for device in range(2000)])
    assert distances.max() < 200
    # Uniform in a disc: half of the devices are in the inner half of the area; four standard errors.
    assert abs(np.mean(distances < 200 / math.sqrt(2)) - 0.5) < 4 * 0.5 / math.sqrt(2000)
    frequencies = np.array([costs.processor(7, server).frequency for server in range(2000)])
    assert 1e9 <= frequencies.min() < frequencies.max() < 3e9
    assert abs(frequencies.mean() - 2e9) < 4 * 2e9 / math.sqrt(12 * 2000)
    assert costs.distance(7, 3) == distances[3] != costs.distance(8, 3)
    assert shannon().processor(7, 3) == Processor()


@pytest.mark.parametrize(
    "setting",
    [
        {"bandwidth": 0.0},
        {"power": -0.1},
        {"noise": 0.0},
        {"exponent": 0.0},
        {"loss_at_reference": math.inf},
        {"radius": 0.0},
        {"cycles_per_sample": 0.0},
        {"min_frequency": 0.0},
        {"max_frequency": 1e9},
        {"loss_at_reference": -1e300},
        {"noise": 1e-320, "bandwidth": 1e-10},
        {"upload_deadline": 0.0},
        {"round_deadline": math.nan},
        {"bandwidth": math.inf},
    ],
)
def test_impossible_settings_are_named(setting: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=rf"radio: {next(iter(setting))} is .*; allowed: "):
        resolve("shannon", setting)


def test_a_model_of_ones_own_must_be_one() -> None:
    assert resolve("fbfl.mec.radio:shannon", {"upload_deadline": None}).upload_deadline == math.inf
    with pytest.raises(InvalidInputError, match="module math has no function 'nothing'"):
        resolve("math:nothing", {})
    with pytest.raises(InvalidInputError, match="has to return a CostModel, not a str"):
        resolve("platform:machine", {})
    with pytest.raises(InvalidInputError, match="radio shannon: does not take 'speed'"):
        resolve("shannon", {"speed": 1})
    with pytest.raises(InvalidInputError, match="nothing arrives over 1e\\+06 m"):
        Radio(exponent=1000).rate(1e6)


@pytest.mark.parametrize("metres", [None, "near", -1.0, math.nan, math.inf])
def test_distances_of_a_model_of_ones_own_are_metres(monkeypatch: pytest.MonkeyPatch, metres: Any) -> None:
    own = CostModel(Radio(), lambda seed, server: metres, lambda seed, device: metres)
    monkeypatch.setattr(math, "radio", lambda: own, raising=False)
    costs = resolve("math:radio", {})
    with pytest.raises(InvalidInputError, match=r"radio math:radio: the distance of device 2 is .*; allowed: metres"):
        costs.distance(0, 2)
    with pytest.raises(InvalidInputError, match=r"the processor of server 1 is a .*; allowed: a Processor"):
        costs.processor(0, 1)
