"""Histories that Hypothesis makes up for a state machine, the same ones every time."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


def play(machine: type[RuleBasedStateMachine], *, examples: int, steps: int, **attributes: Any) -> None:
    """Play so many histories of at most so many steps; `attributes` are those of the machine's class.

    At the end its list `finals` must hold something, or no history came as far as a final round.
    """
    made = type("Machine", (machine,), {**attributes, "finals": []})
    run_state_machine_as_test(
        made,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert made.finals  # type: ignore[attr-defined]
