"""Programs that outlive the command that started them, each with a record, so that any later command can stop it.

A folder holds for each program NAME `NAME.process` (its number and when it started, so that no other process that
got the same number later is ever taken for it) and `NAME.log` (what it printed since its last start).
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from fbfl import shipped
from fbfl.errors import InvalidInputError, ProcessError
from fbfl.nodes import launcher
from fbfl.system import strictjson
from fbfl.system.locks import alone_in

LOOPBACK = "127.0.0.1"
STATE = Path(".fbfl")
"""Default folder for the state of local nodes."""

TOOLS = Path(os.environ.get("FBFL_TOOLS") or shipped.checkout_folder(".tools") or Path.home() / ".local/share/fbfl")
"""Folder of what `fbfl nodes install` gets, programs in `bin`; a checkout has its own."""

RECORD = ".process"


@dataclass(frozen=True)
class Program:
    """A program to run: its command, and the ports of this machine's loopback that it will listen on."""

    name: str
    command: Sequence[str]
    ports: Sequence[int]
    environment: Mapping[str, str] = field(default_factory=dict)
    niceness: int = 0


def find_program(name: str) -> str:
    """Return the path of an installed program: the pinned one of `TOOLS`, else the one on PATH."""
    path = shutil.which(name, path=f"{TOOLS / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if path is None:
        raise ProcessError(f"{name} is not installed; `fbfl nodes install` gets it")
    return path


def start(folder: Path, programs: Sequence[Program], ready: Callable[[Program], bool], *, timeout: float) -> None:
    """Start the programs that do not run yet, and wait until every one is ready.

    All or nothing: if one fails, or the caller is interrupted, those started here are stopped again. A port in use
    raises `InvalidInputError`, a program that ends or is not ready after `timeout` seconds `ProcessError`.
    """
    refuse_ports_in_use(folder, programs)
    missing = [program for program in programs if running(folder, program.name) is None]
    try:
        for program in missing:
            _launch(folder, program)
        deadline = time.monotonic() + timeout
        for program in programs:
            _wait_until_ready(folder, program, ready, deadline, timeout)
    except BaseException:
        stop(folder, [program.name for program in missing])
        raise


def refuse_ports_in_use(folder: Path, programs: Sequence[Program]) -> None:
    """Raise `InvalidInputError` if a program that does not run yet would listen where another one does."""
    for program in programs:
        if running(folder, program.name) is None:
            for port in program.ports:
                _refuse_port_in_use(port, program.name)


def running(folder: Path, name: str) -> int | None:
    """Return the number of the process on record under this name, if that very process still runs."""
    path = folder / (name + RECORD)
    try:
        record = strictjson.loads(path.read_bytes())
        return int(record["pid"]) if launcher.start_of(record["pid"]) == record["start"] else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProcessError(
            f"{folder / (name + RECORD)} cannot be read ({error}); remove it if {name} is gone"
        ) from error


def recorded(folder: Path) -> list[str]:
    """Return the names of the programs on record, running or not."""
    return sorted(path.name.removesuffix(RECORD) for path in folder.glob(f"*{RECORD}"))


def stop(folder: Path, names: Sequence[str], *, patience: float = 20.0) -> list[str]:
    """End these programs, politely first, by force after `patience` seconds; returns the names of those that ran."""
    pids = {name: pid for name in names if (pid := running(folder, name)) is not None}
    for end, wait in ((psutil.Process.terminate, patience), (psutil.Process.kill, 5.0)):
        for name in pids:
            _call(folder, name, end)
        deadline = time.monotonic() + wait
        while any(running(folder, name) for name in pids) and time.monotonic() < deadline:
            time.sleep(0.05)
    survivors = [f"{name} (process {pid})" for name, pid in pids.items() if running(folder, name)]
    if survivors:
        raise ProcessError(f"{', '.join(survivors)} cannot be stopped")
    for name in names:
        (folder / (name + RECORD)).unlink(missing_ok=True)
    return list(pids)


def share_with_old_connections(listening: socket.socket) -> None:
    """Let it be bound to a port whose last connections have not timed out yet: Windows does so anyway."""
    if os.name != "nt":  # where the same option would take the port of a program that listens on it
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def log_of(folder: Path, name: str) -> Path:
    """Return the file with the program's output."""
    return folder / f"{name}.log"


def exclusive(folder: Path) -> AbstractContextManager[None]:
    """Keep other commands from starting or stopping programs in this folder; `ProcessError` if one does so now."""
    return alone_in(folder, ProcessError(f"another command is starting or stopping what is in {folder}"))


def _launch(folder: Path, program: Program) -> None:
    (folder / (program.name + RECORD)).unlink(missing_ok=True)
    files = [str(folder / (program.name + RECORD)), str(log_of(folder, program.name))]
    launched = subprocess.Popen(
        [sys.executable, "-I", launcher.__file__, *files, str(program.niceness), *program.command],
        cwd=folder,
        env={**os.environ, **program.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **launcher.APART,
    )
    try:
        _, said = launched.communicate(timeout=30)
    finally:
        launched.wait(timeout=30)  # also when interrupted: what it has started is on record then, and can be stopped
    if launched.returncode:
        raise ProcessError(f"{program.name} could not be started: {said.strip()}")


def _wait_until_ready(
    folder: Path, program: Program, ready: Callable[[Program], bool], deadline: float, timeout: float
) -> None:
    log = log_of(folder, program.name)
    while True:
        is_ready = ready(program)
        # In this order: the answer may come from another process that was quicker to take the port.
        if running(folder, program.name) is None:
            raise ProcessError(f"{program.name} ended at once: {_last_line(log)} (all of it in {log})")
        if is_ready:
            return
        if time.monotonic() > deadline:
            raise ProcessError(f"{program.name} was not ready within {timeout:g} s: {_last_line(log)} (all in {log})")
        time.sleep(0.1)


def _call(folder: Path, name: str, end: Callable[[psutil.Process], None]) -> None:
    pid = running(folder, name)
    if pid is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            end(psutil.Process(pid))


def _refuse_port_in_use(port: int, name: str) -> None:
    if not 1024 <= port <= 65535:
        raise InvalidInputError(f"--port: {name} would listen on {port}; allowed: 1024 to 65535")
    with socket.socket() as probe:
        share_with_old_connections(probe)  # as the programs do
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise InvalidInputError(
                f"port {port}, which {name} would listen on, is in use by another program; choose others with --port"
            ) from error


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1].strip() if lines else "it printed nothing"
