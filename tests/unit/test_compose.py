"""deploy/compose.yaml as a text: no Docker engine is needed, nor used, to check it."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from eth_account import Account

from fbfl.cli.main import parser
from fbfl.nodes import chains, geth, kubo
from tools import compose
from tools.compose_setup import DEVICES, SERVERS, SUBNET, address

Service = dict[str, Any]


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(compose.FILE.read_text())
    return content


@pytest.fixture(scope="module")
def services(composed: dict[str, Any]) -> dict[str, Service]:
    found: dict[str, Service] = composed["services"]
    return found


def test_the_file_is_what_the_generator_writes(tmp_path: Path) -> None:
    assert compose.main(["--output", str(tmp_path / "compose.yaml")]) == 0
    assert (tmp_path / "compose.yaml").read_text() == compose.FILE.read_text(), "run: python -m tools.compose"


def test_it_is_a_compose_file(tmp_path: Path) -> None:
    def check(file: Path) -> int:
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
        return subprocess.run(command, capture_output=True, timeout=60).returncode

    assert check(compose.FILE) == 0
    broken = tmp_path / "compose.yaml"
    broken.write_text(compose.FILE.read_text().replace("network_mode:", "network_mod:", 1))
    assert check(broken) == 1


def test_there_is_a_node_a_daemon_and_an_agent_for_each_server(services: dict[str, Service]) -> None:
    for kind, count in (("geth", SERVERS), ("kubo", SERVERS), ("mec", SERVERS), ("device", DEVICES)):
        assert [name for name in services if name.startswith(f"{kind}-")] == [f"{kind}-{i}" for i in range(count)]


def test_everything_that_is_named_is_there(composed: dict[str, Any], services: dict[str, Service]) -> None:
    for service in services.values():
        assert set(service.get("depends_on", {})) <= services.keys()
        assert set(service.get("networks", {})) <= composed["networks"].keys()
        assert set(service.get("secrets", [])) <= composed["secrets"].keys()
        mode = service.get("network_mode", "none")
        assert mode == "none" or mode.removeprefix("service:") in services
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in services[needed]
            assert how["condition"] != "service_completed_successfully" or "restart" not in services[needed]
    assert {name for service in services.values() for name in service.get("secrets", [])} == set(composed["secrets"])


def test_services_can_start_in_some_order(services: dict[str, Service]) -> None:
    started: set[str] = set()
    while len(started) < len(services):
        ready = {name for name, service in services.items() if set(service.get("depends_on", {})) <= started}
        assert ready > started
        started = ready


def test_nobody_outside_reaches_it_and_it_reaches_nobody(
    composed: dict[str, Any], services: dict[str, Service]
) -> None:
    assert all(network["internal"] for network in composed["networks"].values())
    assert not any("ports" in service for service in services.values())
    text = compose.FILE.read_text()
    assert "0.0.0.0" not in text
    assert "host" not in {service.get("network_mode") for service in services.values()}
    # On the network listen agents only, and what nodes have for their peers (see the test of the setup).
    addresses = set(re.findall(r"(?:\d+\.){3}\d+", text.replace(SUBNET, "")))
    assert addresses == {"127.0.0.1", *(address(server) for server in range(SERVERS))}


def test_programs_that_share_a_network_do_not_share_a_port(services: dict[str, Service]) -> None:
    for server in range(SERVERS):
        beside = [s for s in services.values() if s.get("network_mode") == f"service:server-{server}"]
        text = " ".join(word for service in beside for word in service["command"])
        ports = re.findall(r"--(?:http\.port=|authrpc\.port=|port )(\d+)", text)
        ports += [str(chains.PORT + geth.P2P_OFFSET), str(kubo.PORT), "5101"]
        assert len(set(ports)) == len(ports) == 6


def test_every_command_of_fbfl_is_one(services: dict[str, Service]) -> None:
    seen: dict[str, int] = {}
    for name, service in services.items():
        for words in fbfl_commands(service):
            options = parser().parse_args(words)
            assert options.command
            if words[0] == "mec":
                server = int(name.removeprefix("mec-"))
                assert options.url == f"http://{options.host}:{options.port}" == compose.mec_url(server)
            if words[0] == "device":
                assert options.mec == [compose.mec_url(server) for server in range(SERVERS)]
            for file in (getattr(options, key, None) for key in ("keystore", "password_file", "token_file")):
                if file is not None:
                    assert file.parent == compose.SECRETS
                    assert file.name in service["secrets"]
            seen[words[0]] = seen.get(words[0], 0) + 1
    assert seen == {"deploy": 1, "task": 3, "mec": SERVERS, "device": DEVICES}


def test_there_is_no_secret_in_it(services: dict[str, Service]) -> None:
    text = compose.FILE.read_text()
    assert not re.search(r"[0-9a-fA-F]{32}", text)
    assert not re.search(r"--account|FBFL_KEY|FBFL_PASSWORD|FBFL_DEVICE_TOKEN", text)


def test_what_cannot_be_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compose.main(["--rounds", "0"]) == 2
    assert "--rounds 0; allowed: 1 or more" in capsys.readouterr().err
    assert compose.main(["--output", str(tmp_path / "none" / "compose.yaml")]) == 3
    assert "No such file" in capsys.readouterr().err


def fbfl_commands(service: Service) -> Iterator[list[str]]:
    """The words after `fbfl` of each command that a service runs, as its shell would split them."""
    *shell, last = service["command"]
    lines = last.splitlines() if shell[:1] == ["/bin/sh"] else [shlex.join(service["command"])]
    for line in lines:
        commanded = line.replace("$$(cat task/servers)", Account.create().address)
        _, found, words = commanded.partition("fbfl ")
        if found:
            yield shlex.split(words.partition(" > ")[0])
