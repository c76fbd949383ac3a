"""A private network of geth nodes that mine with ethash, Ethereum's proof of work.

Version 1.11 is geth's last that mines. Every node belongs to one MEC server, whose account its blocks pay. Nodes find
each other by a list of static peers only; all they open is on this machine's loopback.
"""

import json
import os
import re
import secrets
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from eth_keys.datatypes import PrivateKey

from fbfl.chain.accounts import BALANCE_ETHER, FUNDED, development_account
from fbfl.errors import InvalidInputError, ProcessError
from fbfl.nodes.processes import LOOPBACK, Program, find_program
from fbfl.system.atomic import PRIVATE, write_atomically
from fbfl.system.locks import alone_in

CHAIN_ID = 1338
DIFFICULTY = 0x20000
"""Difficulty of the first block: the lowest that the protocol allows."""

GAS_LIMIT = 30_000_000
DAG_FOLDER = Path(os.environ.get("FBFL_DAG") or Path.home() / ".ethash")
"""Folder of the data sets that mining needs (a GiB each, the same on every network): by default geth's own."""

EPOCH = 30_000
"""Number of blocks that share a data set."""

DAGS = ("full-R23-0000000000000000", "full-R23-290decd9548b62a8")
"""The files of the epochs to prepare: the first, and the one after it, which every node would compute in advance."""

_PERCENTAGE = re.compile(r"Generating DAG in progress.*percentage=(\d+)")
_NO_ROOM = re.compile('Failed to generate mapped ethash dataset.*err="?([^"\n]*)')

TEST_MODE = 2
"""Number of ethash's test mode, with a data set of 32 KiB, in geth's configuration."""

MAX_NODES = 32
P2P_OFFSET = 100
"""Distance from a node's JSON-RPC port to the port for its peers; twice that to its authenticated port."""

TIMEOUT = 120.0
"""Seconds that a geth command may take to end by itself, but for the computation of a data set."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, from 0 to 1."""


def silent(what: str, share: float) -> None:
    """Report no progress."""


def programs(
    folder: Path, nodes: int, port: int, *, dag: Path = DAG_FOLDER, ethash_test: bool = False
) -> list[Program]:
    """Return the programs of the network in `folder`, JSON-RPC from `port` on; make the files that they start from.

    With `ethash_test` they seal blocks in ethash's test mode: real work at the same difficulty on a data set of 32 KiB,
    which is there at once, and which nobody else verifies.
    """
    if not 1 <= nodes <= MAX_NODES:
        raise InvalidInputError(f"--nodes {nodes}: geth networks have 1 to {MAX_NODES} nodes")
    geth = checked()
    genesis = folder / "genesis.json"
    accounts = [development_account(index).address for index in range(FUNDED)]
    write_atomically(genesis, render_genesis(accounts))
    peers = enodes(folder, nodes, port)
    return [
        _program(geth, folder / f"node-{node}", node, port + node, peers, genesis, dag, ethash_test)
        for node in range(nodes)
    ]


def prepare_dags(progress: Progress, *, dag: Path = DAG_FOLDER, epochs: Sequence[int] = (0, 1)) -> None:
    """Compute the data sets that mining reads, unless they are there: minutes, once for all networks and nodes."""
    with alone_in(dag, None):  # a second process waits, and finds them done
        missing = [epoch for epoch in epochs if not (dag / DAGS[epoch]).exists()]
        for done, epoch in enumerate(missing):
            for share in _make_dag(epoch, dag):
                progress("preparing the ethash data sets (once)", (done + share) / len(missing))


def enodes(folder: Path, nodes: int, port: int) -> list[str]:
    """Return the enode URLs of the nodes, for `admin_addPeer` and `admin_removePeer`."""
    return [enode(folder / f"node-{node}", LOOPBACK, port + P2P_OFFSET + node) for node in range(nodes)]


def render_genesis(accounts: Iterable[str]) -> bytes:
    """Return the genesis file of a network, with these accounts funded."""
    forks = ["homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg", "istanbul"]
    forks += ["berlin", "london"]
    balance = hex(BALANCE_ETHER * 10**18)
    genesis = {
        "config": {"chainId": CHAIN_ID, "ethash": {}, **{f"{fork}Block": 0 for fork in forks}},
        "difficulty": hex(DIFFICULTY),
        "gasLimit": hex(GAS_LIMIT),
        "alloc": {account: {"balance": balance} for account in accounts},
    }
    return json.dumps(genesis, indent=1).encode()


def enode(data: Path, host: str, port: int) -> str:
    """Return the enode URL of the node with this data folder, at which its peers reach it; makes its key."""
    key_file = data / "geth" / "nodekey"
    if not key_file.exists():
        key_file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(key_file, secrets.token_hex(32).encode(), PRIVATE)
    public = PrivateKey(bytes.fromhex(key_file.read_text().strip())).public_key
    return f"enode://{public.to_hex()[2:]}@{host}:{port}?discport=0"


