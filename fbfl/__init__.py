"""fbfl: federated learning in mobile edge computing, coordinated by Ethereum contracts instead of a central server.

This module offers the whole system from Python (docs/python.md); other names may change.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fbfl.errors import FbflError, InvalidInputError
    from fbfl.learning.federation import Federation
    from fbfl.runs.opened import open_run, run
    from fbfl.settings import RunSettings
    from fbfl.simulation import Simulation

__version__ = "0.2.0"

__all__ = [
    "FbflError",
    "Federation",
    "InvalidInputError",
    "RunSettings",
    "Simulation",
    "__version__",
    "open_run",
    "run",
]

_HOMES = {
    "Federation": "fbfl.learning.federation",
    "FbflError": "fbfl.errors",
    "InvalidInputError": "fbfl.errors",
    "RunSettings": "fbfl.settings",
    "Simulation": "fbfl.simulation",
    "open_run": "fbfl.runs.opened",
    "run": "fbfl.runs.opened",
}
"""Module of each name: imported at its first use, since web3 and TensorFlow take seconds."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
