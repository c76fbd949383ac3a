"""Strategies of Flower and the rules that they are."""

from typing import Any

import pytest

from fbfl.errors import InvalidInputError
from fbfl.learning import aggregation
from fbfl.learning.flower.strategies import Strategy, rule_of


def _strategy(name: str, legacy: bool = False, of_flower: bool = True, **settings: Any) -> Strategy:
    return Strategy(name, of_flower, legacy, settings, evaluates=False)


@pytest.mark.parametrize(
    ("strategy", "rule"),
    [
        (_strategy("FedAvg"), ("fedavg", {})),
        (_strategy("FedAvg", legacy=True), ("fedavg", {})),
        (_strategy("FedMedian"), ("median", {})),
        (_strategy("FedTrimmedAvg", beta=0.2), ("trimmed_mean", {"trim": 2})),
        (_strategy("Krum", num_malicious_nodes=2, num_nodes_to_select=1), ("krum", {"num_byzantine": 2})),
        (_strategy("Krum", True, num_malicious_clients=2, num_clients_to_keep=0), ("krum", {"num_byzantine": 2})),
        (
            _strategy("Krum", True, num_malicious_clients=2, num_clients_to_keep=5),
            ("multi_krum", {"num_byzantine": 2, "num_selected": 5}),
        ),
        (
            _strategy("MultiKrum", num_malicious_nodes=2, num_nodes_to_select=5),
            ("multi_krum", {"num_byzantine": 2, "num_selected": 5}),
        ),
        (
            _strategy("Bulyan", num_malicious_nodes=2, selection_rule="select_multikrum"),
            ("bulyan", {"num_byzantine": 2}),
        ),
        (
            _strategy("Bulyan", True, num_malicious_clients=2, first_aggregation_rule="aggregate_krum"),
            ("bulyan", {"num_byzantine": 2}),
        ),
    ],
)
def test_a_strategy_is_a_rule(strategy: Strategy, rule: tuple[str, dict[str, Any]]) -> None:
    assert rule_of(strategy, 12) == rule
    aggregation.resolve(rule[0], **rule[1])  # which is one of ours


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (
            _strategy("FedAdam"),
            "strategy is FedAdam; allowed: FedAvg, Krum, MultiKrum, Bulyan, FedMedian, FedTrimmedAvg",
        ),
        (_strategy("FedAvg", of_flower=False), "strategy is FedAvg, a class of its own; allowed: FedAvg"),
        (_strategy("Bulyan", num_malicious_nodes=1, selection_rule="mine"), "is Bulyan on mine; allowed: on Krum"),
    ],
)
def test_a_strategy_that_fbfl_does_not_have(strategy: Strategy, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        rule_of(strategy, 12)
