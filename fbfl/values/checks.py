"""Values of the wrong type, refused in one line before they are computed with: of arguments, fields and settings.

The annotation says what is allowed. Numbers may be NumPy's, as sizes and loop variables often are; flags are not
numbers; whole numbers have at most 64 bits. Names and functions are checked where they are looked up, and so is every
annotation with anything but numbers, flags, texts, tables and functions.
"""

import dataclasses
import functools
import inspect
import numbers
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import numpy as np

from fbfl.errors import InvalidInputError
from fbfl.values import money
from fbfl.values.fields import Setting

P = ParamSpec("P")
R = TypeVar("R")

_LONGEST_WAIT = 2_147_483
"""Seconds, 24 days: what waits for processes and sockets count in milliseconds of 31 bits."""

Wei = Annotated[int, "wei"]
"""An amount of money, up to 128 bits as in the contracts, unlike other whole numbers; or a text with a unit, until
`fields` makes a number of it."""


Names = Annotated[str | Sequence[str], "names"]
"""A name, or a list of them, of which `fields` makes a tuple; a list of one is that one."""

Tables = Annotated[Mapping[str, object] | Sequence[Mapping[str, object]], "tables"]
"""A table of settings, or a list of them: like `Names`, whose settings they are."""


@dataclasses.dataclass(frozen=True)
class Within:
    """Bounds of a whole number, which may be both: `Annotated[int, Within(1, 100)]`."""

    low: int
    high: int


_WORDS: dict[object, str] = {
    int: "a whole number",
    Wei: "a whole number of wei, below 2**128, or an amount such as '0.01 ether'",
    float: "a number",
    bool: "True or False",
    str: "a text",
    Names: "a text, or a list of one or more texts",
    Mapping: "a table of settings",
    Tables: "a table of settings, or a list of them",
    Callable: "a function",
    Path: "a path",
}


def check(where: str, name: str, value: object, annotation: object) -> None:
    """Raise `InvalidInputError`, which begins with `where`, for a value of another type than the annotation names."""
    _check(where, name, value, kinds_of(annotation))


def arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that `check` sees its arguments."""
    signature = inspect.signature(function)
    kinds = {name: kinds_of(each.annotation) for name, each in signature.parameters.items()}

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments
        for name, value in given.items():
            _check("", name, value, kinds[name])
        return function(*args, **kwargs)

    return checked


def fields(record: Any) -> None:
    """Check the fields of a dataclass against their types and their declarations in `fbfl.values.fields`.

    NumPy's numbers become Python's, which JSON can write, an amount of money its wei, a list of names a tuple, and None
    the default that is derived from other fields.
    """
    for name, kinds, setting in _fields_of(type(record)):  # type: ignore[arg-type]  # types are hashable
        value = getattr(record, name)
        if value is None and setting and setting.derive:
            value = setting.derive(record)
        _check("", name, value, kinds)
        value = plain(_counted(value, kinds))
        if setting:
            setting.check("", name, value)
        object.__setattr__(record, name, value)


def counted(value: object, annotation: object) -> Any:
    """Return the value in the form that is kept: of an amount of money in words its wei, of a list a tuple."""
    return _counted(value, kinds_of(annotation))


def plain(value: Any) -> Any:
    """Return the value with NumPy's numbers as Python's, also in a table."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping) and any(isinstance(each, np.generic) for each in value.values()):
        return {key: plain(each) for key, each in value.items()}
    return value


def is_whole(value: object) -> bool:
    """Return True if a value is a whole number by its type, Python's or NumPy's."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def seconds(what: str, value: float) -> None:
    """Raise `InvalidInputError`, which begins with `what`, unless it is a number of seconds that can be waited for."""
    if not 0 < value <= _LONGEST_WAIT:
        raise InvalidInputError(f"{what} {value:g}; allowed: more than 0 seconds, up to {_LONGEST_WAIT}")


def _check(where: str, name: str, value: object, kinds: tuple[object, ...]) -> None:
    if not kinds or any(_is(value, kind) for kind in kinds):
        return
    allowed = " or ".join(_words(kind) for kind in kinds if kind is not types.NoneType)
    if int in kinds and is_whole(value):
        allowed += " of at most 64 bits"
    raise InvalidInputError(f"{where}{name} is {_shown(value)}; allowed: {allowed}")


@functools.cache
def _fields_of(record: type[Any]) -> tuple[tuple[str, tuple[object, ...], Setting | None], ...]:
    """Return a dataclass's fields with their types, cached: experiments make thousands of settings."""
    return tuple((each.name, kinds_of(each.type), each.metadata.get("setting")) for each in dataclasses.fields(record))


def kinds_of(annotation: object) -> tuple[object, ...]:
    """Return what an annotation allows, as bounds and keys of `_WORDS`, perhaps `NoneType`; nothing if it is checked
    elsewhere.
    """
    union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    options = typing.get_args(annotation) if union else (annotation,)
    kinds = tuple(option if option is types.NoneType else _kind(option) for option in options)
    return () if None in kinds or {str, Callable} <= {*kinds} else kinds


def _kind(annotation: object) -> object:
    """Return the bounds in an annotation, else the key of `_WORDS` that it stands for; None if there is none."""
    for bounds in getattr(annotation, "__metadata__", ()):
        if isinstance(bounds, Within):
            return bounds
    return next((kind for kind in _WORDS if kind in (annotation, typing.get_origin(annotation))), None)


def _words(kind: object) -> str:
    return f"a whole number from {kind.low:,} to {kind.high:,}" if isinstance(kind, Within) else _WORDS[kind]


def _is(value: Any, kind: object) -> bool:
    if isinstance(kind, Within):
        return is_whole(value) and kind.low <= value <= kind.high
    if kind is Callable:
        return callable(value)
    if kind is Wei:
        value = _counted(value, (Wei,))
        return is_whole(value) and value < 2**128
    if kind is int:
        return is_whole(value) and -(2**63) <= value < 2**63
    if kind is float:
        return isinstance(value, float | np.floating) or (is_whole(value) and abs(value) < 2**1023)
    if kind is Mapping:
        return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    if kind in (Names, Tables):
        each = str if kind is Names else Mapping
        several = isinstance(value, list | tuple) and len(value) > 0
        return all(_is(one, each) for one in value) if several else _is(value, each)
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    return isinstance(value, typing.cast(type, kind))


def _counted(value: object, kinds: tuple[object, ...]) -> Any:
    if Wei in kinds and isinstance(value, str):
        amount = money.wei(value)
        return value if amount is None else amount
    if isinstance(value, list | tuple) and {Names, Tables} & {*kinds}:
        return value[0] if len(value) == 1 else tuple(map(plain, value))
    return value


def _shown(value: object) -> str:
    """Return a value as text for a message of one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
