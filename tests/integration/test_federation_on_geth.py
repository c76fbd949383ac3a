"""The same servers as in the embedded simulation, on a real proof-of-work network of geth nodes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fbfl.audit import audit
from fbfl.chain.accounts import development_account
from fbfl.chain.headers import proof_of_work
from fbfl.chain.live import live_nodes
from fbfl.chain.nodes import NodeStatus
from tests.e2e.federations import federation

pytestmark = pytest.mark.integration


def test_miners_of_closing_blocks_lead_and_the_model_is_that_of_the_simulation(
    geth_nodes: list[NodeStatus], tmp_path: Path, wait_until_mined: Callable[[int], None]
) -> None:
    wait_until_mined(3)
    nodes = live_nodes([node.url for node in geth_nodes])
    assert proof_of_work(nodes[0].w3)
    simulated = federation(tmp_path / "simulated", rounds=2)
    live = federation(tmp_path / "live", rounds=2, consensus="ethash", simulation={"nodes": nodes})
    servers = {server.address for server in live.servers}
    for expected, result in zip(simulated.rounds(), live.rounds(), strict=True):
        assert result.record.status == "final"
        assert result.record.consensus == "ethash"
        assert result.record.model_digest == expected.record.model_digest
        (closed,) = live.ledger.round_events(live.task.id, result.record.round, "SubmissionsClosed")
        miner = nodes[0].w3.eth.get_block(closed.block)["miner"]
        # Node 0 mines for the owner, who is no member: then anyone may lead.
        assert miner in {development_account(node).address for node in range(len(nodes))}
        if result.record.views == 1 and miner in servers:
            assert result.record.leader == miner
    assert live.weights.tobytes() == simulated.weights.tobytes()
    assert audit(live.ledger, live.store, live.task).passed
