"""Jobs in processes of their own."""

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, cast

import pytest

from fbfl.dashboard import analysis
from fbfl.dashboard import jobs as module
from fbfl.dashboard.jobs import Job, Jobs
from fbfl.dashboard.where import Where


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    made = Jobs()
    yield made
    made.close()


def ended(job: Job) -> Job:
    deadline = time.monotonic() + 60
    while not job.done:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return job


def test_a_failure_is_told_in_its_words_and_once_asked_for_it_is_not_done_again(jobs: Jobs, tmp_path: Path) -> None:
    where = Where(run=tmp_path)
    job = ended(jobs.ask("index", where))
    assert job.error is not None
    assert f"{tmp_path}: not the folder of a run" in job.error
    assert jobs.ask("index", where) is job
    assert jobs.known("index", where) is job
    assert jobs.ask("index", where, stamp=1) is not job


def test_a_failed_job_is_tried_again_after_a_while_if_that_may_help(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = Where(run=tmp_path)
    job = ended(jobs.ask("index", where, retry=True))
    assert jobs.ask("index", where, retry=True) is job
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    assert jobs.ask("index", where) is job
    assert jobs.ask("index", where, retry=True) is not job


def test_an_end_leaves_no_process(tmp_path: Path) -> None:
    jobs = Jobs()
    job = jobs.ask("index", Where(run=tmp_path))
    waits = jobs.ask("index", Where(run=tmp_path), stamp=1)
    while job.progress == "waits for its turn":
        time.sleep(0.01)
    jobs.close()
    assert ended(job).error
    assert ended(waits).error == "it ended without a result"


def test_an_end_while_a_process_starts_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, begun, start = Jobs(), list[SpawnProcess](), SpawnProcess.start

    def closed_meanwhile(process: SpawnProcess) -> None:
        start(process)
        begun.append(process)
        jobs.close()

    monkeypatch.setattr(SpawnProcess, "start", closed_meanwhile)
    assert ended(jobs.ask("index", Where(run=tmp_path))).error == "it ended without a result"
    assert [process.exitcode for process in begun] == [-signal.SIGKILL]


def test_a_process_that_cannot_begin_ends_the_job(jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(SpawnProcess, "start", refuse)
    job = ended(jobs.ask("index", Where(run=tmp_path)))
    assert job.error == "it could not begin: Resource temporarily unavailable"


def break_off(tells: Connection, *_: object) -> None:
    os.write(tells.fileno(), (100_000).to_bytes(4, "big") + b"the beginning of a result")


def test_a_process_that_ends_in_the_middle_of_its_result_ends_the_job(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_do_alone", break_off)
    assert ended(jobs.ask("index", Where(run=tmp_path))).error == "it ended without a result"


def another_process(*_: object) -> list[object]:
    process = multiprocessing.get_context("fork").Process(target=int)
    process.start()
    process.join()
    return [process.exitcode, os.environ.get("PYTHONSAFEPATH")]


def with_another_process(*arguments: Any) -> None:
    cast(dict[str, object], analysis.KINDS)["index"] = another_process
    module._do_alone(*arguments)


@pytest.mark.parametrize("safe_path", [None, ""])
def test_a_job_may_begin_processes_of_its_own_as_the_user_has_them(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, safe_path: str | None
) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    if safe_path is None:
        monkeypatch.delenv("PYTHONSAFEPATH")
    monkeypatch.setattr(module, "_do_alone", with_another_process)
    job = ended(jobs.ask("index", Where()))
    assert (job.error, job.result) == (None, [0, safe_path])
    assert os.environ.get("PYTHONSAFEPATH") == safe_path


def test_a_file_in_the_current_folder_takes_the_place_of_no_module(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json.py", "fbfl.py", "pathlib.py"):
        (tmp_path / name).write_text("open('harmed', 'w')")
    monkeypatch.chdir(tmp_path)
    job = ended(jobs.ask("index", Where(run=Path("absent"))))
    assert "absent: not the folder of a run" in str(job.error)
    assert not (tmp_path / "harmed").exists()
