"""Chains that are refused before stock geth is asked; its own verdicts are tested in tests/integration."""

from pathlib import Path

import pytest

from fbfl.chain.embedded.chain import default_genesis, open_chain
from fbfl.chain.embedded.export import ChainWriter
from fbfl.chain.reexecution import execute_with_geth
from fbfl.cli.main import main
from fbfl.errors import InvalidInputError, ProcessError


@pytest.fixture
def program(tmp_path: Path) -> str:
    """Says that it is geth 1.11."""
    file = tmp_path / "geth"
    file.write_text("#!/bin/sh\necho Version: 1.11.6-stable\n")
    file.chmod(0o755)
    return str(file)


def test_a_chain_of_a_difficulty_that_geth_does_not_follow_is_refused(tmp_path: Path, program: str) -> None:
    head = ChainWriter(tmp_path / "chain", open_chain(default_genesis(2, difficulty=16))).flush()
    with pytest.raises(InvalidInputError, match="difficulty is 16; allowed: from 131072 on"):
        execute_with_geth(tmp_path / "chain", head, program)


def test_a_geth_that_is_not_there_or_too_new_is_named(tmp_path: Path) -> None:
    head = ChainWriter(tmp_path / "chain", open_chain(default_genesis(2))).flush()
    with pytest.raises(ProcessError, match="/nowhere/geth cannot be run: No such file or directory"):
        execute_with_geth(tmp_path / "chain", head, "/nowhere/geth")
    (tmp_path / "geth").write_text("#!/bin/sh\necho Version: 1.13.15-stable\n")
    (tmp_path / "geth").chmod(0o755)
    with pytest.raises(ProcessError, match=r"version: 1\.13.*1\.11\.6"):
        execute_with_geth(tmp_path / "chain", head, str(tmp_path / "geth"))


GETH = """#!/bin/sh
[ "$1" = version ] && echo Version: 1.11.6-stable && exit
data=$2
case "$3 $4" in
init*) mkdir "$data" ;;
"--fakepow import") {imports} ;;
export*) cat "$data/chain" {more} > "$4" ;;
esac
"""
"""Keeps what it is given, instead of executing it."""


@pytest.mark.parametrize(
    ("imports", "more", "verdict"),
    [
        ('cp "$5" "$data/chain"', "", None),
        ('cp "$5" "$data/chain"', "$0", "geth comes to another chain than the one that ends in block 2, 0x"),
        ("echo 'Fatal: invalid gas used' >&2; exit 1", "", "failed: Fatal: invalid gas used"),
    ],
)
def test_the_verdict_of_geth_is_that_it_gives_the_same_blocks_back(
    tmp_path: Path, imports: str, more: str, verdict: str | None
) -> None:
    chain = open_chain(default_genesis(2))
    for _ in range(2):
        chain.mine()
    head = ChainWriter(tmp_path / "chain", chain).flush()
    program = tmp_path / "geth"
    program.write_text(GETH.format(imports=imports, more=more))
    program.chmod(0o755)
    found = execute_with_geth(tmp_path / "chain", head, str(program))
    assert found == verdict if verdict is None else verdict in str(found)


def test_a_running_network_has_no_chain_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--network", "http://127.0.0.1:1", "--geth"]) == 2
    assert "--geth; allowed: only with --run" in capsys.readouterr().err
