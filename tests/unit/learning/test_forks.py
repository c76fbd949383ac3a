"""Rows from forks: in order, whatever each takes; errors and ends of forks reach the parent."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import psutil
import pytest

from fbfl.errors import InvalidInputError, ProcessError
from fbfl.learning import forks

pytestmark = pytest.mark.skipif(not forks.available(), reason="only Linux has forks of processes with threads")


def counted(number: int) -> forks.Row:
    time.sleep(0.002 * (number % 3))
    return np.full(5, number, np.float32)


def still_there() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(("count", "number_of_forks"), [(0, 2), (1, 1), (2, 3), (40, 3)])
def test_rows_come_in_order_and_forks_end(count: int, number_of_forks: int) -> None:
    before = still_there()
    rows = list(forks.rows(counted, count, 5, number_of_forks))
    assert [row.tolist() for row in rows] == [[number] * 5 for number in range(count)]
    assert still_there() == before


def test_forks_end_where_the_caller_stops_early() -> None:
    before = still_there()
    rows = forks.rows(counted, 1000, 5, 2)
    assert next(rows)[0] == 0
    assert len(still_there()) == len(before) + 2
    rows.close()  # type: ignore[attr-defined]  # it is a generator
    assert still_there() == before


def test_large_rows_on_their_way_hold_up_nobody_who_stops_early() -> None:
    width = 2_000_000  # far more than a pipe takes at once
    for number_of_rows in range(1, 4):
        rows = forks.rows(lambda number: np.full(width, number, np.float32), 1000, width, 2)
        assert [next(rows)[-1] for _ in range(number_of_rows)] == list(range(number_of_rows))
        rows.close()  # type: ignore[attr-defined]  # it is a generator


def test_two_threads_have_forks_of_their_own() -> None:
    first, second = (forks.rows(counted, 20, 5, 2) for _ in range(2))
    assert next(first)[0] == next(second)[0] == 0
    first.close()  # type: ignore[attr-defined]  # it is a generator
    assert [row[0] for row in second] == list(range(1, 20))


def test_forks_end_with_a_parent_that_is_killed() -> None:
    program = (
        "import numpy, time; from fbfl.learning import forks; rows = forks.rows(lambda number: ("
        "time.sleep(number), numpy.zeros(5))[1], 9, 5, 2); next(rows); print('goes', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "goes\n"
        children = psutil.Process(parent.pid).children()
        parent.kill()
    assert len(children) == 2
    assert psutil.wait_procs(children, timeout=10)[1] == []


def raises(error: BaseException) -> Callable[[int], forks.Row]:
    def work(number: int) -> forks.Row:
        if number == 7:
            raise error
        return counted(number)

    return work


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (InvalidInputError("client 7: no"), InvalidInputError, "^client 7: no$"),
        (InvalidInputError("no" * 10_000), InvalidInputError, "^(no)+$"),
        (KeyError("seven"), ProcessError, "a training process ended: KeyError: 'seven'"),
    ],
)
def test_errors_are_raised_here(error: BaseException, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        list(forks.rows(raises(error), 20, 5, 2))


@pytest.mark.parametrize("where", ["mmap.mmap", "ProcessPoolExecutor", "ProcessPoolExecutor.submit"])
def test_a_system_without_room_for_forks_is_told_before_the_first_row(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = still_there()
    monkeypatch.setattr(f"fbfl.learning.forks.{where}", refuse)
    with pytest.raises(forks.NoForksError, match="training processes: No space left on device"):
        next(forks.rows(counted, 20, 5, 2))
    assert still_there() == before


def test_a_fork_that_is_killed_is_missed() -> None:
    def dies(number: int) -> forks.Row:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return counted(number)

    for number_of_forks in (1, 2):
        with pytest.raises(ProcessError, match="a training process ended by itself"):
            list(forks.rows(dies, 20, 5, number_of_forks))
