"""The tables of an experiment, as CSV: learning curves, and apart from them the costs that vary between machines."""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fbfl.errors import InvalidInputError, StorageError
from fbfl.experiments.definition import COSTS, Claim, Experiment
from fbfl.experiments.run_store import FinishedRun, Run
from fbfl.runs.measures import CURVES
from fbfl.system import strictjson
from fbfl.system.atomic import write_file

LEARNING_COLUMNS = ("experiment", "variant", "seed", "round", *CURVES)
COST_COLUMNS = ("experiment", "variant", "seed", "round", "leader", *COSTS)

ADDED = ("hashes",)
"""Costs without a column in the table of an experiment none of whose runs measured them."""

ALWAYS_MEASURED = ("accuracy", "loss")
"""Curves whose missing numbers were not finite; a missing number of another curve was not measured."""


@dataclass(frozen=True)
class Curves:
    """Measured values: `values[variant][seed][measure]` is a list with a value per round, of `CURVES` or `COSTS`.

    NaN stands for a value that was not finite; a list is empty if nothing was measured.
    """

    values: Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]]

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
    tables: list[tuple[str, tuple[str, ...]]] = [(experiment.name, LEARNING_COLUMNS)]
    if experiment.chain:
        tables.append((f"{experiment.name}-costs", COST_COLUMNS))
    rows = [
        {**line, "experiment": experiment.name, "variant": variant.label, "seed": seed}
        for variant in experiment.variants
        for seed in experiment.seeds
        for line in run_of(experiment.run(variant, seed)).rounds
    ]
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
    _read(table(folder, experiment.name), tuple(CURVES), values)
    if experiment.chain:
        _read(folder / f"{experiment.name}-costs.csv", COSTS, values)
    return Curves(values)


def _read(path: Path, measures: Sequence[str], values: Mapping[str, dict[int, dict[str, list[float]]]]) -> None:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                curves = values[row["variant"]].setdefault(int(row["seed"]), defaultdict(list))
                for measure in measures:
                    cell = row[measure] if measure in CURVES else row.get(measure)  # older tables lack some costs
                    if cell or measure in ALWAYS_MEASURED:
                        value = float(cell or math.nan)
                        curves[measure].append(value if math.isfinite(value) else math.nan)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidInputError(f"{path} does not belong to its definition: {error!r}") from error
    seeds = list(next(iter(values.values())))
    for label, runs in values.items():
        if list(runs) != seeds or not runs:
            raise InvalidInputError(f"{path}: variant {label!r} has the seeds {list(runs)}, others {seeds}")
