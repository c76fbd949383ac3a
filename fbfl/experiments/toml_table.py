"""Strict reading of TOML tables: every key is known, of the right kind, and within bounds."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from fbfl.errors import InvalidInputError, require

Record = TypeVar("Record")

_REQUIRED = inspect.Parameter.empty
_KINDS: dict[object, str] = {
    dict: "a table",
    list: "a list",
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    (int, float): "a number",
    (str, list): "a text or a list of texts",
}
_OF_FIELDS: dict[object, Any] = {
    Mapping[str, object]: dict,
    float: (int, float),
    int | None: int,
    str | None: str,
}
"""Kinds of the fields of records, where these are not their types."""


class TomlTable:
    """A table from which the known keys are taken one by one, so that those left over are unknown.

    A value that is not allowed raises `InvalidInputError`, whose text begins with `where`.
    """

    def __init__(self, content: object, where: str) -> None:
        if not isinstance(content, dict):
            raise InvalidInputError(f"{where} is {content!r}; allowed: a table")
        self.rest = dict(content)
        self.where = where
        self._known: list[str] = []

    def take(self, key: str, kind: Any, default: Any = _REQUIRED) -> Any:
        """Take the value of a key, which has to be of a kind; without a default it has to be there."""
        self._known.append(key)
        if key not in self.rest:
            if default is _REQUIRED:
                raise InvalidInputError(f"{self.where}: {key} is missing")
            return default
        value = self.rest.pop(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InvalidInputError(f"{self.where}: {key} is {value!r}; allowed: {_KINDS[kind]}")
        return value

    def take_tables(self, key: str, name: str) -> "list[TomlTable]":
        """Take the tables of an array, none if it is absent; messages call them by a name and a number."""
        found = self.take(key, list, [])
        return [TomlTable(content, f"{self.where}: {name} {number}") for number, content in enumerate(found, 1)]

    def record(self, make: Callable[..., Record], **made: Any) -> Record:
        """Return a record whose fields, but for those `made` already, are keys; the table has no others."""
        for name, field in inspect.signature(make).parameters.items():
            if name not in made:
                value = self.take(name, _OF_FIELDS.get(field.annotation, field.annotation), field.default)
                made[name] = float(value) if field.annotation is float else value
        self.end()
        return make(**made)

    def end(self) -> None:
        """Refuse the keys that were not taken."""
        if self.rest:
            unknown = next(iter(self.rest))
            raise InvalidInputError(f"{self.where}: unknown key {unknown!r}; allowed: {', '.join(self._known)}")


def one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    """Return the value; refuse one that is not allowed."""
    require(value in allowed, name, value, ", ".join(allowed))
    return value
