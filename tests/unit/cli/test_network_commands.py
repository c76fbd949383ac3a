import argparse
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from fbfl.chain.task import Task
from fbfl.cli import main
from fbfl.cli.main import parser
from fbfl.storage.store import Reference

MEC = ("mec", "--network", "http://127.0.0.1:9", "--account", "1", "--dataset", "digits")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["task", "create", "--liars", "1"], ["liars is 1", "fbfl run"]),
        (["task", "create", "--attack", "alie"], ["attack is 'alie'", "fbfl run"]),
        (["task", "create", "--mobility-arg", "cells=2"], ["mobility_args is {'cells': 2}", "fbfl run"]),
        (["task", "create", "--stake", "2 ether"], ["stake is '2 ether'", "fbfl run"]),
        ([*MEC, "--stake", "half"], ["--stake is 'half'", "0.01 ether"]),
        ([*MEC, "--stake", "-1"], ["--stake is -1", "0 or more"]),
        (["task", "create", "--window", "0"], ["--window 0", "1 to 2147483647 seconds"]),
        (["task", "create", "--max-samples", "0"], ["max_samples is 0", "1 to 2147483647"]),
        (["task", "create", "--max-samples", "4294967296"], ["max_samples is 4294967296", "1 to 2147483647"]),
        (["task", "create", "--retention", "0"], ["--retention 0", "1 to 2147483647 rounds"]),
        (["task", "create"], ["eth-tester", "as long as a run"]),
        (["task", "admit", "--network", "anvil", "0x12"], ["'0x12'", "20 bytes"]),
        (["task", "drive", "--network", "anvil", "--rounds", "0"], ["--rounds 0", "1 or more"]),
        (["register", "--network", "anvil", "--url", "ftp://host"], ["--url ftp://host", "http(s) URLs"]),
        ([*MEC, "--port", "0"], ["--port 0", "65535"]),
        ([*MEC, "--poll", "0"], ["--poll 0", "more than 0"]),
        ([*MEC, "--patience", "-1"], ["--patience -1", "more than 0"]),
        ([*MEC, "--peer", "127.0.0.1:8601"], ["--peer 127.0.0.1:8601", "http(s) URLs"]),
        ([*MEC, "--url", "http://host/shutdown#"], ["--url http://host/shutdown#", "http(s) URLs", "#"]),
        ([*MEC, "--url", ""], ["--url ", "http(s) URLs"]),
        ([*MEC, "--plugin", "krum"], ["--plugin krum", "package.module:function"]),
        (["audit", "--network", "anvil", "--plugin", "pickle:"], ["--plugin pickle:", "package.module:function"]),
        (["blocks", "--network", "anvil", "--plugin", ":loads"], ["--plugin :loads", "package.module:function"]),
        ([*MEC, "--data", "samples.npz"], ["--data", "--dataset"]),
        ([*MEC, "--devices", "devices"], ["--devices", "--dataset"]),
        (["rounds", "--task", "3"], ["--task 3", "--network"]),
        (["rounds", "--deployment", "1.json"], ["--deployment 1.json", "--network"]),
        (["run", "--deployment", "1.json"], ["--deployment 1.json", "--network"]),
        (["deploy", "--consensus", "own=0x12"], ["--consensus own=0x12", "NAME=ADDRESS", "20 bytes"]),
        (["deploy", "--consensus", "0x" + "1" * 40], ["--consensus 0x1", "NAME=ADDRESS"]),
        (["deploy", "--deployment", "1.json"], ["--deployment 1.json", "--network"]),
        (["audit", "--network", "eth-tester"], ["eth-tester", "--run DIR"]),
    ],
)
def test_bad_input_is_named_with_what_is_allowed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    named: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments)
    except SystemExit as ending:  # how argparse says it
        status = int(str(ending.code))
    said = capsys.readouterr().err
    assert status == 2, said
    assert all(word in said for word in named), said
    assert not list(tmp_path.iterdir()), "a refused command leaves nothing behind"


def test_every_command_that_reads_a_ledger_on_a_network_can_be_told_which() -> None:
    def options(command: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, set[str]]]:
        yield path, {name for action in command._actions for name in action.option_strings}
        for action in command._actions:
            for word, inner in action.choices.items() if isinstance(action, argparse._SubParsersAction) else ():
                yield from options(inner, f"{path} {word}".strip())

    found = dict(options(parser()))
    on_networks = {path for path, names in found.items() if "--network" in names and not path.startswith("chain ")}
    assert on_networks == {path for path, names in found.items() if "--deployment" in names}
    assert {"run", "deploy", "mec", "audit", "task create", "task drive"} <= on_networks


def test_a_node_that_does_not_answer_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*MEC, "--share", "0/4"]) == 3
    assert "no node answers at http://127.0.0.1:9" in capsys.readouterr().err


def test_the_settings_of_a_task_may_come_through_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    os.write(writer, b'network = "http://127.0.0.1:9"')
    os.close(writer)
    try:
        assert main(["task", "create", "--account", "0", "--config", f"/dev/fd/{reader}"]) == 3
    finally:
        os.close(reader)
    assert "no node answers at http://127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ((*MEC, "--task", "1"), "fbfl.cli.mec"),
        (("audit", "--network", "anvil", "--task", "1"), "fbfl.cli.source"),
        (("blocks", "--tensors", "--network", "anvil", "--task", "1"), "fbfl.cli.source"),
        (("export", "none.keras", "--network", "anvil", "--task", "1"), "fbfl.cli.source"),
    ],
)
def test_code_that_a_task_on_a_network_names_needs_the_operator(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], module: str
) -> None:
    task = Task(1, "0x", "pbft", "0x", "pickle:loads", b"{}", {"model": "mlp"}, Reference(b"", 0), 0)
    commands = importlib.import_module(module)
    ledger = SimpleNamespace(chain_id=1337, task=lambda number: task)
    monkeypatch.setattr(commands, "ledger_on", lambda network, deployment, task=None: ledger)
    assert main([*command, "--plugin", "pickle:load"]) == 2
    assert "the aggregator of task 1 is 'pickle:loads'; allowed: fedavg" in capsys.readouterr().err
    assert main([*command, "--plugin", "pickle:loads"]) == 2
    assert "the definition of task 1 is not one of fbfl: KeyError('tensors')" in capsys.readouterr().err
