"""What pages say of rounds and servers, from made-up records."""

from collections.abc import Mapping
from typing import Any

import pytest

from fbfl.dashboard import timeline
from fbfl.dashboard.jobs import Jobs
from fbfl.dashboard.pages.rounds import FIRST, LAST, ROWS, one_round, rounds
from fbfl.dashboard.pages.view import View, malicious_in
from fbfl.dashboard.sources import line_of
from fbfl.dashboard.standing import Standing, standings
from fbfl.errors import InvalidInputError
from tests.unit.dashboard.made_up import SERVERS, Made, a_round, records


def view(source: Made, number: int = 0, arguments: Mapping[str, str] | None = None) -> View:
    return View([source], 0, Jobs(), arguments or {}, number)


def shown(source: Made, **arguments: str) -> list[int]:
    return [row["round"] for row in rounds(view(source, arguments=arguments))["rows"]]


STATUS = {7: "aborted"}
MANY = Made(
    records(
        *(
            a_round(number, gas_used=1000 - number, leader=SERVERS[number % 4], status=STATUS.get(number, "final"))
            for number in range(1, 121)
        )
    ),
    [{"round": number, "accuracy": None if number == 3 else number / 200} for number in range(1, 121)],
)


def test_rounds_come_by_page() -> None:
    assert shown(MANY) == [*range(1, ROWS + 1)]
    assert shown(MANY, page="3") == [*range(101, 121)]
    assert shown(MANY, page="99") == shown(MANY, page="3")
    assert rounds(view(MANY))["pages"] == 3


def test_rounds_are_sorted_by_any_column_and_what_is_not_known_comes_last() -> None:
    assert shown(MANY, sort="gas_used")[:3] == [120, 119, 118]
    assert shown(MANY, sort="gas_used", order="descending")[:3] == [1, 2, 3]
    assert shown(MANY, sort="accuracy", page="3")[-1] == 3
    assert [row["leader"] for row in rounds(view(MANY, arguments={"sort": "leader"}))["rows"]][:2] == [
        "server-0",
        "server-0",
    ]


def test_measures_that_no_round_has_take_no_column() -> None:
    def measures(*lines: dict[str, Any]) -> list[str]:
        return [name for name, _ in rounds(view(Made(MANY.known().records, lines)))["columns"][len(FIRST) : -len(LAST)]]

    assert measures({"round": 1, "accuracy": 0.5, "loss": 1.0}, {"round": 2, "attack_success_rate": 0.0}) == [
        "accuracy",
        "loss",
        "attack_success_rate",
    ]
    assert measures({"round": 1, "accuracy": None, "loss": 1.0, "metrics": {"mae": 2.0, "r2": None}}) == ["loss", "mae"]
    assert measures() == measures({"round": 1, "metrics": {"votes": 0.5, "status": 1.0}}) == []
    shown = rounds(
        view(Made(MANY.known().records, [{"round": 2, "metrics": {"mae": 2.0}}]), arguments={"sort": "mae"})
    )["rows"]
    assert (shown[0]["round"], shown[0]["mae"], shown[1]["mae"]) == (2, 2.0, None)


def test_rounds_are_filtered_by_status_and_leader() -> None:
    assert shown(MANY, status="aborted") == [7]
    assert shown(MANY, leader="SERVER-1")[:3] == [1, 5, 9]
    assert shown(MANY, leader=SERVERS[1])[:3] == [1, 5, 9]
    assert shown(MANY, leader="nobody") == []


WRONG = {"sort": "x", "order": "up", "status": "<b>", "page": "0"}


@pytest.mark.parametrize(("name", "value"), [*WRONG.items(), ("page", "²")])
def test_other_arguments_are_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{name} is .*allowed"):
        rounds(view(MANY, arguments={name: value}))


def test_rounds_are_listed_from_their_lines_before_the_chain_is_read() -> None:
    lines = [{**line_of(a_round(number)), "accuracy": 0.5} for number in (1, 2)]
    (first, _) = rounds(view(Made(None, lines)))["rows"]
    assert (first["round"], first["status"], first["updates"], first["accuracy"]) == (1, "final", 3, 0.5)
    assert one_round(view(Made(None, lines), 2))["record"] is None


def test_a_round_that_is_not_there_is_refused() -> None:
    for number in (0, 121):
        with pytest.raises(InvalidInputError, match=f"round {number} does not exist; allowed: 1 to 120"):
            one_round(view(MANY, number))


def test_a_round_is_told_from_its_opening_to_its_end() -> None:
    steps = timeline.steps(a_round())
    assert [step.block for step in steps] == sorted(step.block for step in steps)
    assert (steps[0].what, steps[-1].what) == ("round 1 opens", "final")
    assert [step.who for step in steps if not step.good] == [SERVERS[3], SERVERS[1], SERVERS[2]]
    aborted = timeline.steps(a_round(status="aborted", reason="no quorum"))
    assert (aborted[-1].what, aborted[-1].good) == ("aborted: no quorum", False)
    assert timeline.steps(a_round(status="open"))[-1].lane != "end"


def test_votes_are_told_by_view_and_stage() -> None:
    found = [(each.number, each.stage, each.proposer) for each in timeline.views(a_round())]
    assert found == [(0, "prepare", SERVERS[0]), (1, "prepare", SERVERS[1]), (1, "commit", SERVERS[1])]
    votes = [(len(each.accepts), len(each.rejects)) for each in timeline.views(a_round())]
    assert votes == [(1, 2), (2, 0), (1, 0)]


def test_a_transaction_says_all_that_it_recorded() -> None:
    by_hash = {each.hash: each for each in timeline.transactions(a_round())}
    assert [step.what for step in by_hash["0xa"].steps] == ["proposal in view 0", "accepts in view 0 (prepare)"]
    assert len(by_hash["0xc"].steps) == 2


def test_rewards_are_summed_by_server() -> None:
    assert timeline.rewards(a_round()) == {SERVERS[1]: 250, SERVERS[2]: 50}


def test_standings_count_every_part_that_a_server_had() -> None:
    silent = a_round(2, barred=(SERVERS[2],), slashes=())
    found = standings(records().servers, [a_round(1), silent])
    assert found[SERVERS[0]] == Standing(rejected=1, updates=2, samples=10, slashed=7)
    assert found[SERVERS[1]] == Standing(turns=2, updates=2, samples=11, rewards=500)
    assert found[SERVERS[2]] == Standing(silent=1, updates=2, samples=12, rewards=100)
    assert found[SERVERS[3]] == Standing(updates=2, left_out=2, samples=13)
    assert standings((), [a_round()])[SERVERS[1]].turns == 1, "servers that the registry does not name are there, too"


def test_attackers_are_the_first_servers_and_silent_ones_the_last() -> None:
    of = records()
    assert malicious_in({"servers": 4, "malicious": 2}, of) == {*SERVERS[:2]}
    assert malicious_in({"servers": 4, "liars": 1, "silent": 1}, of) == {SERVERS[0], SERVERS[3]}
    assert malicious_in({}, of) == malicious_in({"servers": 4, "malicious": "2"}, of) == set()
