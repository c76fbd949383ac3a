"""The cost model against values worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fbfl.mec.radio import Processor, Radio, Upload, round_cost


def test_the_rate_is_shannons_at_the_received_power():
    # 100 mW = 20 dBm; 40 + 30 * 2 = 100 dB lost over 100 m: -80 dBm. Noise: -174 + 60 = -114 dBm. So 34 dB.
    assert Radio().rate(100) == pytest.approx(1e6 * math.log2(1 + 10**3.4), rel=1e-12)


def test_a_signal_as_strong_as_the_noise_carries_a_bit_per_hertz():
    radio = Radio(bandwidth=500.0, power=1.0, noise=1e-9 / 500, loss_at_reference=30.0, exponent=2.0)
    assert radio.rate(1000) == pytest.approx(500.0)  # 30 + 60 dB lost: 1e-9 W against 1e-9 W
    upload = Upload(server=0, distance=1000, size=125)
    assert radio.seconds(upload) == pytest.approx(2.0)
    assert radio.joules(upload) == pytest.approx(2.0)


@given(near=st.floats(0, 1e5), further=st.floats(0, 1e5))
def test_more_distance_never_means_a_higher_rate(near, further):
    assert Radio().rate(near) >= Radio().rate(near + further) > 0


def test_nearer_than_a_metre_counts_as_a_metre():
    assert Radio().rate(0) == Radio().rate(1)


def test_a_round_takes_as_long_as_its_slowest_server():
    radio = Radio(bandwidth=500.0, power=1.0, noise=1e-9 / 500, loss_at_reference=30.0, exponent=2.0)
    processor = Processor(cycles_per_sample=10, frequency=100)
    uploads = [Upload(0, 1000, 125), Upload(0, 1000, 250), Upload(1, 1000, 125)]  # 2 s, 4 s, 2 s
    seconds, joules = round_cost(radio, processor, uploads, {0: 5, 1: 20, 2: 3}, epochs=2)
    assert seconds == pytest.approx(2 + 4)  # 20 samples * 10 cycles * 2 / 100 Hz, on top of 2 s; server 0: 4 + 1
    assert joules == pytest.approx(8)
    assert round_cost(radio, processor, [], {}, epochs=1) == (0.0, 0.0)
