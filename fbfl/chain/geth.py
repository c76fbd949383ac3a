"""A private network of geth nodes that mine with ethash, Ethereum's proof of work.

Version 1.11 is geth's last that mines. Every node belongs to one MEC server, whose account its blocks pay. Nodes find
each other by a list of static peers only; all they open is on this machine's loopback.
"""

import fcntl
import json
import os
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from eth_keys.datatypes import PrivateKey

from fbfl.atomic import PRIVATE, write_atomically
from fbfl.chain.accounts import BALANCE_ETHER, FUNDED, development_account
from fbfl.errors import ChainError, InvalidInputError, ProcessError
from fbfl.processes import LOOPBACK, Program, find_program

CHAIN_ID = 1338
DIFFICULTY = 0x20000
"""Of the first block: the least that the protocol allows."""

GAS_LIMIT = 30_000_000
DAG_FOLDER = Path(os.environ.get("FBFL_DAG") or Path.home() / ".ethash")
"""Where the data sets are that mining needs, a GiB each and the same on every network: where geth itself keeps them."""

EPOCH = 30_000
"""How many blocks share a data set."""

DAGS = ("full-R23-0000000000000000", "full-R23-290decd9548b62a8")
"""The files of the epochs to prepare: the first, and the one after it, which every node would compute in advance."""

MAX_NODES = 32
P2P_OFFSET = 100
"""From the JSON-RPC port of a node to the port for its peers; twice that to its authenticated port."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, from 0 to 1."""


def silent(what: str, share: float) -> None:
    """The progress of who does not want to know."""


def programs(folder: Path, nodes: int, port: int, *, dag: Path = DAG_FOLDER) -> list[Program]:
    """The nodes of the network in `folder`, JSON-RPC on `port` and the ports after it; makes what they start from."""
    if not 1 <= nodes <= MAX_NODES:
        raise InvalidInputError(f"--nodes {nodes}: geth networks have 1 to {MAX_NODES} nodes")
    geth = _checked(find_program("geth"))
    genesis = folder / "genesis.json"
    write_atomically(genesis, json.dumps(_genesis(), indent=1).encode())
    peers = [_enode(folder / f"node-{node}", port + P2P_OFFSET + node) for node in range(nodes)]
    return [_program(geth, folder / f"node-{node}", node, port + node, peers, genesis, dag) for node in range(nodes)]


def prepare_dags(progress: Progress, *, dag: Path = DAG_FOLDER, epochs: Sequence[int] = (0, 1)) -> None:
    """Compute the data sets that mining reads, unless they are there: minutes, once for all networks and nodes."""
    dag.mkdir(parents=True, exist_ok=True)
    with (dag / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # who comes second waits, and finds them done
        missing = [epoch for epoch in epochs if not (dag / DAGS[epoch]).exists()]
        for done, epoch in enumerate(missing):
            for share in _make_dag(epoch, dag):
                progress("preparing the ethash data sets (once)", (done + share) / len(missing))


def enodes(folder: Path, nodes: int, port: int) -> list[str]:
    """How the nodes name each other, for `admin_addPeer` and `admin_removePeer`."""
    return [_enode(folder / f"node-{node}", port + P2P_OFFSET + node) for node in range(nodes)]


def _program(geth: str, data: Path, node: int, port: int, peers: Sequence[str], genesis: Path, dag: Path) -> Program:
    p2p, auth = port + P2P_OFFSET, port + 2 * P2P_OFFSET
    # The only way to have geth listen for peers on one address; on the command line there is only the port.
    others = json.dumps([peer for number, peer in enumerate(peers) if number != node])
    config = f'[Node.P2P]\nListenAddr = "{LOOPBACK}:{p2p}"\nStaticNodes = {others}\n'
    write_atomically(data / "config.toml", config.encode())
    if not (data / "geth" / "chaindata").exists():
        made = subprocess.run(
            [geth, "--datadir", str(data), "init", str(genesis)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if made.returncode:
            raise ChainError(f"geth cannot begin a chain in {data}: {made.stderr.strip().splitlines()[-1]}")
    options = {
        "config": data / "config.toml",
        "datadir": data,
        "networkid": CHAIN_ID,
        "netrestrict": "127.0.0.0/8",
        "nat": "none",
        "maxpeers": 2 * MAX_NODES,
        "http.addr": LOOPBACK,
        "http.port": port,
        "http.api": "eth,net,web3,txpool,miner,admin",
        "authrpc.addr": LOOPBACK,
        "authrpc.port": auth,
        "syncmode": "full",
        "gcmode": "archive",  # calls on the state of old blocks say why a transaction failed
        "txlookuplimit": 0,
        "cache": 64,
        "miner.threads": 1,
        "miner.etherbase": development_account(node).address,
        "miner.gaslimit": GAS_LIMIT,
        "miner.recommit": "1s",
        "ethash.dagdir": dag,
        "ethash.cachedir": dag,
    }
    switches = ["--http", "--mine", "--nodiscover", "--ipcdisable", "--snapshot=false"]
    command = [geth, *switches, *(f"--{name}={value}" for name, value in options.items())]
    # Mining takes whatever it gets: the agents that share the machine come first.
    return Program(f"node-{node}", command, (port, p2p, auth), niceness=10)


def _enode(data: Path, p2p_port: int) -> str:
    key_file = data / "geth" / "nodekey"
    if not key_file.exists():
        key_file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(key_file, secrets.token_hex(32).encode(), PRIVATE)
    public = PrivateKey(bytes.fromhex(key_file.read_text().strip())).public_key
    return f"enode://{public.to_hex()[2:]}@{LOOPBACK}:{p2p_port}?discport=0"


def _genesis() -> dict[str, object]:
    forks = ["homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg", "istanbul"]
    forks += ["berlin", "london"]
    balance = hex(BALANCE_ETHER * 10**18)
    return {
        "config": {"chainId": CHAIN_ID, "ethash": {}, **{f"{fork}Block": 0 for fork in forks}},
        "difficulty": hex(DIFFICULTY),
        "gasLimit": hex(GAS_LIMIT),
        "alloc": {development_account(index).address: {"balance": balance} for index in range(FUNDED)},
    }


def _checked(geth: str) -> str:
    """This geth, if it is one that can mine."""
    answer = subprocess.run([geth, "version"], capture_output=True, text=True, timeout=30, check=False).stdout
    version = re.search(r"^Version: (\d+)\.(\d+)", answer, re.MULTILINE)
    if version is None or (int(version[1]), int(version[2])) > (1, 11):
        found = version[0].lower() if version else "not geth"
        raise ProcessError(f"{geth} is {found}: the last version that mines is 1.11.6, which `make nodes` gets")
    return geth


def _make_dag(epoch: int, folder: Path) -> Iterator[float]:
    with subprocess.Popen(
        [find_program("geth"), "makedag", str(epoch * EPOCH), str(folder)], stderr=subprocess.PIPE, text=True
    ) as making:
        try:
            assert making.stderr is not None
            for line in making.stderr:
                # The small cache that is computed first counts its own percentage.
                if "Generating DAG" in line and (share := re.search(r"percentage=(\d+)", line)):
                    yield int(share[1]) / 100
        finally:
            if making.poll() is None:
                making.terminate()
                making.wait(timeout=30)
                for half in folder.glob(f"{DAGS[epoch]}.*"):  # a GiB that geth would not find again
                    half.unlink()
    if not (folder / DAGS[epoch]).exists():
        raise ProcessError(f"geth could not prepare the ethash data set in {folder}; is there a GiB of room?")
