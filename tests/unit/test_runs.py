import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from fbfl.errors import ChainImportError, InvalidInputError
from fbfl.runs.files import newest_run
from fbfl.runs.folder import RunFolder, new_folder, open_stored
from fbfl.settings import RunSettings


def test_a_run_that_does_not_begin_leaves_nothing_of_its_own(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        with RunFolder.create(path, RunSettings()) as folder:
            folder.payloads("local")
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
