"""A run of Shejwalkar and Houmansadr 2021 on a small scale, at its settings."""

from typing import Any

import numpy as np
import pytest

from experiments.external import shejwalkar2021
from fbfl.learning import datasets
from fbfl.learning.aggregation.nearest import multi_krum
from fbfl.learning.datasets import load
from fbfl.learning.federation import Federation


def test_a_cell_is_played_at_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Watched(Federation):
        def __init__(self, clients: Any, test: Any, **options: Any) -> None:
            seen.update(options, clients=clients)
            super().__init__(clients, test, **options)

        def rounds(self, n: Any) -> Any:
            seen["rounds"] = n
            return super().rounds(2)

    monkeypatch.setattr(shejwalkar2021, "Federation", Watched)
    monkeypatch.setattr(shejwalkar2021, "NUM_SAMPLES", 20)
    monkeypatch.setattr(datasets, "load", lambda name: load("digits"))
    outcome = shejwalkar2021.run({"variant": "published", "aggregator": "multi_krum", "attack": "min_sum:unit"}, 0)
    assert set(outcome) == set(shejwalkar2021.STUDY.outcomes)
    assert ([len(x) for x, _ in seen["clients"]], len(seen["malicious"])) == ([20] * 50, 10)
    assert (seen["batch_size"], seen["local_steps"], seen["rounds"]) == (250, 1, 300)
    assert (seen["optimizer"], seen["learning_rate"], "server_optimizer" in seen) == ("sgd", 0.5, False)
    assert seen["attack"].described == "min_sum (deviation='unit')"
    assert seen["aggregator_args"] == {"num_byzantine": 10, "num_selected": 28}


def test_one_by_one_picks_from_what_is_left() -> None:
    """Ten that are alike are too far from most of 50, and nearest to each other once fewer are left."""
    updates = np.random.default_rng(0).normal(size=(50, 400)).astype(np.float32)
    updates[:10] = 1.4
    at_once = multi_krum(updates, **shejwalkar2021.RULES["multi_krum"])
    assert abs(at_once.mean()) < 0.05
    assert shejwalkar2021.one_by_one(updates).mean() > 0.3
