"""The local devices of agents, as processes, each by the command that a user would type."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from fbfl.mec.tokens import give_tokens
from tests.integration.agents import SERVERS, Agents, wait

DEVICES = 2 * SERVERS


class Devices:
    """The devices of the agents, each with a state of its own and its share of the digits.

    `options` are said to each. Where they have it move, it is told all servers; else it stays with its own.
    """

    def __init__(self, agents: Agents, *options: object) -> None:
        assert agents.devices is not None
        self._agents = agents
        self._options = options
        self._moving = "--trace" in options or "--mobility" in options
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        give_tokens(agents.devices, range(DEVICES), agents.folder)

    def start(self, number: int, *options: object) -> None:
        near = range(SERVERS) if self._moving else [number % SERVERS]
        servers = [word for server in near for word in ("--mec", self._agents.url(server))]
        samples = ("--dataset", "digits", "--share", f"{number}/{DEVICES}", "--servers", SERVERS)
        words = (*servers, *samples, "--token-file", f"device-{number}.token", *self._options, "--poll", 0.1, *options)
        command = [sys.executable, "-m", "fbfl", "device", *map(str, words)]
        self.running[number] = self._agents.start(command, f"device-{number}.log")

    def finish(self) -> None:
        """Wait until all that were started with --once have uploaded what they have."""
        wait(lambda: all(device.poll() is not None for device in self.running.values()), "the devices are done")
        assert [device.returncode for device in self.running.values()] == [0] * len(self.running)

    def kill(self, number: int) -> None:
        self.running[number].kill()
        self.running[number].wait(10)

    def end(self) -> None:
        for number in self.running:
            self.kill(number)

    def later(self, number: int, seconds: float) -> None:
        """Have a device that does not run believe that it started so much earlier."""
        with closing(sqlite3.connect(self._database(number))) as connection, connection:
            connection.execute("update device set started = started - ?", (seconds,))

    def confirmed(self, number: int) -> int:
        """Return the number of its samples that servers have, as it knows."""
        with closing(sqlite3.connect(self._database(number))) as connection:
            return int(connection.execute("select sum(confirmed) from samples").fetchone()[0])

    def _database(self, number: int) -> Path:
        return self._agents.folder / ".fbfl" / "devices" / str(number) / "samples.sqlite"
