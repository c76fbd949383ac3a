"""What a task demands of its committee, from the settings of a run."""

import pytest

from fbfl.learning.aggregation import resolve
from fbfl.tasks import least_updates, tolerated


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
