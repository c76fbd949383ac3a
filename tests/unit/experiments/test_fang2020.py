"""The runs of Fang et al. 2020 on a small scale, and the table made of them."""

from typing import Any

import pytest

from experiments.external import fang2020
from fbfl.learning import datasets
from fbfl.learning.datasets import load
from fbfl.learning.federation import Federation


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load", lambda name: load("digits"))
    monkeypatch.setattr(fang2020, "ROUNDS", 60)
    monkeypatch.setattr(fang2020, "LEARNING_RATE", 0.5)


def error(rule: Any, attack: Any) -> Any:
    outcome = fang2020.run({"aggregator": rule, "attack": attack}, 0)
    assert set(outcome) == set(fang2020.STUDY.outcomes)
    return float(outcome["test_error"])


def test_rules_learn_with_and_without_attack(small: Any) -> None:
    assert error("trimmed_mean", "") < 0.25
    assert error("trimmed_mean", "label_flipping") < 0.45
    assert error("median", "fang_gaussian") < 0.35
    assert error("krum", "") < 0.6


def test_a_fifth_of_the_workers_attack(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Watched(Federation):
        def __init__(self, clients: Any, test: Any, **options: Any) -> None:
            seen.update(options, clients=len(clients))
            super().__init__(clients, test, **options)

        def rounds(self, n: Any) -> Any:
            seen["rounds"] = n
            return super().rounds(1)

    monkeypatch.setattr(fang2020, "Federation", Watched)
    error("krum", "label_flipping")
    assert (seen["clients"], len(seen["malicious"]), seen["local_steps"], seen["batch_size"]) == (100, 20, 1, 32)
    assert (seen["rounds"], seen["aggregator_args"]) == (60, {"num_byzantine": 20})


def test_the_section_sets_ours_beside_theirs() -> None:
    rows = [
        {"aggregator": "krum", "attack": "", "seed": str(seed), "test_error": value, "seconds": "1"}
        for seed, value in enumerate(("0.1300", "0.1500"))
    ]
    lines = fang2020.section(rows).splitlines()
    assert "| krum | none | 0.14 | 2 | 0.140 ± 0.127 | 1.00 |" in lines
    assert "More than a fifth apart: none." in lines
    far = {"aggregator": "median", "attack": "fang_gaussian", "seed": "0", "test_error": "0.1600", "seconds": "1"}
    assert "More than a fifth apart: median with fang_gaussian." in fang2020.section([*rows, far]).splitlines()
    assert "| median | label_flipping | 0.15 | 0 | not run | |" in lines
