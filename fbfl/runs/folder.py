"""The folder of a run: what `fbfl run` writes and the other commands read.

settings.json     the settings of the run
lock              held by the process that plays it
deployment.json   the contracts' addresses and the task's number
chain/            the embedded chain as blocks and genesis (see `fbfl.chain.embedded.export`); none of another network
payloads/         every model and update by its CID
metrics.jsonl     a line per round
summary.json      the results, and the hashes that pin the chain; written when the run has ended
accuracy.png, loss.png
"""

import contextlib
import hashlib
import importlib.metadata
import itertools
import os
import platform
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from eth_utils.address import is_address
from web3 import Web3

from fbfl.chain.embedded.chain import EmbeddedChain
from fbfl.chain.embedded.export import ChainWriter, import_chain
from fbfl.chain.embedded.pin import ChainHead
from fbfl.chain.head import hash_of
from fbfl.chain.ledger import Ledger
from fbfl.chain.networks import EMBEDDED, connect, public_name
from fbfl.chain.task import Task
from fbfl.errors import ChainImportError, InvalidInputError, StorageError, failures_as
from fbfl.learning.datasets import Dataset
from fbfl.mec.plan import TaskPlan
from fbfl.runs import plots
from fbfl.runs.files import DEFAULT_PARENT, pin_of, read_json, read_metrics, text_of, whole_lines
from fbfl.runs.measures import finite
from fbfl.settings import RunSettings, as_dict
from fbfl.simulation import RoundResult, Simulation
from fbfl.storage.ipfs import IpfsStore
from fbfl.storage.local import LocalStore
from fbfl.storage.payload import encode
from fbfl.storage.store import Store
from fbfl.system import strictjson
from fbfl.system.atomic import write_atomically, write_file
from fbfl.system.locks import LOCK, only_process
from fbfl.tensors import Vector

_NEEDED = ("accuracy", "loss", "seconds")
"""Keys of a line of metrics.jsonl without which a run does not go on."""

_VERSIONS = ("fbfl", "tensorflow-cpu", "tensorflow", "keras", "numpy", "web3", "py-evm", "eth-tester", "safetensors")


