"""The dashboard as a user starts it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import REPOSITORY


@contextlib.contextmanager
def dashboard(*options: object, cwd: Path | None = None) -> Iterator[str]:
    """Start `fbfl dashboard` on a free port; the address of its pages."""
    command = [sys.executable, "-m", "fbfl", "dashboard", "--port", "0", *map(str, options)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=cwd,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # in the background it is ignored
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said.startswith("http://127.0.0.1:"), said
            yield said.split()[0].rstrip("/")
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()
