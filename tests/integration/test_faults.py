"""Failures around agents: each time no update counts twice, the round becomes final, and the federation goes on.

One federation plays a round for each. At the end its models are those of the simulation, to which nothing happened.
"""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fbfl.chain.queries import round_record
from fbfl.chain.rounds import Stage
from fbfl.chain.seats import SeatSet
from fbfl.nodes.nodeset import NodeStatus
from tests.integration.agents import SERVERS, Agents, wait
from tests.integration.federations import SETTINGS, RoundByRound
from tests.integration.machine import do_without, small_disk
from tests.integration.moments import sent
from tests.integration.proxy import cut, every, garbage, late, lost, overloaded, proxy
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration

WEEK = 7 * 24 * 3600
CLOCKS = {1: WEEK, 2: -WEEK}
VIEW_TIMEOUT = 15
"""Seconds until another server may propose where the leader stays away."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The agents' folder, where payloads lie on a small disk of their own if there may be one here."""
    folder = tmp_path_factory.mktemp("faults")
    with small_disk(folder / ".fbfl" / "payloads", megabytes=8):
        yield folder


@pytest.fixture(scope="module")
def playing(disk: Path, start_network: Callable[[str], list[NodeStatus]]) -> Iterator[RoundByRound]:
    (node,) = start_network("anvil")
    with contextlib.ExitStack() as stack:
        proxies = {number: stack.enter_context(proxy(node.address, free_ports())) for number in range(SERVERS)}
        agents = Agents(
            disk, node.address, free_ports(), networks=[each.url for each in proxies.values()], clocks=CLOCKS
        )
        stack.callback(agents.end)
        consensus = ("--consensus", "pbft", "--commit-reveal", "--view-timeout", VIEW_TIMEOUT)
        task = agents.create_task(*SETTINGS, *consensus, "--rounds", 20)
        agents.enrol(task)
        for number in range(SERVERS):
            agents.begin_agent(number)
        yield RoundByRound(agents, task, proxies)


def test_killed_when_they_commit_to_their_updates_and_when_they_show_them(playing: RoundByRound) -> None:
    start = playing.ledger.w3.eth.block_number
    with (
        playing.round(),
        playing.killed(2, function="reveal", arrives=False),
        playing.killed(3, function="reveal", arrives=True),
        playing.killed(0, function="commit", arrives=False),
        playing.killed(1, function="commit", arrives=True),
    ):
        pass
    for address in playing.agents.addresses:
        assert sent(playing.ledger, address, "commit", start) == 1
        assert sent(playing.ledger, address, "reveal", start) == 1


def test_the_leader_killed_between_aggregation_and_proposal(playing: RoundByRound) -> None:
    leader = playing.next_round % SERVERS
    with playing.round() as number, playing.killed(leader, function="propose", arrives=False, again=False):
        pass
    record = round_record(playing.ledger, playing.task, number)
    assert record.leader not in (None, playing.agents.addresses[leader])
    assert record.views > 1
    playing.agents.begin_agent(leader)


def test_the_leader_killed_when_it_has_proposed_and_two_voters_when_they_vote(playing: RoundByRound) -> None:
    """With the proposal, which is its sender's vote, and the fourth vote there is no quorum: so both have to vote."""
    leader = playing.next_round % SERVERS
    voters = [(leader + 1) % SERVERS, (leader + 2) % SERVERS]
    with (
        playing.round(),
        playing.killed(*voters, function="attest", stage=Stage.PREPARE, arrives=False),
        playing.killed(leader, function="propose", arrives=True),
    ):
        pass


def test_three_of_four_killed_when_they_commit_to_a_model(playing: RoundByRound) -> None:
    """Without two of them there is no quorum, so that each has to vote at last, and each does once in a view."""
    with (
        playing.round() as number,
        playing.killed(0, 1, function="attest", stage=Stage.COMMIT, arrives=False),
        playing.killed(2, function="attest", stage=Stage.COMMIT, arrives=True),
    ):
        pass
    votes = [event.args for event in playing.ledger.round_events(playing.task, number, "Voted")]
    assert {vote["stage"] for vote in votes} == {Stage.PREPARE, Stage.COMMIT}
    assert len({(vote["voter"], vote["view_"], vote["stage"]) for vote in votes}) == len(votes)
    assert len({vote["valueDigest"] for vote in votes}) == 1


def test_the_leader_killed_when_the_round_is_final(playing: RoundByRound) -> None:
    leader = playing.next_round % SERVERS
    rewards = playing.ledger.rewards.functions
    with playing.round() as number, playing.killed(leader, function="settle", arrives=True):
        assert not rewards.isSettled(playing.task, number).call()
    address = playing.agents.addresses[leader]
    wait(lambda: rewards.isSettled(playing.task, number).call(), "the round is settled")
    wait(lambda: not rewards.creditOf(address).call(), "the leader has withdrawn what it earned")
    record = round_record(playing.ledger, playing.task, number)
    assert sorted(server for server, _ in record.rewards) == sorted([*playing.agents.addresses, address])


def test_a_full_disk_is_said_in_a_line_and_waited_for(playing: RoundByRound, disk: Path) -> None:
    payloads = disk / ".fbfl" / "payloads"
    if not payloads.is_mount():
        do_without("mount", "this user may not mount a small disk")
    before = [len(playing.agents.log(number)) for number in range(SERVERS)]
    filler = payloads / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))

    def complaints(number: int) -> list[dict[str, str]]:
        said = playing.agents.log(number)[before[number] :]
        return [line for line in said if "the disk is full" in line["message"]]

    with playing.round():
        wait(lambda: all(complaints(number) for number in range(SERVERS)), "every agent says so")
        assert playing.ledger.state(playing.task).committed == SeatSet()
        filler.unlink()
    for number in range(SERVERS):
        assert complaints(number)[0]["message"].startswith("failed, tried again in ")
        assert not any("exception" in line for line in complaints(number))


def test_a_node_that_answers_late_or_wrongly(playing: RoundByRound) -> None:
    before = len(playing.agents.log(3))
    spoilt = playing.proxies[3]
    ways = (overloaded, garbage, cut, lost, late(1), garbage, late(11))
    with spoilt.spoiling(every(15, *ways)), playing.round():
        pass
    assert spoilt.spoiled > len(ways)
    warnings = [line for line in playing.agents.log(3)[before:] if line["level"] == "warning"]
    assert warnings
    assert not any("exception" in line for line in warnings), warnings


def test_no_fault_and_no_clock_changed_a_result(playing: RoundByRound, tmp_path: Path) -> None:
    with playing.round():
        pass
    for number in range(SERVERS):
        said = datetime.fromisoformat(playing.agents.log(number)[-1]["time"])
        wrong = (said - datetime.now(UTC)).total_seconds()
        assert abs(wrong - CLOCKS.get(number, 0)) < 600
    playing.assert_as_simulated(tmp_path)
