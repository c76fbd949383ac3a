"""Writes deploy/compose.yaml, a federation in containers: see docs/deployment.md.

    python -m tools.compose [--dataset D] [--rounds R] [--output FILE]

One MEC server is a geth node, a Kubo daemon and an agent that share the network of one container: their RPC is on its
loopback, and only peers and devices reach them, in a network without a way out. Nothing secret is in the file. The
programs are started as `fbfl chain up`, `fbfl ipfs up` and the tests start them.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from fbfl.errors import FbflError, InvalidInputError, StorageError
from fbfl.nodes import chains, geth, kubo
from tools.compose_setup import ACCOUNTS, DEVICES, SERVERS, SUBNET, address

MEC_PORT = 8600

TASK = "1"
"""The first of a new chain."""

GETH_IMAGE = "ethereum/client-go:v1.11.6"  # the last that mines
KUBO_IMAGE = "ipfs/kubo:v0.41.0"

FILE = Path(__file__).resolve().parents[1] / "deploy" / "compose.yaml"
HEADER = "# Written by tools/compose.py; how to use it: docs/deployment.md.\n"

RPC = f"http://127.0.0.1:{chains.PORT}"
SECRETS = Path("/run/secrets")
GETH_DATA = Path("/data")
DAG = Path("/dag")
"""Folders of these inside the containers."""

Service = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file; returns the exit status."""
    parser = argparse.ArgumentParser(prog="compose", description="Write the Compose file of a federation.")
    parser.add_argument("--dataset", default="digits", help="what devices have shares of (default digits)")
    parser.add_argument("--rounds", type=int, default=20, help="until which the owner opens rounds (default 20)")
    parser.add_argument("--output", type=Path, metavar="FILE", default=FILE, help="default deploy/compose.yaml")
    options = parser.parse_args(arguments)
    try:
        options.output.write_text(render(options.dataset, options.rounds), encoding="utf-8")
    except OSError as error:
        print(f"compose: --output {options.output}: {error.strerror}", file=sys.stderr)
        return StorageError.exit_status
    except FbflError as error:
        print(f"compose: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def render(dataset: str, rounds: int) -> str:
    """The Compose file as text."""
    if rounds < 1:
        raise InvalidInputError(f"--rounds {rounds}; allowed: 1 or more")
    return HEADER + yaml.dump(
        compose(dataset, rounds), Dumper=_PlainDumper, sort_keys=False, width=120, default_flow_style=False
    )


def compose(dataset: str, rounds: int) -> dict[str, Any]:
    """The Compose file as a value."""
    services: dict[str, Service] = {"setup": _setup(), "dag": _dag()}
    for server in range(SERVERS):
        services[f"server-{server}"] = _server(server)
        services[f"geth-{server}"] = _geth(server)
        services[f"kubo-{server}"] = _kubo(server)
    services["task"] = _task(dataset, rounds)
    for server in range(SERVERS):
        services[f"mec-{server}"] = _mec(server)
    for device in range(DEVICES):
        services[f"device-{device}"] = _device(device, dataset)
    services["owner"] = _owner(rounds)
    files = {f"{name}-{what}": f"keys/{name}/{what}" for name in ACCOUNTS for what in ("keystore", "password")}
    files |= {f"device-{device}-token": f"devices/device-{device}.token" for device in range(DEVICES)}
    return {
        "name": "fbfl",
        "services": services,
        "networks": {"mec": {"internal": True, "ipam": {"config": [{"subnet": SUBNET}]}}},
        "secrets": {name: {"file": f"./state/{file}"} for name, file in files.items()},
    }


def mec_url(server: int) -> str:
    """The endpoint of a MEC server's agent."""
    return f"http://{address(server)}:{MEC_PORT}"


def _setup() -> Service:
    """By hand, before all else: `docker compose run --rm setup`. It also builds the image."""
    return {
        "profiles": ["setup"],
        **_fbfl(["python", "-m", "tools.compose_setup", "/state"]),
        "pull_policy": "build",
        "build": {"context": "..", "dockerfile": "deploy/Dockerfile"},
        "network_mode": "none",
        "working_dir": "/fbfl",
        "volumes": [_mount("", "/state")],
    }


def _dag() -> Service:
    """Make the data sets for mining, a GiB an epoch: minutes, once."""
    return {
        **_shell(GETH_IMAGE, [["geth", "makedag", str(epoch * geth.EPOCH), str(DAG)] for epoch in (0, 1)]),
        "network_mode": "none",
        "volumes": [_mount("dag", str(DAG))],
    }


def _server(server: int) -> Service:
    """Holds the network that a server's programs share, so that each of them can end and begin again."""
    return {
        **_fbfl(["sleep", "infinity"]),
        "init": True,
        "networks": {"mec": {"ipv4_address": address(server)}},
        "restart": "unless-stopped",
    }


def _geth(server: int) -> Service:
    auth_port = chains.PORT + 2 * geth.P2P_OFFSET
    options = geth.options(GETH_DATA, dag=DAG, peers_in=SUBNET, rpc_port=chains.PORT, auth_port=auth_port)
    begin = ["geth", f"--datadir={GETH_DATA}", "init", "/genesis.json"]
    mine = ["exec", "geth", *options]
    return {
        **_shell(GETH_IMAGE, [begin, mine]),
        **_beside(server),
        "cpu_shares": 256,  # mining takes whatever it gets: the agents come first
        "volumes": [
            _mount(f"geth/node-{server}", str(GETH_DATA)),
            _mount("geth/genesis.json", "/genesis.json", read_only=True),
            _mount("dag", str(DAG)),
        ],
        # A chain that has only its genesis has not shown proof of work, and `fbfl deploy` would doubt it.
        "healthcheck": _healthy("CMD-SHELL", f"test $$(geth attach --exec eth.blockNumber {RPC}) -gt 0"),
        "depends_on": {**_after(f"server-{server}"), **_done("dag")},
    }


def _kubo(server: int) -> Service:
    return {
        "image": KUBO_IMAGE,
        "user": _USER,
        "entrypoint": ["ipfs"],
        "command": list(kubo.DAEMON),
        **_beside(server),
        "environment": {**kubo.ENVIRONMENT, "IPFS_PATH": "/data"},
        "volumes": [_mount(f"kubo/node-{server}", "/data")],
        "healthcheck": _healthy("CMD", "ipfs", "swarm", "peers"),
        "depends_on": _after(f"server-{server}"),
    }


def _task(dataset: str, rounds: int) -> Service:
    """Deploys the contracts and creates a task, unless that was done."""
    settings = ["--consensus", "ethash", "--dataset", dataset, "--rounds", str(rounds), "--servers", str(SERVERS)]
    settings += ["--store", "ipfs", "--window", "120"]
    create = shlex.join(["fbfl", "task", "create", *_OWN, *settings])
    admit = shlex.join(["fbfl", "task", "admit", *_OWN])
    lines = [
        shlex.join(["fbfl", "deploy", *_OWN]),
        f"test -s task/number || {create} > task/number",
        f"{admit} $$(cat task/servers)",  # Compose makes one $ of it
    ]
    return {
        **_fbfl(["/bin/sh", "-ec", "\n".join(lines) + "\n"]),
        "network_mode": "service:server-0",
        "environment": {**_HOME, "FBFL_IPFS": _IPFS},
        "secrets": ["owner-keystore", "owner-password"],
        "volumes": [_mount("task", "/work/task"), _mount("deployments", "/work/deployments")],
        "depends_on": {**_works("geth-0"), **_works("kubo-0")},
    }


def _owner(rounds: int) -> Service:
    """Opens the rounds."""
    return {
        **_fbfl(["fbfl", "task", "drive", *_OWN, "--rounds", str(rounds), "--servers", str(SERVERS)]),
        "network_mode": "service:server-0",
        "restart": "on-failure",
        "secrets": ["owner-keystore", "owner-password"],
        "volumes": [_mount("deployments", "/work/deployments", read_only=True)],
        "depends_on": dict.fromkeys((f"device-{device}" for device in range(DEVICES)), _STARTED),
    }


def _mec(server: int) -> Service:
    name = f"server-{server}"
    command = ["fbfl", "mec", "--network", RPC, *_key(name), "--task", TASK, "--devices", "devices", "--store", "ipfs"]
    command += ["--host", address(server), "--port", str(MEC_PORT), "--url", mec_url(server)]
    ask = f"import urllib.request; urllib.request.urlopen('{mec_url(server)}/health', timeout=5)"
    return {
        **_fbfl(command),
        **_beside(server),
        "environment": {**_HOME, "FBFL_IPFS": _IPFS},
        "secrets": [f"{name}-keystore", f"{name}-password"],
        "volumes": [
            _mount(f"mec/{server}", "/work/.fbfl"),
            _mount("deployments", "/work/deployments", read_only=True),
            _mount("devices/devices", "/work/devices", read_only=True),
        ],
        "healthcheck": _healthy("CMD", "python", "-c", ask),
        "depends_on": {**_works(f"geth-{server}"), **_works(f"kubo-{server}"), **_done("task")},
    }


def _device(device: int, dataset: str) -> Service:
    servers = [word for server in range(SERVERS) for word in ("--mec", mec_url(server))]
    command = ["fbfl", "device", *servers, "--token-file", str(SECRETS / f"device-{device}-token")]
    command += ["--dataset", dataset, "--share", f"{device}/{DEVICES}", "--mobility", "random_waypoint"]
    return {
        **_fbfl(command),
        "networks": ["mec"],
        "restart": "on-failure",
        "secrets": [f"device-{device}-token"],
        "volumes": [_mount(f"devices/{device}", "/work/.fbfl")],
        "depends_on": dict.fromkeys((f"mec-{server}" for server in range(SERVERS)), _WORKS),
    }


def _fbfl(command: Sequence[str]) -> Service:
    return {"image": "fbfl", "pull_policy": "never", "user": _USER, "environment": _HOME, "command": list(command)}


def _shell(image: str, lines: Sequence[Sequence[str]]) -> Service:
    script = "".join(f"{shlex.join(line)}\n" for line in lines)
    return {
        "image": image,
        "user": _USER,
        "environment": _HOME,
        "entrypoint": ["/bin/sh", "-ec"],
        "command": [script],
    }


def _beside(server: int) -> Service:
    return {"network_mode": f"service:server-{server}", "restart": "unless-stopped"}


def _mount(source: str, target: str, *, read_only: bool = False) -> Service:
    """A part of deploy/state; one that is missing is an error, not a new folder of root's."""
    mount = {"type": "bind", "source": f"./state/{source}".rstrip("/"), "target": target}
    return {**mount, **({"read_only": True} if read_only else {}), "bind": {"create_host_path": False}}


def _healthy(*test: str) -> Service:
    return {"test": list(test), "interval": "10s", "timeout": "10s", "retries": 6, "start_period": "120s"}


def _after(service: str) -> Service:
    return {service: _STARTED}


def _works(service: str) -> Service:
    return {service: _WORKS}


def _done(service: str) -> Service:
    return {service: {"condition": "service_completed_successfully"}}


def _key(name: str) -> list[str]:
    return ["--keystore", str(SECRETS / f"{name}-keystore"), "--password-file", str(SECRETS / f"{name}-password")]


class _PlainDumper(yaml.SafeDumper):
    """Writes scripts as blocks, and equal values again and again: references between them are hard to read."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_PlainDumper.add_representer(str, _text)

_USER = "${FBFL_UID:-1000}:${FBFL_GID:-1000}"
_HOME = {"HOME": "/tmp"}
_IPFS = f"/ip4/127.0.0.1/tcp/{kubo.PORT}/http"
_OWN = ["--network", RPC, *_key("owner")]
_STARTED = {"condition": "service_started"}
_WORKS = {"condition": "service_healthy"}


if __name__ == "__main__":
    sys.exit(main())
