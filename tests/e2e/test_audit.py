"""The audit against a node that tells other events than those that happened."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_utils.abi import event_abi_to_log_topic
from hexbytes import HexBytes
from web3 import Web3
from web3.types import RPCEndpoint, RPCResponse

from fbfl.audit import audit
from fbfl.chain.embedded.chain import LockedProvider
from fbfl.chain.ledger import Ledger
from fbfl.chain.queries import round_record
from fbfl.chain.seats import SeatSet
from fbfl.errors import PayloadNotFoundError
from fbfl.storage.local import LocalStore
from fbfl.storage.store import Reference
from tests.support.federations import federation

Forgery = Callable[[dict[str, Any]], dict[str, Any] | None]


class LyingProvider(LockedProvider):
    """A node that changes or hides the logs of one event."""

    def __init__(self, honest: LockedProvider, topic: bytes, forge: Forgery) -> None:
        super().__init__(honest.ethereum_tester, honest.lock)
        self._topic = topic
        self._forge = forge

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        answer = super().make_request(method, params)
        if method == "eth_getLogs":
            told = (self._forge(log) if HexBytes(log["topics"][0]) == self._topic else log for log in answer["result"])
            answer["result"] = [log for log in told if log is not None]
        return answer


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    fed = federation(tmp_path_factory.mktemp("payloads"))
    assert fed.play_round().record.status == "final"
    assert audit(fed.ledger, fed.store, fed.task).passed
    return fed


def findings(fed: Any, contract: str, event: str, forge: Forgery) -> list[str]:
    contracts = {"tasks": fed.ledger.tasks, "rewards": fed.ledger.rewards, "pow": fed.ledger.consensus["pow"]}
    abi = contracts[contract].abi
    (found,) = (entry for entry in abi if entry["type"] == "event" and entry["name"] == event)
    provider = LyingProvider(fed.chain.w3.provider, event_abi_to_log_topic(found), forge)
    ledger = Ledger(Web3(provider), fed.devnet.addresses)
    report = audit(ledger, fed.store, ledger.task(fed.task.id))
    return [str(finding) for finding in report.findings]


def test_a_final_round_without_its_votes_is_found(fed: Any) -> None:
    (finding,) = findings(fed, "pow", "Voted", lambda log: None)
    leader = fed.ledger.state(fed.task.id).proposal.proposer
    assert finding == f"round 1, server {leader}: 1 of 4 members accepted it, 3 are needed"


def test_a_reward_that_is_not_what_the_terms_say_is_found(fed: Any) -> None:
    def one_wei_more(log: dict[str, Any]) -> dict[str, Any]:
        amount = int.from_bytes(HexBytes(log["data"])[-32:], "big") + 1
        return log | {"data": "0x" + (bytes(HexBytes(log["data"])[:-32]) + amount.to_bytes(32, "big")).hex()}

    told = findings(fed, "rewards", "Credited", one_wei_more)
    assert len(told) == 4
    assert all("wei, the terms say" in finding for finding in told)


def last_byte_changed(log: dict[str, Any]) -> dict[str, Any]:
    data = bytes(HexBytes(log["data"]))
    return log | {"data": "0x" + (data[:-1] + bytes([data[-1] ^ 1])).hex()}


@pytest.mark.parametrize(
    ("event", "forge", "found"),
    [
        ("SubmissionsClosed", last_byte_changed, ["the running hash does not belong to the recorded updates"]),
        (
            "SubmissionsClosed",
            lambda log: None,
            ["the outcome on the ledger is not what the committee voted on", "no block closed its submissions"],
        ),
        ("RoundFinalized", last_byte_changed, ["the outcome on the ledger is not what the committee voted on"]),
    ],
)
def test_what_a_node_tells_otherwise_of_a_round_is_found(
    fed: Any, event: str, forge: Forgery, found: list[str]
) -> None:
    told = findings(fed, "tasks", event, forge)
    assert all(any(each in finding for finding in told) for each in found)


def test_members_that_were_not_drawn_are_found(tmp_path: Path) -> None:
    fed = federation(tmp_path, participation=0.5, draw="chain", seed=3)
    assert fed.play_round().record.status == "final"
    assert findings(fed, "tasks", "RoundFinalized", lambda log: log) == []
    drawn = fed.ledger.drawn(fed.task.id, 1)
    wrong = "round 1: the members that were drawn are not those that follow from the task's seed"
    assert findings(fed, "tasks", "ParticipantsDrawn", lambda log: None) == [wrong]
    outsider = "its update is recorded, and it was not drawn for this round"
    first = fed.servers[next(iter(drawn))].address

    def without_the_first(log: dict[str, Any]) -> dict[str, Any]:
        return log | {"data": "0x" + (drawn - SeatSet.of([next(iter(drawn))])).word.to_bytes(32, "big").hex()}

    told = findings(fed, "tasks", "ParticipantsDrawn", without_the_first)
    assert told == [wrong, f"round 1, server {first}: {outsider}"]
    for event in ("TaskSampled", "TaskTerms"):
        assert wrong in findings(fed, "tasks", event, lambda log: None)


class Emptied(LocalStore):
    """A store that has lost some payloads."""

    lost: frozenset[bytes] = frozenset()

    def get(self, reference: Reference) -> bytes:
        if reference.digest in self.lost:
            raise PayloadNotFoundError("gone")
        return super().get(reference)


def test_every_payload_that_is_gone_is_named(fed: Any) -> None:
    """With its round, and with its server where one had published it."""
    record = round_record(fed.ledger, fed.task.id, 1)
    updates = fed.ledger.updates(fed.task.id, 1)
    model = bytes.fromhex(str(record.model_digest)[2:])
    store = Emptied(fed.store.folder)
    seen: list[tuple[int, int]] = []
    for lost, expected in (
        ([updates[0].payload.digest], [f"round 1, server {updates[0].server}: update {updates[0].payload.cid}"]),
        ([fed.task.model.digest], [f"round 1: parent model {fed.task.model.cid}"]),
        ([model], [f"round 1, server {record.leader}: global model {record.model_cid}"]),
        ([fed.task.model.digest, model], ["round 1: parent model", f"round 1, server {record.leader}: global model"]),
    ):
        store.lost = frozenset(lost)
        report = audit(fed.ledger, store, fed.task, progress=lambda done, total: seen.append((done, total)))
        assert len(report.findings) == len(expected)
        for finding, start in zip(report.findings, expected, strict=True):
            assert str(finding).startswith(start)
            assert str(finding).endswith("the payload is missing")
    assert seen == [(1, 1)] * 4


def test_pay_that_a_new_seat_has_lost_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fed = federation(tmp_path, reward=900, simulation={"lanes": 1})
    ledger, task = fed.ledger, fed.task.id
    liar, *honest = fed.servers
    for server in honest:
        monkeypatch.setattr(server, "_settle", lambda state: False)
        monkeypatch.setattr(server, "_report", lambda state, server=server: report(server))
    monkeypatch.setattr(liar, "_act", lambda: liar._submit(ledger.state(task)))

    def report(server: Any) -> bool:
        if server is honest[2] or server._accused(ledger.state(task))[0]:
            return False
        server.participant.report_missing(task, 1, liar.address, ledger.state(task).accumulator)
        return True

    record = fed.play_round().record
    assert (record.status, record.missing) == ("final", (liar.address,))
    honest[0].participant.resign(task)
    honest[0].participant.join(task)
    honest[1].participant.settle(task, 1)
    assert set(dict(round_record(ledger, task, 1).rewards)) == {honest[1].address, honest[2].address, record.leader}
    assert [str(finding) for finding in audit(ledger, fed.store, fed.task).findings] == []


def test_tasks_of_the_first_release_are_told_by_what_its_contracts_did_not_publish(fed: Any) -> None:
    (event,) = (entry for entry in fed.ledger.tasks.abi if entry["type"] == "event" and entry["name"] == "TaskTerms")
    provider = LyingProvider(fed.chain.w3.provider, event_abi_to_log_topic(event), lambda log: None)
    assert Ledger(Web3(provider), fed.devnet.addresses).task(fed.task.id).format == 1
    assert fed.ledger.task(fed.task.id).format == 2
