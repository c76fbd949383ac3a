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


def test_a_command_that_fails_is_quoted_with_its_last_line(program: Path) -> None:
    program.write_text("#!/bin/sh\necho first >&2\necho 'Fatal: no room' >&2\nexit 1\n")
    with pytest.raises(ProcessError, match=f"`{program} init` failed: Fatal: no room$"):
        geth.run(str(program), "init")


def test_a_command_that_does_not_end_is_given_up(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geth, "TIMEOUT", 0.2)
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    with pytest.raises(ProcessError, match=r"init.* did not end within 0\.2 s"):
        geth.run(str(program), "init")


def test_data_sets_are_made_by_geth_with_its_progress(program: Path, tmp_path: Path) -> None:
    line = "echo 'INFO [..] Generating DAG in progress epoch=0 percentage=%d elapsed=1s' >&2\n"
    program.write_text(f"#!/bin/sh\necho start >&2\n{line % 0}{line % 50}touch $3/{geth.DAGS[0]}\n")
    shares: list[float] = []
    for _ in range(2):  # the second time it is there
        geth.prepare_dags(lambda what, share: shares.append(share), dag=tmp_path, epochs=[0])
    assert shares == [0, 0.5]


NO_ROOM = 'ERROR[..] Failed to generate mapped ethash dataset epoch=0 err="no space left on device"'


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (NO_ROOM, r"of a GiB, cannot be written in .*: no space left on device$"),
        ("Fatal: no", r"makedag 0 .*` failed: Fatal: no$"),
    ],
)
def test_nothing_is_left_of_a_data_set_that_geth_does_not_make(
    program: Path, tmp_path: Path, says: str, told: str
) -> None:
    program.write_text(f"#!/bin/sh\ntouch $3/{geth.DAGS[0]}.123\necho '{says}' >&2\n")
    with pytest.raises(ProcessError, match=told):
        geth.prepare_dags(geth.silent, dag=tmp_path, epochs=[0])
    assert not list(tmp_path.glob("full*"))
