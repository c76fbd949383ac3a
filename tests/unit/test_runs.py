import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from eth_typing import BlockNumber

from fbfl.errors import ChainError, ChainImportError, InvalidInputError, StorageError
from fbfl.runs import folder, models
from fbfl.runs.files import newest_run
from fbfl.runs.folder import RunFolder, StoredRun, new_folder, open_stored, recorded_chain
from fbfl.settings import RunSettings
from fbfl.simulation import Simulation
from tests.support.federations import federation
from tests.support.servers import START, committee


def test_a_run_that_does_not_begin_leaves_nothing_of_its_own(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        with RunFolder.create(path, RunSettings()) as begun:
            begun.payloads("local")
            raise InvalidInputError("alpha is -1")

    for _ in range(2):  # the corrected one may have the same folder
        with pytest.raises(InvalidInputError, match="alpha"):
            fail(tmp_path / "new")
    assert not (tmp_path / "new").exists()

    other = tmp_path / "used" / "notes.txt"
    other.parent.mkdir()
    other.write_text("somebody else's")
    with pytest.raises(InvalidInputError, match="alpha"):
        fail(other.parent)
    assert list(other.parent.iterdir()) == [other]


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    assert [new_folder(tmp_path / "runs", "now").name for _ in range(3)] == ["now", "now-2", "now-3"]
    RunFolder.create(tmp_path / "runs" / "now", RunSettings())
    with pytest.raises(InvalidInputError, match="holds a run already"):
        RunFolder.create(tmp_path / "runs" / "now", RunSettings())
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="cannot be written: Not a directory"):
        new_folder(tmp_path / "file", "now")
    with pytest.raises(InvalidInputError, match="cannot be written: File exists"):
        RunFolder.create(tmp_path / "file", RunSettings())
    with pytest.raises(InvalidInputError, match="cannot be written: File name too long"):
        RunFolder.create(tmp_path / ("a" * 300), RunSettings())
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    with pytest.raises(InvalidInputError, match="cannot be written: File exists"):
        new_folder(tmp_path / "link", "now")


def create(path: Any, barrier: Any, won: Any) -> None:
    barrier.wait()
    try:
        RunFolder.create(path, RunSettings())
        won.put(True)
    except InvalidInputError:
        won.put(False)


def test_of_runs_that_start_at_once_one_has_the_folder(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    for number in range(5):
        barrier, won = fork.Barrier(4), fork.SimpleQueue()
        starts = [fork.Process(target=create, args=(tmp_path / str(number), barrier, won)) for _ in range(4)]
        for process in starts:
            process.start()
        assert sorted(won.get() for _ in starts) == [False, False, False, True]
        for process in starts:
            process.join()


def test_the_newest_run_is_one_with_a_finished_round_if_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no run in"):
        newest_run(tmp_path)
    for number, (name, metrics) in enumerate({"a": "", "b": "{}\n", "c": "{}\n", "d": None}.items()):
        (tmp_path / name).mkdir()
        (tmp_path / name / "deployment.json").write_text("{}")
        os.utime(tmp_path / name / "deployment.json", ns=(0, number))
        if metrics is not None:
            (tmp_path / name / "metrics.jsonl").write_text(metrics)
    path, note = newest_run(tmp_path)
    assert path == tmp_path / "c"
    assert note == f"{tmp_path / 'd'} has no finished round; this is {path}, the newest run that has one"
    os.utime(tmp_path / "c" / "deployment.json", ns=(0, 9))
    assert newest_run(tmp_path) == (tmp_path / "c", None)
    for name in "bc":
        (tmp_path / name / "metrics.jsonl").write_text("")
    path, note = newest_run(tmp_path)
    assert (path, note) == (tmp_path / "c", f"no run in {tmp_path}/ has a finished round; this is {path}, the newest")


@pytest.mark.parametrize(
    ("settings", "deployment", "damaged"),
    [
        ("{}", '{"addresses": {}}', "deployment.json"),
        ("{}", '{"addresses": {}, "task": true}', "deployment.json"),
        ('{"network": 1}', '{"addresses": {}, "task": 1}', "settings.json"),
        ("{}", "[" * 100_000, "deployment.json"),
    ],
)
def test_a_folder_whose_files_hold_something_else_is_said_to_be_damaged(
    tmp_path: Path, settings: str, deployment: str, damaged: str
) -> None:
    (tmp_path / "settings.json").write_text(settings)
    (tmp_path / "deployment.json").write_text(deployment)
    with pytest.raises(ChainImportError, match=f"{damaged} is damaged"):
        open_stored(tmp_path)


@pytest.fixture
def on_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Simulation]:
    """The folder of a run on a network that lasts, and the federation that is there."""
    fed = federation(tmp_path / "payloads", servers=2, devices=2)
    monkeypatch.setattr(folder, "connect", lambda network: fed.chain.w3)
    path = tmp_path / "run"
    path.mkdir()
    first = fed.chain.w3.eth.get_block(BlockNumber(0))["hash"].to_0x_hex()
    deployment = {"addresses": dict(fed.devnet.addresses), "task": 1, "start_block": 0, "start_hash": first}
    (path / "deployment.json").write_text(json.dumps(deployment))
    (path / "settings.json").write_text(json.dumps({"network": "http://user:key@node:8545/secret"}))
    return path, fed


