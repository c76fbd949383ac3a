"""Finished runs on disk: a JSON file each, named by the hash of the run's settings."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fbfl.atomic import write_atomically
from fbfl.errors import StorageError
from fbfl.mec.plan import canonical_json
from fbfl.settings import RunSettings, as_dict


@dataclass(frozen=True)
class FinishedRun:
    """What is kept of a run."""

    rounds: tuple[Mapping[str, Any], ...]
    """The lines of metrics.jsonl (docs/formats.md)."""
    model_sha256: str
    """Of the final global model as safetensors bytes."""


def name_of(settings: RunSettings) -> str:
    """The hash of what differs from the defaults: a setting that is added later leaves the names of old runs alone."""
    defaults = as_dict(RunSettings())
    changed = {name: value for name, value in as_dict(settings).items() if value != defaults[name]}
    return hashlib.sha256(canonical_json(changed)).hexdigest()[:32]


class FinishedRuns:
    """A folder of finished runs. A disk that fails raises `StorageError`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be made: {error.strerror}") from error

    def path(self, settings: RunSettings) -> Path:
        """Where that run is kept."""
        return self._folder / f"{name_of(settings)}.json"

    def save(self, settings: RunSettings, run: FinishedRun) -> None:
        """Keep a run, whole or not at all."""
        lines = ",\n".join(json.dumps(line) for line in run.rounds)
        head = f'{{"settings": {json.dumps(as_dict(settings))},\n"model_sha256": {json.dumps(run.model_sha256)},\n'
        try:
            write_atomically(self.path(settings), f'{head}"rounds": [\n{lines}\n]}}\n'.encode())
        except OSError as error:
            raise StorageError(f"{self.path(settings)}: cannot be written: {error.strerror}") from error

    def forget(self, runs: Iterable[RunSettings]) -> None:
        """Remove these runs where they are kept."""
        for settings in runs:
            try:
                self.path(settings).unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"{self.path(settings)}: cannot be removed: {error.strerror}") from error

    def get(self, settings: RunSettings) -> FinishedRun:
        """The run with these settings. One that is not there raises `StorageError`."""
        run = self.load(settings)
        if run is None:
            raise StorageError(f"{self.path(settings)}: no such run is stored any more")
        return run

    def load(self, settings: RunSettings) -> FinishedRun | None:
        """The run with these settings; None if it is not there, damaged, or was run with another default."""
        try:
            content = json.loads(self.path(settings).read_bytes())
            now = as_dict(settings)
            if any(now.get(name) != value for name, value in content["settings"].items()):
                return None
            if len(content["rounds"]) != settings.rounds:
                return None
            return FinishedRun(tuple(content["rounds"]), content["model_sha256"])
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self.path(settings)}: cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
