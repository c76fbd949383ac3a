"""Workers, a thread each, that take jobs as they become free, while results come in the order of the jobs."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Generic, TypeVar

Lane = TypeVar("Lane")
Job = TypeVar("Job")
Result = TypeVar("Result")


class Lanes(Generic[Lane]):
    """Lanes of which each serves one thread at a time."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.all = tuple(lanes)
        self._idle: SimpleQueue[Lane] = SimpleQueue()
        for lane in lanes:
            self._idle.put(lane)
        self._pool = ThreadPoolExecutor(len(lanes), thread_name_prefix="lane")

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.all)

    def stream(self, work: Callable[[Lane, Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """Yield `work(lane, job)` for every job in order, computed a few jobs ahead of the caller."""

        def run(job: Job) -> Result:
            lane = self._idle.get()
            try:
                return work(lane, job)
            finally:
                self._idle.put(lane)

        return in_order((self._pool.submit(run, job) for job in jobs), 2 * len(self))


def in_order(futures: Iterable[Future[Result]], ahead: int) -> Iterator[Result]:
    """Yield the results of futures in order, each of which begins no more than `ahead` before it is asked for."""
    waiting: deque[Future[Result]] = deque()
    try:
        for future in futures:
            waiting.append(future)
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # the caller may have stopped early
        for future in waiting:
            future.cancel()
