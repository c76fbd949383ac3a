"""A published table that is run again: which runs it takes, and the CSV that keeps those that have finished."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
Row = dict[str, str]


@dataclass(frozen=True)
class Study:
    """The runs of one publication. A run is a cell with a seed; all values are the text of the CSV."""

    name: str
    """Name of the module and of the CSV."""
    cells: Sequence[Row]
    """Varied settings; every cell has the same columns."""
    outcomes: tuple[str, ...]
    """The columns that a run fills in."""
    run: Callable[[Mapping[str, str], int], Row]
    """Plays a cell with a seed and returns the outcomes."""
    section: Callable[[Sequence[Row]], str]
    """Section of RESULTS.md, made of all lines of the CSV."""


def finished(study: Study, folder: Path = FOLDER) -> list[Row]:
    """Return the lines of the study's CSV, none if there is no such file."""
    path = folder / f"{study.name}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def play(study: Study, seeds: int, only: Mapping[str, str], folder: Path = FOLDER) -> None:
    """Play the seeds 0 to `seeds` - 1 of the cells that match `only`, save what is in the CSV, and add each to it."""
    columns = (*study.cells[0], "seed", *study.outcomes)
    path = folder / f"{study.name}.csv"
    cells = [cell for cell in study.cells if all(cell.get(key) == value for key, value in only.items())]
    for seed in range(seeds):
        for cell in cells:
            run = {**cell, "seed": str(seed)}
            if any(all(row[key] == value for key, value in run.items()) for row in finished(study, folder)):
                continue
            row = run | study.run(cell, seed)
            new = not path.exists()
            with path.open("a", newline="") as file:  # one line at a time, so that two processes can share the work
                writer = csv.DictWriter(file, columns, lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerow(row)
            print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
