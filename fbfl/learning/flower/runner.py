"""Serves a Flower app to fbfl: a program that runs in the app's environment, where there is no fbfl, only flwr.

    python -I runner.py FOLDER

It reads requests from standard input and answers on standard output, in frames: four letters, the length of a JSON
object and that of the arrays behind it, both as 64 bits, little-endian; then these. The JSON names the arrays, which
follow in NumPy's format. Nothing is pickled. What the app prints goes to standard error.
`fbfl.learning.flower.process` is the other end.
"""

import base64
import importlib
import importlib.metadata
import io
import json
import os
import queue
import random
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]

_MAGIC = b"FBFL"
_LENGTHS = struct.Struct("<4sQQ")
_LONGEST_HEADER = 2**26
_LONGEST_BODY = 2**36


def write(stream: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write one frame. Arrays are of numbers; their dtypes and shapes are kept."""
    text, body = json.dumps({**header, "arrays": list(arrays)}).encode(), io.BytesIO()
    for array in arrays.values():
        np.lib.format.write_array(body, np.asarray(array), allow_pickle=False)
    stream.write(_LENGTHS.pack(_MAGIC, len(text), body.tell()))
    stream.write(text)
    stream.write(body.getbuffer())
    stream.flush()


def read(stream: IO[bytes]) -> tuple[dict[str, Any], Arrays]:
    """Read one frame. The end raises `EOFError`, everything else that is no frame `ValueError`."""
    start = stream.read(_LENGTHS.size)
    if not start:
        raise EOFError
    if len(start) < _LENGTHS.size or not start.startswith(_MAGIC):
        raise ValueError(f"{start[:24]!r} is no frame")
    _, text_length, body_length = _LENGTHS.unpack(start)
    if text_length > _LONGEST_HEADER or body_length > _LONGEST_BODY:
        raise ValueError(f"a frame of {text_length + body_length} bytes is announced")
    try:
        text, body = stream.read(text_length), stream.read(body_length)
        if len(text) < text_length or len(body) < body_length:
            raise ValueError("a frame is cut off")
        header = json.loads(text)
        numbers, arrays = io.BytesIO(body), {}
        for name in header.pop("arrays"):
            arrays[str(name)] = np.lib.format.read_array(numbers, allow_pickle=False)
            if arrays[name].dtype.kind not in "fiub":
                raise ValueError(f"array {name!r} is of {arrays[name].dtype}")
        return header, arrays
    except ValueError:
        raise
    except Exception as error:  # a damaged array raises many kinds
        raise ValueError(f"a frame cannot be read: {type(error).__name__}: {error}") from error


class _Told(BaseException):
    """Leaves the ServerApp as soon as it has told what it would do; no `except Exception` of the app stops it."""

    def __init__(self, told: Any) -> None:
        super().__init__()
        self.told = told


class _Grid:
    """The grid that a ServerApp sees: it has the nodes, but whoever sends messages by itself is left at once."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes

    def get_node_ids(self) -> list[int]:
        return list(range(1, self._nodes + 1))

    def __getattr__(self, name: str) -> Any:
        raise _Told(f"grid.{name}")


class Served:
    """The app, loaded once; each request is a method."""

    def __init__(self, folder: str) -> None:
        sys.path.insert(0, folder)
        self._flower = _module("flwr.app") or importlib.import_module("flwr.common")
        self._contexts: dict[int, Any] = {}
        self._told: dict[str, Any] = {}

    def open(self, request: dict[str, Any], _: Arrays) -> tuple[dict[str, Any], Arrays]:
        """Load the ClientApp."""
        self._config, self._servers = request["config"], request["servers"]
        _identify()
        self._client = _loaded(request["client"], "ClientApp")
        return {"flwr": importlib.metadata.version("flwr")}, {}

    def strategy(self, request: dict[str, Any], _: Arrays) -> tuple[dict[str, Any], Arrays]:
        """Have the ServerApp tell its strategy, the first weights and its configuration."""
        _seed(request["seed"])
        told = self._asked(_loaded(request["server"], "ServerApp"))
        if isinstance(told, str):
            return {"drives": told}, {}
        self._told = told
        strategy = told["strategy"]
        kind = type(strategy)
        plain = {
            name: value if isinstance(value, bool | int | float | str) else value.__name__
            for name, value in vars(strategy).items()
            if isinstance(value, bool | int | float | str) or (callable(value) and hasattr(value, "__name__"))
        }
        first = told.get("initial_arrays")
        return {
            "name": kind.__name__,
            "of_flower": kind.__module__.startswith("flwr."),
            "legacy": told["legacy"],
            "settings": plain,
            "evaluates": told.get("evaluate_fn") is not None,
        }, {} if first is None else {name: array.numpy() for name, array in first.items()}

    def configuration(self, request: dict[str, Any], _: Arrays) -> tuple[dict[str, Any], Arrays]:
        """Return what the strategy sends with the weights of a round, to train or to evaluate."""
        which = "train" if request["kind"] == "train" else "evaluate"
        given, number = self._told.get(f"{which}_config"), request["round"]
        config = dict((given(number) if callable(given) else given) or {})
        if not self._told["legacy"]:
            config["server-round"] = number
        return {"config": {name: _as_json(value) for name, value in config.items()}}, {}

    def parameters(self, request: dict[str, Any], _: Arrays) -> tuple[dict[str, Any], Arrays]:
        """Return the weights that a client of the former kind begins with."""
        content = self._flower.RecordDict({"getparametersins.config": self._flower.ConfigRecord({})})
        reply = self._answer(request, content, "get_parameters")
        return {}, self._arrays_of(reply)

    def train(self, request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
        """Have a client train; return its weights, the number of its examples, and its metrics."""
        reply = self._answer(request, self._content("fitins", request, arrays), "train")
        return self._figures(reply, "fitres"), self._arrays_of(reply)

    def evaluate(self, request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
        """Have a client evaluate weights; return the number of its examples, and its metrics."""
        reply = self._answer(request, self._content("evaluateins", request, arrays), "evaluate")
        return self._figures(reply, "evaluateres"), {}

    def evaluate_globally(self, request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
        """Call the ServerApp's own function of evaluation; its metrics are null where it has no answer."""
        _seed(request["seed"])
        function, number = self._told["evaluate_fn"], request["round"]
        if self._told["legacy"]:
            found = function(number, list(arrays.values()), {})
            metrics = None if found is None else {"loss": found[0], **found[1]}
        else:
            found = function(number, self._record(arrays))
            metrics = None if found is None else dict(found)
        return {"metrics": None if metrics is None else _numbers(metrics)}, {}

    def _asked(self, app: Any) -> Any:
        """Run the ServerApp until it starts its strategy; return what it would start, or what it did instead."""
        strategies = _module("flwr.serverapp.strategy")
        if strategies is not None:
            strategies.Strategy.start = _start
        module = sys.modules[type(app).__module__]
        for name in ("start_grid", "start_driver"):
            if hasattr(module, name):
                setattr(module, name, _start_legacy)
        try:
            app(_Grid(self._servers), self._context(0, {}))
        except _Told as found:
            told = found.told
        else:
            return "nothing"
        if isinstance(told, dict) and told["legacy"] and told.get("initial_arrays") is not None:
            parameters = told["initial_arrays"]
            told["initial_arrays"] = {
                str(place): self._flower.Array(data=data, dtype="", stype=parameters.tensor_type, shape=())
                for place, data in enumerate(parameters.tensors)
            }
        return told

    def _content(self, former: str, request: dict[str, Any], arrays: Arrays) -> Any:
        """Return the records of a message, under the names that the strategy gives them."""
        form = request["form"]
        names = (f"{former}.parameters", f"{former}.config") if form["legacy"] else (form["arrays"], form["config"])
        config = {name: _from_json(value) for name, value in request["config"].items()}
        return self._flower.RecordDict({names[0]: self._record(arrays), names[1]: self._flower.ConfigRecord(config)})

    def _record(self, arrays: Arrays) -> Any:
        return self._flower.ArrayRecord({name: self._flower.Array(array) for name, array in arrays.items()})

    def _answer(self, request: dict[str, Any], content: Any, kind: str) -> Any:
        """Return the content of a client's reply."""
        partition = request["partition"]
        _seed(request["seed"])
        message = self._flower.Message(content, dst_node_id=partition + 1, message_type=kind)
        if partition not in self._contexts:
            own = {"partition-id": partition, "num-partitions": self._servers}
            self._contexts[partition] = self._context(partition + 1, own)
        reply = self._client(message, self._contexts[partition])
        if not hasattr(reply, "has_error"):
            raise TypeError(f"the client returned a {type(reply).__name__}; needed: a Message")
        if reply.has_error():
            raise RuntimeError(f"the client replied with an error: {reply.error.reason}")
        return reply.content

    def _context(self, node: int, own: dict[str, Any]) -> Any:
        flower = self._flower
        return flower.Context(
            run_id=1, node_id=node, node_config=own, state=flower.RecordDict(), run_config=dict(self._config)
        )

    def _figures(self, content: Any, former: str) -> dict[str, Any]:
        metrics: dict[str, Any] = {}
        for record in content.metric_records.values():
            metrics.update(record)
        further = content.config_records.get(f"{former}.metrics")
        return {"metrics": _numbers({**metrics, **(further or {})})}

    def _arrays_of(self, content: Any) -> Arrays:
        records = list(content.array_records.values())
        if len(records) != 1:
            raise ValueError(f"a reply holds {len(records)} ArrayRecords; needed: one")
        return {name: array.numpy() for name, array in records[0].items()}


_STARTED_WITH = (
    "grid",
    "initial_arrays",
    "num_rounds",
    "timeout",
    "train_config",
    "evaluate_config",
    "evaluate_fn",
)


def _start(self: Any, *given: Any, **named: Any) -> None:
    """Stand for `Strategy.start`."""
    told = dict(zip(_STARTED_WITH, given, strict=False)) | named
    raise _Told({**told, "strategy": self, "legacy": False})


def _start_legacy(*, server: Any = None, strategy: Any = None, **_: Any) -> None:
    """Stand for what starts a strategy of the former kind."""
    if strategy is None and server is not None:
        strategy = server.strategy
    if strategy is None:
        strategy = importlib.import_module("flwr.server.strategy").FedAvg()
    raise _Told(
        {
            "strategy": strategy,
            "legacy": True,
            "initial_arrays": getattr(strategy, "initial_parameters", None),
            "train_config": getattr(strategy, "on_fit_config_fn", None),
            "evaluate_config": getattr(strategy, "on_evaluate_config_fn", None),
            "evaluate_fn": getattr(strategy, "evaluate_fn", None),
        }
    )


def _loaded(name: str, kind: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    if not any(each.__name__ == kind for each in type(found).__mro__):
        raise TypeError(f"{name} is a {type(found).__name__}; needed: a {kind}")
    return found


def _identify() -> None:
    """Give messages the numbers of a run, where Flower asks for them."""
    module = _module("flwr.supercore.task_identity")
    if module is not None:
        module.TaskIdentity.task_id, module.TaskIdentity.run_id, module.TaskIdentity.node_id = 1, 1, 1


def _module(name: str) -> Any:
    """Return a module of Flower; None where this version has none of that name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if name.startswith(str(error.name)):
            return None
        raise


def _seed(seed: int) -> None:
    """Seed the generators that the app may draw from: the same request then has the same answer."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # apps draw from it
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(seed)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for name, value in metrics.items():
        try:
            found[str(name)] = float(value)
        except (TypeError, ValueError):
            continue  # texts and lists are no figures
    return found


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    return [_as_json(each) for each in value] if isinstance(value, list | tuple) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["bytes"])
    return [_from_json(each) for each in value] if isinstance(value, list) else value


def _frames(error: BaseException, folder: str) -> list[str]:
    """Return where in the app's files an error was raised, the last place at the end."""
    found = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(folder)]
    return [f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}" for frame in found[-4:]]


def _receive(stream: IO[bytes], requests: "queue.Queue[Any]") -> None:
    """Take requests until the other end is gone; then end the process, whatever it does."""
    while True:
        try:
            requests.put(read(stream))
        except Exception:
            _end()


def _end() -> None:
    """End this process at once, with those that the app has started."""
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def main() -> None:
    """Answer requests until standard input ends."""
    folder = str(Path(sys.argv[1]).absolute())
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # what the app prints
    requests: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_receive, args=(incoming, requests), daemon=True).start()
    served = None
    while True:
        request, arrays = requests.get()
        answer: tuple[dict[str, Any], Arrays]
        try:
            served = served or Served(folder)
            answer = getattr(served, request["do"])(request, arrays)
        except (Exception, SystemExit) as error:
            answer = {"error": f"{type(error).__name__}: {error}", "frames": _frames(error, folder)}, {}
        write(outgoing, *answer)


if __name__ == "__main__":
    main()
