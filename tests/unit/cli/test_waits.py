"""An agent's waits for others, and the views in which it waits."""

from pathlib import Path

import pytest

from fbfl.chain.rounds import Phase, Stage
from fbfl.cli.mec import within_view
from fbfl.mec.exchange import REJECTION_COLLECTORS, PatienceInSeconds
from tests.support.faulty_store import FaultyStore
from tests.support.ledger import Terms
from tests.support.members import Members
from tests.support.servers import committee


@pytest.mark.parametrize("accept", [True, False])
@pytest.mark.parametrize("asked", [1.0, 30.0, 1e6])
def test_a_view_outlasts_all_waits_for_silent_members(asked: float, accept: bool) -> None:
    members = Members()
    patience = within_view(asked, members.ledger.contracts.terms.timeout, REJECTION_COLLECTORS + 2)
    for number in range(4):
        seconds = PatienceInSeconds(patience, lambda: members.ledger.contracts.now)
        members.exchanges[number] = members.exchange(number, seconds)
    members.propose()
    acting = (0, 1, 2) if accept else (0, 2, 3)  # one is silent: where it is the leader, its proposal is rejected
    for number in {*acting} - {1}:
        members.send(number, Stage.PREPARE, accept=accept)
    before = members.state.decision
    while (members.state.decision.view, members.state.decision.stage) == (0, Stage.PREPARE):
        for number in acting:
            if members.state.decision.stage is Stage.PREPARE:
                members.exchanges[number].record(members.state, Stage.PREPARE)
        members.ledger.travel(1)
        assert members.state.now <= before.deadline
    assert patience * (REJECTION_COLLECTORS + 1) < members.ledger.contracts.terms.timeout
    assert patience <= asked


@pytest.mark.parametrize("asked", [1.0, 30.0, 1e6])
def test_a_view_outlasts_the_wait_for_a_payload_that_is_withheld(tmp_path: Path, asked: float) -> None:
    timeout = 20
    stores = {number: FaultyStore(tmp_path) for number in range(4)}
    fed = committee(tmp_path, stores=stores, terms=Terms(timeout=timeout))
    for number in range(4):
        seconds = within_view(asked, timeout, 1)
        fed.again(number, patience=PatienceInSeconds(seconds, lambda: fed.ledger.contracts.now))
    fed.open()
    fed.submit()
    for store in stores.values():
        store.absent[fed.ledger.updates(1, 1)[3].payload] = 1_000
    while fed.state.phase is not Phase.FINAL:
        fed.settle_down(fed.servers[:3])
        assert fed.state.now <= fed.state.decision.deadline
        fed.ledger.travel(1)
    assert fed.state.decision.view == 0
    assert seconds <= asked
