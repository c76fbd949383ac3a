"""What attacks that hide within the honest spread cost: one run, and the table made of many."""

import pytest

from experiments.external import hiding
from fbfl.learning import attacks, datasets
from fbfl.learning.datasets import load


def test_the_attacks_are_known_and_a_cell_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    for attack, args in hiding.ATTACKS.items():
        name, _, direction = attack.partition(":")
        assert not name or direction in attacks.resolve(name, **args).described
    monkeypatch.setattr(datasets, "load", lambda name: load("digits"))
    monkeypatch.setitem(hiding.VARIANTS, "short", (2, hiding.STEPS))
    outcome = hiding.run({"variant": "short", "attack": "min_max:unit"}, 0)
    assert set(outcome) == set(hiding.STUDY.outcomes)


def test_the_section_has_the_means_of_the_last_accuracies_and_their_margins() -> None:
    variant = next(iter(hiding.VARIANTS))
    rows = [
        {"variant": variant, "attack": attack, "seed": str(seed), "best_accuracy": "1", "last_accuracy": last}
        for attack, lasts in (("", ("0.9000", "0.8000")), ("min_max:unit", ("0.7000",)))
        for seed, last in enumerate(lasts)
    ]
    of_attacks = "0.850 ± 0.635 | not run | not run | not run | not run | 0.700 | not run"
    assert f"| {variant} | 1, 2 | {of_attacks} |" in hiding.section(rows)
