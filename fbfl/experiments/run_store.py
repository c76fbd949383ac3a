"""Finished runs on disk, by the hash of their settings and of the code and files that these name.

Runs through the whole system are a JSON file each; the many small ones without the chain are lines of one file.
"""

import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fbfl.errors import StorageError, failures_as
from fbfl.mec.plan import canonical_json
from fbfl.runs.identity import dependencies
from fbfl.settings import RunSettings, as_dict
from fbfl.system import strictjson
from fbfl.system.atomic import write_file

LINES = "without-chain.jsonl"
"""The file of the runs without the chain."""


@dataclass(frozen=True)
class Run:
    """One run: a federation, through the whole system or without the chain."""

    settings: RunSettings
    chain: bool = True
    listing: bool = False
    """True to keep the paper's listing of its blocks with it."""

    @functools.cached_property
    def name(self) -> str:
        """Hash of the settings that differ from the defaults: a setting added later leaves names of old runs alone.

        Versions of rules and attacks, data files and users' code count, too: see `fbfl.runs.identity`.
        """
        changed = {**_changed(self.settings), **dependencies(self.settings, self.chain)}
        if not self.chain:
            changed["chain"] = False
        if self.listing:
            changed["listing"] = True
        return hashlib.sha256(canonical_json(changed)).hexdigest()[:32]


@dataclass(frozen=True)
class FinishedRun:
    """Record of a finished run."""

    rounds: tuple[Mapping[str, Any], ...]
    """Lines of metrics.jsonl (docs/formats.md); without the chain, only their figures of the model."""
    model_sha256: str
    """Hash of the final global model's safetensors bytes."""
    listing: Mapping[str, Any] | None = None
    """Its blocks, as `fbfl blocks` prints them."""
    warnings: tuple[str, ...] = ()
    """Warnings about its figures, a line each, as in summary.json."""


class FinishedRuns:
    """A folder of finished runs. A disk that fails raises `StorageError`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with failures_as(StorageError, f"{folder}: cannot be made"):
            folder.mkdir(parents=True, exist_ok=True)
        self._lines = _LineFile(folder / LINES)

    def path(self, run: Run) -> Path:
        """Return the file in which a run is kept."""
        return self._folder / (f"{run.name}.json" if run.chain else LINES)

    def save(self, run: Run, finished: FinishedRun) -> None:
        """Keep a run, whole or not at all."""
        if run.chain:
            write_file(self.path(run), _as_file(run.settings, finished))
        else:
            self._lines.append(run, finished)

    def forget(self, runs: Iterable[Run]) -> None:
        """Remove these runs where they are kept."""
        lines = []
        for run in runs:
            with failures_as(StorageError, f"{self.path(run)}: cannot be removed"):
                if run.chain:
                    self.path(run).unlink(missing_ok=True)
                else:
                    lines.append(run.name)
        if lines:
            self._lines.remove(set(lines))

    def get(self, run: Run) -> FinishedRun:
        """Return a run. One that is not there raises `StorageError`."""
        finished = self.load(run)
        if finished is None:
            raise StorageError(f"{self.path(run)}: run {run.name} is not stored any more")
        return finished

    def load(self, run: Run) -> FinishedRun | None:
        """Return a run; None if it is not there, damaged, or was run with another default."""
        try:
            content = strictjson.loads(self.path(run).read_bytes()) if run.chain else self._lines.content.get(run.name)
            if content is None:
                return None
            now = as_dict(run.settings)
            if any(now.get(name) != value for name, value in content["settings"].items()):
                return None
            if len(content["rounds"]) != run.settings.rounds:
                return None
            return FinishedRun(
                tuple(content["rounds"]),
                content["model_sha256"],
                content.get("listing"),
                tuple(content.get("warnings", ())),
            )
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self.path(run)}: cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


class _LineFile:
    """A JSON object per run: `run` (its name), `settings` (those that differ from the defaults), `model_sha256`,
    `warnings` if there are any, and a list per measure with a value per round. A line with `defaults` has the
    defaults for the lines after it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._defaults: dict[str, Any] = {}

    @functools.cached_property
    def content(self) -> dict[str, dict[str, Any]]:
        """The runs by name, with all their settings, and `rounds` as in the files of other runs."""
        found: dict[str, dict[str, Any]] = {}
        for line in self._read():
            try:
                values = strictjson.loads(line)
                if "defaults" in values:
                    self._defaults = values["defaults"]
                    continue
                name, settings = values.pop("run"), values.pop("settings")
                kept = {"model_sha256": values.pop("model_sha256"), "warnings": values.pop("warnings", [])}
                rounds = [
                    {"round": number, **dict(zip(values, row, strict=True))}
                    for number, row in enumerate(zip(*values.values(), strict=True), 1)
                ]
                found[name] = {"settings": {**self._defaults, **settings}, **kept, "rounds": rounds}
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # cut off when the process was killed
        return found

    def append(self, run: Run, finished: FinishedRun) -> None:
        known, defaults = self.content, _defaults()
        measures = [name for name in finished.rounds[0] if name != "round"]
        line = {
            "run": run.name,
            "settings": _changed(run.settings),
            "model_sha256": finished.model_sha256,
            **({"warnings": list(finished.warnings)} if finished.warnings else {}),
            **{name: [values[name] for values in finished.rounds] for name in measures},
        }
        text = strictjson.dumps(line) + "\n"
        if defaults != self._defaults:
            text = strictjson.dumps({"defaults": defaults}) + "\n" + text
            self._defaults = defaults
        if not self._ends_a_line():
            text = "\n" + text
        with failures_as(StorageError, f"{self._path}: cannot be written"), self._path.open("ab") as file:
            file.write(text.encode())
        known[run.name] = _content(run.settings, finished)

    def remove(self, names: set[str]) -> None:
        kept = []
        for line in self._read():
            try:
                gone = strictjson.loads(line).get("run") in names
            except (ValueError, AttributeError):
                gone = True
            kept += [] if gone else [line]
        write_file(self._path, b"".join(line + b"\n" for line in kept))
        self.__dict__.pop("content", None)

    def _read(self) -> list[bytes]:
        try:
            return self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []

    def _ends_a_line(self) -> bool:
        try:
            with self._path.open("rb") as file:
                file.seek(-1, 2)
                return file.read(1) == b"\n"
        except OSError:  # no such file, or an empty one
            return True


def _content(settings: RunSettings, finished: FinishedRun) -> dict[str, Any]:
    """Return a run as `FinishedRuns.load` finds it."""
    found = {"settings": as_dict(settings), "model_sha256": finished.model_sha256}
    found |= {"listing": finished.listing} if finished.listing else {}
    found |= {"warnings": list(finished.warnings)} if finished.warnings else {}
    return {**found, "rounds": finished.rounds}


def _as_file(settings: RunSettings, finished: FinishedRun) -> bytes:
    head = _content(settings, finished)
    lines = ",\n".join(strictjson.dumps(line) for line in head.pop("rounds"))
    parts = [f"{strictjson.dumps(name)}: {strictjson.dumps(value)},\n" for name, value in head.items()]
    return f'{{{"".join(parts)}"rounds": [\n{lines}\n]}}\n'.encode()


def _changed(settings: RunSettings) -> dict[str, Any]:
    defaults = _defaults()
    return {name: value for name, value in as_dict(settings).items() if value != defaults[name]}


@functools.cache
def _defaults() -> dict[str, Any]:
    return as_dict(RunSettings())
