"""Rows computed by forks of this process: for Python code of many short steps, which threads would only queue up for.

A fork sees all that its parent has, so that neither code nor data have to be sent to it. Linux only: see `available`.
"""

import multiprocessing
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import numpy.typing as npt

from fbfl.errors import FbflError, ProcessError
from fbfl.learning.lanes import in_order

Row = npt.NDArray[np.float32]
_work: Callable[[int], Row]
"""Work of this fork."""


def available() -> bool:
    """Return True where a process with threads can be forked for computing."""
    return sys.platform == "linux" and not multiprocessing.current_process().daemon  # which may have no children


def rows(work: Callable[[int], Row], count: int, forks: int) -> Iterator[Row]:
    """Yield `work(0)`, ..., `work(count - 1)`, computed by so many forks a few rows ahead.

    An `FbflError` in a fork is raised here, any other error as a `ProcessError`, and so is the end of a fork.
    """
    before = {*multiprocessing.active_children()}
    pool = ProcessPoolExecutor(forks, multiprocessing.get_context("fork"), _begin, (work,))
    try:
        with warnings.catch_warnings():
            # Python 3.12 and JAX warn of locks that their threads hold: forks use neither.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            pool.submit(int)  # forks all of them
        yield from in_order((pool.submit(_row, number) for number in range(count)), 2 * forks)
    except BrokenProcessPool as error:
        raise ProcessError("a training process ended by itself: is there enough memory?") from error
    finally:
        for child in {*multiprocessing.active_children()} - before:
            child.kill()  # what is under way, nobody waits for any more
        pool.shutdown(cancel_futures=True)


def _begin(work: Callable[[int], Row]) -> None:
    """Begin in a fork."""
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _row(number: int) -> Row:
    try:
        return _work(number)
    except FbflError:
        raise
    except BaseException as error:
        raise ProcessError(f"a training process ended: {type(error).__name__}: {error}") from error
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()  # what the user's code has printed; this process ends without
