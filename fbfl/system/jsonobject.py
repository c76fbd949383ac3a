"""JSON objects written by others."""

import json
from typing import Any

from fbfl.errors import InvalidInputError
from fbfl.system.strictjson import checked


def read_object(text: bytes, what: str) -> dict[str, Any]:
    """Return the object in a JSON text; anything else raises `InvalidInputError`, which begins with `what`."""
    try:
        value = json.loads(checked(text))
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{what} cannot be read ({error}); allowed: a JSON object") from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"{what} is {text[:40]!r}; allowed: a JSON object")
    return value
