"""Gas is an interface: no figure exceeds its ceiling, nor what it was when it was last looked at."""

import pytest

from tests.contracts.gas_figures import BASELINES, CEILINGS, measure, snapshot


@pytest.fixture(scope="module")
def figures() -> dict[str, int]:
    return measure()


@pytest.mark.parametrize("call", CEILINGS)
def test_ceilings_hold(figures: dict[str, int], call: str) -> None:
    assert figures[call] <= CEILINGS[call]


def test_nothing_costs_more_than_in_the_snapshot(figures: dict[str, int]) -> None:
    """Once a rise is meant, `python -m benchmarks.gas --write` records it."""
    recorded = snapshot()
    assert figures.keys() == recorded.keys()
    assert {call: gas for call, gas in figures.items() if gas > recorded[call]} == {}


def test_a_submission_costs_the_same_however_many_servers_there_are(figures: dict[str, int]) -> None:
    # A zero byte of call data costs 12 gas less than another: digests and addresses differ in these.
    assert figures["submit, 100 servers"] == pytest.approx(figures["submit, 5 servers"], abs=100)


def test_a_submission_costs_less_than_publishing_a_string(figures: dict[str, int]) -> None:
    floor, few, many = (figures[name] for name in BASELINES)
    assert floor == 22_280
    assert floor < figures["submit, 100 servers"] < few < many
