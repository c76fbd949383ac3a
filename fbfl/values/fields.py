"""Settings, declared once as fields of a dataclass: options, files, schema, guide and checks follow."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any

from fbfl.errors import InvalidInputError


class Place(Flag):
    """Place where a federation is played; it decides which settings are meaningful."""

    FEDERATION = auto()
    """Without a chain, in one process: `fbfl.learning.federation`."""
    SIMULATION = auto()
    """With a chain, in one process: `fbfl run`."""
    NETWORK = auto()
    """With a chain, servers and devices being processes of their own: `fbfl task create`."""
    ON_CHAIN = SIMULATION | NETWORK
    IN_ONE_PROCESS = FEDERATION | SIMULATION
    EVERYWHERE = FEDERATION | SIMULATION | NETWORK


@dataclass(frozen=True)
class Setting:
    """Meaning and allowed values of a field, beyond its type."""

    help: str
    """Help of one line, without the default."""
    least: float | None = None
    above: float | None = None
    """Instead of `least`: values must be larger."""
    most: float | None = None
    step: float | None = None
    """Values are multiples of it."""
    allowed: tuple[str, ...] = ()
    by_default: str = ""
    """Description of the default, if the value itself is not one."""
    derive: Callable[[Any], object] | None = None
    """Function that derives the default from the fields that have one of their own."""
    places: Place = Place.EVERYWHERE
    only: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """Values that other fields must have for this one to mean anything."""
    begins: str = ""
    """Title of the group of fields that begins with this one, for readers."""

    def check(self, where: str, name: str, value: object) -> None:
        """Raise `InvalidInputError`, which begins with `where`, for a value, rightly typed, that is not allowed."""
        if self.allowed and isinstance(value, str) and value not in self.allowed:
            raise InvalidInputError(f"{where}{name} is {value!r}; allowed: {', '.join(self.allowed)}")
        if isinstance(value, int | float) and not isinstance(value, bool) and not self._holds(value):
            raise InvalidInputError(f"{where}{name} is {value}; allowed: {self.range}")

    @property
    def range(self) -> str:
        """Allowed numbers in words; nothing if all are allowed."""
        most = "" if self.most is None else _number(self.most)
        if self.above is not None:
            return f"more than {_number(self.above)}" + (f", up to {most}" if most else "")
        if self.least is None:
            return f"up to {most}" if most else ""
        steps = "" if self.step is None else f", in steps of {_number(self.step)}"
        return (f"{_number(self.least)} to {most}" if most else f"{_number(self.least)} or more") + steps

    def _holds(self, value: float) -> bool:
        steps = 0.0 if self.step is None else value / self.step
        if not math.isfinite(steps) or not math.isclose(steps, round(steps), abs_tol=1e-9):
            return False
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or self.above < value < math.inf)
            and (self.most is None or value <= self.most)
        )


def _number(value: float) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "2**63 - 1" if value == 2**63 - 1 else str(value)


def field(default: Any, help: str, **more: Any) -> Any:
    """Make a field of a dataclass of settings; `more` are fields of `Setting`. A class as default is instantiated."""
    # A table has no hash; records that are used as keys are still told apart by it.
    made = {"default_factory": default, "hash": False} if isinstance(default, type) else {"default": default}
    return dataclasses.field(**made, metadata={"setting": Setting(help, **more)})


def like(record: type[Any], name: str, **more: Any) -> Any:
    """Make a field like that of another record, with its default; `more` changes fields of `Setting`."""
    (declared,) = (each for each in dataclasses.fields(record) if each.name == name)
    setting = dataclasses.replace(declared.metadata["setting"], **more)
    default = {"default": declared.default, "default_factory": declared.default_factory}
    given: dict[str, Any] = {key: value for key, value in default.items() if value is not dataclasses.MISSING}
    return dataclasses.field(**given, hash=declared.hash, metadata={"setting": setting})


def settings_of(record: type[Any]) -> dict[str, Setting]:
    """Return the declarations of a record's fields, by name."""
    return {each.name: each.metadata["setting"] for each in dataclasses.fields(record) if "setting" in each.metadata}
