"""Standard JSON for every file and answer of fbfl: numbers that are not finite are null."""

import json
import math
from collections.abc import Mapping
from typing import Any


def dumps(value: object, *, indent: int | None = None) -> str:
    """Return the value as JSON. A value that JSON cannot hold raises `TypeError`."""
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(finite(value), indent=indent, allow_nan=False)


def loads(text: str | bytes) -> Any:
    """Return the value of a JSON text, NaN and Infinity as null; raise `ValueError` if it is none."""
    return json.loads(text, parse_constant=lambda _: None)


def finite(value: Any) -> Any:
    """Return the value with None for every number in it that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return value