def test_a_run_on_a_network_is_read_there(on_network: tuple[Path, Simulation]) -> None:
    path, fed = on_network
    run = open_stored(path)
    assert (run.task, run.pin) == (fed.task, None)
    with pytest.raises(InvalidInputError, match=r"its chain is at http://node:8545; allowed: a run on eth-tester"):
        recorded_chain(path)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "deployment",
            {"start_hash": "0x00"},
            "the chain at http://node:8545 is not the one of this run; has it begun",
        ),
        ("deployment", {"start_block": 10**9, "start_hash": None}, "is not the one of this run; has it begun anew"),
        ("deployment", {"task": 7}, "task 7"),
        ("deployment", {"task": "1"}, "it names '1' where a whole number has to be"),
        ("deployment", {"start_block": True}, "it names True where a whole number has to be"),
        ("deployment", {"addresses": {}}, "does not belong to this chain"),
        ("deployment", {"addresses": {"FederatedTasks": "0x12"}}, "it names '0x12' where an address has to be"),
        ("settings", {"network": 5}, "it names 5 where text has to be"),
    ],
)
def test_a_run_whose_network_is_not_its_own_any_more_is_refused_in_a_line(
    on_network: tuple[Path, Simulation], name: str, changes: dict[str, object], message: str
) -> None:
    file = on_network[0] / f"{name}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises((ChainImportError, InvalidInputError, ChainError), match=message) as caught:
        open_stored(on_network[0])
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_disk_that_is_full_is_said(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "run", RunSettings()) as kept:
        (tmp_path / "run" / "metrics.jsonl").unlink()
        (tmp_path / "run" / "metrics.jsonl").mkdir()
        result: Any = SimpleNamespace(line=lambda: {"round": 1})
        with pytest.raises(StorageError, match=r"metrics\.jsonl: cannot be written: Is a directory"):
            kept.add_round(result)


def test_weights_are_read_without_the_code_that_a_task_names(tmp_path: Path) -> None:
    fed = committee(tmp_path)
    named = replace(fed.task, rule="absent:rule", definition={**fed.task.definition, "model": "absent:model"})
    stored = StoredRun(cast(Any, fed.ledger), fed.store, named)
    found = models.weights_after(stored, 0)
    assert (found.round, found.vector.tolist(), found.spec) == (0, START.tolist(), fed.plan.spec)
    models.write_safetensors(found, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").read_bytes() == fed.store.get(named.model)
    with pytest.raises(InvalidInputError, match="the aggregator of task 1 is 'absent:rule'"):
        models.after(stored, (), 0)
    with pytest.raises(InvalidInputError, match=r"^round is 1; allowed: 0 to 0$"):
        models.weights_after(stored, 1)
    with pytest.raises(InvalidInputError, match="the definition of task 1 is not one of fbfl: KeyError"):
        models.weights_after(replace(stored, task=replace(named, definition={})))
