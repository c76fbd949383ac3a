"""Work that takes longer than a page may: each job is a process of `fbfl.dashboard.work`, one at a time."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import fbfl
from fbfl.dashboard.where import Where
from fbfl.system import strictjson

MOST_KEPT = 64
"""Jobs whose results are kept; older ones are done anew when they are asked for."""


RETRY_SECONDS = 10.0

_PROGRAM = """
import os, sys
sys.path += [sys.argv[1], os.getcwd()]
from fbfl.dashboard.work import main
main()
"""
"""As in the command line, the current folder comes last: a file there takes the place of no module."""


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
        self._jobs: dict[str, Job] = {}
        self._changing = threading.Lock()
        self._turn = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
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

    def _begin(self, key: str, kind: str, where: Where, about: Mapping[str, Any]) -> None:
        self._jobs.pop(key, None)
        job = self._jobs[key] = Job(kind, about)
        for old in [each for each, kept in self._jobs.items() if kept.done][: max(0, len(self._jobs) - MOST_KEPT)]:
            del self._jobs[old]
        threading.Thread(target=self._do, args=(job, where), name=f"job {kind}", daemon=True).start()

    def _do(self, job: Job, where: Where) -> None:
        with self._turn:
            job.began = time.monotonic()
            if not self._closed:
                self._work(job, where)
            if not job.done:
                job.error = "it ended without a result"
                self._end(job)

    def _end(self, job: Job) -> None:
        job.seconds = time.monotonic() - job.began
        job.done = True

    def _work(self, job: Job, where: Where) -> None:
        job.progress = "starts"
        command = [sys.executable, "-P", "-c", _PROGRAM, str(Path(fbfl.__file__).parents[1])]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
            self._process = process
            assert process.stdin is not None
            assert process.stdout is not None
            # Not in the arguments: the URL of a network may hold a key, and arguments are everybody's to see.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps({"kind": job.kind, "where": asdict(where), "about": dict(job.about)}))
                process.stdin.close()
            for line in process.stdout:
                with contextlib.suppress(ValueError):
                    self._hear(job, strictjson.loads(line))
        self._process = None

    def _hear(self, job: Job, told: Any) -> None:
        if not isinstance(told, dict):
            return
        job.progress = str(told.get("progress", job.progress))
        job.result = told.get("result")
        job.error = str(told["error"]) if "error" in told else None
        if job.result is not None or job.error is not None:
            self._end(job)


def _key(kind: str, where: Where, about: Mapping[str, Any]) -> str:
    return json.dumps([kind, asdict(where), dict(about)], sort_keys=True)
