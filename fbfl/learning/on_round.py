"""The line of a round, and `on_round`: a function of the user's that gets it as soon as the round is over."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from fbfl.learning.plugins import guarded, label_of, refuse_class
from fbfl.system import strictjson
from fbfl.values import checks

OnRound = Callable[[dict[str, Any]], object]
"""Takes a round's line of metrics.jsonl; what it returns counts for nothing."""


def line_of(figures: Mapping[str, object], **further: object) -> dict[str, Any]:
    """Return a line: these figures, and those further ones that there are, neither None, nor an empty list or table.

    None stands for values that are not finite.
    """
    there = {name: value for name, value in further.items() if value not in (None, [], {})}
    line: dict[str, Any] = strictjson.finite({**figures, **there})
    return line


def teller(on_round: OnRound | None) -> Callable[[dict[str, Any]], None]:
    """Return what tells a user's function, if there is one, of a round.

    It gets a copy of the line, so that it changes nothing of the run. What it raises becomes `UserCodeError`; what is
    no function is refused now, with `InvalidInputError`.
    """
    checks.check("", "on_round", on_round, OnRound | None)
    refuse_class(f"on_round {label_of(on_round)}", on_round)
    call = None if on_round is None else guarded("on_round", on_round)

    def tell(line: dict[str, Any]) -> None:
        if call:
            call(copy.deepcopy(line))

    return tell
