"""Standard output, where nobody may be left to read it."""

import contextlib
import os
import select
import sys
from io import TextIOWrapper, UnsupportedOperation
from pathlib import Path

READER_GONE = 141
"""What a shell says of a program that wrote into a pipe after its reader had ended, as with `| head`."""


def prepare() -> None:
    """Print whatever a terminal can show, names of files that are no text included; nothing where it is closed."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (open as long as the process runs)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Write what is waiting, while errors can still be answered."""
    if sys.stdout is not None:
        sys.stdout.flush()


def reader_is_gone() -> bool:
    """Whether this is a pipe that nobody reads: a `BrokenPipeError` may also be a node's or a store's."""
    watch = select.poll()
    watch.register(sys.stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(0))


def discard() -> None:
    """Write nothing more; the interpreter would complain when it ends and flushes."""
    with contextlib.suppress(UnsupportedOperation):  # no file, but an object of a caller
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
