"""For studies of attacks: the best and the last accuracy of a run, and a table of them beside published ones."""

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


def table(cells: Sequence[Row], rows: Sequence[Row], theirs: Theirs) -> list[str]:
    """Return a Markdown table of cells, of a variant, an aggregator and an attack each, and which lie far apart.

    It leaves out those of which neither theirs nor ours is known, and counts them.
    """
    lines = ["| variant | rule | attack | their best | our best | ratio | their last | our last |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    apart, unknown = [], 0
    for cell in cells:
        known = theirs.get((cell["aggregator"], cell["attack"])) if cell["variant"] == PUBLISHED else None
        best, last = known or (0.0, 0.0)
        their_best, their_last = (f"{each:.3f}" if each else "" for each in (best, last))
        ours = [row for row in rows if all(row[key] == value for key, value in cell.items())]
        if not known and not ours:
            unknown += 1
            continue
        names = f"| {cell['variant']} | {cell['aggregator']} | {cell['attack'] or 'none'} "
        if not ours:
            lines.append(f"{names}| {their_best} | not run | | {their_last} | |")
            continue
        our_best, our_last = (
            estimate([float(row[key]) for row in ours]).mean for key in ("best_accuracy", "last_accuracy")
        )
        ratio = our_best / best if best else None
        if ratio and abs(ratio - 1) > 0.2:
            apart.append(f"{cell['aggregator']} with {cell['attack'] or 'no attack'}")
        shown = f"{ratio:.2f}" if ratio else ""
        lines.append(f"{names}| {their_best} | {our_best:.3f} | {shown} | {their_last} | {our_last:.3f} |")
    lines += ["", f"More than a fifth apart at their best: {', '.join(apart) or 'none'}."]
    return [*lines, f"Cells left out, of which neither is known: {unknown}."] if unknown else lines
