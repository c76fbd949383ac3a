"""Inputs of real size: against the same formula on whole arrays, and within memory."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from fbfl.learning import aggregation

pytestmark = pytest.mark.slow
P = 1_200_000


@pytest.fixture(scope="module")
def updates() -> Any:
    rows = np.random.default_rng(0).normal(size=(11, P)).astype(np.float32)
    rows[4] *= np.float32(1e12)
    rows[9] = rows[2]
    return rows


def test_rules_at_1_200_000_parameters(updates: Any) -> None:
    wide = updates.astype(np.float64)
    distances = np.array([[((u - v) ** 2).sum() for v in wide] for u in wide])
    scores = np.sort(distances, axis=1)[:, 1 : 11 - 2 - 2 + 1].sum(axis=1)
    assert aggregation.krum.aggregate(updates, 2).selected == (int(np.argmin(scores)),)
    chosen = sorted(np.argsort(scores, kind="stable")[:4].tolist())
    answer = aggregation.multi_krum.aggregate(updates, 2, 4)
    assert answer.selected == tuple(chosen)
    np.testing.assert_allclose(answer.vector, wide[chosen].mean(axis=0), rtol=1e-6, atol=1e-7)
    assert (aggregation.median(updates) == np.median(updates, axis=0)).all()
    ordered = np.sort(wide, axis=0)
    np.testing.assert_allclose(aggregation.trimmed_mean(updates, 3), ordered[3:8].mean(axis=0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(aggregation.fedavg(updates), wide.mean(axis=0), rtol=1e-6, atol=1e-7)


def test_bulyan_at_1_200_000_parameters(updates: Any) -> None:
    answer = aggregation.bulyan.aggregate(updates, 2)
    assert answer.selected is not None
    chosen = updates[list(answer.selected)].astype(np.float64)
    assert 4 not in answer.selected
    near = np.argsort(np.abs(chosen - np.median(chosen, axis=0)), axis=0, kind="stable")[:3]
    truth = np.take_along_axis(chosen, near, axis=0).mean(axis=0)
    np.testing.assert_allclose(answer.vector, truth, rtol=1e-6, atol=1e-7)


def test_streaming_a_thousand_large_updates_stays_below_a_gigabyte() -> None:
    program = f"""
import re
from pathlib import Path
import numpy as np
from fbfl.learning.aggregation import streaming_fedavg

base = np.random.default_rng(0).normal(size={P}).astype(np.float32)
mean = streaming_fedavg((base * np.float32(i % 3), i) for i in range(1_000))
factor = sum(i * (i % 3) for i in range(1_000)) / sum(range(1_000))
np.testing.assert_allclose(mean, base * factor, rtol=1e-5)
# Not getrusage: that counts what the parent had when it forked.
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
assert peak < 1_000_000, f"{{peak}} kilobytes"
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
