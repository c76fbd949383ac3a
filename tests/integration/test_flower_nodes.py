"""Nodes of a Flower app as MEC servers on a real node, alone and beside servers that train otherwise."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fbfl
from fbfl.chain.queries import round_records
from fbfl.nodes.nodeset import NodeStatus
from tests.integration.agents import SERVERS, Agents, environment
from tests.support.paths import REPOSITORY
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration

APP = REPOSITORY / "tests" / "flower" / "apps" / "sklearn_app"
ROUNDS = 2
OWN = "tests.support.regression:OWN"
NAMES = '[names]\n0 = { name = "0", transpose = true }\n'
"""The app's matrix is the other way round."""


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the app's environment."""
    place = tmp_path_factory.mktemp("prepared")
    prepare = [sys.executable, "-m", "fbfl", "flower", "prepare", str(APP)]
    subprocess.run(prepare, cwd=place, env=environment(), check=True)
    return place / ".fbfl" / "envs"


@pytest.fixture
def agents(tmp_path: Path, environments: Path, start_network: Callable[[str], list[NodeStatus]]) -> Iterator[Agents]:
    (node,) = start_network("anvil")
    (tmp_path / ".fbfl").mkdir()
    (tmp_path / ".fbfl" / "envs").symlink_to(environments)
    (tmp_path / "names.toml").write_text(NAMES)
    running = Agents(tmp_path, node.address, free_ports())
    yield running
    running.end()


def node_of_the_app(number: int) -> tuple[object, ...]:
    return "--trainer", "flower", "--app", APP, "--share", f"{number}/{SERVERS}"


def test_nodes_of_an_app_compute_the_model_of_the_simulation(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    agents.data = {number: node_of_the_app(number) for number in range(SERVERS)}
    task = agents.create_task("--trainer", "flower", "--app", APP, "--servers", SERVERS, "--consensus", "pbft")
    agents.enrol(task)
    for number in range(SERVERS):
        agents.begin_agent(number)
    agents.drive(ROUNDS)
    records = list(round_records(agents.ledger(), task))
    assert agents.ledger().task(task).rule == "fedavg"
    assert [[update.samples for update in record.updates] for record in records] == [[300] * SERVERS] * ROUNDS
    audit = agents.do("audit")
    assert audit.returncode == 0, audit.stdout + audit.stderr

    monkeypatch.chdir(agents.folder)
    settings = fbfl.RunSettings(trainer="flower", app=str(APP), servers=SERVERS, rounds=ROUNDS, consensus="pbft")
    simulated = fbfl.run(settings, agents.folder / "run")
    assert [record.model_digest for record in records] == [record.model_digest for record in simulated.rounds]


def test_nodes_of_an_app_beside_servers_that_train_with_a_function(agents: Agents) -> None:
    own = ("--dataset", "digits", "--plugin", OWN)
    app = [(*node_of_the_app(number), "--trainer-arg", "names=names.toml") for number in range(SERVERS)]
    agents.data = {0: (*own, "--share", "0/2"), 1: (*own, "--share", "1/2"), 2: app[2], 3: app[3]}
    task = agents.create_task("--dataset", "digits", "--servers", SERVERS, "--consensus", "pbft", "--trainer", OWN)
    agents.enrol(task)
    for number in range(SERVERS):
        agents.begin_agent(number)
    agents.drive(ROUNDS)
    records = list(round_records(agents.ledger(), task))
    assert [[update.server for update in record.updates] for record in records] == [agents.addresses] * ROUNDS
    assert all(record.status == "final" for record in records)
    audit = agents.do("audit", "--plugin", OWN)
    assert audit.returncode == 0, audit.stdout + audit.stderr
