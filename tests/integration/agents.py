"""The owner and the agents of a task as processes, each by the command that a user would type."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fbfl.chain.compile import REPOSITORY
from fbfl.chain.deploy import open_ledger
from fbfl.chain.ledger import Ledger
from fbfl.chain.networks import connect

SERVERS = 4


class Agents:
    """The owner and the agents of a task, each by the command that a user would type, in one folder."""

    def __init__(self, folder: Path, network: str, port: int) -> None:
        self.folder = folder
        self.network = network
        self.port = port
        self.agents: dict[int, subprocess.Popen[bytes]] = {}
        self.others: list[subprocess.Popen[bytes]] = []

    def command(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "fbfl", *map(str, words), "--network", self.network]

    def mec(self, number: int, *options: object) -> list[str]:
        share = ("--dataset", "digits", "--share", f"{number}/{SERVERS}")
        return self.command("mec", "--account", number + 1, *share, "--poll", 0.2, *options)

    def do(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), cwd=self.folder, env=environment(), capture_output=True, text=True, timeout=120
        )

    def start(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as file:
            return subprocess.Popen(command, cwd=self.folder, env=environment(), stdout=file, stderr=file)

    def start_agent(self, number: int) -> None:
        """Start it, and wait until it answers: it has joined then, or is about to."""
        command = self.mec(number, "--port", self.port + number)
        self.agents[number] = self.start(command, f"agent-{number}.log")
        wait(lambda: self.health(number) is not None, f"agent {number} answers")

    def health(self, number: int) -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port + number}/health", timeout=2) as answer:
                return dict(json.loads(answer.read()))
        except OSError:
            return None

    def kill(self, number: int) -> None:
        self.agents[number].kill()
        self.agents[number].wait(10)

    def ledger(self) -> Ledger:
        return open_ledger(connect(self.network), self.folder / "deployments")

    def end(self) -> None:
        """Kill what still runs."""
        for process in (*self.agents.values(), *self.others):
            if process.poll() is None:
                process.kill()
            process.wait(10)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3"}


def wait(holds: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
