"""Flower apps as trainers: every server is a node of the app, which has its data, its training and its evaluation.

An update is what a node's `ClientApp` returns, minus what it was sent. Nothing of the app is imported here; it runs in
processes with the environment that `fbfl flower prepare` made.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError, require
from fbfl.learning.datasets import Dataset
from fbfl.learning.flower import app as apps
from fbfl.learning.flower import environment, runner
from fbfl.learning.flower.process import AppProcess
from fbfl.learning.flower.strategies import Rule, Strategy, rule_of
from fbfl.learning.training import Model, Samples, TrainingSettings, flat, num_lanes, work_of
from fbfl.randomness import generator
from fbfl.tensors import ModelSpec, TensorSpec, Vector
from fbfl.values import checks

Array = npt.NDArray[Any]
_Answer = Future[tuple[dict[str, Any], runner.Arrays]]

_NAMES = {
    "accuracy": ("accuracy", "eval_accuracy", "eval_acc", "acc"),
    "loss": ("loss", "eval_loss"),
}
"""Figures of ours, and the names that apps give to them, the likeliest first."""


class FlowerTrainer:
    """Trains and evaluates by the Flower app in the folder `app`, on its own data, in processes of its own.

    A `fbfl.learning.trainer.DataHolder`. `servers` are its nodes: server i has the partition i. `config` replaces
    values of its configuration, as a table or as of `flwr run --run-config`. An answer may take `timeout` seconds.
    `lanes` is the number of processes.
    """

    @checks.arguments
    def __init__(
        self,
        model: Model = "mlp",
        settings: TrainingSettings | None = None,
        *,
        app: str,
        servers: int = 10,
        config: Any = None,
        timeout: float = 3600.0,
        lanes: int | None = None,
        seed: int = 0,
    ) -> None:
        _refuse_settings(model, settings or TrainingSettings())
        require(servers >= 1, "servers", servers, "1 or more")
        checks.seconds("timeout is", timeout)
        require(isinstance(config, str | Mapping | None), "config", config, "a table, or KEY=VALUE KEY=VALUE ...")
        self.app = apps.read(app, config or {})
        self.servers = servers
        self._seed = seed
        self._timeout = timeout
        self._command = _runner(self.app)
        self._lanes = [_Lane(self._open) for _ in range(min(num_lanes(lanes), servers))]
        self._round = 0
        self._examples: dict[int, int] = {}
        self._train_metrics: dict[int, dict[str, float]] = {}
        self.strategy, first = self._started()
        self._first = first
        self.spec = _spec(self._label, first)
        self.trainable = np.ones(self.spec.size, bool)

    @property
    def name(self) -> str:
        """The app with its configuration."""
        return f"{self.app.name} {self.app.digest} {dict(self.app.config)}"

    @property
    def rule(self) -> Rule:
        """The rule that the app's strategy is; `InvalidInputError` if fbfl does not have it."""
        return rule_of(self.strategy, self.servers)

    def initial_weights(self) -> Vector:
        """Return the weights [P] that the app begins with."""
        return self.spec.flatten([self._first[tensor.name].astype(np.float32) for tensor in self.spec.tensors])

    def train(
        self,
        weights: Vector,
        clients: Sequence[Samples],
        *,
        round_number: int,
        client_ids: Sequence[int],
        local_epochs: int | Sequence[int] | None = None,
    ) -> Iterator[Vector]:
        """Have the nodes train; `clients` only stand for their data. See `fbfl.learning.trainer.Trainer.train`."""
        client_ids, work = work_of(clients, client_ids, local_epochs, 1)
        if set(work) - {1}:
            raise InvalidInputError(f"{self._label} decides itself how long its nodes train; allowed: no stragglers")
        start = flat(weights, self.spec)
        self._round = round_number
        self._train_metrics = {}
        arrays, config = self._arrays(start), self._configuration("train", round_number)
        answers = [self._ask(client, "train", config, arrays, round_number) for client in client_ids]
        return (
            self._update(client, start, *self._result(answer))
            for client, answer in zip(client_ids, answers, strict=True)
        )

    def counted(self, client: int) -> int:
        """Return the number of examples of a client's last update."""
        return self._examples[client]

    def evaluate(self, weights: Vector, x: Array, y: Array) -> Mapping[str, float]:  # noqa: ARG002  # its data are others
        """Return the figures that the app finds, on data of its own: "loss" and "accuracy" are NaN if it has none.

        They are those of its ServerApp's function; without one, the means over all nodes, weighted by their examples.
        """
        arrays, number = self._arrays(flat(weights, self.spec)), self._round
        found: dict[str, float] = {}
        if self.strategy.evaluates:
            request = {"do": "evaluate_globally", "round": number, "seed": self._drawn("evaluation", number, 0)}
            answer, _ = self._result(self._lanes[0].ask("the evaluation", request, arrays))
            found = dict(answer["metrics"] or {})
        elif self.strategy.asks_clients:
            config = self._configuration("evaluate", number)
            answers = [self._ask(client, "evaluate", config, arrays, number) for client in range(self.servers)]
            found = _means([self._counted(client, self._result(answer)[0]) for client, answer in enumerate(answers)])
        trained = _means([(self._examples[client], metrics) for client, metrics in self._train_metrics.items()])
        return _named({**trained, **found})

    @cached_property
    def _label(self) -> str:
        return f"app {self.app.name}"

    def _open(self) -> AppProcess:
        """Start a process, with the ClientApp loaded."""
        process = AppProcess(self._command, self.app.path, self._label, self._timeout)
        request = {"client": self.app.client, "config": dict(self.app.config), "servers": self.servers}
        process.ask("the import of its ClientApp", {"do": "open", **request})
        return process

    def _started(self) -> tuple[Strategy, runner.Arrays]:
        """Return the app's strategy, and its first weights: the ServerApp's, else those of the first node."""
        first = self._lanes[0]
        request = {"do": "strategy", "server": self.app.server, "seed": self._drawn("initial weights", 0, 0)}
        told, arrays = self._result(first.ask("its ServerApp", request))
        if "drives" in told:
            raise InvalidInputError(
                f"{self._label}: its ServerApp does {told['drives']} by itself; allowed: one that starts a strategy"
            )
        strategy = Strategy(
            told["name"], told["of_flower"], told["legacy"], told["settings"], evaluates=told["evaluates"]
        )
        if not arrays:
            request = {"do": "parameters", "partition": 0, "seed": request["seed"]}
            what = "get_parameters, as its ServerApp starts without arrays,"
            _, arrays = self._result(first.ask(what, request))
        return strategy, arrays

    def _result(self, answer: _Answer) -> tuple[dict[str, Any], runner.Arrays]:
        """Wait for an answer. Where there is none, or nobody waits any more, the processes are ended, so that none
        goes on for an hour.
        """
        try:
            return answer.result()
        except BaseException:
            for lane in self._lanes:
                lane.stop()
            raise

    def _configuration(self, kind: str, number: int) -> dict[str, Any]:
        request = {"do": "configuration", "kind": kind, "round": number}
        answer, _ = self._result(self._lanes[0].ask(f"the configuration to {kind}", request))
        config: dict[str, Any] = answer["config"]
        return config

    def _ask(
        self, client: int, kind: str, config: Mapping[str, Any], arrays: Mapping[str, Array], number: int
    ) -> _Answer:
        """Send a message to a node; it always lives in the same process, as may what it remembers."""
        if not 0 <= client < self.servers:
            raise InvalidInputError(f"client {client}: {self._label} has {self.servers} nodes")
        request = {
            "do": kind,
            "partition": client,
            "form": self.strategy.form,
            "config": config,
            "seed": self._drawn(kind, number, client),
        }
        return self._lanes[client % len(self._lanes)].ask(f"{kind} of node {client}", request, arrays)

    def _drawn(self, purpose: str, number: int, client: int) -> int:
        return int(generator(self._seed, f"flower {purpose}", round_number=number, server=client).integers(2**31))

    def _arrays(self, weights: Vector) -> runner.Arrays:
        """Return weights [P] as the app has them: in its types; whole numbers, which do not move, as at first."""
        parts = {
            tensor.name: array for tensor, array in zip(self.spec.tensors, self.spec.unflatten(weights), strict=True)
        }
        return {
            name: parts[name].astype(array.dtype) if name in parts else array for name, array in self._first.items()
        }

    def _update(self, client: int, start: Vector, answer: Mapping[str, Any], arrays: Mapping[str, Array]) -> Vector:
        where = f"{self._label}, node {client}"
        given = {name: array.shape for name, array in self._first.items()}
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != given:
            wrong = next(name for name in {**given, **shapes} if shapes.get(name) != given.get(name))
            raise InvalidInputError(
                f"{where}: returned array {wrong!r} of the shape {_shape(shapes.get(wrong))}; "
                f"needed: {_shape(given.get(wrong))}, as given"
            )
        for tensor in self.spec.tensors:
            if arrays[tensor.name].dtype.kind != "f":
                raise InvalidInputError(
                    f"{where}: returned array {tensor.name!r} of {arrays[tensor.name].dtype}; needed: "
                    f"{self._first[tensor.name].dtype}, as given"
                )
        self._examples[client], self._train_metrics[client] = self._counted(client, answer)
        with np.errstate(over="ignore"):
            trained = self.spec.flatten([arrays[tensor.name].astype(np.float32) for tensor in self.spec.tensors])
            return trained - start

    def _counted(self, client: int, answer: Mapping[str, Any]) -> tuple[int, dict[str, float]]:
        """Return the number of examples of a reply, and its other metrics."""
        metrics, key = dict(answer["metrics"]), self.strategy.examples
        count = metrics.pop(key, None)
        if count is None or not math.isfinite(count) or count < 1 or count != int(count):
            raise InvalidInputError(
                f"{self._label}, node {client}: its metric {key!r} is {count}; needed: a whole number from 1"
            )
        return int(count), metrics


