"""Kubo daemons on this machine: a private IPFS network, started, watched and stopped.

The daemons know only each other: a swarm key that no one else has, no bootstrap peers, no discovery, no relays, no
gateway, and listeners on loopback only. What one adds, the others read by bitswap.
"""

import json
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import requests

from fbfl.errors import InvalidInputError, StorageError
from fbfl.nodes.nodeset import Layout, NodeStatus, agree, remember, statuses, stop_all
from fbfl.nodes.processes import LOOPBACK, STATE, Program, exclusive, find_program, start
from fbfl.system import strictjson
from fbfl.system.atomic import PRIVATE, write_atomically
from fbfl.system.http import session

NODES = 2
MAX_NODES = 32
PORT = 5001
SWARM_OFFSET = 100
"""Distance from a node's RPC port to the port for its peers."""

ENVIRONMENT = {"IPFS_TELEMETRY": "off", "LIBP2P_FORCE_PNET": "1"}
"""No reports about its use, and no connection without the swarm key."""

DAEMON = ("daemon", "--migrate=false", "--enable-gc")
"""Arguments that start a daemon."""

OTHER_TRANSPORTS = ("QUIC", "WebTransport", "WebRTCDirect", "Websocket", "Relay")


@dataclass(frozen=True)
class Place:
    """Addresses of a daemon: it listens for its peers on `host`, for its RPC on the loopback."""

    host: str
    port: int
    swarm_port: int

    @property
    def swarm_address(self) -> str:
        """Address at which its peers find it."""
        return f"/ip4/{self.host}/tcp/{self.swarm_port}"


def up(
    *, nodes: int | None = None, port: int | None = None, state: Path = STATE, timeout: float = 60.0
) -> list[NodeStatus]:
    """Start the daemons, or those that do not run, and wait until all of them are connected to each other.

    `nodes` and `port` default to those of the last time.
    """
    folder = _folder(state)
    with exclusive(folder):
        layout = agree(folder, nodes, port, Layout(NODES, PORT))
        if not 1 <= layout.nodes <= MAX_NODES:
            raise InvalidInputError(f"--nodes {layout.nodes}; allowed: 1 to {MAX_NODES}")
        programs = _programs(folder, layout)
        remember(folder, layout)
        start(folder, programs, lambda program: _connected(folder, program, layout), timeout=timeout)
    return status(state=state)


def down(*, state: Path = STATE) -> list[str]:
    """Stop the daemons that `up` started, in any process; return the names of those that ran."""
    return stop_all(_folder(state))


def status(*, state: Path = STATE, timeout: float = 3.0) -> list[NodeStatus]:
    """Return the status of each daemon of the last `up`; `address` is for `IpfsStore` and `FBFL_IPFS`."""
    return statuses(_folder(state), lambda port: f"/ip4/{LOOPBACK}/tcp/{port}/http", lambda port: _told(port, timeout))


def _programs(folder: Path, layout: Layout) -> list[Program]:
    places = [Place(LOOPBACK, layout.port + node, layout.port + SWARM_OFFSET + node) for node in range(layout.nodes)]
    repositories = make_repositories(folder, places)
    return [
        Program(
            name,
            [find_program("ipfs"), *DAEMON],
            (place.port, place.swarm_port),
            {**ENVIRONMENT, "IPFS_PATH": str(repository)},
        )
        for name, place, repository in zip(layout.names, places, repositories, strict=True)
    ]


def make_repositories(folder: Path, places: Sequence[Place]) -> list[Path]:
    """Make the repositories `node-0`, ... of a network of daemons that know each other; keep those that are there."""
    ipfs = find_program("ipfs")
    key = folder / "swarm.key"
    if not key.exists():
        write_atomically(key, f"/key/swarm/psk/1.0.0/\n/base16/\n{secrets.token_hex(32)}\n".encode(), PRIVATE)
    repositories = [folder / f"node-{node}" for node in range(len(places))]
    configs = [_made(ipfs, repository, key) for repository in repositories]
    peers = [
        {"ID": config["Identity"]["PeerID"], "Addrs": [place.swarm_address]}
        for config, place in zip(configs, places, strict=True)
    ]
    for node, (repository, config) in enumerate(zip(repositories, configs, strict=True)):
        others = [peer for number, peer in enumerate(peers) if number != node]
        config.update(_settings(places[node], others))
        write_atomically(repository / "config", json.dumps(config, indent=1).encode(), PRIVATE)
    return repositories