class RunFolder:
    """The folder of a run that is under way."""

    def __init__(self, path: Path, metrics: Sequence[dict[str, Any]] = ()) -> None:
        self.path = path
        self._metrics = list(metrics)
        self._writer: ChainWriter | None = None
        self._lock = only_process(path, f"the run in {path}")

    @classmethod
    def create(cls, path: Path, settings: RunSettings) -> Self:
        """Make a new folder. One that cannot be written, or holds a run already, raises `InvalidInputError`."""
        occupied = InvalidInputError(f"--output {path}: holds a run already; allowed: a new or an empty folder")
        try:
            if any((path / name).exists() for name in ("settings.json", "metrics.jsonl", "summary.json")):
                raise occupied
            path.mkdir(parents=True, exist_ok=True)
            (path / "metrics.jsonl").open("x").close()  # if two start at once, only one gets the folder
            write_atomically(path / "settings.json", _pretty(as_dict(settings)))
        except OSError as error:
            if isinstance(error, FileExistsError) and path.is_dir():
                raise occupied from error
            raise InvalidInputError(f"--output {path}: cannot be written: {error.strerror}") from error
        return cls(path)

    @classmethod
    def reopened(cls, path: Path) -> Self:
        """Open the folder of a run that has not ended, to go on with it."""
        _drop_what_was_cut_off(path / "metrics.jsonl")
        lines = read_metrics(path)
        for place, line in enumerate(lines, 1):
            if problem := _problem_of(line, place):
                raise ChainImportError(f"{path / 'metrics.jsonl'} is damaged: line {place} {problem}")
        return cls(path, lines)

    @property
    def lines(self) -> Sequence[dict[str, Any]]:
        """Lines of metrics.jsonl so far."""
        return self._metrics

    def __enter__(self) -> Self:
        self._lock.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        try:
            if kind is not None:
                self._leave(kind)
        finally:
            self._lock.__exit__(kind, *error)

    def _leave(self, kind: type[BaseException]) -> None:
        """Leave a run that an error has ended."""
        if not (self.path / "deployment.json").exists():
            self._forget()
        # Keep the chain of an interrupted run; up to the last finished round it is on disk anyway.
        elif self._writer is not None and issubclass(kind, KeyboardInterrupt):
            self._writer.flush()

    def _forget(self) -> None:
        """Remove the traces of a run that did not begin, so that the corrected one can use the folder."""
        with contextlib.suppress(OSError):  # somebody else's files stay, and the folder with them
            for name in ("settings.json", "metrics.jsonl", LOCK):
                (self.path / name).unlink()
            (self.path / "payloads").rmdir()
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def payloads(self, kind: str) -> Store:
        """Return the store of the run's payloads: `local` or `ipfs`.

        The run can be played again, so that it does not wait for the disk, which takes longer than a round does.
        """
        return IpfsStore() if kind == "ipfs" else LocalStore(self.path / "payloads", durable=False)

    def attach(self, federation: Simulation, origin: Mapping[str, Any]) -> None:
        """Record contracts, task and what the run comes from; keep the chain from now on, if it is in this process."""
        deployment: dict[str, Any] = {"addresses": dict(federation.devnet.addresses), "task": federation.task.id}
        deployment["origin"] = dict(origin)
        chain = federation.chain
        if not isinstance(chain, EmbeddedChain):
            start = federation.devnet.start_block
            deployment |= {"start_block": start, "start_hash": _hash_of(chain.w3, start)}
        else:
            self._writer = ChainWriter(self.path / "chain", chain)
            self._writer.flush()
        write_file(self.path / "deployment.json", _pretty(deployment))  # last: without it the run has no task

    def go_on(self, federation: Simulation) -> None:
        """Go on keeping the chain of a federation that goes on from this folder, if it is in this process."""
        if isinstance(federation.chain, EmbeddedChain):
            self._writer = ChainWriter(self.path / "chain", federation.chain, go_on=True)

    def add_round(self, result: RoundResult) -> dict[str, Any]:
        """Keep a finished round: first the chain, then its line."""
        if self._writer is not None:
            self._writer.flush()
        line = result.line()
        self._metrics.append(line)
        path = self.path / "metrics.jsonl"
        with failures_as(StorageError, f"{path}: cannot be written"), path.open("a", encoding="utf-8") as file:
            file.write(strictjson.dumps(line) + "\n")
        return line

    def finish(
        self,
        settings: RunSettings,
        dataset: Dataset,
        plan: TaskPlan,
        weights: Vector,
        seconds: float,
        warnings: Iterable[str] = (),
    ) -> dict[str, Any]:
        """Write summary.json, with these warnings before those of the rounds; returns its content."""
        last = self._metrics[-1]
        summary = {
            "dataset": dataset.name,
            "dataset_source": dataset.source,
            "dataset_note": dataset.note,
            **{key: value for key, value in as_dict(settings).items() if key != "dataset"},
            "final_rounds": sum(line["status"] == "final" for line in self._metrics),
            "final_accuracy": last["accuracy"],
            "final_loss": last["loss"],
            **({"final_metrics": last["metrics"]} if "metrics" in last else {}),
            "warnings": [*warnings, *warnings_in(self._metrics)],
            "model_sha256": hashlib.sha256(encode(plan.spec, weights)).hexdigest(),
            "seconds": round(seconds, 3),
            "chain": self._writer.flush().to_json() if self._writer else None,
            "versions": _versions(),
        }
        write_file(self.path / "summary.json", _pretty(summary))
        return summary

    def plot(self, title: str) -> list[Path]:
        """Draw the pictures; returns their paths."""
        return plots.plot_rounds(self.path, self._metrics, title)


