"""JSON objects written by others."""

import json
from typing import Any

from fbfl.errors import InvalidInputError

MOST_BRACKETS = 10_000
"""Brackets in one text at most: the chain's libraries raise Python's recursion limit so far that nesting can crash."""


def read_object(text: bytes, what: str) -> dict[str, Any]:
    """Return the object in a JSON text; anything else raises `InvalidInputError`, which begins with `what`."""
    brackets = text.count(b"[") + text.count(b"{")
    if brackets > MOST_BRACKETS:
        raise InvalidInputError(f"{what} has {brackets} brackets; allowed: a JSON object with at most {MOST_BRACKETS}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{what} cannot be read ({error}); allowed: a JSON object") from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"{what} is {text[:40]!r}; allowed: a JSON object")
    return value
