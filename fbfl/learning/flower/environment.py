"""Environments of Flower apps: which one an app has, and how it is made. Nothing is installed but by `prepare`."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from fbfl.errors import InvalidInputError, ProcessError
from fbfl.learning.flower.app import FILE, App
from fbfl.system.locks import alone_in

FOLDER = Path(".fbfl") / "envs"
"""Default folder of the environments."""

_READY = "ready"  # written when all is installed


_UNREADABLE = ("Failed to parse", "Invalid requirement")
"""What uv and pip say of a text that is no requirement."""


def folder_of(app: App, parent: Path = FOLDER) -> Path:
    """Return the folder of an app's environment: apps with the same requirements share it."""
    made_of = json.dumps([sorted(app.dependencies), list(sys.version_info[:2])])
    return (parent / hashlib.sha256(made_of.encode()).hexdigest()[:16]).absolute()


def python_of(app: App, parent: Path = FOLDER) -> Path:
    """Return the Python of an app's environment; `InvalidInputError` if it was not prepared."""
    folder = folder_of(app, parent)
    if not (folder / _READY).exists():
        raise InvalidInputError(f"app {app.path} has no environment here; needed: fbfl flower prepare {app.path}")
    return _python_in(folder)


def prepare(app: App, parent: Path = FOLDER, *, timeout: float = 1800.0) -> Path:
    """Make an app's environment unless it is there: what its `pyproject.toml` requires, by uv, or venv and pip.

    A requirement that cannot be read raises `InvalidInputError`; one that cannot be installed, or more than `timeout`
    seconds for it, raises `ProcessError`, and no environment stays.
    """
    if not app.dependencies:
        raise InvalidInputError(f"app {app.path}: its pyproject.toml has no dependencies; needed: flwr, at least")
    folder = folder_of(app, parent)
    with alone_in(folder.parent / f"{folder.name}.lock", None):
        if (folder / _READY).exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
        make = [uv, "venv", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
        python = str(_python_in(folder))
        install = [uv, "pip", "install", "--python", python] if uv else [python, "-I", "-m", "pip", "install"]
        try:
            _run(app, [*make, str(folder)], timeout)
            _run(app, [*install, "--quiet", "--", *app.dependencies], timeout)
            (folder / _READY).touch()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return folder


def _python_in(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(app: App, command: list[str], timeout: float) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise ProcessError(f"app {app.path}: its environment was not made within {timeout:g} s") from error
    except OSError as error:
        raise ProcessError(f"app {app.path}: {command[0]} cannot be started: {error.strerror}") from error
    if done.returncode:
        told = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        last = max((place for place, line in enumerate(told) if line.upper().startswith("ERROR")), default=-1)
        if told and any(words in told[last] for words in _UNREADABLE):
            raise InvalidInputError(
                f"app {app.path}: dependencies in {FILE}: {told[last]}; needed: requirements as pip reads them"
            )
        # Behind its error uv tells the cause, which names the package.
        said = "; ".join(told[last:]) or "it printed nothing"
        raise ProcessError(f"app {app.path}: its environment cannot be made: {said}")
