"""Agents on a real proof-of-work network, where every server has a node of its own."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from eth_typing import BlockNumber

from fbfl.chain.headers import proof_of_work
from fbfl.chain.nodes import NodeStatus, ask
from fbfl.storage.local import LocalStore
from tests.integration.agents import SERVERS, Agents
from tests.integration.federations import assert_audited, play, running
from tests.integration.machine import free_ports
from tests.integration.seals import has_valid_seal

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("rounds", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_miners_of_closing_blocks_lead_and_the_model_is_that_of_the_simulation(
    rounds: int, tmp_path: Path, four_miners: Callable[[], Sequence[NodeStatus]]
) -> None:
    urls = [node.url for node in four_miners()]

    def rest() -> None:
        for url in urls:
            ask(url, "miner_stop")

    # Node i mines for account i, which is server i's; the owner mines nothing.
    agents = Agents(
        tmp_path,
        urls[0],
        free_ports(),
        networks=urls,
        accounts=range(SERVERS),
        owner=SERVERS + 1,
        devices=tmp_path / "devices",
    )
    with running(agents):
        store = LocalStore(tmp_path / ".fbfl" / "payloads")
        ledger, task, records = play(agents, store, rounds, "--consensus", "ethash", then=rest)
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
