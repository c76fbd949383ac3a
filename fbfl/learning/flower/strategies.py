"""Strategies of Flower and the rules of fbfl that they are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fbfl.errors import InvalidInputError

Rule = tuple[str, dict[str, Any]]
"""A rule's name and its settings."""


@dataclass(frozen=True)
class Strategy:
    """The strategy of an app, as its ServerApp starts it."""

    name: str
    of_flower: bool
    """False for a class of the app's own."""
    legacy: bool
    """True for one of `flwr.server.strategy`, whose clients are made by a `client_fn`."""
    settings: Mapping[str, Any]
    """Its numbers, texts and flags, and functions by their names."""
    evaluates: bool
    """True if it has a function that evaluates the global model."""

    @property
    def form(self) -> dict[str, Any]:
        """The names of the records in its messages."""
        arrays = self.settings.get("arrayrecord_key", "arrays")
        return {"legacy": self.legacy, "arrays": arrays, "config": self.settings.get("configrecord_key", "config")}

    @property
    def examples(self) -> str:
        """Name of the metric that weighs an update."""
        return "num_examples" if self.legacy else str(self.settings.get("weighted_by_key", "num-examples"))

    @property
    def asks_clients(self) -> bool:
        """True if clients evaluate."""
        return bool(self.settings.get("fraction_evaluate", 1.0))

    @property
    def fraction(self) -> float:
        """Part of the nodes that it has train in a round."""
        return float(self.settings.get("fraction_fit" if self.legacy else "fraction_train", 1.0))


def rule_of(strategy: Strategy, servers: int) -> Rule:
    """Return the rule that a strategy is with so many updates; another one raises `InvalidInputError`."""
    found = _RULES.get(strategy.name) if strategy.of_flower else None
    if found is None:
        own = "" if strategy.of_flower else ", a class of its own"
        raise InvalidInputError(
            f"the app's strategy is {strategy.name}{own}; allowed: {', '.join(_RULES)} of Flower, or an aggregator "
            "that is named and takes its place"
        )
    return found(strategy.settings, servers)


def _krum(settings: Mapping[str, Any], _: int) -> Rule:
    kept = settings.get("num_clients_to_keep", 0)  # of the former Krum
    if kept:
        return "multi_krum", {**_byzantine(settings), "num_selected": kept}
    return "krum", _byzantine(settings)


def _bulyan(settings: Mapping[str, Any], _: int) -> Rule:
    first = settings.get("selection_rule", settings.get("first_aggregation_rule"))
    if first not in ("select_multikrum", "aggregate_krum"):
        raise InvalidInputError(f"the app's strategy is Bulyan on {first}; allowed: on Krum, its default")
    return "bulyan", _byzantine(settings)


def _byzantine(settings: Mapping[str, Any]) -> dict[str, Any]:
    named = (settings[name] for name in ("num_malicious_nodes", "num_malicious_clients") if name in settings)
    return {"num_byzantine": next(named, 0)}


_RULES: Mapping[str, Callable[[Mapping[str, Any], int], Rule]] = {
    "FedAvg": lambda *_: ("fedavg", {}),
    "Krum": _krum,
    "MultiKrum": lambda told, _: ("multi_krum", {**_byzantine(told), "num_selected": told["num_nodes_to_select"]}),
    "Bulyan": _bulyan,
    "FedMedian": lambda *_: ("median", {}),
    "FedTrimmedAvg": lambda told, servers: ("trimmed_mean", {"trim": int(told["beta"] * servers)}),
}
