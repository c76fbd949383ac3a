"""The index beside a run: what spares queries the execution of every block, and what it must never be taken for."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fbfl
from fbfl import RunSettings
from fbfl.cli import main
from fbfl.errors import InvalidInputError
from fbfl.runs import index
from tests.support.indexes import forge


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    fbfl.run(RunSettings(dataset="digits", servers=3, devices=3, rounds=2), path)
    assert index.recorded_in(path).executed
    return path


@pytest.fixture
def run(indexed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(indexed, tmp_path / "run"))


def test_an_index_says_what_the_chain_says(indexed: Path) -> None:
    from_index, again = index.read(indexed), fbfl.open_run(indexed).rounds
    assert from_index is not None
    assert list(from_index.rounds) == again
    second = index.recorded_in(indexed, only=2)
    assert (second.executed, second.records.rounds, second.records.num_rounds) == (False, (again[1],), 2)
    with pytest.raises(InvalidInputError, match="round 3 does not exist; allowed: 1 to 2"):
        index.recorded_in(indexed, only=3)


def test_queries_that_read_the_index_execute_nothing_and_say_so(indexed: Path) -> None:
    slow = "{'web3', 'eth', 'eth_account', 'keras', 'tensorflow', 'scipy', 'pandas', 'matplotlib'}"
    program = f"import sys; from fbfl.cli import main; main(sys.argv[1:]); print({slow} & {{*sys.modules}})"
    for query in (["rounds"], ["round", "1"]):
        command = [sys.executable, "-c", program, *query, "--run", str(indexed)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr.startswith("not re-executed: "), done.stderr
        assert done.stdout.endswith("set()\n"), done.stdout


def test_output_is_the_same_with_and_without_an_index(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = {}
    for kind in ("index", "chain"):
        for query in (["rounds"], ["rounds", "--json"], ["round", "2"], ["round", "2", "--json"]):
            if kind == "chain":
                (run / index.INDEX).unlink(missing_ok=True)
            assert main([*query, "--run", str(run)]) == 0
            out, err = capsys.readouterr()
            told[kind, *query] = out
            assert err.startswith("not re-executed") == (kind == "index")
    assert all(told["index", *query] == out for (_, *query), out in told.items())


def test_an_index_of_another_chain_deployment_or_code_is_none(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert index.read(run) is not None
    for name in ("chain/chain.rlp", "chain/genesis.json", "deployment.json"):
        data = (run / name).read_bytes()
        (run / name).write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
        assert index.read(run) is None, name
        (run / name).write_bytes(data)
    assert index.read(run) is not None
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "chain": {**summary["chain"], "hash": "0x00"}}))
    assert index.read(run) is None
    (run / "summary.json").write_text(json.dumps(summary))
    monkeypatch.setattr(index, "code", lambda: "another")
    assert index.read(run) is None


def test_a_damaged_chain_is_found_whatever_the_index_says(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chain = run / "chain" / "chain.rlp"
    data = bytearray(chain.read_bytes())
    data[len(data) // 2] ^= 1
    chain.write_bytes(data)
    assert main(["rounds", "--run", str(run)]) == 1
    assert "does not execute again" in capsys.readouterr().err


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -100])
def test_an_index_that_is_cut_off_is_none(run: Path, cut: int) -> None:
    data = (run / index.INDEX).read_bytes()
    (run / index.INDEX).write_bytes(data[:cut])
    assert index.read(run) is None
    assert index.recorded_in(run).executed  # and is written again
    assert (run / index.INDEX).read_bytes() == data


def test_a_forged_index_is_never_taken_for_an_audit(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = "0x" + "11" * 20

    def other_leader(lines: list[Any]) -> None:
        lines[1]["leader"] = wrong

    forge(run, other_leader)
    assert main(["round", "1", "--json", "--run", str(run)]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["leader"] == wrong
    assert err.startswith("not re-executed")
    assert main(["audit", "--run", str(run)]) == 0
    assert "everything recomputed is as recorded" in capsys.readouterr().out
    assert fbfl.open_run(run).rounds[0].leader != wrong


FORGERIES: dict[str, Callable[[list[Any]], object]] = {
    "a round less than it says": lambda lines: lines[2].update(round=1),
    "a number below 0": lambda lines: lines[2].update(gas_used=-1),
    "a number that no contract has": lambda lines: lines[2].update(gas_used=10**100),
    "a number that is none": lambda lines: lines[2].update(gas_used=1.5),
    "votes that are no list": lambda lines: lines[2].update(votes="votes"),
    "a vote without a voter": lambda lines: lines[2]["votes"][0].pop("voter"),
    "a key that is not known": lambda lines: lines[2].update(more=1),
    "a text without end": lambda lines: lines[2].update(reason="a" * 10**6),
    "a deep list": lambda lines: lines[0]["terms"].update(deep=json.loads("[" * 200 + "]" * 200)),
    "servers that are no servers": lambda lines: lines[0].update(servers=[{}]),
    "no line about the task": lambda lines: lines.pop(0),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_index_is_read_without_harm(run: Path, name: str) -> None:
    forge(run, FORGERIES[name])
    assert index.read(run) is None
    assert index.recorded_in(run).executed


def test_an_index_that_is_too_large_is_not_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MOST_BYTES", 1000)
    assert index.read(run) is None


def test_a_folder_that_cannot_be_written_has_no_index(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / index.INDEX).unlink()

    def refuse(path: Path, data: bytes) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(index, "write_atomically", refuse)
    assert index.recorded_in(run).executed
    assert not (run / index.INDEX).exists()
