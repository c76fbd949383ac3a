"""Run the federations of experiments in processes of their own, and keep each as soon as it has finished."""

import functools
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from fbfl.errors import InvalidInputError, ProcessError
from fbfl.experiments import single_run
from fbfl.experiments.definition import Experiment
from fbfl.experiments.run_store import FinishedRun, FinishedRuns, Run

BACKENDS = ("joblib", "ray")

Finished = tuple[Run, FinishedRun]


def check(experiments: Iterable[Experiment], missing: Collection[str]) -> None:
    """Raise `InvalidInputError` if one of the runs of these names is impossible, with its place, before any work."""
    for run, place in _with_places(experiments):
        if run.name in missing:
            try:
                single_run.check(run)
            except InvalidInputError as error:
                raise InvalidInputError(f"{place}: {error}") from error


def runs_of(experiments: Iterable[Experiment]) -> list[Run]:
    """Return all runs, each once: variants that several experiments share are run once."""
    return [run for run, _ in _with_places(experiments)]


def _with_places(experiments: Iterable[Experiment]) -> Iterable[tuple[Run, str]]:
    """Return all runs, each once, with the first experiment and variant that it is of, in words."""
    found: dict[str, tuple[Run, str]] = {}
    for experiment in experiments:
        for seed in experiment.seeds:
            for variant in experiment.variants:
                run = experiment.run(variant, seed)
                found.setdefault(run.name, (run, f"experiment {experiment.name}, variant {variant.label!r}"))
    return found.values()


def run_all(runs: Sequence[Run], finished: FinishedRuns, *, jobs: int = 1, backend: str = "joblib") -> Iterator[Run]:
    """Play the runs, `jobs` at a time, and keep each; yield it when it is kept, in order of finishing.

    `backend` is `joblib` (processes of this machine) or `ray` (the cluster at `RAY_ADDRESS`, else a local one).
    """
    jobs = min(jobs, max(1, len(runs)))  # a process more would have nothing to play
    play = functools.partial(_play, lanes=max(1, (os.cpu_count() or 1) // jobs))
    start = {"joblib": _on_this_machine, "ray": _on_ray}[backend]
    for run, result in start(play, runs, jobs):
        finished.save(run, result)
        yield run


def _play(run: Run, lanes: int) -> Finished:
    return run, single_run.play(run, lanes)


def _on_this_machine(play: "functools.partial[Finished]", runs: Sequence[Run], jobs: int) -> Iterator[Finished]:
    if jobs == 1:
        yield from map(play, runs)
        return
    import joblib
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch=jobs)
    try:
        yield from parallel(joblib.delayed(play)(run) for run in runs)
    except TerminatedWorkerError as error:
        raise ProcessError("a process of --jobs ended by itself (out of memory?); the same command goes on") from error


def _on_ray(play: "functools.partial[Finished]", runs: Sequence[Run], jobs: int) -> Iterator[Finished]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise InvalidInputError("--backend ray: Ray is not installed; allowed: pip install ray, or joblib") from error
    if os.environ.get("RAY_ADDRESS"):
        ray.init()
    else:
        ray.init(num_cpus=jobs, include_dashboard=False)
    try:
        remote: Any = ray.remote(num_cpus=1)(play.func)
        waiting = [remote.remote(run, **play.keywords) for run in runs]
        while waiting:
            (first, *_), waiting = ray.wait(waiting, num_returns=1)
            yield ray.get(first)
    finally:
        ray.shutdown()
