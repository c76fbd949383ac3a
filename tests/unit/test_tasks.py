"""The demands of a task on its committee, from the settings of a run."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fbfl.chain.task import Task
from fbfl.cli.mec import LISTED, chosen_task, refuse_costly
from fbfl.errors import ChainError, InvalidInputError
from fbfl.learning.aggregation import resolve
from fbfl.learning.datasets import load
from fbfl.mec.plan import TaskPlan, canonical_json
from fbfl.mec.tasks import (
    fewest_updates,
    least_updates,
    limits,
    most_samples,
    number_awaited,
    number_drawn,
    tolerated,
)
from fbfl.settings import RunSettings
from fbfl.storage.store import Reference
from tests.support.servers import small_task


@pytest.mark.parametrize(("servers", "tolerates"), [(1, 0), (2, 1), (3, 1), (4, 1), (6, 1), (7, 2), (10, 3), (240, 79)])
def test_a_third_may_be_absent_and_one_of_few(servers: int, tolerates: int) -> None:
    assert tolerated(servers) == tolerates


@pytest.mark.parametrize(
    ("rule", "settings", "least"),
    [
        ("fedavg", {}, 1),
        ("krum", {"num_byzantine": 1}, 5),
        ("bulyan", {"num_byzantine": 1}, 7),
        ("trimmed_mean", {"trim": 1}, 3),
        ("fltrust", {}, 2),
    ],
)
def test_the_least_number_of_updates_is_the_rules(rule: str, settings: dict[str, int], least: int) -> None:
    assert least_updates(resolve(rule, **settings), 10) == least


def test_a_rule_that_needs_all_updates_needs_them_all() -> None:
    assert least_updates(resolve("krum", num_byzantine=1), 5) == 5


@pytest.mark.parametrize(
    ("participation", "draw", "fewest"),
    [(1.0, "chain", 14), (0.3, "chain", 5), (0.1, "chain", 1), (0.05, "chain", 1), (0.5, "seed", 4)],
)
def test_of_those_that_the_chain_draws_a_third_may_be_absent(participation: float, draw: str, fewest: int) -> None:
    settings = RunSettings(servers=20, participation=participation, draw=draw)
    plan = TaskPlan.of(small_task())
    assert fewest_updates(plan, number_awaited(settings), number_drawn(settings)) == fewest


def test_what_a_rule_needs_of_those_that_are_drawn_is_said() -> None:
    krum: dict[str, Any] = {"aggregator": "krum", "aggregator_args": {"num_byzantine": 1}}
    settings = RunSettings(servers=10, participation=0.5, draw="chain", **krum)
    plan = replace(TaskPlan.of(small_task()), rule=resolve("krum", num_byzantine=1))
    said = "krum needs 5 updates of 5 servers (participation = 0.5 of 10): a round in which 1 of them is absent aborts"
    assert limits(settings, plan) == (said,)
    assert limits(replace(settings, participation=1.0), plan) == ()


@pytest.mark.parametrize(("servers", "most"), [(1, 2), (4, 2), (7, 2)])
def test_an_update_counts_for_twice_an_equal_share(servers: int, most: int) -> None:
    digits = load("digits")
    share = len(digits.y_train) / servers
    assert most * share <= most_samples(RunSettings(servers=servers), digits) < most * share + 1


def task_with(withheld: int, rejection: int) -> Task:
    model = Reference(bytes(32), 1)
    return Task(1, "0x", "pbft", "0x", "fedavg", b"{}", {}, model, 1, withheld, rejection)


def test_an_operator_refuses_tasks_that_cost_too_much() -> None:
    refuse_costly(task_with(1000, 1000), 0.1)
    for costly in (task_with(1001, 0), task_with(0, 1001)):
        with pytest.raises(InvalidInputError, match=r"takes 0\.1001 of the stake .*; allowed by --most-penalty: 0\.1"):
            refuse_costly(costly, 0.1)
    for part in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidInputError, match="--most-penalty"):
            refuse_costly(task_with(0, 0), part)


@pytest.mark.parametrize(("rule", "most"), [("geometric_median", 10_000), ("centered_clipping", 10_000), ("dnc", 100)])
def test_a_task_whose_rule_would_not_come_to_an_end_is_not_joined(rule: str, most: int) -> None:
    """Anybody can create one: each of its members would compute until every view is over."""
    settings: dict[str, Any] = {"num_byzantine": 1} if rule == "dnc" else {}
    task = small_task(rule=rule, iterations=most, **settings)
    params = canonical_json({**settings, "iterations": most + 1})
    with pytest.raises(InvalidInputError, match=f"iterations is {most + 1}; allowed: .* from 1 to {most:,}"):
        TaskPlan.of(replace(task, rule_params=params))


class Tasks:
    """A ledger with so many tasks, of which number 2 is no task of fbfl."""

    def __init__(self, count: int) -> None:
        self._count = count

    def events(self, name: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(args={"task": number}) for number in range(1, self._count + 1)]

    def task(self, number: int) -> Task:
        if number == 2:
            raise ChainError("the definition of task 2 is damaged")
        return replace(task_with(100 * number, 0), id=number)


def chosen(tasks: Any, number: int | None) -> Task:
    return chosen_task(tasks, number)


def test_a_server_joins_only_a_task_that_was_named() -> None:
    assert chosen(Tasks(3), 1).id == 1
    with pytest.raises(InvalidInputError) as refused:
        chosen(Tasks(3), None)
    listed = "3 (takes up to 0.03 of the stake), 2 (cannot be read), 1 (takes up to 0.01 of the stake)"
    assert str(refused.value) == f"no task is named; allowed: --task T, of {listed}"
    with pytest.raises(InvalidInputError, match=r"of 15 \(.*, 6 \(takes [^,]* and 5 older$"):
        chosen(Tasks(LISTED + 5), None)
    with pytest.raises(InvalidInputError, match="there is no task on this network"):
        chosen(Tasks(0), None)