def standing_for(app: apps.App, servers: int) -> Dataset:
    """Return a data set that stands for an app's own data: a sample for each server."""
    samples, labels = np.zeros((servers, 1), np.uint8), np.zeros(servers, np.int64)
    return Dataset(app.name, samples, labels, samples[:1], labels[:1], source=f"the Flower app {app.name}")


class _Lane:
    """A process, started when it is first asked, and the thread that asks it."""

    def __init__(self, start: Callable[[], AppProcess]) -> None:
        self._start = start
        self._process: AppProcess | None = None
        self._thread = ThreadPoolExecutor(1, "flower")

    def ask(self, what: str, request: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> _Answer:
        """Return the answer to come."""
        return self._thread.submit(self._answer, what, request, arrays)

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.stop()

    def _answer(
        self, what: str, request: Mapping[str, Any], arrays: Mapping[str, Array] | None
    ) -> tuple[dict[str, Any], runner.Arrays]:
        self._process = self._process or self._start()
        return self._process.ask(what, request, arrays)


def _runner(app: apps.App) -> list[str]:
    """Return the command that serves an app; `InvalidInputError` if it has no environment."""
    return [str(environment.python_of(app)), "-I", str(Path(runner.__file__)), str(app.path)]


def _refuse_settings(model: Model, settings: TrainingSettings) -> None:
    """Raise `InvalidInputError` for settings of training that are the app's own affair."""
    default = TrainingSettings()
    changed = {name: value for name, value in vars(settings).items() if value != getattr(default, name)}
    for name, value in {**({"model": model} if model != "mlp" else {}), **changed}.items():
        raise InvalidInputError(
            f"{name} is {value!r}, but a Flower app has its own; allowed: its default, and config, which replaces "
            "values of the app's configuration"
        )


def _spec(label: str, first: Mapping[str, Array]) -> ModelSpec:
    """Return the tensors of the task: the app's arrays of floating point, as float32."""
    tensors = []
    for name, array in first.items():
        if array.dtype.kind == "f" and array.size:
            tensors.append(TensorSpec(name, array.shape))
        elif array.dtype.kind not in "iub":
            raise InvalidInputError(f"{label}: array {name!r} is {array.dtype} {array.shape}; allowed: numbers")
    if not tensors:
        raise InvalidInputError(f"{label} has no arrays of floating point; needed: at least one")
    if not all(np.isfinite(first[tensor.name]).all() for tensor in tensors):
        raise InvalidInputError(f"{label}: its first weights are not finite; needed: finite numbers")
    return ModelSpec(tuple(tensors))


def _means(replies: Sequence[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """Return the means of the metrics that all replies have, weighted by their examples."""
    total = sum(count for count, _ in replies)
    shared = [name for name in (replies[0][1] if replies else ()) if all(name in metrics for _, metrics in replies)]
    return {name: sum(count * metrics[name] for count, metrics in replies) / total for name in shared}


def _named(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return an app's metrics, with "accuracy" and "loss" for those that are; NaN where there is none."""
    found = dict(metrics)
    for ours, names in _NAMES.items():
        known = next((name for name in names if name in found), None)
        found[ours] = math.nan if known is None else found.pop(known)
    return found


def _shape(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else str(list(shape))
