"""Real nodes for the tests: every kind started once for the session, on free ports, in a folder of the session."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from web3 import Web3
from web3.contract import Contract

from fbfl.chain.accounts import development_account
from fbfl.chain.artifacts import Artifact, parse_artifact
from fbfl.chain.networks import connect
from fbfl.chain.transactions import Sender
from fbfl.nodes import chains, geth, kubo
from fbfl.nodes.nodeset import NodeStatus
from fbfl.storage.ipfs import IpfsStore
from tests.integration.machine import DAG_MAGIC, deployed, require
from tests.support.paths import REPOSITORY
from tests.support.ports import free_ports

NETWORKS = ("anvil", "ganache", "geth")
GETH_FIXTURES = {"dag", "geth_nodes", "real_geth_nodes", "four_miners"}
GETH_NODES = 2


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs geth, so that it can run apart: miners take what they get of the machine."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
            if "geth" in parameters or GETH_FIXTURES & set(getattr(item, "fixturenames", ())):
                item.add_marker(pytest.mark.geth)


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nodes")


@pytest.fixture(scope="session")
def dag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set of the first 30,000 blocks, computed once on a machine.

    Nodes would compute the next one in advance, for minutes. No test comes as far, so an empty one will do.
    """
    require("geth")
    geth.prepare_dags(geth.silent, epochs=[0])
    folder = tmp_path_factory.mktemp("dag")
    (folder / geth.DAGS[0]).symlink_to(geth.DAG_FOLDER / geth.DAGS[0])
    (folder / geth.DAGS[1]).write_bytes(DAG_MAGIC)
    return folder


@pytest.fixture(scope="session")
def started() -> dict[str, list[NodeStatus]]:
    """The networks of the session that run."""
    return {}


@pytest.fixture(scope="session")
def start_network(state: Path, started: dict[str, list[NodeStatus]]) -> Iterator[Callable[[str], list[NodeStatus]]]:
    """Starts a network when it is first asked for, geth's with test seals; all are stopped at the end."""

    def start(network: str) -> list[NodeStatus]:
        if network not in started:
            require(network)
            options: dict[str, Any] = {"nodes": GETH_NODES, "ethash_test": True} if network == "geth" else {}
            started[network] = chains.up(network, port=free_ports(), state=state, **options)
        return started[network]

    yield start
    for network in started:
        chains.down(network, state=state)


@pytest.fixture(params=NETWORKS)
def w3(request: pytest.FixtureRequest, start_network: Callable[[str], list[NodeStatus]]) -> Iterator[Web3]:
    """Each network in turn; of geth's nodes only the first mines, so that no block is replaced."""
    first, *others = start_network(request.param)
    for node in others:
        chains.ask(node.address, "miner_stop")
    yield connect(first.address)
    for node in others:
        chains.ask(node.address, "miner_start", 1)


@pytest.fixture(scope="session")
def geth_nodes(start_network: Callable[[str], list[NodeStatus]]) -> list[NodeStatus]:
    return start_network("geth")


@pytest.fixture(scope="session")
def real_geth_nodes(dag: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[NodeStatus]]:
    """A geth network that mines with the data set of a GiB."""
    state = tmp_path_factory.mktemp("real")
    yield chains.up("geth", nodes=GETH_NODES, port=free_ports(), state=state, dag=dag)
    chains.down("geth", state=state)


@pytest.fixture
def four_miners(
    tmp_path: Path, started: dict[str, list[NodeStatus]], request: pytest.FixtureRequest
) -> Iterator[Callable[[bool], list[NodeStatus]]]:
    """Starts a geth network with a node for each of four servers, which has the machine for itself; with test seals?"""
    idle = started.get("geth", [])
    for node in idle:
        chains.ask(node.address, "miner_stop")

    def start(test: bool) -> list[NodeStatus]:
        options = {"ethash_test": True} if test else {"dag": request.getfixturevalue("dag")}
        return chains.up("geth", nodes=4, port=free_ports(), state=tmp_path, **options)

    yield start
    chains.down("geth", state=tmp_path)
    for node in idle:
        chains.ask(node.address, "miner_start", 1)


@pytest.fixture
def wait_until_mined(geth_nodes: list[NodeStatus]) -> Callable[[int], None]:
    """Waits until every geth node has this many blocks."""

    def wait(blocks: int) -> None:
        deadline = time.monotonic() + 120
        while any(connect(node.address).eth.block_number < blocks for node in geth_nodes):
            assert time.monotonic() < deadline, "the nodes do not mine"
            time.sleep(0.5)

    return wait


@pytest.fixture(scope="session")
def ledger_artifact() -> Artifact:
    text = (REPOSITORY / "tests" / "contracts" / "artifacts" / "Ledger.json").read_text()
    return parse_artifact("Ledger", json.loads(text))


@pytest.fixture
def sender(w3: Web3) -> Sender:
    return Sender(w3, development_account(0))


@pytest.fixture
def ledger(sender: Sender, ledger_artifact: Artifact) -> Contract:
    return deployed(sender, ledger_artifact)


@pytest.fixture(scope="session")
def stores(state: Path) -> Iterator[list[IpfsStore]]:
    """Stores behind two Kubo daemons that are connected to each other."""
    require("kubo", "ipfs")
    daemons = kubo.up(nodes=2, port=free_ports(), state=state)
    yield [IpfsStore(daemon.address, timeout=20.0) for daemon in daemons]
    kubo.down(state=state)
