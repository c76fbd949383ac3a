"""Makes the keys and configurations that the containers of deploy/compose.yaml start from: see docs/deployment.md.

python -m tools.compose_setup DIR
"""

import argparse
import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from eth_account import Account

from fbfl.errors import FbflError, StorageError
from fbfl.mec import tokens
from fbfl.nodes import chains, geth, kubo
from fbfl.system.atomic import PRIVATE, write_atomically

SERVERS = 4
DEVICES = 8
ACCOUNTS = ("owner", *(f"server-{server}" for server in range(SERVERS)))
SUBNET = "10.77.0.0/24"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make them; returns the exit status."""
    parser = argparse.ArgumentParser(prog="compose_setup", description="Make keys and configurations.")
    parser.add_argument("folder", type=Path, metavar="DIR")
    folder = parser.parse_args(arguments).folder
    try:
        make_state(folder)
    except OSError as error:
        print(f"compose_setup: {error.filename}: {error.strerror}", file=sys.stderr)
        return StorageError.exit_status
    except FbflError as error:
        print(f"compose_setup: {error}", file=sys.stderr)
        return error.exit_status
    print(f"{folder}: keys of {', '.join(ACCOUNTS)}, {SERVERS} geth and Kubo nodes, {DEVICES} devices")
    return 0


def make_state(folder: Path) -> None:
    """Make all that the containers start from, in a folder that is theirs; what is there is kept."""
    made = ["dag", "deployments", "geth", "kubo", "task", *(f"keys/{name}" for name in ACCOUNTS)]
    made += [f"mec/{server}" for server in range(SERVERS)] + [f"devices/{device}" for device in range(DEVICES)]
    for name in made:
        (folder / name).mkdir(parents=True, exist_ok=True)

    addresses = {name: _make_key(folder / "keys" / name) for name in ACCOUNTS}
    servers = [addresses[f"server-{server}"] for server in range(SERVERS)]
    write_atomically(folder / "task" / "servers", " ".join(servers).encode())

    places = [folder / "geth" / f"node-{server}" for server in range(SERVERS)]
    port = chains.PORT + geth.P2P_OFFSET
    peers = [geth.enode(place, address(server), port) for server, place in enumerate(places)]
    for server, place in enumerate(places):
        geth.configure(place, address(server), port, [*peers[:server], *peers[server + 1 :]], servers[server])
    write_atomically(folder / "geth" / "genesis.json", geth.render_genesis(addresses.values()))

    swarm_port = kubo.PORT + kubo.SWARM_OFFSET
    daemons = [kubo.Place(address(server), kubo.PORT, swarm_port) for server in range(SERVERS)]
    kubo.make_repositories(folder / "kubo", daemons)

    devices = folder / "devices"
    if not (devices / "devices").exists():
        tokens.give_tokens(devices / "devices", range(DEVICES), devices)


def address(server: int) -> str:
    """Return the address of a MEC server's programs in the network."""
    return f"{SUBNET.rpartition('.')[0]}.{10 + server}"


def _make_key(folder: Path) -> str:
    """The address of the account whose encrypted key is there, made now if need be."""
    keystore, password = folder / "keystore", folder / "password"
    if not keystore.exists():
        word = secrets.token_urlsafe(32)
        account = Account.create()
        write_atomically(password, word.encode(), PRIVATE)
        encrypted = {**Account.encrypt(account.key, word), "address": account.address}
        write_atomically(keystore, json.dumps(encrypted).encode(), PRIVATE)
    return str(json.loads(keystore.read_text())["address"])


if __name__ == "__main__":
    sys.exit(main())
