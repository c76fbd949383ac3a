"""The registry of attacks: functions of data or of updates, with the traits that their decorators declare.

The decorators `on_data` and `on_updates` give an attack of ours its name, its input and its knowledge. A user's
function stays plain: the names of its first two parameters tell its input.

``x, y``: the training data of an attacker (a data attack). ``honest, own``: the updates of all honest clients and the
attacker's own (an update attack with full knowledge). ``compromised, own``: the updates that the attackers trained
honestly, instead (partial knowledge). ``everybody, own``: both. The third parameter is a NumPy generator.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar

from fbfl.errors import InvalidInputError
from fbfl.learning import plugins
from fbfl.values import checks

P = ParamSpec("P")
R = TypeVar("R")

Kind = Literal["data", "update"]
Knowledge = Literal["honest", "compromised", "everybody"]


@dataclass(frozen=True)
class Traits:
    """Input of an attack, and its properties."""

    kind: Kind
    knowledge: Knowledge = "honest"
    """For an update attack: the clients whose updates it sees, as trained, before any attack."""
    colluding: bool = False
    """For an update attack: it sees neither the attacker's own update nor its generator, so all send the same."""
    triggered: Callable[..., Any] | None = None
    """For a backdoor: from test samples (x, y, and its settings) to triggered samples, their labels and the target."""
    classes: bool = False
    """For a data attack: it changes classes, and means nothing where labels are numbers."""
    version: int = 1
    """Version; above 1, its results differ from the first ones. Part of the identity of stored runs."""


ATTACKS: dict[str, Callable[..., Any]] = {}
"""The attacks of ours by name."""

_TRAITS: dict[int, Traits] = {}
"""Traits by the identity of the function: a user's may be a callable that cannot be hashed."""

_FIRST_PARAMETERS = {
    ("x", "y"): Traits("data"),
    ("honest", "own"): Traits("update"),
    ("compromised", "own"): Traits("update", "compromised"),
    ("everybody", "own"): Traits("update", "everybody"),
}
"""Traits of users' functions by the names of their first parameters."""


def on_data(
    name: str | None = None,
    *,
    classes: bool = True,
    triggered: Callable[..., Any] | None = None,
    version: int = 1,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register a function as an attack on the training data, with its name if that is not the function's."""
    return _named(name, Traits("data", classes=classes, triggered=triggered, version=version))


def on_updates(
    name: str | None = None, *, knows: Knowledge = "honest", colluding: bool = False, version: int = 1
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register a function as an attack on updates, which `knows` those of some clients; for the rest see `Traits`."""
    return _named(name, Traits("update", knows, colluding, version=version))


def _named(name: str | None, traits: Traits) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def register(function: Callable[P, R]) -> Callable[P, R]:
        checked = checks.arguments(function)
        ATTACKS[name or checked.__name__], _TRAITS[id(checked)] = checked, traits
        return checked

    return register


def version_of(name: str) -> int:
    """Return the version of an attack of ours; 1 for all others."""
    return traits_of(ATTACKS[name]).version if name in ATTACKS else 1


def is_ours(function: Callable[..., Any]) -> bool:
    """Return True if it is an attack of ours, and not a user's own."""
    return id(function) in _TRAITS


def traits_of(function: Callable[..., Any]) -> Traits:
    """Return an attack's traits. A user's function whose parameters do not tell raises `InvalidInputError`."""
    if is_ours(function):
        return _TRAITS[id(function)]
    first = tuple(inspect.signature(function).parameters)[:2]
    if first not in _FIRST_PARAMETERS:
        raise InvalidInputError(
            f"attack {plugins.label_of(function)}: its first parameters must be x, y, rng or honest, own, rng or "
            "compromised, own, rng or everybody, own, rng"
        )
    return _FIRST_PARAMETERS[first]
