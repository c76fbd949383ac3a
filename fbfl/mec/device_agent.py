"""A local device as a process of its own: it collects, moves, uploads to the server that it is attached to.

What is uploaded where, its database knows. Killed anywhere and started again, it goes on where it was.
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
"""Seconds after which an idle device asks again what its server has: that may have lost its disk."""


class DeviceAgent:
    """Runs one device until it is stopped; with `once`, until servers have confirmed all its samples.

    `batch` is how many samples it sends at once, `poll` how many seconds it waits where there is nothing to do.
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
        """Act until `stop` is called. What fails is logged and tried again, after longer and longer pauses.

        With `once`, what a server refuses for good raises `UploadError`.
        """
        while not self._stopping.is_set():
            # What is not about a server is about the disk.
            if not self._attempt("disk", self._step):
                if self._once and self._is_done():
                    log.info("servers have all %d samples", self._samples)
                    return
                self._stopping.wait(self._poll)
        log.info("stopped")

    def _step(self) -> bool:
        """Do the next thing that is to be done; whether there was one."""
        seconds = self._clock() - self._started
        server = self._journey.server(seconds)
        if server != self._attached:
            log.info("attached to %s", server)
            self._attached, self._agreed_at = server, None
        for other in self._database.unanswered():
            # The device may be elsewhere by now; what that server has, it has to know before it sends it to another.
            if other != server and self._attempt(f"ask {other}", functools.partial(self._agree, other)):
                return True
        if self._agreed_at is None or time.monotonic() > self._agreed_at + ASK_AGAIN:
            return self._attempt(f"ask {server}", functools.partial(self._agree, server))
        collected = self._journey.collected(self._samples, seconds)
        return self._attempt(f"upload to {server}", functools.partial(self._upload, server, collected))

    def _agree(self, server: str) -> bool:
        """Learn what a server has, and believe it."""
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
        agreed_at, self._agreed_at = self._agreed_at, None  # unless an answer comes, it has to be asked what it has
        self._database.sending(server, batch)
        self._uploads.send(server, batch)
        self._database.sent(server, batch)
        self._agreed_at = agreed_at
        log.info("%s has samples %d to %d", server, batch.first, batch.first + len(batch.y) - 1)
        return True

    def _attempt(self, what: str, action: Callable[[], bool]) -> bool:
        """Do something unless it failed a short time ago; whether it did something."""
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

    def _is_done(self) -> bool:
        return self._agreed_at is not None and self._database.confirmed == self._samples
