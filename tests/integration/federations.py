"""Whole federations of agents, whose result is that of the simulation."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fbfl.chain.ledger import Ledger
from fbfl.chain.queries import RoundRecord, round_records
from fbfl.storage.payload import encode
from fbfl.storage.store import Store
from tests.e2e.federations import federation
from tests.integration.agents import SERVERS, Agents

SETTINGS = ("--dataset", "digits", "--servers", SERVERS, "--devices", 2 * SERVERS)


@contextmanager
def running(agents: Agents) -> Iterator[Agents]:
    try:
        yield agents
    finally:
        agents.end()


def play(
    agents: Agents, store: Store, rounds: int, *settings: object, then: Callable[[], None] = lambda: None
) -> tuple[Ledger, int, list[RoundRecord]]:
    """All rounds by agents, and then `then`; the final model is that of the simulation."""
    task = agents.create_task(*SETTINGS, *settings, "--rounds", rounds)
    agents.enrol(task)
    for number in range(SERVERS):
        agents.begin_agent(number, "--patience", 60)
    agents.drive(rounds)
    then()
    ledger = agents.ledger()
    records = list(round_records(ledger, task))
    assert [record.status for record in records] == ["final"] * rounds
    assert [[update.server for update in record.updates] for record in records] == [agents.addresses] * rounds

    simulated = federation(agents.folder / "simulated", rounds=rounds, consensus="pbft")
    for _ in simulated.rounds():
        pass
    expected = hashlib.sha256(encode(simulated.plan.spec, simulated.weights)).hexdigest()
    assert hashlib.sha256(store.get(ledger.state(task).model)).hexdigest() == expected
    return ledger, task, records


def assert_audited(agents: Agents, *options: object) -> str:
    """An audit by command finds nothing; returns what it says."""
    audit = agents.do("audit", *options)
    assert audit.returncode == 0, audit.stdout + audit.stderr
    return audit.stdout
