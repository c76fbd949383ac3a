"""The tables of an experiment, as CSV: learning curves, and apart from them what differs from run to run."""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fbfl.atomic import write_atomically
from fbfl.errors import InvalidInputError, StorageError
from fbfl.experiments.definition import Claim, Experiment
from fbfl.experiments.stored import FinishedRun, Run

LEARNING_COLUMNS = ("experiment", "variant", "seed", "round", "accuracy", "loss", "attack_success_rate")
COST_COLUMNS = (
    *("experiment", "variant", "seed", "round", "seconds", "train_seconds", "consensus_seconds"),
    *("leader", "views", "updates", "gas_used"),
)
CURVES = ("accuracy", "loss", "attack_success_rate")


@dataclass(frozen=True)
class Curves:
    """The learning curves of an experiment: `values[variant][seed][measure]` is a list, a value per round."""

    values: Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of every variant."""
        return tuple(next(iter(self.values.values())))

    def measured(self, variant: str, curve: str) -> list[Sequence[float]]:
        """One curve of a variant, for each seed; empty lists where it was not measured."""
        return [self.values[variant][seed][curve] for seed in self.seeds]

    def measure(self, variant: str, claim: Claim) -> list[float]:
        """What a claim is about, for each seed."""
        kind, _, curve = claim.measure.partition("_")
        return [
            series[-1] if kind == "final" else sum(series[: claim.rounds]) / len(series[: claim.rounds])
            for series in self.measured(variant, curve)
        ]


def write_tables(folder: Path, experiment: Experiment, run_of: Callable[[Run], FinishedRun]) -> None:
    """Write NAME.csv, where the same seeds give the same bytes; with the chain also NAME-costs.csv."""
    tables: list[tuple[str, tuple[str, ...]]] = [(experiment.name, LEARNING_COLUMNS)]
    if experiment.chain:
        tables.append((f"{experiment.name}-costs", COST_COLUMNS))
    for name, columns in tables:
        text = io.StringIO()
        table = csv.DictWriter(text, columns, extrasaction="ignore", restval="", lineterminator="\n")
        table.writeheader()
        for variant in experiment.variants:
            for seed in experiment.seeds:
                for line in run_of(experiment.run(variant, seed)).rounds:
                    row = {**line, "experiment": experiment.name, "variant": variant.label, "seed": seed}
                    table.writerow(row)
        try:
            write_atomically(folder / f"{name}.csv", text.getvalue().encode())
        except OSError as error:
            raise StorageError(f"{folder / name}.csv: cannot be written: {error.strerror}") from error


def read_curves(folder: Path, experiment: Experiment) -> Curves | None:
    """The learning curves in NAME.csv; None if there is no such file.

    One that does not hold the same seeds and rounds of every variant of the definition raises `InvalidInputError`.
    """
    path = folder / f"{experiment.name}.csv"
    if not path.exists():
        return None
    values: dict[str, dict[int, dict[str, list[float]]]] = {variant.label: {} for variant in experiment.variants}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                runs = values[row["variant"]]
                curves: dict[str, list[float]] = runs.setdefault(int(row["seed"]), defaultdict(list))
                for curve in CURVES:
                    curves[curve] += [float(row[curve])] if row[curve] else []
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidInputError(f"{path} does not belong to the definition of {experiment.name}: {error!r}") from error
    found = Curves(values)
    for label, runs in values.items():
        if tuple(runs) != found.seeds or not runs:
            raise InvalidInputError(f"{path}: variant {label!r} has the seeds {list(runs)}, others {list(found.seeds)}")
    return found
