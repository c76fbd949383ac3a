"""The bytes of aggregates are pinned: servers vote on their hashes, so no machine and no release may change them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fbfl.learning.aggregation import RULES
from tests.unit.learning.golden import compute

GOLDEN = Path(compute.__file__).with_name("aggregates.json")


@pytest.mark.parametrize("threads", ["1", "2"])
def test_aggregates_have_the_recorded_bytes_whatever_the_number_of_threads(threads: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    run = subprocess.run(
        [sys.executable, compute.__file__], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert json.loads(run.stdout) == json.loads(GOLDEN.read_text())


def test_every_rule_has_a_golden_hash() -> None:
    assert set(compute.SETTINGS) == set(RULES)
    recorded = json.loads(GOLDEN.read_text())
    assert {key.split()[0].partition("+")[0] for key in recorded} == set(RULES)
    assert len(set(recorded.values())) > len(RULES), "hashes that are all alike would show nothing"
