"""Ctrl-C that ends the program whenever it comes."""

import _thread
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_LATER = 0.01  # s


@contextmanager
def never_lost() -> Iterator[None]:
    """Repeat, a moment later, an interrupt that Python ignores.

    Python ignores errors raised in `__del__`. Hashing for the chain leaves so many objects behind that a few of a
    thousand interrupts fall into it, and the program would go on.
    """
    before = sys.unraisablehook

    def ignored(what: "sys.UnraisableHookArgs") -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):
            # Not by threading, which waits until the thread runs: the next interrupt may fall into that, and be lost.
            _thread.start_new_thread(_interrupt_later, ())
        else:
            before(what)

    sys.unraisablehook = ignored
    try:
        yield
    finally:
        sys.unraisablehook = before


def _interrupt_later() -> None:
    time.sleep(_LATER)
    if os.name == "nt":  # where os.kill would end the program at once
        signal.raise_signal(signal.SIGINT)
    else:
        os.kill(os.getpid(), signal.SIGINT)
