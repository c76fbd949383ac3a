"""Run the contract tests on other artifacts than the package's, each time in a fork of one process: see solidity.py.

What the tests import and what pytest collects is there before the fork; a mutant that dies young then costs little.
"""

import functools
import os
import resource
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import eth.vm.forks.spurious_dragon.computation as code_size
import pytest

from fbfl.chain import artifacts

TESTS = ["tests/contracts", "-m", "not slow and not integration"]
# Gas, of which code that is not optimised needs more, and tools that read the repository.
TESTS += ["--ignore=tests/contracts/test_gas.py", "--ignore=tests/contracts/test_toolchain.py"]
MOST_SECONDS = 150
"""Of processor time, after which the test under way is taken to have no end: all of them take some forty."""


def serve(tree: Path, jobs: Connection) -> None:
    """Collect the tests in `tree`; answer (artifacts by name, ids of tests that shall run first) with the first test
    that fails or does not end, empty if all pass, until `jobs` is closed.
    """
    os.setsid()  # so that Ctrl-C is not taken for a test that failed
    os.chdir(tree)
    lift_code_size()
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    options = ["-xq", "--tb=no", "--disable-warnings", "-p", "no:cacheprovider", "-p", "no:xdist"]
    os._exit(pytest.main([*options, *TESTS], plugins=[Forks(jobs)]))


def lift_code_size() -> None:
    """Let contracts be deployed that no optimiser has made small enough: it takes longer than most mutants live."""
    vars(code_size).update(EIP170_CODE_SIZE_LIMIT=2**20)
    with suppress(ImportError):
        import pyrevm

        vars(pyrevm).update(CfgEnv=functools.partial(pyrevm.CfgEnv, limit_contract_code_size=2**20))


def is_slow(item: pytest.Item) -> bool:
    """Return True if a test runs on real blocks, or tries what comes to its mind."""
    return item.get_closest_marker("blocks") is not None or item.path.stem in ("test_machines", "test_state_machine")


class Forks:
    """A pytest plugin that runs the collected tests for each job, in a fork."""

    def __init__(self, jobs: Connection) -> None:
        self.jobs, self.at = jobs, Path(tempfile.mkstemp()[1])
        self.changed: Mapping[str, dict[str, Any]] = {}
        parse = artifacts.parse_artifact
        artifacts.parse_artifact = lambda name, content: parse(name, self.changed.get(name, content))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Wait for a job; return in a fork only, where pytest then runs the tests."""
        while True:
            try:
                self.changed, first = self.jobs.recv()
            except EOFError:
                self.at.unlink()
                os._exit(0)
            fork = os.fork()
            if fork == 0:
                resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
                self.sort(session.items, first)
                return
            _, status = os.waitpid(fork, 0)
            self.jobs.send(self.at.read_text(encoding="utf-8") if status else "")

    def sort(self, items: list[pytest.Item], first: Sequence[str]) -> None:
        """Put the first ones first, and those last that take most of the time."""
        rank = {node: place for place, node in enumerate(first)}
        items.sort(key=lambda item: (rank.get(item.nodeid, len(rank)), is_slow(item)))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note which test is under way."""
        self.at.write_text(nodeid, encoding="utf-8")
