"""JSON that somebody else wrote, where an object is expected."""

import json
from typing import Any

from fbfl.errors import InvalidInputError

MOST_BRACKETS = 10_000
"""In one text. Libraries of the chain raise Python's limit of recursion so far that deep nesting ends the process."""


def read_object(text: bytes, what: str) -> dict[str, Any]:
    """The object in a JSON text; anything else raises `InvalidInputError`, which begins with `what`."""
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
