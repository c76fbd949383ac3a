"""Text files that users write, with any editor."""

import codecs
import tomllib
from pathlib import Path
from typing import Any

from fbfl.errors import InvalidInputError, failures_as

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Marks that Windows editors put before a text."""


def read_text(path: Path, what: str) -> str:
    """Read a text in UTF-8, or in UTF-16 if marked. If it fails, `InvalidInputError` names `what` and the reason."""
    with failures_as(InvalidInputError, f"{what}: cannot be read"):
        data = path.read_bytes()
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{what}: cannot be read: byte {error.start} is not {encoding}; allowed: a text saved as UTF-8"
        ) from error


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Read a TOML file, and raise as `read_text`."""
    return toml_in(read_text(path, what), what)


def toml_in(text: str, what: str) -> dict[str, Any]:
    """Return what a TOML text holds; if it is none, `InvalidInputError` names `what` and the place."""
    try:
        values = tomllib.loads(text)
        repr(values)  # of a number of thousands of digits, Python says only that it has too many
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{what}: not TOML: {error}") from error
    return values