def warnings_in(lines: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the warnings of a run's rounds, each once."""
    return tuple(dict.fromkeys(text for line in lines for text in line.get("warnings", ())))


@dataclass(frozen=True)
class StoredRun:
    """A task and its payloads to read: of a stored run, its chain re-executed, or on a network."""

    ledger: Ledger
    store: Store
    task: Task
    pin: ChainHead | None = None
    """Head of the chain that the folder keeps, which was executed again up to it; None on a network."""


def open_stored(path: Path) -> StoredRun:
    """Open a run's folder; a run on a network needs that network.

    A folder that holds no run raises `InvalidInputError`; a damaged chain, or one of another run,
    `ChainImportError`.
    """
    deployment = read_deployment(path)
    settings = read_json(path / "settings.json")
    network = settings.get("network", EMBEDDED)
    _require(path / "settings.json", type(network) is str, network, "text")
    with of_this_chain(path):
        pin = pin_of(path) if network == EMBEDDED else None
        ledger = _exported(path, deployment, pin) if pin else _running(path, deployment, network)
        task = ledger.task(deployment["task"])
    store: Store = IpfsStore() if settings.get("store") == "ipfs" else LocalStore(path / "payloads")
    return StoredRun(ledger, store, task, pin)


@contextlib.contextmanager
def of_this_chain(path: Path) -> Iterator[None]:
    """Raise `ChainImportError`, which names the deployment.json in a folder, for what its chain does not have."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise ChainImportError(f"{path / 'deployment.json'} does not belong to this chain: {error}") from error


def read_deployment(path: Path) -> dict[str, Any]:
    """Return the deployment.json of a run's folder; one that names no contracts and no task raises as `read_json`."""
    file = path / "deployment.json"
    deployment = read_json(file)
    addresses: Any = deployment.get("addresses")
    _require(file, isinstance(addresses, dict), addresses, "addresses by name")
    for address in addresses.values():
        _require(file, is_address(address), address, "an address")
    for number in (deployment.get("task"), deployment.get("start_block", 0)):
        _require(file, type(number) is int, number, "a whole number")
    return deployment


def _require(file: Path, holds: object, value: object, needed: str) -> None:
    if not holds:
        raise ChainImportError(f"{file} is damaged: it names {reprlib.repr(value)} where {needed} has to be")


def _problem_of(line: Mapping[str, Any], place: int) -> str | None:
    """Return what is wrong with a line of a run that goes on; None if it tells what the run's end needs of it."""
    if line["round"] != place:
        return f"is of round {line['round']}"
    if line.get("status") not in ("final", "aborted"):
        return "has no status"
    if any(name not in line or (line[name] is not None and finite(line[name]) is None) for name in _NEEDED):
        return f"lacks one of {', '.join(_NEEDED)}"
    warnings = line.get("warnings", [])
    if not isinstance(warnings, list) or not all(isinstance(text, str) for text in warnings):
        return "has warnings that are no texts"
    return None


def _drop_what_was_cut_off(path: Path) -> None:
    """Leave whole lines in a file only."""
    text = text_of(path)
    if (whole := whole_lines(text)) != text:
        write_file(path, whole.encode())


def recorded_chain(path: Path) -> tuple[Path, ChainHead]:
    """Return the folder of the chain that a run's folder keeps, and its head as recorded apart from it.

    A run on another network than the embedded one raises `InvalidInputError`.
    """
    network = read_json(path / "settings.json").get("network", EMBEDDED)
    if network != EMBEDDED:
        raise InvalidInputError(f"{path}: its chain is at {public_name(network)}; allowed: a run on {EMBEDDED}")
    return path / "chain", pin_of(path)


def _exported(path: Path, deployment: Mapping[str, Any], pin: ChainHead) -> Ledger:
    chain = import_chain(path / "chain", pin)
    return Ledger(chain.w3, deployment["addresses"], head=chain.head)


def _running(path: Path, deployment: Mapping[str, Any], network: str) -> Ledger:
    w3, start = connect(network), deployment["start_block"]
    found = _hash_of(w3, start)
    if found is None or found != deployment["start_hash"]:
        raise ChainImportError(
            f"{path}: the chain at {public_name(network)} is not the one of this run; has it begun anew?"
        )
    return Ledger(w3, deployment["addresses"], start)


def _hash_of(w3: Web3, block: int) -> str | None:
    found = hash_of(w3, block)
    return None if found is None else "0x" + found.hex()


def folder_of_now() -> Path:
    """Make a folder in runs/ with the time as its name."""
    return new_folder(DEFAULT_PARENT, datetime.now().strftime("%Y%m%d-%H%M%S"))


def new_folder(parent: Path, name: str) -> Path:
    """Make a folder that did not exist: with this name, or with a number appended."""
    for number in itertools.count(1):
        path = parent / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
            return path
        except OSError as error:
            if os.path.lexists(path):
                continue
            # A link to a missing disk also counts as existing.
            raise InvalidInputError(f"{path}: cannot be written: {error.strerror}; allowed: --output DIR") from error
    raise AssertionError("there is always a next number")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _pretty(value: object) -> bytes:
    return (strictjson.dumps(value, indent=1) + "\n").encode()
