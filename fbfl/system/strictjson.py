"""Standard JSON for every file and answer of fbfl: numbers that are not finite are null."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from fbfl.errors import InvalidInputError


def dumps(value: object, *, indent: int | None = None) -> str:
    """Return the value as JSON. A value that JSON cannot hold raises `TypeError`."""
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(finite(value), indent=indent, allow_nan=False)


MOST_LEVELS = 100
"""Lists and objects inside each other at most: the chain's libraries raise Python's recursion limit so far that the
parser of JSON would crash the process."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_NO_BRACKETS = bytes(sorted({*range(128)} - {*b"[]{}"}))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


def loads(text: str | bytes) -> Any:
    """Return the value of a JSON text, numbers that are not finite as null; raise `ValueError` if it is none."""
    return json.loads(checked(text), parse_constant=lambda _: None, parse_float=lambda digits: finite(float(digits)))


def read_object(text: bytes, what: str) -> dict[str, Any]:
    """Return the object in a JSON text by others; else raise `InvalidInputError`, which begins with `what`."""
    try:
        value = json.loads(checked(text))
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{what} cannot be read ({error}); allowed: a JSON object") from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"{what} is {text[:40]!r}; allowed: a JSON object")
    return value


def checked(text: str | bytes) -> str:
    """Return the text; `ValueError` if its lists and objects are more than `MOST_LEVELS` inside each other."""
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text))
    if text.count("[") + text.count("{") > MOST_LEVELS and _levels(text) > MOST_LEVELS:
        raise ValueError(f"more than {MOST_LEVELS} lists and objects are inside each other")
    return text


def _levels(text: str) -> int:
    """Return how many lists and objects are inside each other, or a number that is larger than `MOST_LEVELS`, too.

    Removing all empty pairs again and again takes one level each time, at the speed of C: files may have millions of
    tokens. What then is left has no end, or no beginning.
    """
    outside = _STRING.sub("", text) if "\\" in text else "".join(text.split('"')[::2])
    brackets, taken = outside.encode("ascii", "ignore").translate(_ONE_KIND, _NO_BRACKETS), 0
    while taken <= MOST_LEVELS and b"[]" in brackets:
        brackets, taken = brackets.replace(b"[]", b""), taken + 1
    return taken + brackets.count(b"[")


def finite(value: Any) -> Any:
    """Return the value with None for every number in it that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return value
