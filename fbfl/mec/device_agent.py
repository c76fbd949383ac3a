"""A local device as a process of its own: it collects, moves, and uploads to the server that it is attached to.

Its database records what it has uploaded where, so that after a crash and a restart it goes on where it was.
"""

import functools
import logging
import threading
import time
from collections.abc import Callable

from fbfl.errors import FbflError
from fbfl.mec.batches import MAX_BODY, most_samples
from fbfl.mec.device import Journey
from fbfl.mec.device_database import DeviceDatabase
from fbfl.mec.uploads import UploadError, Uploads
from fbfl.system.backoff import pause_after

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
"""Seconds after a first failure; each further one in a row doubles them."""

LONGEST_PAUSE = 30.0
"""Most seconds between two attempts."""

ASK_AGAIN = 60.0
"""Seconds after which an idle device asks its server again what it has: the server may have lost its disk."""


class DeviceAgent:
    """Runs one device until it is stopped; with `once`, until servers have confirmed all its samples.

    `batch` is the number of samples that it sends at once, `poll` the pause in seconds if there is nothing to do.
    `clock` is Unix time (s): the journey goes on while the device is off.
    """

    def __init__(
        self,
        database: DeviceDatabase,
        journey: Journey,
        uploads: Uploads,
        *,
        batch: int = 1000,
        once: bool = False,
        poll: float = 0.5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._journey = journey
        self._uploads = uploads
        self._batch = min(batch, most_samples(MAX_BODY, database.sample_size))
        self._once = once
        self._poll = poll
        self._clock = clock
        self._stopping = threading.Event()
        self._started = database.started
        self._samples = len(database)
        self._attached: str | None = None
        self._agreed_at: float | None = None
        self._pauses: dict[str, tuple[int, float]] = {}

    def stop(self) -> None:
        """Ask it to end after the request that it is in; safe from signal handlers and other threads."""
        self._stopping.set()

    def run(self) -> None:
        """Act until `stop` is called. Failures are logged and tried again, after longer and longer pauses.

        With `once`, a server's final refusal raises `UploadError`.
        """
        while not self._stopping.is_set():
            # Failures that are not a server's are the disk's.
            if not self._attempt("disk", self._step):
                if self._once and self._agreed_at is not None and self._database.confirmed == self._samples:
                    log.info("servers have all %d samples", self._samples)
                    return
                self._stopping.wait(self._poll)
        log.info("stopped")

    def _step(self) -> bool:
        """Take the next step; return True if there was one."""
        seconds = self._clock() - self._started
        server = self._journey.server(seconds)
        if server != self._attached:
            log.info("attached to %s", server)
            self._attached, self._agreed_at = server, None
        for other in self._database.unanswered():
            # The device may be elsewhere by now; it must know what that server has before it sends it to another.
            if other != server and self._attempt(f"ask {other}", functools.partial(self._agree, other)):
                return True
        if self._agreed_at is None or time.monotonic() > self._agreed_at + ASK_AGAIN:
            return self._attempt(f"ask {server}", functools.partial(self._agree, server))
        collected = self._journey.collected(self._samples, seconds)
        return self._attempt(f"upload to {server}", functools.partial(self._upload, server, collected))

    def _agree(self, server: str) -> bool:
        """Ask a server what it has, and record the answer."""
        lost = self._database.agree(server, self._uploads.held(server))
        if lost:
            log.info("%s does not have %d samples that were sent to it", server, lost)
        if server == self._attached:
            self._agreed_at = time.monotonic()
        return True

    def _upload(self, server: str, collected: int) -> bool:
        batch = self._database.unsent(self._uploads.device, end=collected, most=self._batch)
        if batch is None:
            return False
        agreed_at, self._agreed_at = self._agreed_at, None  # without an answer, ask the server what it has
        self._database.sending(server, batch)
        self._uploads.send(server, batch)
        self._database.sent(server, batch)
        self._agreed_at = agreed_at
        log.info("%s has samples %d to %d", server, batch.first, batch.first + len(batch.y) - 1)
        return True

    def _attempt(self, what: str, action: Callable[[], bool]) -> bool:
        """Do something unless it failed a short time ago; return True if it did."""
        failures, not_before = self._pauses.get(what, (0, 0.0))
        if time.monotonic() < not_before:
            return False
        try:
            acted = action()
        except FbflError as error:
            if self._once and isinstance(error, UploadError) and error.final:
                raise
            pause = pause_after(failures + 1, first=FIRST_PAUSE, longest=LONGEST_PAUSE)
            self._pauses[what] = failures + 1, time.monotonic() + pause
            log.warning("failed, tried again in %g s: %s", pause, error)
            return False
        self._pauses.pop(what, None)
        return acted
