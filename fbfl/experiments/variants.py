"""The variants of an experiment: listed one by one, or as a grid of rules, attacks and numbers of malicious servers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fbfl.errors import InvalidInputError, require
from fbfl.experiments.toml_table import TomlTable, one_of
from fbfl.settings import check_names_and_types

CELL_MEASURES = ("accuracy", "attack_success_rate")

OF_ATTACKS = ("attack", "attack_args", "malicious")
"""Settings that in a grid only the cells with an attack have."""


@dataclass(frozen=True)
class Variant:
    """One curve, or one cell, of the figure, run with every seed."""

    label: str
    settings: Mapping[str, object]
    """The fields of `RunSettings` that differ from the base."""
    series: str | None = None
    """The line of the picture on which it is a point, if that is drawn against a setting."""


@dataclass(frozen=True)
class Rule:
    """A row of a grid."""

    label: str
    settings: Mapping[str, object]
    byzantine: str | None = None
    """Argument of the rule for the number of malicious servers, if it has one."""
    at_most: int | None = None
    """Largest number that the rule allows there with this number of servers."""

    def is_exceeded_by(self, malicious: int) -> bool:
        """Return True if there are more attackers than the rule can be set to."""
        return self.at_most is not None and malicious > self.at_most

    def settings_against(self, malicious: int) -> dict[str, object]:
        """Return the rule's settings against this number of malicious servers, or the most it can be set to."""
        if self.byzantine is None or self.at_most is None:
            return dict(self.settings)
        given: Any = self.settings.get("aggregator_args", {})
        return {**self.settings, "aggregator_args": {**given, self.byzantine: min(malicious, self.at_most)}}


@dataclass(frozen=True)
class AttackColumn:
    """A column of a grid."""

    label: str
    settings: Mapping[str, object]
    malicious: tuple[int, ...]
    """Numbers of malicious servers to try: those of the grid, or fewer if it is vacuous for some."""
    measure: str = "accuracy"
    """Measure of its harm: one of `CELL_MEASURES`."""


@dataclass(frozen=True)
class Grid:
    """Every rule against every attack, and without one, for several numbers of malicious servers."""

    malicious: tuple[int, ...]
    rules: tuple[Rule, ...]
    attacks: tuple[AttackColumn, ...]

    def variants(self) -> Iterator[Variant]:
        """Yield its cells: for each rule the one without attack first."""
        for rule in self.rules:
            yield Variant(self.label(rule), rule.settings_against(0))
            for attack in self.attacks:
                for number in attack.malicious:
                    settings = {**rule.settings_against(number), **attack.settings, "malicious": number}
                    yield Variant(self.label(rule, attack, number), settings)

    def label(self, rule: Rule, attack: AttackColumn | None = None, malicious: int = 0) -> str:
        """Return the label of the variant of a cell."""
        return f"{rule.label}, {attack.label}, {malicious} malicious" if attack else f"{rule.label}, no attack"


def read_variant(table: TomlTable) -> Variant:
    """Read a variant that is listed."""
    variant = table.record(Variant, settings=table.take("settings", dict, {}))
    check_names_and_types(variant.settings, table.where)
    return variant


def read_grid(table: TomlTable) -> Grid:
    """Read a grid; a missing or unknown key raises `InvalidInputError`."""
    numbers = _numbers(table, table.take("malicious", list))
    grid = table.record(
        Grid,
        malicious=numbers,
        rules=tuple(_rule(each) for each in table.take_tables("rules", "rule")),
        attacks=tuple(_attack(each, numbers) for each in table.take_tables("attacks", "attack")),
    )
    if not grid.rules or not grid.attacks:
        raise InvalidInputError(f"{table.where}; needed: [[grid.rules]] and [[grid.attacks]]")
    return grid


def refuse(fields: Sequence[str], settings: Mapping[str, object], where: str, why: str) -> None:
    """Raise `InvalidInputError` if the settings have one of these fields."""
    for field in fields:
        if field in settings:
            raise InvalidInputError(f"{where} sets {field}: {why}")


def _rule(table: TomlTable) -> Rule:
    rule = table.record(Rule)
    check_names_and_types(rule.settings, table.where)
    refuse(OF_ATTACKS, rule.settings, table.where, "in a grid its attacks do")
    if (rule.byzantine is None) != (rule.at_most is None):
        raise InvalidInputError(f"{table.where}: byzantine and at_most belong together")
    return rule


def _attack(table: TomlTable, numbers: tuple[int, ...]) -> AttackColumn:
    attack = table.record(AttackColumn, malicious=_numbers(table, table.take("malicious", list, list(numbers))))
    check_names_and_types(attack.settings, table.where)
    one_of(f"{table.where}: measure", attack.measure, CELL_MEASURES)
    refuse(("malicious",), attack.settings, f"{table.where}: settings", "the key beside them does")
    if not set(attack.malicious) <= set(numbers):
        raise InvalidInputError(
            f"{table.where}: malicious is {list(attack.malicious)}; allowed: some of {list(numbers)}"
        )
    return attack


def _numbers(table: TomlTable, values: list[Any]) -> tuple[int, ...]:
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidInputError(f"{table.where}: malicious has {value!r}; allowed: whole numbers")
        require(value >= 1, f"{table.where}: malicious", value, "1 or more")
    require(values == sorted(set(values)), f"{table.where}: malicious", values, "rising numbers, each once")
    return tuple(values)
