"""Servers and their devices as processes: devices move, processes are killed, and the model is the simulation's."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fbfl.chain.queries import round_records
from fbfl.nodes.nodeset import NodeStatus
from tests.integration.agents import SERVERS, Agents, wait
from tests.integration.devices import DEVICES, Devices
from tests.support.federations import federation
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration

ROUNDS = 3
MOVER = 7
HOUR = 3600.0
"""After an hour devices have the second half of their samples, and one has moved."""
VICTIM = 0
"""The server that is killed, to which the device moves."""


@pytest.fixture
def agents(tmp_path: Path, start_network: Callable[[str], list[NodeStatus]]) -> Iterator[Agents]:
    (node,) = start_network("anvil")
    found = Agents(tmp_path, node.address, free_ports(), devices=tmp_path / "devices")
    yield found
    found.end()


@pytest.fixture
def devices(agents: Agents) -> Iterator[Devices]:
    trace = agents.folder / "trace.csv"
    ways = [f"{device},0,{device % SERVERS}" for device in range(DEVICES)] + [f"{MOVER},{HOUR},{VICTIM}"]
    trace.write_text("\n".join(["device,seconds,cell", *ways]))
    collects = ("--mobility-arg", f"round_seconds={HOUR}", "--mobility-arg", "collect_rounds=2")
    found = Devices(agents, "--trace", trace, *collects, "--batch", 10)
    yield found
    found.end()


def test_whoever_moves_or_is_killed_the_model_is_that_of_the_simulation(agents: Agents, devices: Devices) -> None:
    moving = {"file": str(agents.folder / "trace.csv"), "round_seconds": HOUR, "collect_rounds": 2}
    simulated = federation(
        agents.folder / "simulated", rounds=ROUNDS, consensus="pbft", mobility="trace", mobility_args=moving
    )
    expected, counts = [], []
    for result in simulated.rounds():
        expected.append(result.record)
        counts.append([server.samples.count for server in simulated.servers])
    assert counts[0] != counts[1] == counts[2]

    settings = ("--dataset", "digits", "--servers", SERVERS, "--rounds", ROUNDS)
    task = agents.create_task(*settings, "--consensus", "pbft")
    agents.enrol(task)
    ledger = agents.ledger()

    def held() -> list[int]:
        return [(agents.health(server) or {}).get("samples", 0) for server in range(SERVERS)]

    def submitted() -> set[str]:
        return {update.server for update in ledger.recorded(task, 1)}

    # Killed in mid-upload, a device goes on where it was; those that start before their server wait for it.
    for number in range(DEVICES):
        devices.start(number)
    for server in range(SERVERS):
        agents.begin_agent(server)
    wait(lambda: held()[MOVER % SERVERS] > 0, "the first samples")
    devices.kill(MOVER)
    devices.start(MOVER)
    wait(lambda: held() == counts[0], f"the servers have {counts[0]} samples")
    for number in range(DEVICES):
        devices.kill(number)

    # Killed when it has begun to train: what arrives before it trains again is not for this round.
    drive = ("task", "drive", "--account", 0, "--servers", SERVERS)
    owner = agents.start(agents.command(*drive, "--rounds", 1), "drive.log")
    agents.others.append(owner)
    (kept,) = (agents.folder / ".fbfl" / "mec").glob(f"*-{agents.addresses[VICTIM]}/samples-*.sqlite")
    wait(lambda: frozen_rounds(kept) == 1, "round 1 is open")
    agents.kill(VICTIM)
    assert agents.addresses[VICTIM] not in submitted()
    wait(lambda: len(submitted()) == SERVERS - 1, "the updates of the others")
    for number in range(DEVICES):
        devices.later(number, HOUR)
        devices.start(number, "--once")
    wait(lambda: held()[1:] == counts[1][1:], "the second half is where it should be")
    agents.begin_agent(VICTIM)
    devices.finish()
    assert held() == counts[1]
    assert sum(devices.confirmed(number) for number in range(DEVICES)) == sum(counts[1])

    wait(lambda: owner.poll() is not None, "round 1 is over")
    agents.drive(ROUNDS)
    records = list(round_records(ledger, task))
    assert [[u.samples for u in record.updates] for record in records] == [
        [u.samples for u in record.updates] for record in expected
    ]
    assert [record.model_digest for record in records] == [record.model_digest for record in expected]
    audit = agents.do("audit")
    assert audit.returncode == 0, audit.stdout + audit.stderr


def frozen_rounds(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("select count(*) from rounds").fetchone()[0])
