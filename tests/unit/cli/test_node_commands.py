"""`fbfl chain` and `fbfl ipfs` in this process, on programs that stand in for nodes."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fbfl.cli import main
from fbfl.errors import NodeUnavailableError
from fbfl.nodes import chains
from fbfl.nodes.processes import recorded, running, stop
from tests.support.nodes import stand_in
from tests.support.ports import free_ports

KINDS = {
    "anvil": ("chain", "--network", "anvil"),
    "ganache": ("chain", "--network", "ganache"),
    "geth": ("chain", "--network", "geth"),
    "kubo": ("ipfs",),
}
NODES = {"anvil": 1, "ganache": 1, "geth": 2, "kubo": 2}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the nodes' state, none of which outlives the test."""
    stand_in(tmp_path / "tools", monkeypatch)
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "state"
    for folder in (tmp_path / "state").glob("*"):
        stop(folder, recorded(folder))


def fbfl(kind: str, action: str, state: Path, *options: object) -> int:
    group, *network = KINDS[kind]
    if (kind, action) == ("geth", "up"):
        network.append("--ethash-test")
    return main([group, action, *network, "--state", str(state), *map(str, options)])


@pytest.mark.parametrize("kind", KINDS)
def test_nodes_come_up_say_how_they_are_and_go_down(state: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    names, port = [f"node-{node}" for node in range(NODES[kind])], free_ports()
    assert fbfl(kind, "status", state) == 3
    assert capsys.readouterr().out == f"{kind}: never started in {state}\n"
    assert fbfl(kind, "up", state, "--port", port) == 0
    assert fbfl(kind, "status", state) == 0
    shown = capsys.readouterr().out
    for node, name in enumerate(names):
        assert shown.count(name) == 4, "name and log of each node, twice"
        assert str(port + node) in shown
    assert shown.count(" running ") == 2 * len(names)
    assert shown.count("ethash (test)") == (2 * len(names) if kind == "geth" else 0)
    assert ("peers" in shown) == (len(names) > 1)

    pids = [running(state / kind, name) for name in names]
    assert fbfl(kind, "up", state) == 0, "what runs is left alone"
    assert [running(state / kind, name) for name in names] == pids
    stop(state / kind, names[:1])
    capsys.readouterr()
    assert fbfl(kind, "status", state) == 3
    assert capsys.readouterr().out.count("not running") == 1

    assert fbfl(kind, "down", state) == 0
    stopped = f"stopped {', '.join(names[1:])}" if names[1:] else "nothing was running"
    assert capsys.readouterr().out == f"{kind}: {stopped}\n"
    assert (state / kind / "nodes.json").exists(), "kept for the next time"
    assert fbfl(kind, "down", state, "--forget") == 0
    assert capsys.readouterr().out == f"{kind}: nothing was running\n{kind}: forgotten\n"
    assert not (state / kind).exists()


@pytest.mark.parametrize("kind", ["anvil", "kubo"])
@pytest.mark.parametrize("mood", ["dies", "deaf", "refuses", "mumbles", "otherwise"])
def test_what_does_not_come_up_is_said_in_a_line_and_leaves_nothing_running(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, mood: str
) -> None:
    monkeypatch.setenv("STAND_IN", mood)
    patience = 20 if mood == "dies" else 0.3
    assert fbfl(kind, "up", state, "--port", free_ports(), "--timeout", patience) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert ("was not ready within 0.3 s" if mood != "dies" else "no ") in said
    assert not any(running(state / kind, name) for name in recorded(state / kind))


@pytest.mark.parametrize("kind", ["anvil", "kubo"])
def test_a_node_that_no_longer_answers_is_told_from_one_that_does_not_run(
    state: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    assert fbfl(kind, "up", state, "--port", free_ports()) == 0
    layout = state / kind / "nodes.json"
    kept = json.loads(layout.read_text())
    layout.write_text(json.dumps({**kept, "port": free_ports()}))  # where nobody listens
    capsys.readouterr()
    assert fbfl(kind, "status", state) == 3
    assert capsys.readouterr().out.count("running, but does not answer") == NODES[kind]


@pytest.mark.parametrize(
    ("kind", "options", "named"),
    [
        ("anvil", ("--timeout", "0"), "--timeout 0; allowed: more than 0 seconds"),
        ("kubo", ("--timeout", "nan"), "--timeout nan; allowed: more than 0 seconds"),
        ("anvil", ("--timeout", "inf"), "--timeout inf; allowed: more than 0 seconds, up to "),
        ("anvil", ("--nodes", "2"), "--nodes 2: a network of anvil has 1 node"),
        ("kubo", ("--nodes", "33"), "--nodes 33; allowed: 1 to 32"),
        ("geth", ("--nodes", "0"), "--nodes 0: geth networks have 1 to 32 nodes"),
        ("anvil", ("--ethash-test",), "--ethash-test: allowed with --network geth, not anvil"),
        ("anvil", ("--network", "hardhat"), "network is 'hardhat'; allowed: anvil, ganache, geth: local networks"),
        ("geth", ("--port", "80"), "node-0 would listen on 80; allowed: 1024 to 65535"),
    ],
)
def test_bad_input_is_named_with_what_is_allowed(
    state: Path, capsys: pytest.CaptureFixture[str], kind: str, options: tuple[str, ...], named: str
) -> None:
    assert fbfl(kind, "up", state, *options) == 2
    said = capsys.readouterr().err
    assert named in said
    assert said.count("\n") == 1


def test_what_runs_is_not_started_otherwise(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_ports()
    assert fbfl("kubo", "up", state, "--port", port) == 0
    assert fbfl("kubo", "up", state, "--nodes", 3) == 2
    assert f"kubo is running already, as --nodes 2 --port {port}; stop it first" in capsys.readouterr().err


def test_seals_of_a_kept_chain_stay_as_they_are(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fbfl("geth", "up", state, "--port", free_ports()) == 0
    assert fbfl("geth", "down", state) == 0
    assert main(["chain", "up", "--network", "geth", "--state", str(state), "--no-ethash-test"]) == 2
    assert "has test seals; allowed: the same, or down --forget first" in capsys.readouterr().err


def test_a_refusal_of_a_node_is_told_from_silence(state: Path) -> None:
    port = free_ports()
    assert fbfl("anvil", "up", state, "--port", port) == 0
    url = f"http://127.0.0.1:{port}"
    assert chains.ask(url, "eth_blockNumber") == "0x1"
    with pytest.raises(NodeUnavailableError, match=f"no node answers at {url} "):
        chains.ask(url, "eth_nothing")  # at which it hangs up
    chains.down("anvil", state=state)
    begun = time.monotonic()
    with pytest.raises(NodeUnavailableError, match=f"no node answers at {url} "):
        chains.ask(url, "eth_blockNumber")
    assert time.monotonic() - begun < 2