def configure(data: Path, host: str, port: int, peers: Sequence[str], miner: str, *, ethash_test: bool = False) -> None:
    """Write a node's settings that its command line does not take: where it listens, its peers, whom it pays."""
    # The command line has only the port of the first node, and in containers it is the same for all.
    config = f'[Eth.Miner]\nEtherbase = "{miner}"\n\n'
    if ethash_test:
        config += f"[Eth.Ethash]\nPowMode = {TEST_MODE}\n\n"
    config += f'[Node.P2P]\nListenAddr = "{host}:{port}"\nStaticNodes = {json.dumps(list(peers))}\n'
    write_atomically(data / "config.toml", config.encode())


def options(data: Path, *, dag: Path, rpc_port: int, auth_port: int, peers_in: str = "127.0.0.0/8") -> list[str]:
    """Return the command line of a configured node. It listens for peers in `peers_in`, otherwise on the loopback."""
    named = {
        "config": data / "config.toml",
        "datadir": data,
        "networkid": CHAIN_ID,
        "netrestrict": peers_in,
        "nat": "none",
        "maxpeers": 2 * MAX_NODES,
        "http.addr": LOOPBACK,
        "http.port": rpc_port,
        "http.api": "eth,net,web3,txpool,miner,admin",
        "authrpc.addr": LOOPBACK,
        "authrpc.port": auth_port,
        "syncmode": "full",
        "gcmode": "archive",  # calls on the state of old blocks say why a transaction failed
        "txlookuplimit": 0,
        "cache": 64,
        "miner.threads": 1,
        "miner.gaslimit": GAS_LIMIT,
        "miner.recommit": "1s",
        "ethash.dagdir": dag,
        "ethash.cachedir": dag,
    }
    switches = ["--http", "--mine", "--nodiscover", "--ipcdisable", "--snapshot=false"]
    return [*switches, *(f"--{name}={value}" for name, value in named.items())]


def _program(
    geth: str, data: Path, node: int, port: int, peers: Sequence[str], genesis: Path, dag: Path, ethash_test: bool
) -> Program:
    p2p, auth = port + P2P_OFFSET, port + 2 * P2P_OFFSET
    others = [peer for number, peer in enumerate(peers) if number != node]
    configure(data, LOOPBACK, p2p, others, development_account(node).address, ethash_test=ethash_test)
    if not (data / "geth" / "chaindata").exists():
        run(geth, "--datadir", str(data), "init", str(genesis))
    command = [geth, *options(data, dag=dag, rpc_port=port, auth_port=auth)]
    # Mining takes whatever it gets: the agents that share the machine come first.
    return Program(f"node-{node}", command, (port, p2p, auth), niceness=10)


def checked(program: str | None = None) -> str:
    """Return the path of geth, if it is one that knows proof of work; else `ProcessError`."""
    geth = program or find_program("geth")
    answer = run(geth, "version")
    version = re.search(r"^Version: (\d+)\.(\d+)", answer, re.MULTILINE)
    if version is None or (int(version[1]), int(version[2])) > (1, 11):
        found = version[0].lower() if version else "not geth"
        raise ProcessError(
            f"{geth} is {found}: the last version that mines is 1.11.6, which `fbfl nodes install geth` gets"
        )
    return geth


def _make_dag(epoch: int, folder: Path) -> Iterator[float]:
    """Have geth compute a data set; yield the share that is done."""
    command = [find_program("geth"), "makedag", str(epoch * EPOCH), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as making:
        line = ""
        try:
            for line in making.stderr or ():
                if refused := _NO_ROOM.search(line):  # geth would go on, and keep it in memory
                    raise ProcessError(f"the ethash data set, of a GiB, cannot be written in {folder}: {refused[1]}")
                if done := _PERCENTAGE.search(line):
                    yield int(done[1]) / 100
        finally:
            making.kill()
            making.wait()
            for half in folder.glob(f"{DAGS[epoch]}.*"):
                half.unlink()
    if not (folder / DAGS[epoch]).exists():
        raise ProcessError(f"`{' '.join(command)}` failed: {line.strip() or 'it printed nothing'}")


def run(geth: str, *arguments: str) -> str:
    """Run a geth command to its end and return its output; `ProcessError` with its last line if it fails."""
    command = [geth, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise ProcessError(f"`{' '.join(command)}` did not end within {TIMEOUT:g} s") from error
    except OSError as error:
        raise ProcessError(f"{geth} cannot be run: {error.strerror}") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ProcessError(f"`{' '.join(command)}` failed: {said[-1]}")
    return done.stdout
