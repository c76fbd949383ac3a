"""IPFS daemons that fail around agents: what nobody can fetch is left out, nobody is accused wrongly, all goes on."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fbfl.chain.queries import round_record
from fbfl.nodes import kubo
from fbfl.nodes.nodeset import NodeStatus
from fbfl.nodes.processes import running
from tests.integration.agents import SERVERS, Agents, wait
from tests.integration.federations import SETTINGS, RoundByRound, assert_audited
from tests.integration.machine import require
from tests.integration.proxy import Proxy, cut, every, garbage, late, lost, overloaded, proxy
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration

ALONE = 1
"""The agent that has the second daemon for itself; the others share the first one."""

SPOILT = 3
"""The agent that reaches its daemon through a proxy."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The agents' folder, and their daemons'."""
    require("kubo", "ipfs")
    made = tmp_path_factory.mktemp("ipfs")
    kubo.up(nodes=2, port=free_ports(), state=made)
    yield made
    kubo.down(state=made)


@pytest.fixture(scope="module")
def to_ipfs(folder: Path) -> Iterator[Proxy]:
    shared, _ = kubo.status(state=folder)
    with proxy(f"http://127.0.0.1:{port_of(shared.address)}", free_ports()) as made:
        yield made


@pytest.fixture(scope="module")
def playing(folder: Path, to_ipfs: Proxy, start_network: Callable[[str], list[NodeStatus]]) -> Iterator[RoundByRound]:
    (node,) = start_network("anvil")
    shared, other = (daemon.address for daemon in kubo.status(state=folder))
    spoilt = f"/ip4/127.0.0.1/tcp/{to_ipfs.url.rpartition(':')[2]}/http"
    with contextlib.ExitStack() as stack:
        to_node = stack.enter_context(proxy(node.address, free_ports()))
        networks = [to_node.url, *[node.address] * (SERVERS - 1)]
        agents = Agents(folder, node.address, free_ports(), networks=networks, ipfs=[shared, other, shared, spoilt])
        stack.callback(agents.end)
        task = agents.create_task(*SETTINGS, "--consensus", "pbft", "--rounds", 10)
        agents.enrol(task)
        for number in range(SERVERS):
            agents.begin_agent(number)
        yield RoundByRound(agents, task, {0: to_node})


def test_a_daemon_that_answers_late_or_wrongly(playing: RoundByRound, to_ipfs: Proxy) -> None:
    ways = (overloaded, cut, lost, late(1), garbage)
    with to_ipfs.spoiling(every(2, *ways)), playing.round() as number:
        pass
    assert to_ipfs.spoiled >= len(ways)
    assert not list(playing.ledger.round_events(playing.task, number, "PayloadMissing"))


def test_an_update_whose_only_holder_is_killed_is_left_out_and_the_next_ones_count(
    playing: RoundByRound, folder: Path
) -> None:
    while playing.next_round % SERVERS == ALONE:  # without its store it would have the first turn, for ten minutes
        with playing.round():
            pass
    with playing.round(missing=[ALONE]) as number, playing.held(0, "submit"):  # so that nobody fetches anything yet
        wait(lambda: len(playing.ledger.recorded(playing.task, number)) == SERVERS - 1, "the others' updates")
        pid = running(folder / "kubo", "node-1")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    record = round_record(playing.ledger, playing.task, number)
    assert record.missing == (playing.agents.addresses[ALONE],)
    reports = playing.ledger.round_events(playing.task, number, "PayloadReported")
    assert {event.args["server"] for event in reports} == set(record.missing)
    wait(lambda: "no IPFS daemon answers" in str(playing.agents.health(ALONE)), "its agent says so")

    kubo.up(state=folder)
    with playing.round():
        pass
    assert_audited(playing.agents, "--store", "ipfs")


def port_of(address: str) -> str:
    return address.split("/")[4]
