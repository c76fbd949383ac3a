import json
import logging
import shutil
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_utils.address import to_checksum_address

from fbfl import shipped
from fbfl.chain.queries import losses_of
from fbfl.chain.remote import accounts_of
from fbfl.chain.rounds import Ballot, Phase, Stage, TaskState
from fbfl.chain.signatures import sign_vote
from fbfl.chain.task import Payment
from fbfl.errors import ChainError, ContractRevertError, InvalidInputError, NodeUnavailableError, StorageError
from fbfl.learning.tensor_names import Names
from fbfl.mec import agent as agents
from fbfl.mec import tasks
from fbfl.mec.agent import Agent, LocalTraining, only_one
from fbfl.mec.endpoint import application, serving
from fbfl.mec.exchange import vote_domain
from fbfl.mec.tasks import drive, is_due
from fbfl.settings import RunSettings
from fbfl.simulation import Simulation, devnet_of
from fbfl.storage.local import LocalStore
from fbfl.storage.store import Reference
from fbfl.system.jsonlog import JsonFormatter
from tests.support.federations import SMALL, embedded, federation
from tests.support.ports import free_ports

FAILURES = 2


class FlakyStore(LocalStore):
    """A disk that is full for a while; ends the agent once it has room again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.agent: Agent | None = None
        self.attempts = 0

    def put(self, data: bytes) -> Reference:
        self.attempts += 1
        if self.attempts <= FAILURES:
            raise StorageError("the disk is full")
        assert self.agent is not None
        self.agent.stop()
        return super().put(data)


@pytest.fixture
def store(tmp_path: Path) -> FlakyStore:
    return FlakyStore(tmp_path / "payloads")


@pytest.fixture
def simulated(tmp_path: Path, store: FlakyStore) -> Simulation:
    folder = tmp_path / "payloads"
    return federation(folder, servers=2, devices=2, consensus="pbft", simulation={"stores": {1: store}, "lanes": 1})


@pytest.fixture
def agent(simulated: Simulation, store: FlakyStore) -> Agent:
    server = simulated.servers[1]
    training = LocalTraining(server.participant, server.task.id, server.plan, server.samples)
    store.agent = Agent(server, training, url="http://127.0.0.1:1", stake=1, poll=0.01)
    return store.agent


def sent_by(simulated: Simulation, server: str) -> int:
    return simulated.chain.w3.eth.get_transaction_count(to_checksum_address(server))


def test_an_agent_outlasts_a_failing_store_and_trains_as_in_the_simulation(
    simulated: Simulation, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "FIRST_PAUSE", 0.01)
    simulated.owner.open_round(simulated.task.id)
    expected = agent.server.training(simulated.weights, 1)
    assert agent.training(simulated.weights, 1).tobytes() == expected.tobytes()
    state = simulated.ledger.state(simulated.task.id)
    assert not is_due(state, clock=0)
    assert not is_due(state, clock=state.deadline)
    assert is_due(state, clock=state.deadline + 1)
    agent.run()
    assert (agent.failures, agent.steps, agent.last_error) == (FAILURES, 1, None)
    (update,) = simulated.ledger.recorded(simulated.task.id, 1)
    assert update.server == agent.server.address
    assert simulated.servers[0].step()
    assert is_due(simulated.ledger.state(simulated.task.id), clock=0)


def test_an_agent_trains_by_a_function_under_names_of_its_own(simulated: Simulation) -> None:
    server = simulated.servers[1]
    plan = replace(server.plan, trainer="tests.support.layers:still", trainer_args={"by": 0.5})
    names: Names = {
        "0": ("mlp/hidden/kernel", (1, 0)),
        "1": ("mlp/hidden/bias", None),
        "2": ("mlp/output/kernel", ()),
        "3": ("mlp/output/bias", None),
    }
    training = LocalTraining(server.participant, server.task.id, plan, server.samples, names=names)
    update = training(simulated.weights, 1)
    parts = dict(zip([tensor.name for tensor in plan.spec.tensors], plan.spec.unflatten(update), strict=True))
    assert {name: set(np.unique(part.round(5))) for name, part in parts.items() if part.any()} == {
        "mlp/hidden/kernel": {0.5}
    }
    unnamed = LocalTraining(server.participant, server.task.id, plan, server.samples)
    with pytest.raises(InvalidInputError, match=r"other tensors here than the task says; allowed: .*names=FILE"):
        unnamed(simulated.weights, 1)


def test_an_agent_takes_no_part_in_another_task_that_a_reorganisation_puts_in_the_place_of_its_own(
    simulated: Simulation, agent: Agent, tmp_path: Path
) -> None:
    chain, own = embedded(simulated.chain), agent.server.task
    agent._require_same_task()
    chain.revert(bytes(chain.w3.eth.get_block(own.block - 1)["hash"]))
    with pytest.raises(InvalidInputError, match="task 1 does not exist"):
        agent._step()
    other = simulated.settings.replace(withheld_penalty=0.25)
    store = LocalStore(tmp_path)
    tasks.create_task(simulated.owner, store, other, simulated.plan, simulated.trainer, simulated.dataset)
    for _ in range(2):
        with pytest.raises(ChainError, match="task 1 is another one by now"):
            agent._step()
    assert not simulated.ledger.has_seat(own.id, agent.server.address, 1)


def test_an_agent_adds_the_stake_that_another_task_locks_and_no_more_than_its_operator_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Path(shutil.copytree(shipped.folder("migrations"), tmp_path / "steps"))
    registry = steps / "1_registry.py"
    registry.write_text(registry.read_text().replace("MIN_STAKE = 0\n", "MIN_STAKE = 10_000\n"))
    monkeypatch.setattr(shipped, "folder", lambda _: steps)
    chosen: dict[str, Any] = {**SMALL, "servers": 2, "devices": 2, "consensus": "pbft", "stake": 10_000}
    options = {"lanes": 1, "devnet": devnet_of(RunSettings(**chosen))}
    monkeypatch.undo()
    fed = federation(tmp_path / "payloads", simulation=options, **chosen)
    ledger, server = fed.ledger, fed.servers[1]
    tasks.create_task(fed.owner, fed.store, fed.settings, fed.plan, fed.trainer, fed.dataset)
    fed.owner._act(ledger.registry.functions.admit(server.address, False), 100_000)  # who is on that list needs none
    server.task = ledger.task(2)
    training = LocalTraining(server.participant, 2, server.plan, server.samples)
    poor, rich = (Agent(server, training, url="http://127.0.0.1:1", stake=stake) for stake in (9_999, 30_000))
    with pytest.raises(ContractRevertError, match="RegistryStakeLocked"):
        poor._enrol()
    assert losses_of(ledger, 2, server.address) == (0, 10_000)
    assert rich._enrol()
    assert losses_of(ledger, 2, server.address) == (0, 20_000)
    assert ledger.has_seat(2, server.address, 1)


def test_who_was_expelled_comes_back_with_a_stake_when_its_agent_is_started_again(
    simulated: Simulation, agent: Agent
) -> None:
    server = agent.server
    assert not agent._enrol()
    account = accounts_of(simulated.devnet.nodes, 3)[2]
    domain, at = vote_domain(simulated.ledger, simulated.task), (simulated.task.id, 1, 0, Stage.PREPARE)
    first, second = (sign_vote(account, domain, Ballot(*at, bytes([value] * 32), True)) for value in (1, 2))
    simulated.owner.report_equivocation(simulated.task.id, first, second)
    with pytest.raises(ChainError, match="is expelled in the registry; start its agent again to come back"):
        agent._enrol()
    anew = Agent(server, agent.training, url="http://127.0.0.1:1", stake=10**18)
    sent = sent_by(simulated, server.address)
    for _ in range(3):  # here the allow-list says who may take part
        with pytest.raises(ContractRevertError, match="RegistryNotAdmitted"):
            anew._step()
    assert sent_by(simulated, server.address) == sent, "it asks its node first, and pays for no refusal"
    simulated.owner.admit(server.address)
    assert anew._enrol()
    assert not anew._enrol()
    assert simulated.ledger.registry.functions.server(server.address).call()[4] >= 10**18


def test_members_move_a_round_on_in_turn_where_its_owner_is_away(
    simulated: Simulation, store: FlakyStore, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.attempts = FAILURES
    others = simulated.servers[0]
    waiting = Agent(others, LocalTraining(others.participant, 1, others.plan, others.samples), url="", stake=0)
    agent._patience = 0.01
    ledger, task = simulated.ledger, simulated.task.id
    simulated.owner.open_round(task)

    def until(done: Callable[[TaskState], bool]) -> None:
        deadline = time.monotonic() + 30
        while not done(ledger.state(task)):
            assert time.monotonic() < deadline
            for one in (waiting, agent):
                one._step()

    until(lambda state: state.phase is Phase.DECIDE)
    for one in (others, agent.server):
        monkeypatch.setattr(one, "_propose", lambda state: False)
    for view in range(1, 3):
        state = ledger.state(task)
        simulated.chain.travel(state.decision.deadline + 1 - state.now)
        until(lambda state, view=view: state.decision.view == view)  # type: ignore[misc]

    more = sent_by(simulated, agent.server.address) - sent_by(simulated, others.address)
    assert more == 3, "the other one would have waited longer"


def test_what_is_refused_again_and_again_is_sent_more_and_more_rarely(
    simulated: Simulation, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where an owner allows payloads that are too small for the model that its rule gives."""
    clock, sent = [1000.0], []
    task = simulated.task.id
    simulated.owner.open_round(task)

    def submit(_: TaskState) -> bool:
        sent.append(clock[0])
        raise ContractRevertError("TasksPayloadTooLarge", {})

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(agent.server, "_submit", submit)
    for _ in range(10_000):
        agent._act(simulated.ledger.state(task))
        clock[0] += agent._poll
    assert 10 < len(sent) < 17, "in the time of 10,000 polls"
    simulated.servers[0].step()
    agent._act(simulated.ledger.state(task))
    assert sent[-1] == clock[0], "another state is another matter"


