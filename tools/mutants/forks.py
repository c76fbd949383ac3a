"""Run the tests of pytest's collection once per mutant, each time in a fork: see python.py.

What the tests import and what pytest collects is there before the fork; a mutant that dies young then costs little.
"""

import gc
import os
import pickle
import resource
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.utils.format_utils import mangled_name_from_mutant_name

# The same examples for every mutant, however busy the machine is.
settings.register_profile("mutants", deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

PATIENCE = 10
"""Multiple of the time of its tests that a mutant may take, of the processor, and ten seconds more."""
NO_END = "no end"
"""In place of a test that kills: one that runs for ever, or the end of the process."""


@dataclass
class Reach:
    """The tests that reach a function, and what each takes of the processor (s)."""

    tests: dict[str, set[str]] = field(default_factory=dict)
    """By the name that mutmut gives the function."""
    seconds: dict[str, float] = field(default_factory=dict)

    def of(self, mutant: str) -> list[str]:
        """The tests that reach a mutant, the quickest first."""
        return sorted(self.tests.get(mangled_name_from_mutant_name(mutant), ()), key=lambda test: self.seconds[test])


class Forks:
    """A pytest plugin: `tell` gets each of the mutants, and the test that kills it, "" if none does."""

    def __init__(self, mutants: Iterable[str], tell: Callable[[str, str], None]) -> None:
        self.mutants, self.tell = mutants, tell

    def pytest_configure(self) -> None:
        """Take chance and the clock out of tests."""
        settings.load_profile("mutants")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try the mutants, after the tests of the code as it is."""
        if session.testsfailed:
            raise session.Interrupted("the tests cannot be collected")
        items = {item.nodeid: item for item in session.items}
        gc.freeze()  # forks that look at nothing that is there copy nothing of it
        reach = _in_fork(lambda: _reach(session.items), 0)
        if not isinstance(reach, Reach):
            pytest.exit(f"fails without any mutant: {reach}", returncode=3)
        for mutant in self.mutants:
            tests = reach.of(mutant)
            limit = 10 + PATIENCE * sum(reach.seconds[test] for test in tests)
            run = _Trial(mutant, [items[test] for test in tests])
            self.tell(mutant, str(_in_fork(run, round(limit))))
        return True


@dataclass
class _Trial:
    """Run the tests with a mutant until one fails; its id, or "" if all pass."""

    mutant: str
    items: list[pytest.Item]

    def __call__(self) -> str:
        set_mutant_under_test(self.mutant)
        _be_quiet(self.items)
        return next((item.nodeid for item, failed in _run(self.items) if failed), "")


def _reach(items: list[pytest.Item]) -> Reach | str:
    """Return what the tests reach of the code as it is; the id of one that fails."""
    found = Reach()
    set_mutant_under_test("stats")
    started = time.process_time()
    for item, failed in _run(items):
        if failed:
            return item.nodeid
        found.seconds[item.nodeid] = time.process_time() - started
        started = time.process_time()
        for function in state()._stats:
            found.tests.setdefault(function, set()).add(item.nodeid)
        state()._stats.clear()
    return found


def _run(items: list[pytest.Item]) -> Iterator[tuple[pytest.Item, bool]]:
    for item, following in zip(items, [*items[1:], None], strict=False):
        failed = item.session.testsfailed
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        yield item, item.session.testsfailed > failed


def _in_fork(work: Callable[[], object], limit: int) -> object:
    """The result of `work` in a process of its own; `NO_END` if that takes more than `limit` seconds, or crashes."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.setsid()  # so that Ctrl-C is not taken for a test that failed
        try:
            if limit:
                resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
                signal.alarm(20 * limit)  # on a busy machine
            with os.fdopen(writing, "wb") as file:
                pickle.dump(work(), file)
        finally:
            os._exit(0)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as file:
            answer = file.read()
    except KeyboardInterrupt:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.waitpid(child, 0)
    return pickle.loads(answer) if answer else NO_END


def _be_quiet(items: list[pytest.Item]) -> None:
    for item in items[:1]:
        item.config.pluginmanager.unregister(name="terminalreporter")
