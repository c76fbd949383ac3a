"""`make demo-network`: readable while it runs, and nothing runs when it has ended, however that came."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fbfl.nodes import launcher
from tests.integration.agents import environment, wait
from tests.integration.machine import require
from tests.support.paths import REPOSITORY
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration

SERVERS = 4
DEVICES = 8


class Demo:
    """The demonstration as a process, and what it has started."""

    def __init__(self, parent: Path, rounds: int) -> None:
        self.folder = parent / "demo"
        self.output = parent / "output.txt"
        self.port = free_ports()
        script = REPOSITORY / "tools" / "demo_network.py"
        options = ("--rounds", str(rounds), "--output", str(self.folder), "--port", str(self.port))
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(script), *options], env=environment(), stdout=output, stderr=output
            )
        self.pids: dict[str, int] = {}

    def said(self) -> str:
        return self.output.read_text()

    def note_processes(self) -> None:
        for record in self.folder.rglob("*.process"):
            self.pids[f"{record.parent.name}/{record.stem}"] = json.loads(record.read_text())["pid"]

    def wait_for_words(self, words: str) -> None:
        wait(lambda: words in self.said() or self.process.poll() is not None, words, seconds=180)
        assert words in self.said(), self.said()

    def assert_nothing_is_left(self) -> None:
        assert self.pids
        assert {name: pid for name, pid in self.pids.items() if launcher.start_of(pid) is not None} == {}
        assert list(self.folder.rglob("*.process")) == []


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Path]:
    require("anvil")
    require("kubo", "ipfs")
    yield tmp_path
    for record in tmp_path.rglob("*.process"):  # what a failed test has left
        os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)


def test_it_shows_every_round_and_can_be_asked_while_it_runs(parent: Path) -> None:
    rounds = 5
    demo = Demo(parent, rounds)
    demo.wait_for_words("\nround   1  final")
    demo.note_processes()
    assert len(demo.pids) == SERVERS + DEVICES + 4  # its owner, Anvil, two Kubo daemons
    (daemon,) = [line.partition("FBFL_IPFS=")[2] for line in demo.said().splitlines() if "FBFL_IPFS=" in line]
    network = ("--network", f"http://127.0.0.1:{demo.port}")
    questions = [("rounds", "--json"), ("round", "1", "--json"), ("audit", "--store", "ipfs")]
    demo.process.send_signal(signal.SIGSTOP)  # servers play on, but the nodes do not end before the answers are there
    asking = [
        subprocess.Popen(
            [sys.executable, "-m", "fbfl", *question, *network],
            cwd=demo.folder,
            env={**environment(), "FBFL_IPFS": daemon},
            stdout=subprocess.PIPE,
            text=True,
        )
        for question in questions
    ]
    listed, first, audit = (process.communicate(timeout=120)[0] for process in asking)
    demo.process.send_signal(signal.SIGCONT)
    assert [process.returncode for process in asking] == [0, 0, 0]
    record = json.loads(first)
    assert record.pop("terms")["quorum"] == "byzantine"
    assert json.loads(listed)[0] == record
    assert record["status"] == "final"
    assert "everything recomputed is as recorded" in audit

    assert demo.process.wait(180) == 0, demo.said()
    shown = [line for line in demo.said().splitlines() if line.startswith("round ")]
    assert [line.split()[:3] for line in shown] == [["round", str(number + 1), "final"] for number in range(rounds)]
    assert all(0.0 < float(line.split()[4]) <= 1.0 for line in shown)
    assert f"audit: {rounds} rounds, {rounds} final, {SERVERS * rounds} updates: everything" in demo.said()
    demo.assert_nothing_is_left()


def test_nothing_is_left_when_it_is_interrupted(parent: Path) -> None:
    # What a script starts in its background ignores Ctrl-C, and would pass that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    demo = Demo(parent, rounds=100)
    demo.wait_for_words("while it runs")
    demo.note_processes()
    assert len(demo.pids) == SERVERS + DEVICES + 4
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(60) == 130
    assert "interrupted" in demo.said()
    demo.assert_nothing_is_left()


def test_nothing_is_left_when_a_node_fails(parent: Path) -> None:
    demo = Demo(parent, rounds=1)
    demo.wait_for_words("$ fbfl deploy")
    demo.note_processes()
    os.kill(demo.pids["anvil/node-0"], signal.SIGKILL)
    assert demo.process.wait(120) == 3
    assert "demo-network: " in demo.said()
    assert "Traceback" not in demo.said()
    demo.assert_nothing_is_left()
