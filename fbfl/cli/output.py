"""Standard output, also after its reader has gone."""

import contextlib
import os
import select
import sys
from io import TextIOWrapper, UnsupportedOperation
from pathlib import Path

READER_GONE = 141
"""Exit status that shells give a program whose pipe has lost its reader, as with `| head`."""


def prepare() -> None:
    """Let prints show any name of a file, also one that is not text; print nothing if standard output is closed."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (open as long as the process runs)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Write the waiting output while errors can still be handled."""
    if sys.stdout is not None:
        sys.stdout.flush()


def reader_is_gone() -> bool:
    """Return True if standard output has lost its reader: a `BrokenPipeError` may also be a node's or a store's."""
    if not hasattr(select, "poll"):  # Windows cannot say, and standard output it is most of the time
        return True
    watch = select.poll()
    watch.register(sys.stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(0))


def discard() -> None:
    """Write nothing more; the interpreter would complain when it ends and flushes."""
    with contextlib.suppress(UnsupportedOperation):  # not a file, but a caller's object
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
