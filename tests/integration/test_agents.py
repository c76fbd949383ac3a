"""MEC servers as processes of their own on a real node: the result of the simulation, whoever is killed meanwhile."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from fbfl.chain.accounts import development_account
from fbfl.chain.queries import round_records
from fbfl.chain.rounds import Phase
from fbfl.nodes.nodeset import NodeStatus
from tests.integration.agents import SERVERS, Agents, environment, wait
from tests.integration.moments import sent
from tests.support.federations import federation
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration

ROUNDS = 3
SETTINGS = ("--dataset", "digits", "--servers", SERVERS, "--consensus", "pbft")
VICTIM = 1


@pytest.fixture
def processes(tmp_path: Path, start_network: Callable[[str], list[NodeStatus]]) -> Iterator[Agents]:
    (node,) = start_network("anvil")
    running = Agents(tmp_path, node.address, free_ports())
    yield running
    running.end()


def test_agents_compute_the_model_of_the_simulation_and_live_through_kill_9(processes: Agents) -> None:
    assert processes.do("deploy", "--account", 0).returncode == 0
    created = processes.do("task", "create", "--account", 0, *SETTINGS, "--rounds", ROUNDS)
    assert created.returncode == 0, created.stderr
    number = int(created.stdout.split()[-1])
    addresses = [development_account(server + 1).address for server in range(SERVERS)]
    assert processes.do("task", "admit", *addresses, "--account", 0).returncode == 0

    ledger = processes.ledger()

    def joined(address: str) -> bool:
        return address in ledger.seats(number, 1)

    for server in range(SERVERS):  # in turn, so that each has the seat whose share it holds
        processes.start_agent(server)
        wait(partial(joined, addresses[server]), f"agent {server} joins")
    assert ledger.seats(number, 1) == {address: seat for seat, address in enumerate(addresses)}

    # A second agent of the same key refuses, on this machine and where only the registry leads to the first one.
    for options in ((), ("--state", processes.folder / "elsewhere")):
        second = subprocess.run(
            processes.mec(VICTIM, "--port", processes.port + SERVERS, *options),
            cwd=processes.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert second.returncode == 2
        assert f"an agent of {addresses[VICTIM]} runs already" in second.stderr

    drive = processes.command("task", "drive", "--account", 0, "--rounds", ROUNDS, "--servers", SERVERS)
    processes.others.append(processes.start(drive, "drive.log"))

    def submitted(round_number: int) -> bool:
        return any(update.server == addresses[VICTIM] for update in ledger.recorded(number, round_number))

    # Killed in its training: the round waits for it.
    wait(lambda: (processes.health(VICTIM) or {}).get("phase") == "submit", "round 1 is open")
    processes.kill(VICTIM)
    assert not submitted(1)
    processes.start_agent(VICTIM)
    # Killed when its update is just recorded: it must not send another one.
    wait(lambda: submitted(2), "the update of round 2")
    processes.kill(VICTIM)
    processes.start_agent(VICTIM)

    over = processes.others[0]
    wait(lambda: over.poll() is not None, "all rounds are over", seconds=180)
    assert over.returncode == 0
    state = ledger.state(number)
    assert (state.round, state.phase) == (ROUNDS, Phase.FINAL)

    records = list(round_records(ledger, number))
    assert [record.status for record in records] == ["final"] * ROUNDS
    assert [[update.server for update in record.updates] for record in records] == [addresses] * ROUNDS
    sent_by_victim = sent(ledger, addresses[VICTIM], "submit", records[0].first_block)  # refused ones included
    assert sent_by_victim == ROUNDS

    rewards = ledger.rewards.functions
    wait(lambda: all(rewards.isSettled(number, n + 1).call() for n in range(ROUNDS)), "every round is settled")
    wait(lambda: not any(rewards.creditOf(address).call() for address in addresses), "rewards are withdrawn")

    audit = processes.do("audit")
    assert audit.returncode == 0, audit.stdout + audit.stderr

    for process in processes.agents.values():
        process.send_signal(signal.SIGTERM)
    assert [process.wait(30) for process in processes.agents.values()] == [0] * SERVERS
    for server in range(SERVERS):
        lines = (processes.folder / f"agent-{server}.log").read_text().splitlines()
        assert json.loads(lines[-1])["message"] == "stopped"

    simulated = federation(processes.folder / "simulated", rounds=ROUNDS, consensus="pbft")
    expected = [result.record.model_digest for result in simulated.rounds()]
    assert [record.model_digest for record in records] == expected
