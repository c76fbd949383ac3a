"""`fbfl experiment`: reproduce figures, with tables, tests and a report."""

import argparse
import itertools
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fbfl.cli.parser import Commands
from fbfl.errors import InvalidInputError, failures_as, require
from fbfl.system.printable import counted

if TYPE_CHECKING:
    from rich.console import Console

    from fbfl.experiments.definition import Experiment
    from fbfl.experiments.results import Curves
    from fbfl.experiments.run_store import FinishedRuns

QUICK_OUTPUT = Path("runs") / "quick"
"""Default folder of `--quick`: it never overwrites the results."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "experiment", help="reproduce a figure", description="Reproduce figures of the paper."
    )
    add = command.add_argument
    add("name", metavar="NAME|all", help="experiments/NAME.toml, here or of fbfl, all of them, or a path")
    add("--seeds", type=int, help="seeds of each variant (default: as defined, 5)")
    add("--jobs", type=int, metavar="J", help="runs at a time, a process each (default: one per core)")
    stored = command.add_mutually_exclusive_group()
    stored.add_argument("--resume", action="store_true", help="keep the runs that are stored already (the default)")
    stored.add_argument("--fresh", action="store_true", help="delete them, and play all anew")
    add("--quick", action="store_true", help="small data, few rounds: a quick trial")
    add("--backend", default="joblib", help="joblib (default), or ray for a cluster at RAY_ADDRESS")
    add("--output", type=Path, metavar="DIR", help="default experiments/, or beside a path; with --quick runs/quick")
    add("--quiet", action="store_true", help="print nothing but errors")
    command.set_defaults(command=experiment)


def experiment(options: argparse.Namespace) -> int:
    """Run an experiment, or all of them, and write tables, pictures and the report."""
    from fbfl.cli.console import plain_console
    from fbfl.experiments import definition, runner
    from fbfl.experiments.run_store import FinishedRuns

    for name in ("jobs", "seeds"):
        value = getattr(options, name)
        require(value is None or value >= 1, f"--{name}", value, "1 or more")
    require(options.backend in runner.BACKENDS, "--backend", options.backend, ", ".join(runner.BACKENDS))
    found = definition.find(options.name)
    chosen = [definition.load(path, quick=options.quick, seeds=options.seeds) for path in found]
    runs = runner.runs_of(chosen)
    by_path = definition.is_path(options.name)
    usual = QUICK_OUTPUT if options.quick else found[0].parent if by_path else definition.FOLDER
    output: Path = options.output or usual
    with failures_as(InvalidInputError, f"--output {output}: cannot be written"):
        (output / "results").mkdir(parents=True, exist_ok=True)
    finished = FinishedRuns(output / "results" / "finished")
    console = plain_console(quiet=options.quiet)
    missing = [run for run in runs if finished.load(run) is None]
    stored = len(runs) - len(missing)
    runner.check(chosen, {run.name for run in (runs if options.fresh else missing)})
    if options.fresh:
        console.print(f"{stored} of {counted(len(runs), 'run')} stored; deleted now")
        finished.forget(runs)
        missing = runs
    elif stored:
        console.print(f"{stored} of {counted(len(runs), 'run')} stored already")
    waiting = {one.name: {run.name for run in missing} & {run.name for run in runner.runs_of([one])} for one in chosen}
    with _progress(console, len(missing)) as advance:
        unwritten = _write_complete(chosen, waiting, finished, output, console)
        for run in runner.run_all(missing, finished, jobs=options.jobs or os.cpu_count() or 1, backend=options.backend):
            advance()
            for names in waiting.values():
                names.discard(run.name)
            unwritten = _write_complete(unwritten, waiting, finished, output, console)
    _write_report(definition.files(found[0].parent) if by_path else definition.known(), output, options.quick)
    console.print(f"report: {output / 'RESULTS.md'}")
    return 0


def _write_report(paths: Sequence[Path], output: Path, quick: bool) -> None:
    """Write the report on those of the experiments that have tables; of invalid definitions only print the error."""
    from fbfl.experiments import definition, report, results

    found: list[tuple[Experiment, Curves]] = []
    left_out: list[str] = []
    for path in paths:
        if not results.table(output / "results", path.stem).exists():
            continue
        try:
            one = definition.load(path, quick=quick)
            found.append((one, results.read_curves(output / "results", one)))
        except InvalidInputError as error:
            left_out.append(str(error))
    left_out += report.write_report(output / "RESULTS.md", found, "results/")
    for line in left_out:
        print(f"left out of the report: {line}", file=sys.stderr)


def _write_complete(
    experiments: "Sequence[Experiment]",
    waiting: Mapping[str, Set[str]],
    finished: "FinishedRuns",
    output: Path,
    console: "Console",
) -> "list[Experiment]":
    """Write tables and pictures of the experiments whose runs are all finished; return the others."""
    from fbfl.experiments import figures, results

    folder, unwritten = output / "results", []
    for one in experiments:
        if waiting[one.name]:
            unwritten.append(one)
            continue
        results.write_tables(folder, one, finished.get)
        for line in _warnings(one, finished):
            console.print(f"{one.name}: {line}")
        curves = results.read_curves(folder, one)
        pictures = figures.draw(folder, one, curves)
        console.print(f"{one.name}: {', '.join(str(path) for path in (folder / f'{one.name}.csv', *pictures))}")
    return unwritten


def _warnings(experiment: "Experiment", finished: "FinishedRuns") -> Iterator[str]:
    """Yield the warnings of its runs, a line per variant and kind."""
    for variant in experiment.variants:
        of_seeds = [finished.get(experiment.run(variant, seed)).warnings for seed in experiment.seeds]
        for text, number in Counter(itertools.chain.from_iterable(of_seeds)).items():
            yield f"variant {variant.label!r}, {number} of {len(of_seeds)} seeds: {text}"


@contextmanager
def _progress(console: "Console", total: int) -> Iterator[Callable[[], None]]:
    """Show a bar with the time left on a terminal, else a line per run. Yields a function to call after each run."""
    if console.quiet or not sys.stdout.isatty():
        started, done = time.monotonic(), 0

        def say() -> None:
            nonlocal done
            done += 1
            left = (time.monotonic() - started) / done * (total - done)
            console.print(f"run {done} of {total}; about {left / 60:.1f} min left")

        yield say
        return
    from rich import progress

    times = (progress.TimeElapsedColumn(), progress.TimeRemainingColumn())
    columns = (progress.TextColumn("runs"), progress.BarColumn(), progress.MofNCompleteColumn(), *times)
    with progress.Progress(*columns, console=console, transient=True, speed_estimate_period=3600) as bar:
        job = bar.add_task("runs", total=total)
        yield lambda: bar.advance(job)
