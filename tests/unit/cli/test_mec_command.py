"""`fbfl mec` in this process: one server of a federation on a chain in this process."""

import json
import logging
import math
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fbfl.chain.remote import accounts_of
from fbfl.cli import main
from fbfl.cli import mec as mec_command
from fbfl.cli.keys import KEY_VARIABLE
from fbfl.simulation import Simulation
from fbfl.storage.local import LocalStore
from fbfl.storage.store import Reference
from tests.support import flower_node
from tests.support.federations import federation
from tests.support.ports import free_ports


class LastStore(LocalStore):
    """Asks the agent how it is when it keeps its update, and ends it as an operator does."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder)
        self.port = port
        self.health: dict[str, Any] = {}

    def put(self, data: bytes) -> Reference:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
            self.health = json.loads(answer.read())
        os.kill(os.getpid(), signal.SIGTERM)
        return super().put(data)


@pytest.fixture
def _own_process() -> Iterator[None]:
    """The command sets what is the process's: signals, and where its log goes."""
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    root, ours = logging.getLogger(), logging.getLogger("fbfl")
    before = (root.handlers[:], root.level, ours.level)
    yield
    for number, handler in signals.items():
        signal.signal(number, handler)
    root.handlers[:], level, own_level = before
    root.setLevel(level)
    ours.setLevel(own_level)


@pytest.fixture
def play(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _own_process: None
) -> tuple[Simulation, LastStore, list[str]]:
    """A federation whose first round is open, the store of its second server, and the command that starts that one."""
    fed = federation(tmp_path / "payloads", servers=2, devices=2, consensus="pbft", signatures=True)
    store = LastStore(tmp_path / "payloads", free_ports())
    monkeypatch.setattr(mec_command, "ledger_on", lambda network, deployment, task=None: fed.ledger)
    monkeypatch.setattr(mec_command, "store_of", lambda options: store)
    monkeypatch.setenv(KEY_VARIABLE, accounts_of(fed.devnet.nodes, 3)[2].key.hex())
    command = ["mec", "--network", "anvil", "--task", str(fed.task.id), "--port", str(store.port), "--poll", "0.01"]
    return fed, store, [*command, "--state", str(tmp_path / "state")]


def test_a_server_trains_on_its_own_samples_publishes_its_update_and_ends_when_it_is_told_to(
    play: tuple[Simulation, LastStore, list[str]], tmp_path: Path
) -> None:
    fed, store, command = play
    x, y = np.zeros((10, *fed.dataset.input_shape), np.float32), np.arange(10)
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y)
    fed.owner.open_round(fed.task.id)
    assert main([*command, "--data", str(tmp_path / "own.npz")]) == 0
    assert store.health["address"] == fed.servers[1].address
    assert store.health["phase"] == "submit"
    assert store.health["samples"] == 10
    assert (tmp_path / "state" / "mec").is_dir()


def test_what_does_not_fit_the_task_is_refused_in_a_line(
    play: tuple[Simulation, LastStore, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fed, _, command = play
    shape = fed.dataset.input_shape
    np.savez(tmp_path / "flat.npz", x_train=np.zeros((3, 7), np.float32), y_train=np.arange(3))
    np.savez(tmp_path / "many.npz", x_train=np.zeros((3, *shape), np.float32), y_train=np.arange(3) + 9)
    wide = np.linspace(0, 9, 3 * math.prod(shape)).reshape(3, *shape)
    np.savez(tmp_path / "wide.npz", x_train=wide, y_train=np.arange(3))
    np.savez(tmp_path / "words.npz", x_train=wide.astype(np.int64), y_train=np.arange(3))
    (tmp_path / "tokens").write_text("")
    for options, named in (
        (["--data", str(tmp_path / "flat.npz")], f"samples have the shape [7]; allowed in this task: {[*shape]}"),
        (["--data", str(tmp_path / "words.npz")], "samples are int32; allowed in this task: uint8 and floating point"),
        (["--data", str(tmp_path / "wide.npz")], "samples hold 0 to 9; allowed in this task: -1 to 2"),
        (["--data", str(tmp_path / "many.npz")], "y_train holds 11; allowed with num_classes = 10: 0 to 9"),
        (["--dataset", "digits"], "--dataset digits: needs --share I/N, one of N parts, from 0"),
        (["--dataset", "digits", "--share", "2/2"], "--share 2/2; allowed: I/N with I from 0 to N-1"),
        (["--devices", str(tmp_path / "tokens"), "--device-samples", "0"], "--device-samples 0; allowed: 1 or more"),
        (["--devices", str(tmp_path / "tokens"), "--share", "0/2"], "--share 0/2; allowed: only with --dataset"),
        (["--dataset", "digits", "--share", "0/2", "--most-penalty", "2"], "--most-penalty 2; allowed: 0 to 1"),
        (["--dataset", "digits", "--share", "0/2", "--most-loss", "1.5"], "--most-loss 1.5; allowed: 0 to 1"),
        (["--dataset", "digits", "--share", "0/2", "--most-penalty", "0"], "allowed by --most-penalty: 0"),
    ):
        assert main([*command, *options]) == 2
        said = capsys.readouterr().err
        assert named in said
        assert said.count("\n") == 1


def test_a_node_of_a_flower_app_is_refused_in_a_line_before_it_has_joined(
    play: tuple[Simulation, LastStore, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fed, _, command = play
    app = flower_node.app_in(tmp_path / "app")
    flower = ["--trainer", "flower", "--share", "0/2"]
    for options, named in (
        (["--app", app, "--share", "0/2"], f"--app {app}; allowed: only with --trainer flower"),
        (["--app", app, *flower[:2]], f"--app {app}: needs --share I/N, one of its N nodes, from 0"),
        (["--app", app, *flower, "--model", "cnn"], "--model is given with --app; allowed: none, the app has its own"),
        (["--app", app, *flower, "--partition", "iid"], "--partition is given with --app; allowed: none"),
        (["--app", app, *flower, "--trainer-arg", f"app={app}"], "--trainer-arg app; allowed: --app DIR --share I/N"),
        (["--data", "a.npz", *flower], "no app is named; allowed: --trainer flower --app DIR --share I/N, or another"),
        (["--app", app, *flower], f"has no environment here; needed: fbfl flower prepare {app}"),
    ):
        assert main([*command, *options]) == 2
        said = capsys.readouterr().err
        assert named in said
        assert said.count("\n") == 1
    monkeypatch.setattr("fbfl.learning.flower.trainer._runner", lambda app: flower_node.command())
    assert main([*command, "--app", app, *flower]) == 2
    assert "the Flower app has other tensors here than the task says; allowed: the same" in capsys.readouterr().err
    assert fed.servers[1].address in fed.ledger.seats(fed.task.id, 1), "the federation of the test has joined by itself"


def test_a_task_has_to_be_named(
    play: tuple[Simulation, LastStore, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    fed, _, command = play
    place = command.index("--task")
    assert main([*command[:place], *command[place + 2 :], "--dataset", "digits", "--share", "0/2"]) == 2
    assert f"no task is named; allowed: --task T, of {fed.task.id} (takes up to" in capsys.readouterr().err
