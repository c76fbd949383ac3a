"""The attacks that each rule of a grid withstands, by tests across seeds."""

from fbfl.experiments.definition import Experiment
from fbfl.experiments.markdown import plain
from fbfl.experiments.results import Curves
from fbfl.experiments.variants import AttackColumn, Grid, Rule
from fbfl.system.statistics import LEVEL, estimate, p_value

TOLERANCE = 0.05
"""A rule withstands an attack that costs it less accuracy than this."""

SUCCESS = 0.1
"""A rule withstands a backdoor whose success rate is below this."""


def most_withstood(grid: Grid, curves: Curves, rule: Rule, attack: AttackColumn) -> int | None:
    """Return the largest number of attackers that the rule withstands together with all smaller ones; None if none.

    One-sided t-tests at 5 %, paired by seed; a single seed decides by its values.
    """
    found = None
    for number in attack.malicious:
        if not _withstands(grid, curves, rule, attack, number):
            break
        found = number
    return found


def table(experiment: Experiment, curves: Curves) -> list[str]:
    """Return the answers as a Markdown table, with an explanation."""
    grid = experiment.grid
    assert grid is not None  # by the caller
    servers = experiment.settings(experiment.variants[0], 0).servers
    lines = [
        f"How many of {servers} attackers each rule withstands, all smaller numbers included (of those tried: "
        f"{', '.join(map(str, grid.malicious))}): the final accuracy is less than {TOLERANCE:g} below that "
        f"of the same rule without attack, which stands in the first column; for a backdoor, its success rate is below "
        f"{SUCCESS:g} (one-sided t-tests across seeds at 5 %). – means not even the least; † more than the rule can be "
        "set to.",
        "",
        "| rule | no attack | " + " | ".join(plain(attack.label) for attack in grid.attacks) + " |",
        "|---|---|" + "---|" * len(grid.attacks),
    ]
    for rule in grid.rules:
        cells = [f"{estimate(_final(grid, curves, rule)).mean:.3f}"]
        for attack in grid.attacks:
            most = most_withstood(grid, curves, rule, attack)
            cells.append("–" if most is None else f"{most}†" if rule.is_exceeded_by(most) else str(most))
        lines.append(f"| {plain(rule.label)} | " + " | ".join(cells) + " |")
    return lines


def _withstands(grid: Grid, curves: Curves, rule: Rule, attack: AttackColumn, malicious: int) -> bool:
    values = [series[-1] for series in curves.measured(grid.label(rule, attack, malicious), attack.measure)]
    if attack.measure == "accuracy":
        allowed = [value - TOLERANCE for value in _final(grid, curves, rule)]
        relation = "higher"
    else:
        allowed, relation = [SUCCESS] * len(values), "lower"
    if len(values) == 1:
        return values[0] > allowed[0] if relation == "higher" else values[0] < allowed[0]
    return p_value(values, allowed, relation) < 1 - LEVEL


def _final(grid: Grid, curves: Curves, rule: Rule) -> list[float]:
    """Return the final accuracy of a rule without attack, for each seed."""
    return [series[-1] for series in curves.measured(grid.label(rule), "accuracy")]
