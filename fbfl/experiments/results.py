"""The tables of an experiment, as CSV: learning curves, and apart from them the costs that vary between machines."""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fbfl.errors import InvalidInputError, StorageError
from fbfl.experiments.definition import COSTS, Claim, Experiment
from fbfl.experiments.run_store import FinishedRun, Run
from fbfl.runs.measures import CURVES, further_in
from fbfl.system import strictjson
from fbfl.system.atomic import write_file

LABELS = ("experiment", "variant", "seed", "round", "leader")
"""Columns that are no measure."""

LEARNING_COLUMNS = (*LABELS[:-1], *CURVES)
COST_COLUMNS = (*LABELS, *COSTS)

ADDED = ("hashes",)
"""Costs without a column in the table of an experiment none of whose runs measured them."""

ALWAYS_MEASURED = "loss"
"""The curve that was measured even where none of its numbers is finite; others were not, where a run has no number."""


@dataclass(frozen=True)
class Curves:
    """Measured values: `values[variant][seed][measure]` is a list with a value per round, of a curve or of `COSTS`.

    NaN stands for a value that was not finite; a list is empty if nothing was measured.
    """

    values: Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]]
    further: Sequence[str] = ()
    """Names of the further metrics, which are curves beside `CURVES`."""

    @property
    def curves(self) -> list[str]:
        """The names of the curves that were measured in all runs."""
        return [curve for curve in (*CURVES, *self.further) if self.has(curve)]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of every variant."""
        return tuple(next(iter(self.values.values())))

    def has(self, curve: str) -> bool:
        """Return True if it was measured in all runs."""
        return all(self.knows(variant, curve) for variant in self.values)

    def knows(self, variant: str, curve: str) -> bool:
        """Return True if it was measured in all runs of a variant."""
        return all(measures[curve] for measures in self.values[variant].values())

    def measured(self, variant: str, curve: str) -> list[Sequence[float]]:
        """Return one curve of a variant, for each seed. One that was not measured raises `InvalidInputError`."""
        found = [self.values[variant][seed][curve] for seed in self.seeds]
        if not all(found):
            raise InvalidInputError(
                f"variant {variant!r}: {curve} was not measured; if its runs were stored by an earlier version, play "
                "them again with --fresh"
            )
        return found

    def means(self, variant: str, curve: str) -> list[float]:
        """Return the means of all rounds, for each seed."""
        return [sum(series) / len(series) for series in self.measured(variant, curve)]

    def measure(self, variant: str, claim: Claim) -> list[float]:
        """Return the value of a claim's measure, for each seed."""
        kind, _, curve = claim.measure.partition("_")
        return [
            series[-1] if kind == "final" else sum(series[: claim.rounds]) / len(series[: claim.rounds])
            for series in self.measured(variant, curve)
        ]


def write_tables(folder: Path, experiment: Experiment, run_of: Callable[[Run], FinishedRun]) -> None:
    """Write NAME.csv, where the same seeds give the same bytes; with the chain also NAME-costs.csv.

    If the experiment keeps the listing of blocks, that of the first run goes into NAME.json.
    """
    rows = [
        {**line.get("metrics", {}), **line, "experiment": experiment.name, "variant": variant.label, "seed": seed}
        for variant in experiment.variants
        for seed in experiment.seeds
        for line in run_of(experiment.run(variant, seed)).rounds
    ]
    further = [name for name in further_in(rows) if name not in COST_COLUMNS]
    tables = [(experiment.name, (*LEARNING_COLUMNS, *further))]
    if experiment.chain:
        tables.append((f"{experiment.name}-costs", COST_COLUMNS))
    for name, columns in tables:
        text = io.StringIO()
        held = [column for column in columns if column not in ADDED or any(column in row for row in rows)]
        table = csv.DictWriter(text, held, extrasaction="ignore", restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_file(folder / f"{name}.csv", text.getvalue().encode())
    if experiment.listing:
        first = run_of(experiment.run(experiment.variants[0], experiment.seeds[0]))
        write_file(folder / f"{experiment.name}.json", (strictjson.dumps(first.listing, indent=1) + "\n").encode())


def table(folder: Path, name: str) -> Path:
    """Return the file of the learning curves of an experiment."""
    return folder / f"{name}.csv"


def read_curves(folder: Path, experiment: Experiment) -> Curves:
    """Read NAME.csv, and with the chain NAME-costs.csv.

    A table that does not hold the same seeds of every variant of the definition raises `InvalidInputError`.
    """
    values: dict[str, dict[int, dict[str, list[float]]]] = {variant.label: {} for variant in experiment.variants}
    curves = _read(table(folder, experiment.name), CURVES, values)
    if experiment.chain:
        _read(folder / f"{experiment.name}-costs.csv", (), values)
    return Curves(values, [curve for curve in curves if curve not in CURVES])


def _read(
    path: Path, needed: Collection[str], values: Mapping[str, dict[int, dict[str, list[float]]]]
) -> Collection[str]:
    """Add the measures of a table to the values; returns their names."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            measures = [column for column in table.fieldnames or () if column not in LABELS]
            if missing := [measure for measure in needed if measure not in measures]:
                raise KeyError(missing[0])
            for row in table:
                curves = values[row["variant"]].setdefault(int(row["seed"]), defaultdict(list))
                for measure in measures:
                    value = float(row[measure] or math.nan)
                    curves[measure].append(value if math.isfinite(value) else math.nan)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidInputError(f"{path} does not belong to its definition: {error!r}") from error
    seeds = list(next(iter(values.values())))
    for label, runs in values.items():
        if list(runs) != seeds or not runs:
            raise InvalidInputError(f"{path}: variant {label!r} has the seeds {list(runs)}, others {seeds}")
        for curves in runs.values():
            unmeasured = [measure for measure in measures if all(map(math.isnan, curves[measure]))]
            curves.update((measure, []) for measure in unmeasured if measure != ALWAYS_MEASURED)
    return measures
