"""A solver of puzzles in processes of its own, for measurements: servers search in slices, between their steps."""

import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import cast

from fbfl.chain.pow import Puzzle, search

_CHUNK = 2_000  # nonces between two checks for the end of the search: about 10 ms


class Miner:
    """Searches in processes of its own, each through every `processes`-th chunk of nonces.

    It is started for one puzzle, asked for the solution now and then, and stopped the moment somebody else has won;
    the processes stay for the next puzzle. Use it in a `with` statement, or call `close`.
    """

    def __init__(self, processes: int = 1) -> None:
        context = multiprocessing.get_context("spawn")  # the parent may have threads of TensorFlow
        self._pipes: list[Connection] = []
        self._workers = []
        for number in range(processes):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(theirs, number, processes), daemon=True)
            worker.start()
            theirs.close()
            self._pipes.append(ours)
            self._workers.append(worker)
        self._puzzle: Puzzle | None = None
        self._solution: int | None = None
        self.hashes = 0
        """Hashes tried so far, in all puzzles."""
        self.seconds = 0.0
        """Time spent searching, of all processes together."""

    def __enter__(self) -> "Miner":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def hashes_per_second(self) -> float:
        """Hashes per second of one process."""
        return self.hashes / self.seconds if self.seconds else 0.0

    def start(self, puzzle: Puzzle) -> None:
        """Search for the solution of this puzzle and of no other; again for the same one changes nothing."""
        if puzzle == self._puzzle:
            return
        self.stop()
        self._puzzle = puzzle
        self._solution = None
        for pipe in self._pipes:
            pipe.send(puzzle)

    def solution(self, timeout: float = 0.0) -> int | None:
        """Return the solution of the current puzzle, or None; waits for it at most `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self._solution is None and self._puzzle is not None:
            ready = wait(self._pipes, max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            for pipe in cast(list[Connection], ready):
                self._note(pipe.recv())
        return self._solution

    def attempt(self, puzzle: Puzzle, patience: float = 0.02) -> int | None:
        """Go on searching for `patience` seconds; a solution is returned again and again."""
        self.start(puzzle)
        return self.solution(patience)

    def stop(self) -> None:
        """End the search; returns when every process has."""
        if self._puzzle is None:
            return
        for pipe in self._pipes:
            pipe.send(None)
        for pipe in self._pipes:
            while not self._note(pipe.recv()):
                pass
        self._puzzle = None
        self._solution = None  # a process may have found one just before it was stopped

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.join()
        for pipe in self._pipes:
            pipe.close()

    def _note(self, report: "_Report") -> bool:
        """Take a process's report; return True if it is its last one for this puzzle."""
        if report.nonce is not None and self._solution is None:
            self._solution = report.nonce
        self.hashes += report.hashes
        self.seconds += report.seconds
        return report.last


@dataclass(frozen=True)
class _Report:
    """Report of a process: a solution that it found, or that it has stopped."""

    nonce: int | None
    hashes: int
    seconds: float
    last: bool


def _work(pipe: Connection, number: int, processes: int) -> None:
    """Run one process: search until there is a solution or something to read, then wait for the next puzzle."""
    while True:
        puzzle = pipe.recv()
        if puzzle is None:
            pipe.send(_Report(None, 0, 0.0, last=True))
            continue
        started = time.perf_counter()
        hashes = 0
        start = number * _CHUNK
        nonce = None
        while nonce is None and not pipe.poll():
            nonce = search(puzzle, start, _CHUNK)
            hashes += _CHUNK if nonce is None else nonce + 1 - start
            start += processes * _CHUNK
        pipe.send(_Report(nonce, hashes, time.perf_counter() - started, last=False))
