"""Federations of agents as processes: the model of the simulation, byte for byte, with all that tasks may ask for."""

from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from fbfl.audit import audit
from fbfl.chain.devnet import Devnet
from fbfl.chain.networks import connect
from fbfl.chain.records import RoundRecord
from fbfl.chain.remote import RemoteNode
from fbfl.learning.sampling import participants
from fbfl.nodes.nodeset import NodeStatus
from fbfl.storage.ipfs import IpfsStore
from fbfl.storage.local import LocalStore
from fbfl.storage.store import Reference
from tests.integration.agents import SERVERS, Agents, wait
from tests.integration.federations import assert_audited, play, running
from tests.support.federations import federation
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration

ROUNDS = 5
RETENTION = 2
TRAINING = {"server_optimizer": "fedyogi", "proximal": 0.1, "learning_rate": 0.01, "schedule": "exponential"}


def test_signatures_on_anvil_and_payloads_in_ipfs_for_as_long_as_the_task_says(
    tmp_path: Path, start_network: Callable[[str], list[NodeStatus]], stores: list[IpfsStore]
) -> None:
    (node,) = start_network("anvil")
    addresses = [store.address for store in stores]
    with running(Agents(tmp_path, node.address, free_ports(), ipfs=addresses, devices=tmp_path / "devices")) as agents:
        settings = ("--consensus", "pbft", "--signatures", "--retention", RETENTION)
        ledger, task, records = play(agents, stores[0], ROUNDS, *settings)

        # One transaction for all updates, and one for the votes of each stage.
        for record in records:
            events = [event.name for event in ledger.round_events(task, record.round)]
            assert "UpdateSubmitted" not in events
            assert "Voted" not in events
            assert (events.count("UpdatesSubmitted"), events.count("VotesRecorded")) == (1, 2)

        # What a server added to its daemon, the voters with the other one have fetched and pinned.
        newest = ledger.updates(task, ROUNDS)
        for update in newest:
            here, there = stores[update.seat % 2], stores[1 - update.seat % 2]
            assert here.has(update.payload)
            assert there.get(update.payload) == here.get(update.payload)
        held = [u.payload for number in range(ROUNDS - RETENTION + 1, ROUNDS + 1) for u in ledger.updates(task, number)]
        models = [ledger.task(task).model, *(reference(record) for record in records)]
        past = [u.payload for number in range(1, ROUNDS - RETENTION + 1) for u in ledger.updates(task, number)]

        def settled() -> bool:
            return all(pinned(store).isdisjoint({payload.cid for payload in past}) for store in stores)

        wait(settled, "the payloads of old rounds are unpinned")
        for store in stores:
            assert pinned(store) >= {payload.cid for payload in [*held, *models[-RETENTION - 1 :]]}
            # The initial model is the owner's to let go of.
            assert pinned(store).isdisjoint({model.cid for model in models[1 : -RETENTION - 1]})
            collect_garbage(store)
        for store in stores:
            assert all(store.has(payload) for payload in held)
            assert not any(store.has(payload) for payload in past)
        assert "past the task's retention" in assert_audited(agents, "--store", "ipfs")


def test_puzzles_and_commitments_on_ganache(tmp_path: Path, start_network: Callable[[str], list[NodeStatus]]) -> None:
    (node,) = start_network("ganache")
    with running(Agents(tmp_path, node.address, free_ports(), devices=tmp_path / "devices")) as agents:
        store = LocalStore(tmp_path / ".fbfl" / "payloads")
        ledger, task, records = play(agents, store, ROUNDS, "--consensus", "pow", "--commit-reveal", training=TRAINING)
        for record in records:
            committed = [event.block for event in ledger.round_events(task, record.round, "UpdateCommitted")]
            assert len(committed) == SERVERS
            assert max(committed) < min(update.block for update in record.updates)
        assert_audited(agents)


def test_agents_that_the_contract_draws_train_and_all_vote(
    tmp_path: Path, start_network: Callable[[str], list[NodeStatus]]
) -> None:
    (node,) = start_network("anvil")
    with running(Agents(tmp_path, node.address, free_ports(), devices=tmp_path / "devices")) as agents:
        settings = ("--consensus", "pbft", "--signatures")
        training = {"participation": 0.5}
        store = LocalStore(tmp_path / ".fbfl" / "payloads")
        ledger, task, records = play(agents, store, 3, *settings, training=training)
        for record in records:
            seats = participants(SERVERS, 0.5, 0, record.round, "chain")
            assert record.drawn == tuple(agents.addresses[seat] for seat in seats)
            assert {vote.voter for vote in record.votes} == {*agents.addresses}
            events = [event.name for event in ledger.round_events(task, record.round)]
            assert (events.count("UpdatesSubmitted"), events.count("UpdateSubmitted")) == (1, 0)
        assert_audited(agents)


def test_a_simulation_plays_its_rounds_on_a_running_node(
    tmp_path: Path, start_network: Callable[[str], list[NodeStatus]]
) -> None:
    (node,) = start_network("anvil")
    simulated = federation(tmp_path / "simulated", rounds=1, consensus="pbft")
    devnet = Devnet.deployed([RemoteNode(connect(node.address))])
    live = federation(tmp_path / "live", rounds=1, consensus="pbft", simulation={"devnet": devnet})
    for expected, result in zip(simulated.rounds(), live.rounds(), strict=True):
        assert result.record.status == "final"
        assert result.record.model_digest == expected.record.model_digest
    assert audit(live.ledger, live.store, live.task).passed


def reference(record: RoundRecord) -> Reference:
    assert record.model is not None
    return record.model


def pinned(store: IpfsStore) -> set[str]:
    return set(ask(store, "pin/ls?type=recursive").json()["Keys"])


def collect_garbage(store: IpfsStore) -> None:
    ask(store, "repo/gc?quiet=true")


def ask(store: IpfsStore, command: str) -> requests.Response:
    answer = requests.post(f"http://127.0.0.1:{store.address.split('/')[4]}/api/v0/{command}", timeout=30)
    answer.raise_for_status()
    return answer
