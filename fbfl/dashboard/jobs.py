"""Work that takes longer than a page may: each job is a process of its own, one at a time."""

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from fbfl.dashboard.where import Where
from fbfl.errors import FbflError
from fbfl.system import strictjson

MOST_KEPT = 64
"""Jobs whose results are kept; older ones are done anew when they are asked for."""


RETRY_SECONDS = 10.0

_SAFE_PATH = "PYTHONSAFEPATH"


@dataclass
class Job:
    """A job as it is now."""

    kind: str
    about: Mapping[str, Any]
    asked: float = field(default_factory=time.monotonic)
    began: float = 0.0
    progress: str = "waits for its turn"
    done: bool = False
    result: Any = None
    """JSON value, once it is done without an error."""
    error: str | None = None
    seconds: float = 0.0
    """Seconds it took, once it is done."""

    @property
    def running_for(self) -> float:
        """Seconds since it was asked for."""
        return time.monotonic() - self.asked


class Jobs:
    """All jobs of a dashboard."""

    def __init__(self) -> None:
        self._jobs: dict[object, Job] = {}
        self._changing = threading.Lock()
        self._turn = threading.Lock()
        self._process: SpawnProcess | None = None
        self._closed = False

    def ask(self, kind: str, where: Where, *, retry: bool = False, **about: Any) -> Job:
        """Return the job of this kind, which is begun unless it was asked for before.

        With `retry` one that has failed is begun again after `RETRY_SECONDS`: payloads may come yet.
        """
        key = _key(kind, where, about)
        with self._changing:
            old = self._jobs.get(key)
            failed = old is not None and old.error is not None and old.running_for > old.seconds + RETRY_SECONDS
            if old is None or (retry and failed):
                self._begin(key, kind, where, about)
            return self._jobs[key]

    def known(self, kind: str, where: Where, **about: Any) -> Job | None:
        """Return the job of this kind if it was asked for."""
        return self._jobs.get(_key(kind, where, about))

    def again(self, kind: str, where: Where, **about: Any) -> Job:
        """Begin the job anew, unless it is still under way."""
        key = _key(kind, where, about)
        with self._changing:
            if key not in self._jobs or self._jobs[key].done:
                self._begin(key, kind, where, about)
            return self._jobs[key]

    def close(self) -> None:
        """End the process of the job that is under way, and begin no other."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()

    def _begin(self, key: object, kind: str, where: Where, about: Mapping[str, Any]) -> None:
        self._jobs.pop(key, None)
        job = self._jobs[key] = Job(kind, about)
        for old in [each for each, kept in self._jobs.items() if kept.done][: max(0, len(self._jobs) - MOST_KEPT)]:
            del self._jobs[old]
        threading.Thread(target=self._do, args=(job, where), name=f"job {kind}", daemon=True).start()

    def _do(self, job: Job, where: Where) -> None:
        with self._turn:
            job.began = time.monotonic()
            error = "it ended without a result"
            try:
                if not self._closed:
                    self._work(job, where)
            except OSError as refusal:  # of the system, which has no room for a process
                error = f"it could not begin: {refusal.strerror or refusal}"
            if not job.done:
                job.error = error
                self._end(job)

    def _end(self, job: Job) -> None:
        job.seconds = time.monotonic() - job.began
        job.done = True

    def _work(self, job: Job, where: Where) -> None:
        job.progress = "starts"
        context = multiprocessing.get_context("spawn")  # a fork would have the locks of threads here
        hears, tells = context.Pipe(duplex=False)
        before = os.environ.get(_SAFE_PATH)
        # No daemon: a user's rule or trainer may begin processes of its own.
        process = context.Process(target=_do_alone, args=(tells, job.kind, where, job.about, before), daemon=False)
        os.environ[_SAFE_PATH] = "1"  # a file in the current folder takes the place of no module
        try:
            process.start()
        finally:
            _restore(before)
        self._process = process
        if self._closed:  # while it started; the end of the dashboard would wait for it
            process.kill()
        tells.close()
        with contextlib.suppress(EOFError, OSError):  # it has ended, perhaps in the middle of a result
            while not job.done:
                self._hear(job, **hears.recv())
        process.join()
        self._process = None

    def _hear(self, job: Job, progress: str | None = None, result: Any = None, error: str | None = None) -> None:
        job.progress = progress or job.progress
        job.result, job.error = result, error
        if job.result is not None or job.error is not None:
            self._end(job)


def _key(kind: str, where: Where, about: Mapping[str, Any]) -> object:
    return kind, where, tuple(sorted(about.items()))


def _restore(safe_path: str | None) -> None:
    """Give programs that are begun from now on the setting of `_SAFE_PATH` that there was before."""
    if safe_path is None:
        os.environ.pop(_SAFE_PATH, None)
    else:
        os.environ[_SAFE_PATH] = safe_path


def _do_alone(tells: Connection, kind: str, where: Where, about: Mapping[str, Any], safe_path: str | None) -> None:
    """Do a job in a process of its own: tell its `progress` in words, and its `result`, JSON values, or an `error`."""
    _restore(safe_path)
    nothing = os.open(os.devnull, os.O_WRONLY)
    for printed in (1, 2):
        os.dup2(nothing, printed)
    try:
        from fbfl.dashboard.analysis import KINDS

        numbers = [about["round"]] if "round" in about else []
        result = KINDS[kind](where, *numbers, lambda text: tells.send({"progress": text}))
        tells.send({"result": strictjson.finite(result)})
    except FbflError as error:
        tells.send({"error": str(error)})
    except Exception as error:
        tells.send({"error": f"{type(error).__name__}: {error}"})
