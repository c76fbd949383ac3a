"""The files that the containers of deploy/compose.yaml start from, made and read by the real programs."""

import json
import re
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from eth_account import Account

from fbfl.mec import tokens
from fbfl.nodes.processes import find_program
from tests.integration.machine import require
from tools import compose, compose_setup
from tools.compose_setup import DEVICES, SERVERS, address

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(compose.FILE.read_text())
    return content


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require("kubo", "ipfs")
    folder = tmp_path_factory.mktemp("compose") / "state"
    assert compose_setup.main([str(folder)]) == 0
    return folder


def test_all_that_is_mounted_is_made(composed: dict[str, Any], state: Path) -> None:
    sources = {m["source"] for service in composed["services"].values() for m in service.get("volumes", [])}
    sources |= {secret["file"] for secret in composed["secrets"].values()}
    assert [source for source in sorted(sources) if not (state.parent / source).exists()] == []


def test_keys_and_tokens_are_private_and_fit(state: Path) -> None:
    addresses = []
    for name in compose_setup.ACCOUNTS:
        keystore, password = state / "keys" / name / "keystore", state / "keys" / name / "password"
        account = Account.from_key(Account.decrypt(json.loads(keystore.read_text()), password.read_text()))
        addresses.append(account.address)
        assert {stat.S_IMODE(file.stat().st_mode) for file in (keystore, password)} == {0o600}
    genesis = json.loads((state / "geth" / "genesis.json").read_text())
    assert list(genesis["alloc"]) == addresses
    assert (state / "task" / "servers").read_text().split() == addresses[1:]
    devices = tokens.DeviceTokens(state / "devices" / "devices")
    for device in range(DEVICES):
        assert devices.device_of((state / "devices" / f"device-{device}.token").read_text().strip()) == device


def test_what_is_there_is_kept(state: Path) -> None:
    kept = [file for file in state.rglob("*") if file.is_file() and file.name not in ("LOCK", "repo.lock")]
    before = {file: file.read_bytes() for file in kept}
    assert len(before) > 30
    assert compose_setup.main([str(state)]) == 0
    assert {file: file.read_bytes() for file in kept} == before


@pytest.mark.parametrize("server", range(SERVERS))
def test_geth_takes_its_command_and_configuration(composed: dict[str, Any], state: Path, server: int) -> None:
    require("geth")
    service = composed["services"][f"geth-{server}"]
    begin, mine = (shlex.split(line.removeprefix("exec ")) for line in service["command"][0].splitlines())
    mounts = {mount["target"]: str(state.parent / mount["source"]) for mount in service["volumes"]}

    def run(words: list[str], *more: str) -> str:
        placed = [re.sub(r"(?<==)/\w+|^/genesis.json$", lambda path: mounts[path[0]], word) for word in words[1:]]
        done = subprocess.run([find_program("geth"), *placed, *more], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert "Successfully wrote genesis state" in run(begin)
    settings = run([word for word in mine if word != "--mine"], "dumpconfig")
    miner = (state / "task" / "servers").read_text().split()[server]
    assert f'Etherbase = "{miner.lower()}"' in settings
    assert f'ListenAddr = "{address(server)}:8645"' in settings
    assert 'HTTPHost = "127.0.0.1"' in settings
    (peers,) = re.findall(r"StaticNodes = (\[.*?\])", settings)
    others = {address(number) for number in range(SERVERS)} - {address(server)}
    assert {re.findall(r"@([\d.]+):8645", peer)[0] for peer in json.loads(peers)} == others


@pytest.mark.parametrize("server", range(SERVERS))
def test_kubo_takes_its_command_and_knows_only_the_others(composed: dict[str, Any], state: Path, server: int) -> None:
    service = composed["services"][f"kubo-{server}"]
    explained = ipfs(state, server, *service["command"], "--help")
    assert all(word.partition("=")[0] in explained for word in service["command"])
    config = json.loads(ipfs(state, server, "config", "show"))
    assert config["Addresses"]["Swarm"] == [f"/ip4/{address(server)}/tcp/5101"]
    assert config["Addresses"]["API"] == "/ip4/127.0.0.1/tcp/5001"
    assert config["Bootstrap"] == []
    others = {
        ipfs(state, number, "config", "Identity.PeerID").strip(): [f"/ip4/{address(number)}/tcp/5101"]
        for number in range(SERVERS)
        if number != server
    }
    assert {peer["ID"]: peer["Addrs"] for peer in config["Peering"]["Peers"]} == others
    assert (state / "kubo" / f"node-{server}" / "swarm.key").read_text() == (state / "kubo" / "swarm.key").read_text()


def ipfs(state: Path, server: int, *words: str) -> str:
    repository = {"IPFS_PATH": str(state / "kubo" / f"node-{server}")}
    done = subprocess.run(
        [find_program("ipfs"), *words], env=repository, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout
