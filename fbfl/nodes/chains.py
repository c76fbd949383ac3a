"""Ethereum nodes on this machine: started, watched and stopped.

`anvil` mines a block per transaction and `ganache` two a second, on one node; `geth` is a network of nodes that mine
with proof of work. All have the accounts of `fbfl.chain.accounts`, keep their chain when they are stopped, and listen
on loopback only.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests

from fbfl.chain.accounts import BALANCE_ETHER, FUNDED, MNEMONIC
from fbfl.errors import InvalidInputError, NodeUnavailableError, require
from fbfl.nodes import geth
from fbfl.nodes.nodeset import Layout, NodeStatus, agree, layout_of, remember, statuses, stop_all
from fbfl.nodes.processes import (
    LOOPBACK,
    STATE,
    Program,
    exclusive,
    find_program,
    refuse_ports_in_use,
    start,
)
from fbfl.system import strictjson
from fbfl.system.http import session

NETWORKS = {"anvil": 1, "ganache": 1, "geth": 2}
"""Default number of nodes of each network."""

PORT = 8545
CHAIN_IDS = {"anvil": 31337, "ganache": 1337, "geth": geth.CHAIN_ID}


def up(
    network: str,
    *,
    nodes: int | None = None,
    port: int | None = None,
    state: Path = STATE,
    timeout: float = 120.0,
    progress: geth.Progress = geth.silent,
    dag: Path = geth.DAG_FOLDER,
    ethash_test: bool | None = None,
) -> list[NodeStatus]:
    """Start a network, or those of its nodes that do not run, and wait until every node is ready.

    `nodes`, `port` and `ethash_test` (see `geth.programs`) default to those of the last time. `timeout` in seconds
    bounds the nodes' start; the data sets that geth's mining needs take minutes before that, once.
    """
    folder = _folder(network, state)
    if ethash_test and network != "geth":
        raise InvalidInputError(f"--ethash-test: allowed with --network geth, not {network}")
    with exclusive(folder):
        layout = agree(folder, nodes, port, Layout(NETWORKS[network], PORT), ethash_test=ethash_test)
        programs = _programs(network, folder, layout, progress, dag)
        remember(folder, layout)
        start(folder, programs, lambda program: _ready(network, layout.nodes, program.ports[0]), timeout=timeout)
    return status(network, state=state)


def down(network: str, *, state: Path = STATE) -> list[str]:
    """Stop the nodes that `up` started, in any process; return the names of those that ran."""
    return stop_all(_folder(network, state))


def status(network: str, *, state: Path = STATE, timeout: float = 3.0) -> list[NodeStatus]:
    """Return the status of each node of the last `up`."""
    folder = _folder(network, state)
    found = statuses(folder, _url, lambda port: _told(network, _url(port), timeout))
    if network != "geth":
        return found
    layout = layout_of(folder)
    return [replace(node, seals="ethash (test)" if layout and layout.ethash_test else "ethash") for node in found]


def ask(url: str, method: str, *parameters: Any, timeout: float = 10.0) -> Any:
    """Send a JSON-RPC request without web3, which takes seconds to import; `NodeUnavailableError` for any failure."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    try:
        with session() as asking:
            response = asking.post(url, json=body, timeout=timeout)
            response.raise_for_status()
            answer = strictjson.loads(response.content)
        return answer["result"]
    except (requests.RequestException, ValueError) as error:
        raise NodeUnavailableError(f"no node answers at {url} ({type(error).__name__})") from error
    except (KeyError, TypeError) as error:
        raise NodeUnavailableError(f"the node at {url} refused {method}: {answer!r:.200}") from error


def _number(url: str, method: str, timeout: float) -> int:
    answer = ask(url, method, timeout=timeout)
    try:
        return int(answer, 16)
    except (TypeError, ValueError) as error:
        raise NodeUnavailableError(f"the node at {url} answers {method} with {answer!r:.80}") from error


def _programs(network: str, folder: Path, layout: Layout, progress: geth.Progress, dag: Path) -> list[Program]:
    if network == "geth":
        programs = geth.programs(folder, layout.nodes, layout.port, dag=dag, ethash_test=layout.ethash_test)
        refuse_ports_in_use(folder, programs)  # find out now, not after minutes
        if not layout.ethash_test:
            geth.prepare_dags(progress, dag=dag)
        return programs
    if layout.nodes != 1:
        raise InvalidInputError(f"--nodes {layout.nodes}: a network of {network} has 1 node")
    return [_anvil(folder, layout.port) if network == "anvil" else _ganache(folder, layout.port)]


def _anvil(folder: Path, port: int) -> Program:
    options = {
        "--host": LOOPBACK,
        "--port": port,
        # The newest rules that Ethereum has agreed on: the other networks here have London's.
        "--hardfork": "prague",
        "--chain-id": CHAIN_IDS["anvil"],
        "--mnemonic": MNEMONIC,
        "--accounts": FUNDED,
        "--balance": BALANCE_ETHER,
        "--state": folder / "state.json",
        "--state-interval": 5,
        "--cache-path": folder / "cache",
    }
    return Program("node-0", [find_program("anvil"), "--no-request-size-limit", *_flat(options)], (port,))


def _ganache(folder: Path, port: int) -> Program:
    options = {
        "--server.host": LOOPBACK,
        "--server.port": port,
        "--chain.hardfork": "london",
        "--chain.chainId": CHAIN_IDS["ganache"],
        "--chain.networkId": CHAIN_IDS["ganache"],
        "--miner.blockGasLimit": geth.GAS_LIMIT,
        # With a block per transaction it loses, for good, about one of 3,000 that several senders send at once.
        "--miner.blockTime": 0.5,
        "--wallet.mnemonic": MNEMONIC,
        "--wallet.totalAccounts": FUNDED,
        "--wallet.defaultBalance": BALANCE_ETHER,
        "--database.dbPath": folder / "chain",
    }
    return Program("node-0", [find_program("ganache"), *_flat(options)], (port,))


def _flat(options: dict[str, object]) -> Sequence[str]:
    return [str(part) for option in options.items() for part in option]


def _url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def _ready(network: str, nodes: int, port: int) -> bool:
    url = _url(port)
    try:
        block = _number(url, "eth_blockNumber", 2.0)
        if network != "geth":
            return True
        # Ready: it has a block by proof of work, and hears of all other nodes' blocks.
        peers = _number(url, "net_peerCount", 2.0)
        return block > 0 and peers >= nodes - 1
    except NodeUnavailableError:
        return False


def _told(network: str, url: str, timeout: float) -> dict[str, Any]:
    """Return what a node tells of itself; nothing if it does not answer."""
    try:
        version = str(ask(url, "web3_clientVersion", timeout=timeout))
        block = _number(url, "eth_blockNumber", timeout)
        # Nodes of development chains have no peers, and Anvil does not know the method.
        peers = _number(url, "net_peerCount", timeout) if network == "geth" else None
    except NodeUnavailableError:
        return {}
    return {"version": version, "block": block, "peers": peers}


def _folder(network: str, state: Path) -> Path:
    require(network in NETWORKS, "network", network, f"{', '.join(NETWORKS)}: local networks by name")
    return state.resolve() / network
