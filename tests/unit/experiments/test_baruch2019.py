"""The runs of Baruch et al. 2019 on a small scale, and the table made of them."""

from typing import Any

import pytest

from experiments.external import accuracies, baruch2019
from fbfl.learning import datasets
from fbfl.learning.datasets import load
from fbfl.learning.federation import Federation


def test_a_cell_is_played_at_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Watched(Federation):
        def __init__(self, clients: Any, test: Any, **options: Any) -> None:
            seen.update(options, clients=len(clients))
            super().__init__(clients, test, **options)

        def rounds(self, n: Any) -> Any:
            seen["rounds"] = n
            return super().rounds(2)

    monkeypatch.setattr(baruch2019, "Federation", Watched)
    monkeypatch.setattr(datasets, "load", lambda name: load("digits"))
    outcome = baruch2019.run({"variant": "published", "aggregator": "bulyan", "attack": "min_max:sign"}, 0)
    assert set(outcome) == set(baruch2019.STUDY.outcomes)
    assert (seen["clients"], len(seen["malicious"]), seen["batch_size"], seen["rounds"]) == (51, 12, 128, 300)
    assert (seen["attack"].described, seen["server_optimizer"]) == ("min_max (deviation='sign')", "momentum")
    assert seen["aggregator_args"] == {"num_byzantine": 12}


def test_the_section_sets_ours_beside_theirs() -> None:
    cells = [("published", "fedavg", "alie", "0.9000"), ("no momentum", "fedavg", "alie", "0.9500")]
    rows = [
        {"variant": variant, "aggregator": rule, "attack": attack, "best_accuracy": best, "last_accuracy": "0.5"}
        for variant, rule, attack, best in cells
    ]
    rows += [{**rows[0], "attack": "", "best_accuracy": best} for best in ("0.9700", "0.9600")]
    lines = baruch2019.section(rows).splitlines()
    assert "| published | fedavg | none | 0.974 | 2 | 0.965 ± 0.064 | 0.99 |  |  | 0.974 | 0.500 ± 0.000 |" in lines
    assert "| published | fedavg | alie | 0.878 | 1 | 0.900 | 1.02 | 9.5 | 6.5 | 0.496 | 0.500 |" in lines
    assert "| no momentum | fedavg | alie |  | 1 | 0.950 |  |  |  |  | 0.500 |" in lines
    assert "| published | bulyan | alie | 0.809 | 0 | not run |  |  |  | 0.575 |  |" in lines
    assert "More than a fifth apart at their best: none." in lines
    assert "More than a fifth apart in the cost of the attack: fedavg with alie." in lines
    assert "Cells left out, of which neither is known: 11." in lines
    far = {**rows[0], "aggregator": "krum", "best_accuracy": "0.9900"}
    assert "More than a fifth apart at their best: krum with alie." in baruch2019.section([far]).splitlines()


def test_costs_of_nothing_lie_apart_from_others_only() -> None:
    cells = [{"variant": "published", "aggregator": rule, "attack": "alie"} for rule in ("krum", "median")]
    found = {(rule, attack): (0.9, 0.9) for rule in ("krum", "median") for attack in ("", "alie")}
    rows = [
        {**cell, "attack": attack, "best_accuracy": best, "last_accuracy": best}
        for cell, last in zip(cells, ("0.9", "0.85"), strict=True)
        for attack, best in (("", "0.9"), ("alie", last))
    ]
    assert (
        accuracies.table(cells, rows, found)[-1]
        == "More than a fifth apart in the cost of the attack: median with alie."
    )
