"""Rows from forks: in order, whatever each takes; errors and ends of forks reach the parent."""

import os
import signal
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
    rows = list(forks.rows(counted, count, number_of_forks))
    assert [row.tolist() for row in rows] == [[number] * 5 for number in range(count)]
    assert still_there() == before


def test_forks_end_where_the_caller_stops_early() -> None:
    before = still_there()
    rows = forks.rows(counted, 1000, 2)
    assert next(rows)[0] == 0
    assert len(still_there()) == len(before) + 2
    rows.close()  # type: ignore[attr-defined]  # it is a generator
    assert still_there() == before


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
        list(forks.rows(raises(error), 20, 2))


def test_a_fork_that_is_killed_is_missed() -> None:
    def dies(number: int) -> forks.Row:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return counted(number)

    for number_of_forks in (1, 2):
        with pytest.raises(ProcessError, match="a training process ended by itself"):
            list(forks.rows(dies, 20, number_of_forks))
