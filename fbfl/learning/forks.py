"""Rows computed by forks of this process: for Python code of many short steps, which threads would only queue up for.

A fork sees all that its parent has, so that neither code nor data have to be sent to it; rows come back in memory that
both share. Linux only: see `available`.
"""

import mmap
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from fbfl.errors import FbflError, ProcessError, failures_as
from fbfl.learning.lanes import in_order

Row = npt.NDArray[np.float32]
_work: Callable[[int], None]
"""Work of this fork: computes a row, and writes it into the memory."""

_forking = threading.Lock()
"""Held while forks begin: who has it knows whose they are."""


def available() -> bool:
    """Return True where a process with threads can be forked for computing."""
    return sys.platform == "linux" and not multiprocessing.current_process().daemon  # which may have no children


class NoForksError(ProcessError):
    """The system refuses forks, or what they share: locks, which are files in /dev/shm, and memory."""


def rows(work: Callable[[int], Row], count: int, width: int, forks: int) -> Iterator[Row]:
    """Yield `work(0)`, ..., `work(count - 1)`, float32 [width] each, computed by so many forks a few rows ahead.

    An `FbflError` in a fork is raised here, any other error as a `ProcessError`, and so is the end of a fork.
    `NoForksError` comes before the first row: some containers have no /dev/shm, or a full one.
    """
    ahead = 2 * forks
    with failures_as(NoForksError, "training processes"):
        # Not in answers: a pool waits for ever for the rest of one that a fork could not end before it was killed.
        memory = mmap.mmap(-1, max(1, 4 * width * (ahead + 1)))
        slots = np.frombuffer(memory, np.float32, width * (ahead + 1)).reshape(ahead + 1, width)

        def compute(number: int) -> None:
            slots[number % len(slots)] = work(number)

        pool = ProcessPoolExecutor(forks, multiprocessing.get_context("fork"), _begin, (compute,))
    children: set[multiprocessing.process.BaseProcess] = set()
    try:
        with _forking, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12's and JAX's of locks that threads hold: forks use neither
            before = {*multiprocessing.active_children()}
            try:
                with failures_as(NoForksError, "training processes"):
                    pool.submit(int)  # forks all of them
            finally:
                children = {*multiprocessing.active_children()} - before
        done = in_order((pool.submit(_row, number) for number in range(count)), ahead)
        for number, _ in enumerate(done):
            yield slots[number % len(slots)].copy()
    except BrokenProcessPool as error:
        raise ProcessError("a training process ended by itself: is there enough memory?") from error
    finally:
        for child in children:
            child.kill()  # what is under way, nobody waits for any more
        pool.shutdown(cancel_futures=True)


def _begin(work: Callable[[int], None]) -> None:
    """Begin in a fork."""
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this fork when its parent has ended, be it killed: the pool's forks would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a fork"
    parent.join()
    os._exit(1)


def _row(number: int) -> None:
    try:
        _work(number)
    except FbflError:
        raise
    except BaseException as error:
        raise ProcessError(f"a training process ended: {type(error).__name__}: {error}") from error
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                with suppress(OSError, ValueError):  # nobody reads it, or it is closed
                    stream.flush()  # what the user's code has printed; this process ends without
