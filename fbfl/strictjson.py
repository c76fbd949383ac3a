"""JSON as its standard has it, for every file and every answer of fbfl: a number that is not finite is null there."""

import json
import math
from collections.abc import Mapping
from typing import Any


def dumps(value: object, *, indent: int | None = None) -> str:
    """The value as JSON. What is no JSON value raises `TypeError`."""
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(finite(value), indent=indent, allow_nan=False)


def loads(text: str | bytes) -> Any:
    """The value of a JSON text; as null also the NaN and Infinity that Python writes. Else raises `ValueError`."""
    return json.loads(text, parse_constant=lambda _: None)


def finite(value: Any) -> Any:
    """The value with None for every number in it that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return value
