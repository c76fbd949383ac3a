"""A run from its first step to its last: for the command line, which shows it, and for Python."""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fbfl import __version__, simulation
from fbfl.chain.artifacts import ARTIFACTS
from fbfl.learning.datasets import Dataset
from fbfl.mec import tasks
from fbfl.mec.fleet import devices_of
from fbfl.mec.plan import canonical_json
from fbfl.mec.tasks import trainer_of
from fbfl.runs.folder import RunFolder, folder_of_now
from fbfl.runs.identity import dependencies
from fbfl.runs.plots import title_of
from fbfl.settings import RunSettings, as_dict
from fbfl.system.printable import counted


@dataclass(frozen=True)
class Played:
    """A run that has ended: its folder, its summary.json, and its pictures."""

    path: Path
    summary: Mapping[str, Any]
    pictures: tuple[Path, ...]


def play(
    settings: RunSettings,
    output: Path | None,
    *,
    deployment: Path | None,
    say: Callable[[str], None] | None = None,
    on_round: Callable[[dict[str, Any]], None] | None = None,
) -> Played:
    """Play a run into the folder `output` (default: a new one in runs/), and keep every round as soon as it is over.

    `deployment` is the file that remembers the contracts of a network that lasts. `say` is told what is to be known,
    a line each, and `on_round` gets the line of metrics.jsonl of every round.
    """
    say, on_round = say or _ignore, on_round or _ignore
    app = tasks.app_of(settings)
    if app is not None:
        settings = tasks.with_rule_of(settings, app)
        if note := tasks.note_on_drawing(settings, app):
            say(note)
    simulation.check(settings)
    started = time.perf_counter()
    dataset = tasks.dataset_of(settings)
    if dataset.note:
        say(dataset.note)
    settings = settings.replace(devices=devices_of(settings, dataset))
    with RunFolder.create(folder_of_now() if output is None else output, settings) as folder:
        # A model that cannot be trained is refused before anything is deployed.
        trainer = app or trainer_of(settings, dataset)
        devnet = simulation.devnet_of(settings, deployment)
        federation = simulation.Simulation(
            settings, dataset, folder.payloads(settings.store), devnet=devnet, trainer=trainer
        )
        folder.attach(federation, origin_of(settings, dataset))
        say(
            f"{counted(settings.servers, 'MEC server')}{_adversaries(settings)}, "
            f"{'' if app else counted(settings.devices, 'device') + ', '}{dataset.name}, {settings.aggregator}, "
            f"{settings.consensus} on {settings.network}; set up in {time.perf_counter() - started:.1f} s"
        )
        return finish(folder, federation, federation.rounds(), started, say, on_round)


def finish(
    folder: RunFolder,
    federation: simulation.Simulation,
    rounds: Iterable[simulation.RoundResult],
    started: float,
    say: Callable[[str], None],
    on_round: Callable[[dict[str, Any]], None],
) -> Played:
    """Play the rounds that are left, and end the run that began, as it were, at `started` (time.perf_counter)."""
    settings, dataset = federation.settings, federation.dataset
    known = (*tasks.limits(settings, federation.plan), *federation.warnings)
    for text in known:
        say(text)
    for result in rounds:
        on_round(folder.add_round(result))
    seconds = time.perf_counter() - started
    summary = folder.finish(
        settings, dataset, federation.plan, federation.weights, seconds=seconds, warnings=federation.warnings
    )
    for text in federation.warnings:
        if text not in known:
            say(text)
    pictures = folder.plot(title_of(summary))
    return Played(folder.path, summary, tuple(pictures))


def origin_of(settings: RunSettings, dataset: Dataset) -> dict[str, Any]:
    """Return what the bytes of a run depend on: fbfl, its contracts, data, settings, files and code."""
    data, contracts = hashlib.sha256(), hashlib.sha256()
    for array in (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test):
        data.update(f"{array.dtype}{array.shape}".encode())
        data.update(np.ascontiguousarray(array).data)
    for artifact in sorted(ARTIFACTS.glob("*.json")):
        contracts.update(artifact.read_bytes())
    chosen = hashlib.sha256(canonical_json(as_dict(settings)))
    found = {
        "fbfl": __version__,
        "contracts": contracts.hexdigest(),
        "dataset": data.hexdigest(),
        "settings": chosen.hexdigest(),
    }
    return {**found, **dependencies(settings)}


def own_functions(settings: RunSettings) -> list[str]:
    """Return the ``package.module:function`` names in a task of these settings, for its readers' `--plugin`."""
    fixed = ("aggregator", "server_optimizer", "model", "trainer", "optimizer", "schedule", "loss")
    named = (*(getattr(settings, name) for name in fixed), *settings.trainer_args.values())
    return [name for name in named if isinstance(name, str) and ":" in name]


def _adversaries(settings: RunSettings) -> str:
    """Return in brackets which servers attack, lie and keep silent; nothing if none does."""
    attacking = f"malicious: {' + '.join(name for name, _ in settings.attacks)}"
    counts = {attacking: settings.malicious, "lying": settings.liars, "silent": settings.silent}
    named = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f" ({named})" if named else ""


def _ignore(_: object) -> None:
    """Stand in for a caller that wants to know nothing."""
