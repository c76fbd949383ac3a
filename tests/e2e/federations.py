"""Small federations on the digits data, for tests of the whole system."""

from pathlib import Path
from typing import Any

from fbfl.learning import datasets
from fbfl.settings import RunSettings
from fbfl.simulation import Simulation
from fbfl.storage.local import LocalStore


def federation(folder: Path, *, simulation: dict[str, Any] | None = None, **settings: Any) -> Simulation:
    """A federation of four servers on the digits, with its payloads in `folder`."""
    chosen = RunSettings(**{"dataset": "digits", "servers": 4, "devices": 8, "rounds": 2, **settings})
    return Simulation(chosen, datasets.load("digits"), LocalStore(folder), **(simulation or {}))
