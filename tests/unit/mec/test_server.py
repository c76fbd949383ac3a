"""One server where its own store fails, or where others record what no update is."""

from pathlib import Path

import pytest

from fbfl.chain.ledger import Phase, Stage
from fbfl.errors import PayloadNotFoundError, StorageError
from fbfl.learning import datasets
from fbfl.learning.training import Trainer
from fbfl.mec.dishonest import Conduct
from fbfl.settings import RunSettings
from fbfl.storage.codecs import max_update_size
from fbfl.storage.local import LocalStore
from fbfl.storage.store import Reference
from fbfl.tasks import trainer_of
from tests.e2e.federations import federation


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return trainer_of(RunSettings(dataset="digits"), datasets.load("digits"), lanes=1)


class BusyStore(LocalStore):
    """Cannot pin at first."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.fetched: list[Reference] = []
        self.pinned: list[Reference] = []
        self.busy = True

    def get(self, reference: Reference) -> bytes:
        self.fetched.append(reference)
        return super().get(reference)

    def pin(self, reference: Reference) -> None:
        if self.busy:
            self.busy = False
            raise StorageError("busy")
        self.pinned.append(reference)


def test_a_payload_that_could_not_be_pinned_accuses_nobody_and_is_pinned_later(
    tmp_path: Path, trainer: Trainer
) -> None:
    store = BusyStore(tmp_path)
    fed = federation(
        tmp_path, servers=2, devices=2, consensus="pbft", simulation={"stores": {1: store}, "trainer": trainer}
    )
    fed.owner.open_round(fed.task.id)
    for server in fed.servers:
        assert server.step()
    fed.owner.poke(fed.task.id)
    assert fed.ledger.state(fed.task.id).phase is Phase.DECIDE
    (other,) = (u.payload for u in fed.ledger.recorded(fed.task.id, 1) if u.server == fed.servers[0].address)
    with pytest.raises(StorageError, match="busy"):
        fed.servers[1].step()
    fed.servers[1].step()
    assert store.fetched.count(other) == 1
    assert store.pinned == [other]
    assert not list(fed.ledger.round_events(fed.task.id, 1, "PayloadReported"))


def test_bytes_that_are_no_update_are_reported_and_left_out(tmp_path: Path, trainer: Trainer) -> None:
    simulation = {"conducts": {0: Conduct(submits=False)}, "trainer": trainer}
    fed = federation(tmp_path, consensus="pbft", simulation=simulation)
    fed.owner.open_round(fed.task.id)
    fed.servers[0].participant.submit(fed.task.id, 1, fed.store.put(b"no update"), 1)
    record = fed.play_round().record
    assert (record.status, record.missing) == ("final", (fed.servers[0].address,))


def test_voters_recompute_what_was_proposed_though_the_next_proposal_would_leave_more_out(
    tmp_path: Path, trainer: Trainer
) -> None:
    fed = federation(tmp_path, consensus="pbft", simulation={"trainer": trainer})
    fed.owner.open_round(fed.task.id)
    fed._submit_updates(fed.servers)
    leader = next(s for s in fed.servers if s.address == fed.ledger.state(fed.task.id).decision.leader)
    while fed.ledger.state(fed.task.id).decision.stage is Stage.PROPOSE:
        leader.step()
    accused, *reporters = [server for server in fed.servers if server is not leader]
    for reporter in reporters:
        reporter.participant.report_missing(fed.task.id, 1, accused.address)
    state = fed.ledger.state(fed.task.id)
    assert (state.missing.bit_count(), state.proposal.missing) == (1, 0)
    record = fed.play_round().record
    assert (record.status, record.views, record.missing) == ("final", 1, ())
    assert all(vote.accept for vote in record.votes)


class ShakyStore(LocalStore):
    """Does not find payloads of others at first."""

    def __init__(self, folder: Path, failures: int) -> None:
        super().__init__(folder)
        self.failures = failures
        self.asked: dict[Reference, int] = {}

    def get(self, reference: Reference) -> bytes:
        self.asked[reference] = self.asked.get(reference, 0) + 1
        if self.asked[reference] <= self.failures:
            raise PayloadNotFoundError("nobody answers in time")
        return super().get(reference)


def test_one_time_out_accuses_nobody(tmp_path: Path, trainer: Trainer) -> None:
    """The reports of f liars, and of one server that had a time-out, would cost an honest server stake and turn."""
    shaky = ShakyStore(tmp_path, failures=1)
    fed = federation(tmp_path, consensus="pbft", stake=10_000, simulation={"stores": {1: shaky}, "trainer": trainer})
    shaky.asked[fed.task.model] = 1
    fed.owner.open_round(fed.task.id)
    fed._submit_updates(fed.servers)
    victim = fed.servers[2]
    fed.servers[0].participant.report_missing(fed.task.id, 1, victim.address)
    record = fed.play_round().record
    assert (record.status, record.views, record.missing, record.slashes) == ("final", 1, (), ())
    reports = fed.ledger.round_events(fed.task.id, 1, "PayloadReported")
    assert {event.args["reporter"] for event in reports} == {fed.servers[0].address}
    (seen,) = [update.payload for update in fed.ledger.recorded(fed.task.id, 1) if update.server == victim.address]
    assert shaky.asked[seen] == 2


def test_who_reported_a_payload_looks_again_and_takes_the_report_back(tmp_path: Path, trainer: Trainer) -> None:
    shaky = ShakyStore(tmp_path, failures=2)
    fed = federation(tmp_path, consensus="pbft", stake=10_000, simulation={"stores": {2: shaky}, "trainer": trainer})
    shaky.asked[fed.task.model] = 2
    fed.owner.open_round(fed.task.id)
    fed._submit_updates(fed.servers)
    liar, _, honest, victim = fed.servers
    liar.participant.report_missing(fed.task.id, 1, victim.address)
    while fed.ledger.state(fed.task.id).missing != 0b1000:  # with the report of the liar it is left out
        assert honest.step()
    while honest.step():
        pass
    state = fed.ledger.state(fed.task.id)
    fed.chain.travel(state.decision.deadline + 1 - state.now)
    fed.owner.poke(fed.task.id)
    assert honest.step()
    assert fed.ledger.state(fed.task.id).missing == 0
    record = fed.play_round().record
    assert (record.status, record.missing, record.slashes) == ("final", (), ())


def test_an_update_larger_than_any_of_the_model_is_reported_and_not_fetched(tmp_path: Path, trainer: Trainer) -> None:
    store = BusyStore(tmp_path)
    store.busy = False
    simulation = {
        "stores": dict.fromkeys((1, 2, 3), store),
        "conducts": {0: Conduct(submits=False)},
        "trainer": trainer,
    }
    fed = federation(tmp_path, consensus="pbft", aggregator="foolsgold", simulation=simulation)
    too_large = Reference(b"\x11" * 32, fed.plan.max_payload)
    assert too_large.size > max_update_size(fed.plan.payload, fed.plan.spec)
    fed.owner.open_round(fed.task.id)
    fed.servers[0].participant.submit(fed.task.id, 1, too_large, 1)
    record = fed.play_round().record
    assert (record.status, record.missing) == ("final", (fed.servers[0].address,))
    assert too_large not in store.fetched
