"""`on_round`: a function of the user's that is told of every round as soon as it is over."""

import copy
from collections.abc import Callable
from typing import Any

from fbfl.learning.plugins import guarded
from fbfl.values import checks

OnRound = Callable[[dict[str, Any]], object]
"""Takes a round's line of metrics.jsonl; what it returns counts for nothing."""


def teller(on_round: OnRound | None) -> Callable[[dict[str, Any]], None]:
    """Return what tells a user's function, if there is one, of a round.

    It gets a copy of the line, so that it changes nothing of the run. What it raises becomes `UserCodeError`; what is
    no function is refused now, with `InvalidInputError`.
    """
    checks.check("", "on_round", on_round, OnRound | None)
    call = None if on_round is None else guarded("on_round", on_round)

    def tell(line: dict[str, Any]) -> None:
        if call:
            call(copy.deepcopy(line))

    return tell
