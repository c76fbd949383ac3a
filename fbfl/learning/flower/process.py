"""A process that serves a Flower app: asked over pipes, watched, and ended with its owner."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy.typing as npt

from fbfl.errors import ProcessError, UserCodeError
from fbfl.learning.flower import runner

_PATIENCE = 5.0
"""Seconds in which a process that is told to end may do so by itself."""


class AppProcess:
    """A process that answers requests, one after the other; `label` names the app in messages.

    One that ends, answers with anything but frames, or takes longer than `timeout` seconds for an answer raises
    `ProcessError` and is gone; what the app's code raises becomes `UserCodeError`, after which it goes on.
    """

    def __init__(self, command: Sequence[str], folder: Path, label: str, timeout: float) -> None:
        self._label = label
        self._timeout = timeout
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        # One process per core, so no threads of libraries; and nothing is told to Flower's makers.
        quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "FLWR_TELEMETRY_ENABLED": "0"}
        try:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **quiet},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._printed,
                start_new_session=True,  # Ctrl-C is for its owner, which ends it
            )
        except OSError as error:
            self._printed.close()
            raise ProcessError(f"{label}: {command[0]} cannot be started: {error.strerror}") from error
        self.close = weakref.finalize(self, _end, self._process, self._printed)
        """Ends the process."""

    def ask(
        self, what: str, request: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]] | None = None
    ) -> tuple[dict[str, Any], runner.Arrays]:
        """Return the answer to a request, and its arrays; `what` names the request in messages."""
        if not self.close.alive:
            raise ProcessError(f"{self._label}: its process has ended before {what}")
        late = threading.Event()
        watch = threading.Timer(self._timeout, self._stop_late, [late])
        watch.daemon = True
        watch.start()
        try:
            assert self._process.stdin is not None  # both are pipes
            assert self._process.stdout is not None
            runner.write(self._process.stdin, request, arrays or {})
            answer, found = runner.read(self._process.stdout)
        except (OSError, EOFError, ValueError) as error:
            raise self._failure(what, error, late.is_set()) from error
        finally:
            watch.cancel()
        if "error" in answer:
            frames = [f"  {frame}" for frame in answer.get("frames", ())]
            raise UserCodeError("\n".join([f"{self._label}: {what} raised {answer['error']}", *frames]))
        return answer, found

    def stop(self) -> None:
        """End the process at once, whatever it does; whoever waits for an answer has a `ProcessError` then."""
        _kill(self._process)

    def _stop_late(self, late: threading.Event) -> None:
        late.set()
        self.stop()

    def _failure(self, what: str, error: Exception, late: bool) -> ProcessError:
        if not isinstance(error, EOFError | OSError):
            self.stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        status, last = self._process.poll(), _last_line(self._printed)
        self.close()
        if late:
            return ProcessError(f"{self._label}: {what} took longer than {self._timeout:g} s; its process was ended")
        if isinstance(error, EOFError | OSError):
            return ProcessError(f"{self._label}: its process ended with status {status} during {what}: {last}")
        return ProcessError(f"{self._label}: its process answered {what} with what is no answer: {error}")


def _end(process: "subprocess.Popen[bytes]", printed: IO[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what could not be written any more
                pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)
    if process.poll() is None:
        _kill(process)
        process.wait()
    printed.close()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(OSError):  # it is gone
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _last_line(printed: IO[bytes]) -> str:
    size = printed.seek(0, os.SEEK_END)
    printed.seek(max(0, size - 10_000))
    lines = printed.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it printed nothing"
