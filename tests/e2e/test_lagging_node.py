"""A server whose node answers for the contracts and falls short in its logs, as one of a provider's that is behind."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from eth_utils.abi import event_abi_to_log_topic
from hexbytes import HexBytes
from web3.datastructures import AttributeDict

from fbfl.chain.artifacts import load_artifact
from fbfl.chain.ledger import Ledger
from fbfl.chain.rounds import Phase, Stage
from fbfl.chain.seats import SeatSet
from fbfl.errors import NodeUnavailableError
from fbfl.learning import datasets
from fbfl.learning.trainer import Trainer
from fbfl.mec.tasks import trainer_of
from fbfl.settings import RunSettings
from fbfl.simulation import Simulation
from tests.support.federations import federation

CONTRACTS = ("FederatedTasks", "PbftCommittee")


class Behind:
    """`web3.eth` in whose logs the newest event of some name is missing, as long as it is told so."""

    def __init__(self, eth: Any, event: str) -> None:
        self._eth = eth
        (abi,) = [
            e for name in CONTRACTS for e in load_artifact(name).abi if e["type"] == "event" and e["name"] == event
        ]
        self._topic = event_abi_to_log_topic(abi)  # type: ignore[arg-type]
        self.is_behind = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._eth, name)

    def get_logs(self, wanted: Mapping[str, Any]) -> list[Any]:
        logs = list(self._eth.get_logs(wanted))
        hidden = [log for log in logs if bytes(log["topics"][0]) == self._topic][-1:]
        return [log for log in logs if log not in hidden] if self.is_behind else logs


class Telling(Behind):
    """`web3.eth` that tells other data of an event."""

    def __init__(self, eth: Any, event: str, data: HexBytes) -> None:
        super().__init__(eth, event)
        self._data = data

    def get_logs(self, wanted: Mapping[str, Any]) -> list[Any]:
        logs = self._eth.get_logs(wanted)
        return [AttributeDict({**log, "data": self._data}) if log["topics"][0] == self._topic else log for log in logs]


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return trainer_of(RunSettings(dataset="digits"), datasets.load("digits"), lanes=1)


def to_submitted(fed: Simulation) -> None:
    for server in fed.servers:
        server.step()


def to_decide(fed: Simulation) -> None:
    to_submitted(fed)
    fed.owner.poke(fed.task.id)


def to_votes(fed: Simulation) -> None:
    to_decide(fed)
    while fed.ledger.state(fed.task.id).decision.stage is not Stage.PREPARE:
        fed._sweep(fed.servers[:3])
    voter = next(s for s in fed.servers if s.address != fed.ledger.state(fed.task.id).decision.leader)
    while not list(fed.ledger.round_events(fed.task.id, 1, "Voted")):
        voter.step()


@pytest.mark.parametrize(
    ("event", "until"),
    [
        ("UpdateSubmitted", to_decide),
        ("MemberJoined", to_decide),
        ("RoundOpened", to_submitted),
        ("ParticipantsDrawn", to_submitted),
        ("TaskSampled", to_submitted),
        ("Voted", to_votes),
    ],
)
def test_logs_that_fall_short_are_not_acted_upon_and_read_again(
    tmp_path: Path, trainer: Trainer, event: str, until: Callable[[Simulation], None]
) -> None:
    draw: dict[str, Any] = (
        {"participation": 0.5, "draw": "chain"} if event in ("ParticipantsDrawn", "TaskSampled") else {}
    )
    fed = federation(tmp_path, consensus="pbft", stake=10_000, simulation={"trainer": trainer}, **draw)
    fed.owner.open_round(fed.task.id)
    until(fed)
    late = fed.servers[3]
    ledger = late.participant.ledger = late.ledger = Ledger(fed.chain.w3, fed.devnet.addresses, head=fed.chain.head)
    behind = Behind(fed.chain.w3.eth, event)

    class Web:
        eth, codec = behind, fed.chain.w3.codec

    ledger._scanner._w3 = Web()  # type: ignore[assignment]
    sent = fed.chain.w3.eth.get_transaction_count(late.address)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(
            NodeUnavailableError, match="the node's logs of round 1 fall short of what its contracts say"
        ):
            late.step()
    assert fed.chain.w3.eth.get_transaction_count(late.address) == sent  # type: ignore[arg-type]
    behind.is_behind = False
    record = fed.play_round().record
    assert (record.status, record.views, record.barred, record.slashes) == ("final", 1, (), ())
    assert len(record.updates) == (2 if draw else 4)
    assert all(vote.accept for vote in record.votes)
    assert fed.ledger.state(fed.task.id).phase is Phase.FINAL


def test_a_server_that_is_told_another_draw_neither_sends_nor_stays_away(tmp_path: Path, trainer: Trainer) -> None:
    """As many as were drawn, but others: who believed it would pay for refused updates, or miss its rounds."""
    fed = federation(tmp_path, participation=0.5, draw="chain", simulation={"trainer": trainer})
    fed.owner.open_round(fed.task.id)
    told = SeatSet.of(range(4)) - fed.ledger.drawn(fed.task.id, 1)

    class Web:
        eth, codec = (
            Telling(fed.chain.w3.eth, "ParticipantsDrawn", HexBytes(told.word.to_bytes(32))),
            fed.chain.w3.codec,
        )

    for server in fed.servers:
        ledger = server.participant.ledger = server.ledger = Ledger(fed.chain.w3, fed.devnet.addresses)
        ledger._scanner._w3 = Web()  # type: ignore[assignment]
        with pytest.raises(NodeUnavailableError, match="fall short of what its contracts say"):
            server.step()


def test_logs_that_change_between_two_looks_are_not_voted_on(
    tmp_path: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed = federation(tmp_path, consensus="pbft", stake=10_000, simulation={"trainer": trainer})
    fed.owner.open_round(fed.task.id)
    to_decide(fed)
    leader = next(s for s in fed.servers if s.address == fed.ledger.state(fed.task.id).decision.leader)
    while fed.ledger.state(fed.task.id).decision.stage is Stage.PROPOSE:
        leader.step()
    fed.ledger.confirm(fed.task.id)
    recorded = fed.ledger.recorded
    fed.ledger._answers.clear()
    with monkeypatch.context() as patch:
        patch.setattr(fed.ledger, "recorded", lambda task, number: recorded(task, number)[:-1])
        for server in fed.servers:
            server._memory.models.clear()
            assert not server.step()
    fed.ledger._answers.clear()
    record = fed.play_round().record
    assert (record.status, record.views, record.slashes) == ("final", 1, ())
    assert all(vote.accept for vote in record.votes)
