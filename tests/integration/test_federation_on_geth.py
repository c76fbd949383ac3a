"""Agents on a proof-of-work network, where every server has a node of its own: real seals where there is time."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from eth_typing import BlockNumber

from fbfl.chain.headers import proof_of_work
from fbfl.nodes.chains import ask
from fbfl.nodes.nodeset import NodeStatus
from fbfl.storage.local import LocalStore
from tests.integration.agents import SERVERS, Agents, wait
from tests.integration.federations import assert_audited, play, running
from tests.integration.seals import has_valid_seal
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration

BURIED = 12
"""Blocks on top of another with which four miners that seal at once do not replace it."""


def height(url: str) -> int:
    return int(ask(url, "eth_blockNumber"), 16)


def weight(url: str) -> int:
    """The total difficulty of the branch that a node follows."""
    return int(ask(url, "eth_getBlockByNumber", "latest", False)["totalDifficulty"], 16)


@pytest.mark.parametrize(("rounds", "real"), [(1, False), pytest.param(5, True, marks=pytest.mark.slow)])
def test_miners_of_the_blocks_after_closing_ones_lead_and_the_model_is_that_of_the_simulation(
    rounds: int, real: bool, tmp_path: Path, four_miners: Callable[[bool], Sequence[NodeStatus]]
) -> None:
    urls = [node.address for node in four_miners(not real)]

    def rest() -> None:
        """Let nothing be replaced any more: what is read first and last would be of two branches."""
        ended = height(urls[0])
        wait(lambda: height(urls[0]) >= ended + BURIED, "the last round is buried", 240)
        for url in urls[1:]:
            ask(url, "miner_stop")
        # The first mines on: if the last block of another is lost on the way, nothing else would outweigh it.
        wait(lambda: weight(urls[0]) >= max(map(weight, urls)), "the first node has the heaviest branch", 60)
        ask(urls[0], "miner_stop")

    # Node i mines for account i, which is server i's; the owner mines nothing.
    agents = Agents(
        tmp_path,
        urls[0],
        free_ports(),
        networks=urls,
        accounts=range(SERVERS),
        owner=SERVERS + 1,
        devices=tmp_path / "devices",
        mock_ethash=not real,
    )
    with running(agents):
        store = LocalStore(tmp_path / ".fbfl" / "payloads")
        ledger, task, records = play(agents, store, rounds, "--consensus", "ethash", then=rest)
        assert proof_of_work(ledger.w3) == real
        for record in records:
            assert record.consensus == ("ethash" if real else "ethash (mock)")
            (closed,) = ledger.round_events(task, record.round, "SubmissionsClosed")
            if record.views == 1:
                assert record.leader == ledger.w3.eth.get_block(BlockNumber(closed.block + 1))["miner"]
        for number in range(1, records[-1].last_block + 1):
            block = ledger.w3.eth.get_block(BlockNumber(number))
            assert has_valid_seal(block) == real
            assert block["miner"] in agents.addresses
        assert_audited(agents)
