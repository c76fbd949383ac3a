"""The contracts under other people's tools: forge's fuzzer, formatter and linter, and slither."""

import subprocess
import sys

import pytest

from tests.support.paths import REPOSITORY

FORGE = REPOSITORY / "node_modules" / ".bin" / "forge"

pytestmark = pytest.mark.slow


def forge(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not FORGE.exists():
        pytest.skip("forge is not installed: `npm ci`")
    return subprocess.run([FORGE, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_invariants_hold_under_forges_fuzzer() -> None:
    done = forge("test")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "29 tests passed" in done.stdout


def test_contracts_are_formatted() -> None:
    done = forge("fmt", "--check")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def test_the_linter_has_nothing_to_say() -> None:
    done = forge("lint", *("--severity", "high", "med", "low", "info", "gas", "code-size"))
    assert done.returncode == 0, done.stderr[-2000:]
    findings = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("warning[", "note["))]
    assert findings == []


def test_slither_finds_nothing_that_is_not_argued_away() -> None:
    if not FORGE.exists():
        pytest.skip("slither compiles with forge, which is not installed: `npm ci`")
    command = [sys.executable, "tools/slither.py"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
