"""Schedules of the learning rate, against values worked out by hand, and what they refuse."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fbfl.errors import InvalidInputError, UserCodeError
from fbfl.learning.schedules import SCHEDULES
from fbfl.learning.training import TrainingSettings

BY_HAND: list[tuple[str, dict[str, Any], list[float]]] = [
    ("exponential", {"decay": 0.5}, [0.8, 0.4, 0.2, 0.1]),
    ("steps", {"every": 2, "factor": 0.25}, [0.8, 0.8, 0.2, 0.2, 0.05]),
    ("cosine", {"rounds": 4}, [0.8, 0.4 * (1 + 0.5**0.5), 0.4, 0.4 * (1 - 0.5**0.5), 0.0, 0.0]),
    ("cosine", {"rounds": 2, "lowest": 0.2}, [0.8, 0.5, 0.2, 0.2]),
    ("cosine", {"rounds": 1}, [0.8, 0.0]),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), BY_HAND)
def test_rates_of_the_first_rounds(name: str, arguments: dict[str, Any], expected: list[float]) -> None:
    settings = TrainingSettings(learning_rate=0.8, schedule=name, schedule_args=arguments)
    assert [settings.rate(number) for number in range(1, len(expected) + 1)] == pytest.approx(expected, abs=1e-12)


@given(st.sampled_from(sorted(SCHEDULES)), st.floats(1e-6, 1e3), st.integers(1, 5000))
def test_no_schedule_of_ours_rises_or_leaves_its_range(name: str, rate: float, number: int) -> None:
    arguments = {"exponential": {}, "steps": {"every": 7}, "cosine": {"rounds": 100}}[name]
    settings = TrainingSettings(learning_rate=rate, schedule=name, schedule_args=arguments)
    now, later = settings.rate(number), settings.rate(number + 1)
    assert now is not None
    assert later is not None
    assert 0 <= later <= now <= rate


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "linear", "learning_rate": 0.1}, "schedule is 'linear'; allowed: exponential, steps, cosine"),
        ({"schedule": "steps", "learning_rate": 0.1}, "schedule steps: needs every"),
        ({"schedule": "steps", "learning_rate": 0.1, "schedule_args": {"every": 0}}, "schedule steps: every is 0"),
        ({"schedule": "exponential", "learning_rate": 0.1, "schedule_args": {"decay": 1.5}}, "decay is 1.5; allowed"),
        (
            {"schedule": "cosine", "learning_rate": 0.1, "schedule_args": {"rounds": 3, "lowest": 1.0}},
            r"lowest is 1.0; allowed: 0 to the learning rate \(0.1\)",
        ),
        ({"schedule": "exponential"}, "learning_rate is None, but schedule is exponential; allowed: a number"),
        ({"schedule": "exponential", "learning_rate": lambda number: 0.1}, "but schedule is exponential; allowed"),
        ({"schedule_args": {"decay": 0.5}}, "schedule_args is .* but no schedule is named"),
        ({"schedule": lambda number, rate: -1.0, "learning_rate": 0.1}, "returned -1.0 for round 1; needed"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        TrainingSettings(**settings)


def test_errors_in_a_schedule_of_the_users_own_name_it() -> None:
    def broken(round_number: int, learning_rate: float) -> float:
        return learning_rate / (2 - round_number)

    settings = TrainingSettings(learning_rate=0.1, schedule=broken)
    with pytest.raises(UserCodeError, match="schedule broken raised ZeroDivisionError"):
        settings.rate(2)
