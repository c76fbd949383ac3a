"""For studies of attacks: the best and the last accuracy of a run, and a table of them beside published ones."""

import math
import time
from collections.abc import Mapping, Sequence

from experiments.external.study import Row
from fbfl.learning.federation import Federation
from fbfl.system.statistics import estimate

OUTCOMES = ("best_accuracy", "last_accuracy", "cpu_seconds")
PUBLISHED = "published"
"""The variant that has the settings of the authors; all others have none to compare with."""
Theirs = Mapping[tuple[str, str], tuple[float, float]]
"""Best and last accuracy of theirs, by rule and attack."""


def outcome(federation: Federation, rounds: int) -> Row:
    """Play all rounds; the best accuracy of all global models, and that of the last."""
    started = time.process_time()
    accuracies = [played.accuracy for played in federation.rounds(rounds)]
    return {
        "best_accuracy": f"{max(accuracies):.4f}",
        "last_accuracy": f"{accuracies[-1]:.4f}",
        "cpu_seconds": f"{time.process_time() - started:.0f}",
    }


def with_margin(values: Sequence[float]) -> str:
    """Return their mean and, of more than one, half of its 95 % confidence interval."""
    found = estimate(values)
    return f"{found.mean:.3f}" + ("" if math.isnan(found.half_width) else f" ± {found.half_width:.3f}")


def table(cells: Sequence[Row], rows: Sequence[Row], theirs: Theirs) -> list[str]:
    """Return a Markdown table of cells, of a variant, an aggregator and an attack each, and which lie far apart.

    A cost is the best accuracy of the same rule without attack less that under it, in points. Cells of which neither
    theirs nor ours is known are left out, and counted.
    """
    columns = "variant, rule, attack, their best, seeds, our best, ratio, their cost, our cost, their last, our last"
    lines = [f"| {columns.replace(', ', ' | ')} |", "|---" * len(columns.split(", ")) + "|"]
    apart: dict[str, list[str]] = {"at their best": [], "in the cost of the attack": []}
    unknown = 0
    for cell in cells:
        variant, rule, attack = cell["variant"], cell["aggregator"], cell["attack"]
        published = theirs if variant == PUBLISHED else {}
        their_best, their_last = published.get((rule, attack), (math.nan, math.nan))
        ours = [_found(rows, cell, key) for key in ("best_accuracy", "last_accuracy")]
        if math.isnan(their_best) and not ours[0]:
            unknown += 1
            continue
        our_best = _mean(ours[0])
        their_cost = our_cost = math.nan
        if attack:
            their_cost = 100 * (published.get((rule, ""), (math.nan,))[0] - their_best)
            our_cost = 100 * (_mean(_found(rows, {**cell, "attack": ""}, "best_accuracy")) - our_best)
        ratio = our_best / their_best
        for where, (one, other) in zip(apart, ((our_best, their_best), (our_cost, their_cost)), strict=True):
            if abs(one - other) > 0.2 * abs(other):
                apart[where].append(f"{rule} with {attack or 'no attack'}")
        best, last = (with_margin(each) if each else "" for each in ours)
        lines.append(
            f"| {variant} | {rule} | {attack or 'none'} | {_text(their_best)} | {len(ours[0])} | {best or 'not run'} "
            f"| {_text(ratio, '.2f')} | {_text(their_cost, '.1f')} | {_text(our_cost, '.1f')} "
            f"| {_text(their_last)} | {last} |"
        )
    lines.append("")
    lines += [f"More than a fifth apart {where}: {', '.join(names) or 'none'}." for where, names in apart.items()]
    return [*lines, f"Cells left out, of which neither is known: {unknown}."] if unknown else lines


def _found(rows: Sequence[Row], cell: Row, outcome: str) -> list[float]:
    """Return this outcome of all seeds of a cell."""
    return [float(row[outcome]) for row in rows if all(row[key] == value for key, value in cell.items())]


def _mean(values: Sequence[float]) -> float:
    return estimate(values).mean if values else math.nan


def _text(value: float, form: str = ".3f") -> str:
    """Return the number, or nothing if it is not known."""
    return "" if math.isnan(value) else format(value, form)
