"""Play one federation of an experiment to its end, through the whole system or without the chain."""

import functools
import gc
import hashlib
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

from fbfl import simulation
from fbfl.chain.devnet import Devnet
from fbfl.chain.queries import block_listing
from fbfl.errors import InvalidInputError
from fbfl.experiments.run_store import FinishedRun, Run
from fbfl.learning import aggregation, attacks, datasets
from fbfl.learning.backend import load_tensorflow
from fbfl.learning.datasets import Dataset
from fbfl.learning.federation import Federation
from fbfl.learning.keras_trainer import KerasTrainer
from fbfl.learning.partition import resolve as resolve_partition
from fbfl.learning.trainer import Trainer
from fbfl.mec.tasks import trainer_of
from fbfl.randomness import generator
from fbfl.runs.folder import warnings_in
from fbfl.settings import RunSettings
from fbfl.storage.local import LocalStore
from fbfl.storage.payload import encode
from fbfl.system import strictjson

ROOT_SAMPLES = 100
"""Trusted samples, drawn from the training set, for rules that need them, as Cao et al. 2021 (FLTrust), VI-A."""

KEPT = ("round", "accuracy", "loss", "attack_success_rate", "metrics")
"""Figures that are kept of a round without the chain."""


def check(run: Run) -> None:
    """Raise `InvalidInputError` for a partition, rule or attack that is unknown or impossible, before any work."""
    for name, only in (("network", "eth-tester"), ("store", "local")):
        if getattr(run.settings, name) != only:
            raise InvalidInputError(f"{name} is {getattr(run.settings, name)!r}; allowed in experiments: {only}")
    simulation.check(run.settings, chain=run.chain)


def play(run: Run, lanes: int | None = None) -> FinishedRun:
    """Play a federation to its end; `lanes` are the processor cores to train on."""
    return _with_chain(run, lanes) if run.chain else _without_chain(run.settings, lanes)


def _with_chain(run: Run, lanes: int | None) -> FinishedRun:
    settings = run.settings
    load_tensorflow()
    data, devnet = _dataset(settings), _devnet(settings)
    with tempfile.TemporaryDirectory(prefix="fbfl-") as folder:
        federation = simulation.Simulation(
            settings, data, LocalStore(Path(folder), durable=False), devnet=devnet, trainer=_trainer(settings, lanes)
        )
        lines = tuple(result.line() for result in federation.rounds())
        known = (*federation.warnings, *warnings_in(lines))
        model = hashlib.sha256(encode(federation.plan.spec, federation.weights)).hexdigest()
        listing = block_listing(federation.ledger, federation.task.id) if run.listing else None
    del federation
    gc.collect()  # the process goes on to the next run, and servers and chain refer to each other
    return FinishedRun(lines, model, listing, known)


def _devnet(settings: RunSettings) -> Devnet:
    """Return a copy of cached nodes with registered servers: making them takes as long as a round or two."""
    ethash_nodes = settings.nodes if settings.consensus == "ethash" else None
    return _registered_devnet(settings.servers, settings.stake, ethash_nodes).copy()


@functools.lru_cache(maxsize=16)
def _registered_devnet(servers: int, stake: int, ethash_nodes: int | None) -> Devnet:
    settings = RunSettings(servers=servers, devices=servers, stake=stake)
    if ethash_nodes is not None:
        settings = settings.replace(consensus="ethash", nodes=ethash_nodes)
    return simulation.registered_devnet(settings)


def _without_chain(settings: RunSettings, lanes: int | None) -> FinishedRun:
    data = _dataset(settings)
    shares = resolve_partition(settings.partition, **settings.partition_args)(
        data.y_train, settings.servers, seed=settings.seed, device_of=data.device_of
    )
    rule = aggregation.resolve(settings.aggregator, **settings.aggregator_args)
    trainer = _trainer(settings, lanes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the run keeps the warnings, and the command prints them
        federation = Federation(
            [(data.x_train[share], data.y_train[share]) for share in shares],
            (data.x_test, data.y_test),
            settings.model,
            rule,
            [attacks.resolve(name, **arguments) for name, arguments in settings.attacks],
            range(settings.malicious),
            **settings.training,
            seed=settings.seed,
            participation=settings.participation,
            draw=settings.draw,
            dropout=settings.dropout,
            stragglers=settings.stragglers,
            server_optimizer=settings.server_optimizer,
            server_args=settings.server_optimizer_args,
            metric=settings.metric,
            num_classes=settings.num_classes,
            root=_root(data, settings.seed) if rule.needs_root_update else None,
            trainer=trainer,
        )
    lines: list[dict[str, Any]] = []
    of_rounds: list[str] = []
    for result in federation.rounds(settings.rounds):
        lines.append({name: value for name, value in result.line().items() if name in KEPT})
        of_rounds += result.warnings
    spec = federation.trainer.spec
    model = hashlib.sha256(encode(spec, spec.flatten(federation.weights))).hexdigest()
    return FinishedRun(tuple(lines), model, warnings=(*federation.warnings, *dict.fromkeys(of_rounds)))


def _root(data: Dataset, seed: int) -> tuple[Any, Any]:
    chosen = generator(seed, "root samples").permutation(len(data.y_train))[:ROOT_SAMPLES]
    return data.x_train[chosen], data.y_train[chosen]


def _trainer(settings: RunSettings, lanes: int | None) -> Trainer:
    wanted = settings.training | {
        name: getattr(settings, name)
        for name in ("dataset", "dataset_args", "model", "trainer", "trainer_args", "num_classes", "seed")
    }
    return _warm_trainer(strictjson.dumps(wanted), lanes)


@functools.lru_cache(maxsize=1)
def _warm_trainer(wanted: str, lanes: int | None) -> Trainer:
    """Return a compiled trainer, the last one if it fits: compiling takes longer than many a run.

    One is enough, since runs come seed by seed. It is compiled here, so that no run compiles in its first round.
    """
    settings = RunSettings(**json.loads(wanted))
    data = _dataset(settings)
    trainer = trainer_of(settings, data, lanes)
    if isinstance(trainer, KerasTrainer):
        trainer.warm_up(data.x_train.dtype)
    return trainer


def _dataset(settings: RunSettings) -> Dataset:
    return _loaded(settings.dataset or "mnist", strictjson.dumps(settings.dataset_args), settings.known_classes)


@functools.lru_cache(maxsize=2)
def _loaded(name: str, args: str, num_classes: int | None) -> Dataset:
    return datasets.load(name, json.loads(args), num_classes=num_classes)
