"""A share of the time for each property, from one seed of Hypothesis to the next.

FBFL_FUZZ_SECONDS are for all properties together (two minutes by default), FBFL_FUZZ_SEED is the first seed.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

SECONDS = float(os.environ.get("FBFL_FUZZ_SECONDS", "120"))
SEED = int(os.environ.get("FBFL_FUZZ_SEED", "0"))


def drawn_for(
    share: float, examples: int, **drawn: st.SearchStrategy[Any]
) -> Callable[[Callable[..., int]], Callable[[], None]]:
    """A test that calls a property with what is drawn, so many examples for each seed, for a share of the time.

    The property returns how many federations it has played. A failure says which seed repeats it.
    """

    def decorate(holds: Callable[..., int]) -> Callable[[], None]:
        played = 0

        def counting(**values: Any) -> None:
            nonlocal played
            played += holds(**values)

        plan = hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )

        def test() -> None:
            name, seed, until = holds.__name__.replace("_", " "), SEED, time.monotonic() + share * SECONDS
            print(f"\n{name}: from FBFL_FUZZ_SEED={seed} on")
            while True:
                try:
                    hypothesis.seed(seed)(plan(given(**drawn)(counting)))()
                except BaseException as error:
                    error.add_note(f"FBFL_FUZZ_SEED={seed} repeats it")
                    raise
                if time.monotonic() > until:
                    break
                seed += 1
            print(f"{name}: {played} played, up to FBFL_FUZZ_SEED={seed}")

        return test

    return decorate
