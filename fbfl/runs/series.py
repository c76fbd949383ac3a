"""The same run with several seeds: a folder each, and beside them means with their confidence intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fbfl.errors import InvalidInputError, failures_as, require
from fbfl.runs import plots
from fbfl.runs.files import read_metrics
from fbfl.runs.folder import folder_of_now
from fbfl.runs.measures import CURVES, mean_of
from fbfl.runs.play import Played, play
from fbfl.settings import RunSettings, as_dict
from fbfl.system import strictjson
from fbfl.system.atomic import write_file
from fbfl.system.printable import counted


@dataclass(frozen=True)
class Series:
    """Runs that have ended: their folder, its summary.json, its pictures, and each of them by its seed."""

    path: Path
    summary: Mapping[str, Any]
    pictures: tuple[Path, ...]
    runs: Mapping[int, Played]


def play_seeds(
    settings: RunSettings,
    count: int,
    output: Path | None,
    *,
    deployment: Path | None,
    say: Callable[[str], None],
    on_round: Callable[[int], Callable[[dict[str, Any]], None]],
) -> Series:
    """Play runs with `count` seeds from the settings' on, each in the folder seed-SEED of `output`; see `play`.

    `on_round` returns, of a seed, what `play` tells of the rounds.

    summary.json has the settings, the `seeds`, and for every measure the mean over them, half the width of its 95 %
    confidence interval (null for one seed) and their number n: of the last round, and of each.
    """
    require(count >= 1 and settings.seed + count <= 2**63, "seeds", count, f"1 or more, up to seed {2**63 - 1}")
    folder = _folder(output)
    seeds = range(settings.seed, settings.seed + count)
    runs = {}
    for seed in seeds:
        say(f"seed {seed}")
        own = folder / f"seed-{seed}"
        runs[seed] = play(settings.replace(seed=seed), own, deployment=deployment, say=say, on_round=on_round(seed))
    lines = [read_metrics(run.path) for run in runs.values()]
    measured = [name for name in CURVES if all(name in line for of_run in lines for line in of_run)]
    by_round = [
        {
            "round": number,
            **{name: mean_of([line[name] for line in of_round]) for name in measured},
            **({"metrics": _further(of_round)} if "metrics" in of_round[0] else {}),
        }
        for number, of_round in enumerate(zip(*lines, strict=True), 1)
    ]
    summary = {
        "settings": {name: value for name, value in as_dict(settings).items() if name != "seed"},
        "seeds": list(seeds),
        **{f"final_{name}": by_round[-1][name] for name in (*measured, "metrics") if name in by_round[-1]},
        "rounds": by_round,
    }
    write_file(folder / "summary.json", (strictjson.dumps(summary, indent=1) + "\n").encode())
    title = f"{settings.dataset or 'mnist'}, {settings.aggregator}; means of {counted(count, 'seed')}"
    return Series(folder, summary, tuple(plots.plot_rounds(folder, by_round, title)), runs)


def _further(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the means over the seeds of the further figures of a round, by name."""
    return {name: mean_of([line["metrics"][name] for line in lines]) for name in lines[0]["metrics"]}


def _folder(output: Path | None) -> Path:
    """Make the folder of the series; one that holds runs raises `InvalidInputError`."""
    if output is None:
        return folder_of_now()
    with failures_as(InvalidInputError, f"--output {output}: cannot be written"):
        output.mkdir(parents=True, exist_ok=True)
        occupied = (output / "summary.json").exists() or any(output.glob("seed-*")) or any(output.glob("settings.json"))
    if occupied:
        raise InvalidInputError(f"--output {output}: holds runs already; allowed: a new or an empty folder")
    return output
