"""Ctrl-C in the one place where Python ignores it."""

import signal
import sys
import time

import pytest

from fbfl.cli.interrupts import never_lost


class Clearing:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def ctrl_c_raises():
    """Also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted_while_clearing_up():
    with never_lost():
        thing = Clearing()
        del thing
        time.sleep(20)


def test_an_interrupt_that_python_ignores_comes_again():
    hook, started = sys.unraisablehook, time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted_while_clearing_up()
    assert time.monotonic() - started < 10
    assert sys.unraisablehook is hook


def test_other_ignored_errors_are_told_as_before(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_type))

    class Failing:
        def __del__(self):
            raise ValueError

    with never_lost():
        thing = Failing()
        del thing
    assert told == [ValueError]
