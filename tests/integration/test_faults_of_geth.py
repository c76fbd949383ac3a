"""Nodes of a proof-of-work network that fail around agents: one that is killed, and a network that falls apart."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_typing import BlockNumber

from fbfl.chain.deployment.deploy import file_of, open_ledger
from fbfl.chain.networks import connect
from fbfl.chain.rounds import Phase
from fbfl.nodes import chains
from fbfl.nodes.chains import ask
from fbfl.nodes.nodeset import NodeStatus
from fbfl.nodes.processes import running
from tests.integration.agents import SERVERS, Agents, wait
from tests.integration.federations import SETTINGS, RoundByRound
from tests.integration.partition import parted
from tests.integration.proxy import proxy
from tests.support.ports import free_ports

pytestmark = [pytest.mark.integration, pytest.mark.slow]

AWAY = 1
"""The agent that uses the second node; the others, enough to decide, use the first one."""

LAST = 2
"""The agent whose update comes last."""


@pytest.fixture(scope="module")
def playing(geth_nodes: list[NodeStatus], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoundByRound]:
    first, second = (node.address for node in geth_nodes)
    with contextlib.ExitStack() as stack:
        to_first = stack.enter_context(proxy(first, free_ports()))
        # Node i mines for account i, which is server i's; the owner mines nothing.
        agents = Agents(
            tmp_path_factory.mktemp("agents"),
            first,
            free_ports(),
            networks=[first, second, to_first.url, first],
            accounts=range(SERVERS),
            owner=SERVERS,
            mock_ethash=True,
        )
        stack.callback(agents.end)
        task = agents.create_task(*SETTINGS, "--consensus", "ethash", "--view-timeout", 30, "--rounds", 10)
        agents.enrol(task)
        for number in range(SERVERS):
            agents.begin_agent(number)
        yield RoundByRound(agents, task, {LAST: to_first})


def test_a_node_that_is_killed_and_comes_back(playing: RoundByRound, state: Path) -> None:
    address = playing.agents.addresses[AWAY]
    with playing.round() as number, playing.held(LAST, "submit"):
        recorded = playing.ledger.recorded
        wait(lambda: address in {u.server for u in recorded(playing.task, number)}, "the update of the agent", 240)
        pid = running(state / "geth", f"node-{AWAY}")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    # The others have finished the round meanwhile; the agent says what is wrong, and takes part in the next one.
    wait(lambda: "no node answers" in str(playing.agents.health(AWAY)), "its agent says so")
    chains.up("geth", state=state)
    with playing.round():
        pass
    wait(lambda: playing.agents.has_recovered(AWAY), "its agent has recovered")


def test_a_network_that_falls_apart_when_a_round_is_closed_and_final_on_the_branch_that_loses(
    playing: RoundByRound, geth_nodes: list[NodeStatus], tmp_path: Path
) -> None:
    first, second = (connect(node.address) for node in geth_nodes)
    ledger, there = playing.ledger, open_ledger(second, file_of(second, playing.agents.folder / "deployments"))
    task, number = playing.task, playing.next_round

    def submitted_there() -> int:
        return len(there.recorded(task, number))

    with playing.agents.driven(number + 1, seconds=400):
        try:
            with contextlib.ExitStack() as apart:
                with playing.held(LAST, "submit"):
                    wait(lambda: submitted_there() == SERVERS - 1, "the other updates are on both nodes", 240)
                    apart.enter_context(parted(geth_nodes))
                wait(lambda: any(ledger.round_events(task, number, "RoundFinalized")), "the round is final", 240)
                ask(geth_nodes[0].address, "miner_stop")
                (closed,) = ledger.round_events(task, number, "SubmissionsClosed")
                (before,) = ledger.round_events(task, number, "RoundFinalized")
                alone = first.eth.block_number
                # Until the other branch, where the last update is missing, is the heavier one beyond doubt.
                wait(lambda: second.eth.block_number >= alone + 4, "the other branch is longer", 240)
                assert (submitted_there(), there.state(task).phase) == (SERVERS - 1, Phase.SUBMIT)
            wait(
                lambda: first.eth.get_block(BlockNumber(closed.block))["hash"] != closed.block_hash,
                "the first node has left its branch",
            )
        finally:
            ask(geth_nodes[0].address, "miner_start", 1)
    for again in (number, number + 1):
        playing.assert_final(again)
    (after,) = ledger.round_events(task, number, "RoundFinalized")
    assert after.block_hash != before.block_hash
    assert after.args["model"] == before.args["model"]
    playing.assert_as_simulated(tmp_path)
