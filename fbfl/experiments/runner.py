"""Runs the federations of experiments in processes of their own, and keeps each as soon as it has finished."""

import functools
import gc
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fbfl.errors import InvalidInputError, ProcessError
from fbfl.experiments.definition import Experiment
from fbfl.experiments.stored import FinishedRun, FinishedRuns
from fbfl.learning import datasets
from fbfl.learning.datasets import Dataset
from fbfl.settings import RunSettings

BACKENDS = ("joblib", "ray")

Finished = tuple[RunSettings, FinishedRun]


def runs_of(experiments: Iterable[Experiment]) -> list[RunSettings]:
    """The settings of all runs, each once: variants that several experiments share are run once."""
    found: list[RunSettings] = []
    for experiment in experiments:
        for seed in experiment.seeds:
            for variant in experiment.variants:
                settings = experiment.settings(variant, seed)
                if settings not in found:
                    found.append(settings)
    return found


def run_all(
    runs: Sequence[RunSettings], finished: FinishedRuns, *, jobs: int = 1, backend: str = "joblib"
) -> Iterator[RunSettings]:
    """Play the runs, `jobs` at a time, and keep each; yields its settings when it is kept, in order of finishing.

    `backend` is `joblib` (processes of this machine) or `ray` (the cluster at `RAY_ADDRESS`, else a local one).
    """
    play = functools.partial(play_run, lanes=max(1, (os.cpu_count() or 1) // jobs))
    start = {"joblib": _on_this_machine, "ray": _on_ray}[backend]
    for settings, run in start(play, runs, jobs):
        finished.save(settings, run)
        yield settings


def play_run(settings: RunSettings, lanes: int | None = None) -> Finished:
    """Play one federation to its end through the whole system: contracts, payloads, consensus."""
    from fbfl.runs import metrics_line
    from fbfl.simulation import Simulation
    from fbfl.storage.local import LocalStore
    from fbfl.storage.payload import encode

    with tempfile.TemporaryDirectory(prefix="fbfl-") as folder:
        federation = Simulation(settings, _dataset(settings.dataset), LocalStore(Path(folder)), lanes=lanes)
        lines = tuple(metrics_line(result) for result in federation.rounds())
        model = hashlib.sha256(encode(federation.plan.spec, federation.weights)).hexdigest()
    del federation
    gc.collect()  # the process goes on to the next run: servers, chain and training engine refer to each other
    return settings, FinishedRun(lines, model)


@functools.lru_cache(maxsize=2)
def _dataset(name: str | None) -> Dataset:
    return datasets.load(name or "mnist")


def _on_this_machine(play: "functools.partial[Finished]", runs: Sequence[RunSettings], jobs: int) -> Iterator[Finished]:
    if jobs == 1:
        yield from map(play, runs)
        return
    import joblib
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch=jobs)
    try:
        yield from parallel(joblib.delayed(play)(settings) for settings in runs)
    except TerminatedWorkerError as error:
        raise ProcessError("a process of --jobs ended by itself (out of memory?); --resume goes on") from error


def _on_ray(play: "functools.partial[Finished]", runs: Sequence[RunSettings], jobs: int) -> Iterator[Finished]:
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
        waiting = [remote.remote(settings, **play.keywords) for settings in runs]
        while waiting:
            (first, *_), waiting = ray.wait(waiting, num_returns=1)
            yield ray.get(first)
    finally:
        ray.shutdown()
