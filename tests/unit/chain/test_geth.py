"""Complaints where geth is another program, or fails. Its networks are tested on real nodes, in tests/integration."""

from pathlib import Path

import pytest

from fbfl.errors import ProcessError
from fbfl.nodes import geth


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Is taken for geth."""
    file = tmp_path / "geth"
    file.touch(mode=0o755)
    monkeypatch.setattr(geth, "find_program", lambda name: str(file))
    return file


@pytest.mark.parametrize(("says", "is_called"), [("Geth\nVersion: 1.13.0-stable", "version: 1.13"), ("v1", "not geth")])
def test_a_version_that_does_not_mine_is_refused(program: Path, tmp_path: Path, says: str, is_called: str) -> None:
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    with pytest.raises(ProcessError, match=f"geth is {is_called}: the last version that mines is 1.11.6"):
        geth.programs(tmp_path, 1, 8545)


def test_a_command_that_fails_is_quoted_with_its_last_line(program: Path, tmp_path: Path) -> None:
    program.write_text("#!/bin/sh\necho first >&2\necho 'Fatal: no room' >&2\nexit 1\n")
    with pytest.raises(ProcessError, match=f"`{program} makecache 0 {tmp_path}` failed: Fatal: no room$"):
        geth.prepare_dags(geth.silent, dag=tmp_path, epochs=[0])


def test_a_command_that_does_not_end_is_given_up(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geth, "TIMEOUT", 0.2)
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    with pytest.raises(ProcessError, match=r"makecache.* did not end within 0\.2 s"):
        geth.prepare_dags(geth.silent, dag=tmp_path, epochs=[0])
