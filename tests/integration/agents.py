"""The owner and the agents of a task as processes, each by the command that a user would type."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fbfl.chain.accounts import development_account
from fbfl.chain.deployment.deploy import file_of, open_ledger
from fbfl.chain.ledger import Ledger
from fbfl.chain.networks import connect
from fbfl.chain.participant import Participant
from fbfl.chain.transactions import Sender
from tests.support.paths import REPOSITORY

SERVERS = 4
CLOCK = Path(__file__).parent / "clock"
"""Has what Python imports when it starts."""


class Agents:
    """The owner and the agents of a task, each by the command that a user would type, in one folder.

    Agent i uses development account `accounts[i]`, and one of `networks` and of the IPFS daemons `ipfs` in turn (by
    default `network`, as the owner, and a local store). It trains on a share of the digits, or with a file of `devices`
    on what these upload, or on what the options `data[i]` say. The clock of agent i is wrong by `clocks[i]` seconds.
    `mock_ethash` is for chains whose seals are no real ones.
    """

    def __init__(
        self,
        folder: Path,
        network: str,
        port: int,
        *,
        networks: Sequence[str] = (),
        accounts: Sequence[int] = range(1, SERVERS + 1),
        owner: int = 0,
        ipfs: Sequence[str] = (),
        devices: Path | None = None,
        clocks: Mapping[int, float] | None = None,
        mock_ethash: bool = False,
    ) -> None:
        self.folder = folder
        self.network = network
        self.port = port
        self.accounts = accounts
        self.addresses = [development_account(account).address for account in accounts]
        self._networks = networks or [network]
        self._owner = owner
        self._ipfs = ipfs
        self.devices = devices
        self._clocks = clocks or {}
        self.data: Mapping[int, tuple[object, ...]] = {}
        self.task = 1
        self._deploy = ("deploy", "--mock-ethash") if mock_ethash else ("deploy",)
        self.agents: dict[int, subprocess.Popen[bytes]] = {}
        self.others: list[subprocess.Popen[bytes]] = []

    def command(self, *words: object, network: str | None = None) -> list[str]:
        return [sys.executable, "-m", "fbfl", *map(str, words), "--network", network or self.network]

    def mec(self, number: int, *options: object) -> list[str]:
        share: tuple[object, ...] = ("--dataset", "digits", "--share", f"{number}/{SERVERS}")
        if self.devices is not None:
            share = ("--devices", self.devices)
        share = self.data.get(number, share)
        store = ("--store", "ipfs") if self._ipfs else ()
        network = self._networks[number % len(self._networks)]
        words = ("mec", "--task", self.task, "--account", self.accounts[number], *share, *store, *options)
        return self.command(*words, network=network)

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.port + number}"

    def do(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), cwd=self.folder, env=self._environment(0), capture_output=True, text=True, timeout=300
        )

    def start(self, command: list[str], log: str, number: int = 0) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as file:
            return subprocess.Popen(command, cwd=self.folder, env=self._environment(number), stdout=file, stderr=file)

    def start_agent(self, number: int, *options: object) -> None:
        """Start it, and wait until it answers: it has joined then, or is about to."""
        self.begin_agent(number, *options)
        wait(lambda: self.health(number) is not None, f"agent {number} answers")

    def begin_agent(self, number: int, *options: object) -> None:
        """Start it."""
        command = self.mec(number, "--port", self.port + number, *options)
        self.agents[number] = self.start(command, f"agent-{number}.log", number)

    def create_task(self, *settings: object) -> int:
        """Deploy, create a task and admit the servers, as its owner does; returns its number."""
        store = ("--store", "ipfs") if self._ipfs else ()
        for words in (self._deploy, ("task", "create", *settings, *store), ("task", "admit", *self.addresses)):
            done = self.do(*words, "--account", self._owner)
            assert done.returncode == 0, f"{words}: {done.stdout} {done.stderr}"
            if "create" in words:
                self.task = int(done.stdout.split()[-1])
        return self.task

    def enrol(self, task: int) -> None:
        """Give the servers their seats in the order of their numbers, before the agents start and would take them.

        Agents that start one after the other take longer; that they enrol by themselves is tested once.
        """

        def register(number: int) -> Participant:
            ledger = self.ledger()
            server = Participant(ledger, Sender(ledger.w3, development_account(self.accounts[number])))
            server.register(self.url(number), 10**18)
            return server

        with ThreadPoolExecutor() as pool:
            for server in list(pool.map(register, range(len(self.accounts)))):
                server.join(task)

    def drive(self, rounds: int, seconds: float = 420) -> None:
        """Have the owner open and close rounds until so many are over."""
        with self.driven(rounds, seconds):
            pass

    @contextmanager
    def driven(self, rounds: int, seconds: float = 420) -> Iterator[None]:
        """Inside, the owner opens and closes rounds, until so many are over."""
        words = ("task", "drive", "--account", self._owner, "--rounds", rounds, "--servers", SERVERS)
        owner = self.start(self.command(*words), "drive.log")
        self.others.append(owner)

        def is_over() -> bool:
            ended = [number for number, agent in self.agents.items() if agent.poll() is not None]
            assert not ended, f"agents {ended} have ended"
            return owner.poll() is not None

        try:
            yield
            wait(is_over, f"{rounds} rounds are over", seconds)
            assert owner.returncode == 0, "the owner failed"
        except AssertionError as error:
            error.add_note(self._last_words())
            raise

    def _environment(self, number: int) -> dict[str, str]:
        ipfs = {"FBFL_IPFS": self._ipfs[number % len(self._ipfs)]} if self._ipfs else {}
        clock = {"CLOCK_OFFSET": str(self._clocks[number])} if number in self._clocks else {}
        return {**environment(), **ipfs, **clock}

    def health(self, number: int) -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(f"{self.url(number)}/health", timeout=2) as answer:
                return dict(json.loads(answer.read()))
        except OSError:
            return None

    def has_recovered(self, number: int) -> bool:
        """Return True if an agent answers, and nothing has failed since its last work."""
        health = self.health(number)
        return health is not None and health["last_error"] is None

    def kill(self, number: int) -> None:
        agent = self.agents.pop(number)
        agent.kill()
        agent.wait(10)

    def log(self, number: int) -> list[dict[str, str]]:
        """Return what an agent has said so far; TensorFlow's own words, which are no JSON, aside."""
        lines = (self.folder / f"agent-{number}.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def _last_words(self, lines: int = 8) -> str:
        """The ends of all logs, for who cannot look at them any more."""
        ends = {file.name: file.read_text().splitlines()[-lines:] for file in sorted(self.folder.glob("*.log"))}
        return "\n".join(line for name, end in ends.items() for line in (f"{name}:", *end))

    def ledger(self) -> Ledger:
        w3 = connect(self.network)
        return open_ledger(w3, file_of(w3, self.folder / "deployments"))

    def end(self) -> None:
        """Kill what still runs."""
        for process in (*self.agents.values(), *self.others):
            if process.poll() is None:
                process.kill()
            process.wait(10)


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(REPOSITORY), str(CLOCK)])
    return {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}


def wait(holds: Callable[[], bool], what: str, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
