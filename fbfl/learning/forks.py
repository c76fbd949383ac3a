"""Rows computed by forks of this process: for Python code of many short steps, which threads would only queue up for.

A fork sees all that its parent has, so that neither code nor data have to be sent to it; rows come back in memory that
both share. Linux only: see `available`.
"""

import mmap
import os
import pickle
import select
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from fbfl.errors import FbflError, ProcessError

_RECORD = struct.Struct("=ii")  # the number of a row, and the length of the error that came instead
_NUMBER = struct.Struct("=i")
_LOOK = 1.0  # seconds after which a fork that says nothing is looked after
_LONGEST_ERROR = 4096 - _RECORD.size  # what a pipe takes at once, whole: forks write into the same one

Row = npt.NDArray[np.float32]


def available() -> bool:
    """Return True where a process with threads can be forked for computing."""
    return sys.platform == "linux"


def rows(work: Callable[[int], Row], count: int, width: int, forks: int) -> Iterator[Row]:
    """Yield `work(0)`, ..., `work(count - 1)`, float32 [width] each, computed by so many forks a few rows ahead.

    An `FbflError` in a fork is raised here, any other error as a `ProcessError`, and so is the end of a fork.
    """
    ahead = 3 * forks
    memory = mmap.mmap(-1, max(1, 4 * width * ahead))
    slots = np.frombuffer(memory, np.float32, width * ahead).reshape(ahead, width)
    asked_here, asks = os.pipe()
    answers, answered_here = os.pipe()
    children: set[int] = set()
    try:
        for _ in range(forks):
            child = _fork()
            if not child:
                os.close(asks)
                _serve(work, slots, asked_here, answered_here)
            children.add(child)
        os.close(asked_here)
        os.close(answered_here)
        asked_here = answered_here = -1
        for number in range(min(ahead, count)):
            os.write(asks, _NUMBER.pack(number))
        ready: set[int] = set()
        for number in range(count):
            while number not in ready:
                ready.add(_answer(answers, children))
            row = slots[number % ahead].copy()
            if number + ahead < count:
                with suppress(BrokenPipeError):  # said where an answer is missed
                    os.write(asks, _NUMBER.pack(number + ahead))
            yield row
    finally:
        for pipe in (asks, answers, asked_here, answered_here):
            if pipe >= 0:
                os.close(pipe)
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        for child in children:
            with suppress(ChildProcessError):
                os.waitpid(child, 0)


def _fork() -> int:
    _flush()  # or forks would print it, too
    with warnings.catch_warnings():
        # Python 3.12 and JAX warn of locks that their threads hold: forks use neither, and end without cleaning up.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        return os.fork()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):  # nobody reads it, or it is closed
                stream.flush()


def _serve(work: Callable[[int], Row], slots: npt.NDArray[np.float32], asked: int, answers: int) -> NoReturn:
    """Compute rows until the parent asks for no more, or is gone."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while asking := os.read(asked, _NUMBER.size):
            (number,) = _NUMBER.unpack(asking)
            told = b""
            try:
                slots[number % len(slots)] = work(number)
            except BaseException as error:
                told = _told(error)
            _flush()  # what the user's code has printed; this process ends without
            os.write(answers, _RECORD.pack(number, len(told)) + told)
    finally:
        os._exit(0)


def _told(error: BaseException) -> bytes:
    if not isinstance(error, FbflError):
        error = ProcessError(f"a training process ended: {type(error).__name__}: {error}")
    text = str(error)
    while len(told := pickle.dumps((type(error), text))) > _LONGEST_ERROR:
        text = text[: len(text) // 2]
    return told


def _answer(answers: int, children: set[int]) -> int:
    """Return the number of a row that is ready."""
    while not select.select([answers], [], [], _LOOK)[0]:
        for child in tuple(children):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                children.remove(child)
                raise ProcessError(f"a training process ended by itself, with status {status}: is there enough memory?")
    number, length = _RECORD.unpack(_whole(answers, _RECORD.size))
    if length:
        kind, text = pickle.loads(_whole(answers, length))  # from a fork of ours
        raise kind(text)
    return int(number)


def _whole(pipe: int, size: int) -> bytes:
    read = b""
    while len(read) < size:
        more = os.read(pipe, size - len(read))
        if not more:
            raise ProcessError("all training processes ended by themselves: is there enough memory?")
        read += more
    return read