def test_who_moves_rounds_on_by_a_clock_that_is_ahead_pays_more_and_more_rarely(
    simulated: Simulation, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    simulated.owner.open_round(simulated.task.id)
    state, before = simulated.ledger.state(simulated.task.id), sent_by(simulated, agent.server.address)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(agents, "is_due", lambda state, clock: True)
    for _ in range(1_000):
        assert not agent._move_on(state)
        clock[0] += agent._patience
    assert 5 < sent_by(simulated, agent.server.address) - before < 13, "in the time of 1,000 turns"


def test_an_agent_leaves_a_task_before_its_penalties_add_up_to_more_than_allowed(tmp_path: Path) -> None:
    """Each penalty alone is less than its operator allows, and takes a tenth of what is left."""
    fed = federation(tmp_path, servers=4, devices=4, consensus="pbft", stake=10_000, reward=0, simulation={"lanes": 1})
    ledger, task, victim = fed.ledger, fed.task.id, fed.servers[3]
    victim.participant.add_stake(10_000)  # one penalty does not expel it
    training = LocalTraining(victim.participant, task, victim.plan, victim.samples)
    careful, bold = (Agent(victim, training, url="http://127.0.0.1:1", stake=0, most_loss=most) for most in (0.1, 0.25))
    for number, lost in ((1, 2_000), (2, 3_800)):
        for one in (careful, bold):
            one._limit_losses()
        fed.owner.open_round(task)
        for server in fed.servers:
            assert server.step()
        fed.owner.poke(task)
        accumulator = ledger.state(task).accumulator
        for server in fed.servers[:3]:
            server.participant.report_missing(task, number, victim.address, accumulator)
        assert losses_of(ledger, task, victim.address) == (lost, 20_000 - lost)
        fed.play_round()
        if number == 1:
            bold._limit_losses()
            sent = sent_by(fed, victim.address)
            with pytest.raises(ChainError, match=r"has taken 0\.1 of the stake .* would exceed --most-loss 0\.1"):
                careful._step()
            with pytest.raises(ChainError, match="its seat is given up"):
                careful._step()
            assert sent_by(fed, victim.address) == sent + 1, "it resigned, and joins no more"
            victim.participant.join(task)
            careful = bold
    with pytest.raises(ChainError, match=r"has taken 0\.19 of the stake .* would exceed --most-loss 0\.25"):
        bold._step()
    assert not ledger.has_seat(task, victim.address, 3)


def test_a_leader_that_does_not_settle_keeps_nothing_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed = federation(tmp_path, servers=2, devices=2, consensus="pbft", reward=10**6, simulation={"lanes": 1})
    ledger, task = fed.ledger, fed.task.id
    for server in fed.servers:
        monkeypatch.setattr(server, "_settle", lambda state: False)
    leader = fed.play_round().record.leader
    (other,) = (server for server in fed.servers if server.address != leader)
    agent = Agent(
        other, LocalTraining(other.participant, task, other.plan, other.samples), url="", stake=0, patience=60
    )
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    assert not agent._collect(ledger.state(task)), "it is the leader's turn"
    assert ledger.payment(task, 1) is Payment.DUE
    clock[0] += 2 * 60
    assert agent._collect(ledger.state(task))
    assert ledger.payment(task, 1) is Payment.SETTLED
    assert ledger.earned(other.address) > 0
    assert agent._collect(ledger.state(task)), "it withdraws"
    assert ledger.earned(other.address) == 0
    assert not agent._collect(ledger.state(task))


@pytest.mark.parametrize("by", ["its penalties", "its standing"])
def test_who_takes_no_part_any_more_still_gets_what_it_has_earned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    fed = federation(tmp_path, servers=2, devices=2, consensus="pbft", reward=10**6, simulation={"lanes": 1})
    ledger, task = fed.ledger, fed.task.id
    leader = fed.play_round().record.leader  # which has settled it
    (other,) = (server for server in fed.servers if server.address != leader)
    training = LocalTraining(other.participant, task, other.plan, other.samples)
    agent = Agent(other, training, url="", stake=0, most_loss=0)
    assert not agent._enrol()
    if by == "its standing":
        other.participant.retire()
    else:
        monkeypatch.setattr(agents, "losses_of", lambda *_: (1, 1))
    assert ledger.earned(other.address) > 0
    assert agent._step()
    assert ledger.earned(other.address) == 0
    with pytest.raises(ChainError):
        agent._step()
    assert (agent.health()["round"], agent.health()["phase"]) == (1, "final")


def test_the_endpoint_says_how_the_agent_is_and_a_second_agent_refuses(agent: Agent, tmp_path: Path) -> None:
    port = free_ports()
    with only_one(tmp_path / "state", agent), serving(application(agent), port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            assert json.loads(answer.read()) == agent.health()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert b"fbfl_healthy 1.0" in answer.read()
        with pytest.raises(InvalidInputError, match="runs already: it holds"), only_one(tmp_path / "state", agent):
            pass
        with pytest.raises(InvalidInputError, match=f"--port {port}"), serving(application(agent), port):
            pass
    with only_one(tmp_path / "state", agent):  # whoever ended leaves nothing in the way
        pass


def test_who_lost_its_standing_is_told_so_and_sends_nothing(simulated: Simulation, agent: Agent) -> None:
    server = agent.server
    assert not agent._enrol()
    server.participant.retire()
    sent = sent_by(simulated, server.address)
    with pytest.raises(ChainError, match=f"{server.address} is leaving in the registry"):
        agent._step()
    assert sent_by(simulated, server.address) == sent


def test_the_driver_outlasts_its_node_and_goes_on_without_who_lost_its_standing(
    simulated: Simulation, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, task = simulated.ledger, simulated.task.id
    leaving, staying = simulated.servers
    ask, failures = ledger.state, iter([NodeUnavailableError("no node answers")])

    def state(number: int) -> TaskState:
        for failure in failures:
            raise failure
        return ask(number)

    def turn(_: float) -> None:
        for server in simulated.servers:
            server.step()
        active = ledger.registry.functions.isActive(leaving.address).call()
        if active and ask(task).round == 1 and ask(task).phase.is_over:
            leaving.participant.retire()

    monkeypatch.setattr(ledger, "state", state)
    monkeypatch.setattr(time, "sleep", turn)
    store = agent.server.store
    assert isinstance(store, FlakyStore)
    store.attempts = FAILURES
    drive(simulated.owner, task, rounds=2, servers=2)
    assert ask(task).round == 2
    assert list(ledger.seats(task, 2)) == [staying.address]
    assert next(failures, None) is None


def test_a_driver_ends_also_if_a_member_opens_every_next_round_at_once(
    simulated: Simulation, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, task = simulated.ledger, simulated.task.id
    told: list[tuple[int, bool]] = []

    def turn(_: float) -> None:
        for server in simulated.servers:
            server.step()
        if ledger.state(task).phase.is_over and ledger.state(task).round:
            simulated.servers[0].participant.open_round(task)

    monkeypatch.setattr(time, "sleep", turn)
    store = agent.server.store
    assert isinstance(store, FlakyStore)
    store.attempts = FAILURES
    drive(simulated.owner, task, rounds=2, over=lambda number, is_final: told.append((number, is_final)))
    assert told == [(1, True), (2, True)]
    assert ledger.state(task).round == 3


def test_a_driver_pays_for_no_refusal_to_open_and_for_ever_fewer_pokes_by_a_clock_that_is_ahead(
    simulated: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndError(Exception):
        pass

    clock, ends = [1000.0], [1000.0 + 500]

    def turn(seconds: float) -> None:
        clock[0] += seconds
        if clock[0] > ends[0]:
            raise EndError

    owner, task = simulated.owner, simulated.task.id
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", turn)
    monkeypatch.setattr(tasks, "is_due", lambda state, clock: True)
    simulated.servers[0].participant.resign(task)  # fewer are left than the first round needs
    before = sent_by(simulated, owner.address)
    with pytest.raises(EndError):
        drive(owner, task, rounds=1)
    assert sent_by(simulated, owner.address) == before
    simulated.servers[0].participant.join(task)
    ends[0] = clock[0] + 500
    with pytest.raises(EndError):
        drive(owner, task, rounds=1)
    assert 5 < sent_by(simulated, owner.address) - before < 13, "in the time of 1,000 looks"


def test_an_agent_elsewhere_is_found_past_any_proxy(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_ports()
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setattr(agents, "registered_url", lambda ledger, address: url)
    with serving(application(agent), port):
        with pytest.raises(InvalidInputError, match=f"it answers at {url}"), only_one(tmp_path / "state", agent):
            pass
        monkeypatch.setattr(agents, "registered_url", lambda ledger, address: f"{url}/health?")
        with only_one(tmp_path / "state", agent):
            pass


def test_log_lines_are_json_objects() -> None:
    record = logging.LogRecord("fbfl.mec", logging.WARNING, __file__, 1, "round %d:\nfailed", (3,), None)
    line = JsonFormatter(task=7).format(record)
    assert "\n" not in line
    said = json.loads(line)
    assert (said["level"], said["message"], said["task"]) == ("warning", "round 3:\nfailed", 7)