def _made(ipfs: str, repository: Path, key: Path) -> dict[str, Any]:
    """Return the configuration of a repository; make it if it is not there."""
    if not (repository / "config").exists():
        made = subprocess.run(
            [ipfs, "init", "--empty-repo", "--profile=test"],
            env={**ENVIRONMENT, "IPFS_PATH": str(repository)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if made.returncode:
            raise StorageError(f"ipfs cannot make a repository in {repository}: {made.stderr.strip().splitlines()[-1]}")
    write_atomically(repository / "swarm.key", key.read_bytes(), PRIVATE)
    return _config(repository)


def _config(repository: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = strictjson.loads((repository / "config").read_bytes())
        config["Identity"]["PeerID"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{repository / 'config'} cannot be read ({error}); remove {repository} to begin anew"
        ) from error
    return config


def _settings(place: Place, peers: Sequence[dict[str, object]]) -> dict[str, object]:
    """Return the sections of our daemons' configuration that differ from a public daemon's."""
    off = {"Enabled": False}
    return {
        "Addresses": {
            "API": f"/ip4/{LOOPBACK}/tcp/{place.port}",
            "Gateway": [],
            "Swarm": [place.swarm_address],
            "Announce": [],
            "AppendAnnounce": [],
            "NoAnnounce": [],
        },
        "Bootstrap": [],
        "Peering": {"Peers": list(peers)},
        "Routing": {"Type": "none"},
        "Discovery": {"MDNS": off},
        "AutoConf": off,
        "AutoTLS": off,
        "AutoNAT": {"ServiceMode": "disabled"},
        "DNS": {"Resolvers": {}},
        "Provide": off,
        "HTTPRetrieval": off,
        "Version": {"SwarmCheckEnabled": False},
        "Plugins": {"Plugins": {"telemetry": {"Disabled": True}}},
        "Swarm": {
            "DisableNatPortMap": True,
            "EnableHolePunching": False,
            "RelayClient": off,
            "RelayService": off,
            # A network with a key runs on TCP only.
            "Transports": {"Network": {"TCP": True, **dict.fromkeys(OTHER_TRANSPORTS, False)}},
        },
    }


def _told(port: int, timeout: float) -> dict[str, Any]:
    """Return what a daemon tells of itself; nothing if it does not answer."""
    version, peers = _ask(port, "version", timeout).get("Version"), _peers(port, timeout)
    return {} if version is None or peers is None else {"version": str(version), "peers": peers}


def _connected(folder: Path, program: Program, layout: Layout) -> bool:
    """Return True if a daemon answers and knows all others; tells it to call them now, not after some seconds."""
    port = program.ports[0]
    peers = _peers(port, 2.0)
    if peers is not None and peers < layout.nodes - 1:
        config = _config(folder / program.name)
        others = [f"{peer['Addrs'][0]}/p2p/{peer['ID']}" for peer in config["Peering"]["Peers"]]
        _ask(port, f"swarm/connect?{urlencode({'arg': others}, doseq=True)}", 2.0)
    return peers == layout.nodes - 1


def _peers(port: int, timeout: float) -> int | None:
    """Return the number of daemons that it is connected to; None if it does not answer."""
    answer = _ask(port, "swarm/peers", timeout)
    peers = answer.get("Peers", 0)
    if peers is None:  # how it says that there are none
        return 0
    return len(peers) if isinstance(peers, list) else None


def _ask(port: int, command: str, timeout: float) -> dict[str, Any]:
    """Return the answer of a daemon; nothing if it gives none, or another one than a daemon gives."""
    try:
        with session() as asking:
            response = asking.post(f"http://{LOOPBACK}:{port}/api/v0/{command}", timeout=timeout)
            response.raise_for_status()
            answer = response.json()
    except (requests.RequestException, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _folder(state: Path) -> Path:
    return state.resolve() / "kubo"
