"""Federations of agents as processes on every kind of node: the model of the simulation, byte for byte."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from eth_typing import BlockNumber

from fbfl.chain.headers import proof_of_work
from fbfl.chain.ledger import Ledger
from fbfl.chain.nodes import NodeStatus
from fbfl.chain.queries import RoundRecord, round_records
from fbfl.storage.ipfs import IpfsStore
from fbfl.storage.local import LocalStore
from fbfl.storage.payload import encode
from fbfl.storage.store import Reference, Store
from tests.e2e.federations import federation
from tests.integration.agents import SERVERS, Agents, wait
from tests.integration.machine import free_ports
from tests.integration.seals import has_valid_seal

pytestmark = pytest.mark.integration

SETTINGS = ("--dataset", "digits", "--servers", SERVERS, "--devices", 2 * SERVERS)
RETENTION = 2


@contextmanager
def running(agents: Agents) -> Iterator[Agents]:
    try:
        yield agents
    finally:
        agents.end()


def play(agents: Agents, store: Store, rounds: int, *settings: object) -> tuple[Ledger, int, list[RoundRecord]]:
    """All rounds by agents; the final model is that of the simulation, and an audit by command finds nothing."""
    task = agents.create_task(*SETTINGS, *settings, "--rounds", rounds)
    agents.enrol(task)
    for number in range(SERVERS):
        agents.begin_agent(number, "--patience", 60)
    agents.drive(rounds)
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
    audit = agents.do("audit", *options)
    assert audit.returncode == 0, audit.stdout + audit.stderr
    return audit.stdout


def test_signatures_on_anvil_and_payloads_in_ipfs_for_as_long_as_the_task_says(
    tmp_path: Path, start_network: Callable[[str], list[NodeStatus]], stores: list[IpfsStore]
) -> None:
    (node,) = start_network("anvil")
    rounds = 5
    addresses = [store.address for store in stores]
    with running(Agents(tmp_path, node.url, free_ports(), ipfs=addresses)) as agents:
        settings = ("--consensus", "pbft", "--signatures", "--retention", RETENTION)
        ledger, task, records = play(agents, stores[0], rounds, *settings)

        # One transaction for all updates, and one for the votes of each stage.
        for record in records:
            events = [event.name for event in ledger.round_events(task, record.round)]
            assert "UpdateSubmitted" not in events
            assert "Voted" not in events
            assert (events.count("UpdatesSubmitted"), events.count("VotesRecorded")) == (1, 2)

        # What a server added to its daemon, the voters with the other one have fetched and pinned.
        newest = ledger.updates(task, rounds)
        for update in newest:
            here, there = stores[update.seat % 2], stores[1 - update.seat % 2]
            assert here.has(update.payload)
            assert there.get(update.payload) == here.get(update.payload)
        held = [u.payload for number in range(rounds - RETENTION + 1, rounds + 1) for u in ledger.updates(task, number)]
        models = [ledger.task(task).model, *(reference(record) for record in records)]
        past = [u.payload for number in range(1, rounds - RETENTION + 1) for u in ledger.updates(task, number)]

        def settled() -> bool:
            return all(pinned(store).isdisjoint({payload.cid for payload in past}) for store in stores)

        wait(settled, "the payloads of old rounds are unpinned")
        for store in stores:
            assert pinned(store) >= {payload.cid for payload in [*held, *models[-RETENTION - 1 :]]}
            assert pinned(store).isdisjoint({model.cid for model in models[: -RETENTION - 1]})
            collect_garbage(store)
        for store in stores:
            assert all(store.has(payload) for payload in held)
            assert not any(store.has(payload) for payload in past)
        assert "past the task's retention" in assert_audited(agents, "--store", "ipfs")


def test_puzzles_and_commitments_on_ganache(tmp_path: Path, start_network: Callable[[str], list[NodeStatus]]) -> None:
    (node,) = start_network("ganache")
    with running(Agents(tmp_path, node.url, free_ports())) as agents:
        store = LocalStore(tmp_path / ".fbfl" / "payloads")
        ledger, task, records = play(agents, store, 2, "--consensus", "pow", "--commit-reveal")
        for record in records:
            committed = [event.block for event in ledger.round_events(task, record.round, "UpdateCommitted")]
            assert len(committed) == SERVERS
            assert max(committed) < min(update.block for update in record.updates)
        assert_audited(agents)


def test_miners_of_four_geth_nodes_lead(tmp_path: Path, four_miners: Callable[[], Sequence[NodeStatus]]) -> None:
    nodes = four_miners()
    urls = [node.url for node in nodes]
    # Node i mines for account i, which is server i.
    owner = len(urls) + 1
    running_on = Agents(tmp_path, urls[0], free_ports(), networks=urls, accounts=range(SERVERS), owner=owner)
    with running(running_on) as agents:
        store = LocalStore(tmp_path / ".fbfl" / "payloads")
        ledger, task, records = play(agents, store, 2, "--consensus", "ethash")
        assert proof_of_work(ledger.w3)
        for record in records:
            assert record.consensus == "ethash"
            (closed,) = ledger.round_events(task, record.round, "SubmissionsClosed")
            if record.views == 1:
                assert record.leader == ledger.w3.eth.get_block(BlockNumber(closed.block))["miner"]
        for number in range(1, records[-1].last_block + 1):
            block = ledger.w3.eth.get_block(BlockNumber(number))
            assert has_valid_seal(block)
            assert block["miner"] in agents.addresses
        assert_audited(agents)


def reference(record: RoundRecord) -> Reference:
    assert record.model_digest is not None
    assert record.model_size is not None
    return Reference(bytes.fromhex(record.model_digest[2:]), record.model_size)


def pinned(store: IpfsStore) -> set[str]:
    return set(ask(store, "pin/ls?type=recursive").json()["Keys"])


def collect_garbage(store: IpfsStore) -> None:
    ask(store, "repo/gc?quiet=true")


def ask(store: IpfsStore, command: str) -> requests.Response:
    answer = requests.post(f"http://127.0.0.1:{store.address.split('/')[4]}/api/v0/{command}", timeout=30)
    answer.raise_for_status()
    return answer
