"""Aggregation rules: functions of the updates that return an `Aggregate`, callable in two ways.

A rule is written once, as a function whose first parameter is the updates and which returns an `Aggregate`. The
decorator `rule` turns it into the plain function of the public surface (`krum(updates, f)` returns the vector) that
keeps the full answer within reach (`krum.aggregate(updates, f)` also tells the selected clients and the state).
`registered` does the same for rules of ours, which are found by the names of their functions.

A rule that needs more than updates and settings has parameters with names of `CONTEXT`; the caller of a rule by name (a
federation, a server on a chain) supplies them, see `names.AggregationRule`.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import Any, Generic, ParamSpec

import numpy as np
import numpy.typing as npt

from fbfl.errors import AggregationError
from fbfl.tensors import Vector
from fbfl.values import checks

P = ParamSpec("P")

State = Mapping[str, npt.NDArray[Any]]
"""State of a rule from one round to the next: named tensors (ours: float32), which can be saved and published."""

CONTEXT = {
    "weights": "sample counts of the updates, one per row",
    "state": "the `Aggregate.state` of the round before; empty in the first round",
    "clients": "the registry index of each row, so that state finds its client when some are missing",
    "seed": "what draws follow from: the seed of a federation; on a chain what nobody knew before the updates",
    "round_number": "the round, counted from 1; enters the draws too",
    "root_update": "the update [P] that a trusted party trained on data of its own (FLTrust)",
}
"""Parameters that the caller fills in from the round, not from settings."""


@dataclass(frozen=True)
class Aggregate:
    """The answer of a rule."""

    vector: Vector
    """The aggregated update, float32 [P], finite, without negative zeros."""
    state: State = field(default_factory=dict)
    """State that the rule gets back in the next round."""
    selected: tuple[int, ...] | None = None
    """Rows that the rule let in, ascending; None when it works on coordinates and judges no client as a whole."""


class RuleFunction(Generic[P]):
    """A rule as a plain function that returns the vector; `aggregate` is the same with the whole `Aggregate`."""

    canonical = True

    def __init__(self, aggregate: Callable[P, Aggregate], version: int = 1, history: str | None = None) -> None:
        self.aggregate = checks.arguments(aggregate)
        self.version = version
        self.history = history
        update_wrapper(self, aggregate)
        self.__signature__ = inspect.signature(aggregate).replace(return_annotation=Vector)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Vector:
        """Return the vector of the aggregate."""
        return self.aggregate(*args, **kwargs).vector

    def __reduce__(self) -> str:
        return self.aggregate.__qualname__  # pickled by name, like any function


def rule(aggregate: Callable[P, Aggregate]) -> RuleFunction[P]:
    """Make a canonical rule: the same inputs give the same bytes on every machine, so servers can vote on it."""
    return RuleFunction(aggregate)


RULES: dict[str, RuleFunction[...]] = {}
"""The rules of ours by name."""


def registered(version: int = 1, history: str | None = None) -> Callable[[Callable[P, Aggregate]], RuleFunction[P]]:
    """Make a rule of ours, which goes by the name of its function.

    A version above 1 says that its results differ from the first ones; it is part of the identity of stored runs.
    `history` names the setting that says of how many rounds its state keeps a vector, beside those of the clients.
    """

    def register(aggregate: Callable[P, Aggregate]) -> RuleFunction[P]:
        made = RuleFunction(aggregate, version=version, history=history)
        RULES[aggregate.__qualname__] = made
        return made

    return register


def version_of(name: str) -> int:
    """Return the version of a rule of ours; 1 for all others."""
    return RULES[name].version if name in RULES else 1


def answer(vector: npt.NDArray[np.float64], selected: tuple[int, ...] | None = None, **state: Any) -> Aggregate:
    """Round a float64 result once to float32 and refuse it if it is not finite.

    Adding 0.0 turns -0.0 into 0.0: sorting leaves the order of the two open, so their sign may not reach the bytes.
    """
    with np.errstate(over="ignore"):
        rounded = (vector + 0.0).astype(np.float32) + np.float32(0.0)
    if not np.isfinite(rounded).all():
        raise AggregationError("the aggregate is not finite: it exceeds the range of float32")
    return Aggregate(rounded, state, selected)
