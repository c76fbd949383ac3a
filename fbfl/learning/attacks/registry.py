"""What an attack is: a function of data or of updates, and what is said of it where it is defined.

The decorators `on_data` and `on_updates` give an attack of ours its name, and say what it works on and what it knows.
A user's function stays a plain one: what it works on can be read off its first two parameters.

``x, y``: the training data of an attacker (a data attack). ``honest, own``: the updates of all honest clients and the
attacker's own (an update attack with full knowledge). ``compromised, own``: the updates that the attackers trained
honestly, instead (partial knowledge). ``everybody, own``: both. The third parameter is a NumPy generator.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar

from fbfl import checks
from fbfl.errors import InvalidInputError
from fbfl.learning import plugins

P = ParamSpec("P")
R = TypeVar("R")

Kind = Literal["data", "update"]
Knowledge = Literal["honest", "compromised", "everybody"]


@dataclass(frozen=True)
class Traits:
    """What an attack works on, and how."""

    kind: Kind
    knowledge: Knowledge = "honest"
    """For an update attack: the clients whose updates it sees, as trained, before any attack."""
    colluding: bool = False
    """For an update attack: it sees neither the attacker's own update nor its generator, so all send the same."""
    triggered: Callable[..., Any] | None = None
    """For a backdoor: from test samples (x, y, and its settings) to triggered samples, their labels and the target."""
    version: int = 1
    """Above 1: it no longer computes what it did at first; stored runs are known by it, too."""


ATTACKS: dict[str, Callable[..., Any]] = {}
"""The attacks of ours by name."""

_TRAITS: dict[int, Traits] = {}
"""By the identity of the function: a user's may be a callable that cannot be hashed."""

_FIRST_PARAMETERS = {
    ("x", "y"): Traits("data"),
    ("honest", "own"): Traits("update"),
    ("compromised", "own"): Traits("update", "compromised"),
    ("everybody", "own"): Traits("update", "everybody"),
}
"""Of users' functions."""


def on_data(
    name: str | None = None, *, triggered: Callable[..., Any] | None = None, version: int = 1
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Say that a function is an attack on the training data, and its name if that is another than the function's."""
    return _named(name, Traits("data", triggered=triggered, version=version))


def on_updates(
    name: str | None = None, *, knows: Knowledge = "honest", colluding: bool = False, version: int = 1
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Say likewise that it is an attack on updates, and `knows` of whose; for the rest see `Traits`."""
    return _named(name, Traits("update", knows, colluding, version=version))


def _named(name: str | None, traits: Traits) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def register(function: Callable[P, R]) -> Callable[P, R]:
        checked = checks.arguments(function)
        ATTACKS[name or checked.__name__], _TRAITS[id(checked)] = checked, traits
        return checked

    return register


def version_of(name: str) -> int:
    """The version of an attack of ours; of all others 1."""
    return traits_of(ATTACKS[name]).version if name in ATTACKS else 1


def is_ours(function: Callable[..., Any]) -> bool:
    """True if it is an attack of ours, and not a user's own."""
    return id(function) in _TRAITS


def traits_of(function: Callable[..., Any]) -> Traits:
    """What an attack works on. A user's whose parameters do not say it raises `InvalidInputError`."""
    if is_ours(function):
        return _TRAITS[id(function)]
    first = tuple(inspect.signature(function).parameters)[:2]
    if first not in _FIRST_PARAMETERS:
        raise InvalidInputError(
            f"attack {plugins.label_of(function)}: its first parameters must be x, y, rng or honest, own, rng or "
            "compromised, own, rng or everybody, own, rng"
        )
    return _FIRST_PARAMETERS[first]
