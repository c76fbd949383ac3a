"""Dataclasses as JSON values, read back from files that anybody may have written.

A dataclass is an object with exactly its fields, a tuple a list, bytes are hex. Annotations may name other dataclasses,
tuples, mappings from texts, None, and the types below.
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

MOST_CHARACTERS = 100_000
"""Characters of a text at most."""

_WORD = 2**256


def plain(value: Any) -> Any:
    """Return a value of dataclasses, tuples and bytes as JSON values."""
    if dataclasses.is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return value.hex() if isinstance(value, bytes) else value


def read(kind: type[T], value: object) -> T:
    """Return a value of this type from what `plain` made of it; anything else raises `ValueError`.

    Whole numbers are from 0 to 2**256 - 1, as the contracts have them.
    """
    found: T = _reader(typing.cast(Hashable, kind))(value)
    return found


@functools.cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """Return the function that reads values of a type, made once: a long run has millions."""
    origin, of = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return _object(
            typing.cast(type, kind), {each.name: _reader(hints[each.name]) for each in dataclasses.fields(kind)}
        )
    if origin is tuple:
        return _list(_reader(of[0])) if of[1:] == (...,) else _row([_reader(each) for each in of])
    if origin is types.UnionType:
        (some,) = (each for each in of if each is not types.NoneType)
        read_some = _reader(some)
        return lambda value: None if value is None else read_some(value)
    return _PLAIN[origin or kind]


def _object(kind: type, readers: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def of(value: Any) -> Any:
        if type(value) is not dict or value.keys() != readers.keys():
            raise ValueError(f"not the fields of a {kind.__name__}")
        return kind(**{name: read_field(value[name]) for name, read_field in readers.items()})

    return of


def _list(read_each: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def of(value: Any) -> Any:
        if type(value) is not list:
            raise ValueError("not a list")
        return tuple(map(read_each, value))

    return of


def _row(readers: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def of(value: Any) -> Any:
        if type(value) is not list:
            raise ValueError("not a list")
        return tuple(read_each(each) for read_each, each in zip(readers, value, strict=True))

    return of


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _WORD:
        raise ValueError("not a whole number from 0 to 2**256 - 1")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("not true or false")
    return value


def _text(value: Any) -> str:
    if type(value) is not str or len(value) > MOST_CHARACTERS:
        raise ValueError("not a text, or a long one")
    return value


def _table(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise ValueError("not an object")
    return value


_PLAIN: Mapping[object, Callable[[Any], Any]] = {
    int: _number,
    bool: _flag,
    str: _text,
    bytes: lambda value: bytes.fromhex(_text(value)),
    Mapping: _table,
}
