"""The chain of a run on stock geth, a program by others: it comes to the same blocks, or says that they are wrong."""

from dataclasses import replace
from pathlib import Path

import pytest

from fbfl.chain.embedded.export import ChainWriter
from fbfl.chain.embedded.pin import BLOCKS_FILE, GENESIS_FILE
from fbfl.chain.reexecution import execute_with_geth
from fbfl.cli.main import main
from fbfl.mec.dishonest import Behaviour
from fbfl.runs.folder import recorded_chain
from tests.integration.machine import require
from tests.support.federations import embedded, federation

pytestmark = pytest.mark.integration

RUN = ("run", "--dataset", "digits", "--servers", "4", "--devices", "8", "--rounds", "2", "--quiet", "--output", "run")


@pytest.fixture(autouse=True)
def geth() -> None:
    require("geth")


@pytest.mark.parametrize("options", [(), ("--consensus", "pbft", "--signatures")])
def test_geth_executes_a_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*RUN, *options]) == 0
    assert main(["audit", "--run", "run", "--geth"]) == 0
    assert "geth, executing the chain again, comes to the same blocks" in capsys.readouterr().out


def test_geth_executes_slashes_and_time_that_passes_again(tmp_path: Path) -> None:
    leader = {"behaviours": {1: Behaviour(proposes="wrong", votes="inverted")}}  # of the first round
    fed = federation(tmp_path / "payloads", consensus="pbft", rounds=1, simulation=leader)
    (result,) = fed.rounds()
    assert result.record.slashes
    writer = ChainWriter(tmp_path / "chain", embedded(fed.chain))
    assert execute_with_geth(tmp_path / "chain", writer.flush()) is None


def test_what_geth_does_not_come_to_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*RUN]) == 0
    folder, head = recorded_chain(tmp_path / "run")
    shorter = replace(head, size=head.size - 1)
    assert "failed" in (execute_with_geth(folder, shorter) or "")
    blocks = bytearray((folder / BLOCKS_FILE).read_bytes())
    blocks[head.size // 2] ^= 1
    other = tmp_path / "other"
    other.mkdir()
    (other / BLOCKS_FILE).write_bytes(blocks)
    (other / GENESIS_FILE).write_bytes((folder / GENESIS_FILE).read_bytes())
    assert execute_with_geth(other, head) is not None
