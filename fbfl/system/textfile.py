"""Text files that users write, with any editor."""

import codecs
from pathlib import Path

from fbfl.errors import InvalidInputError

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Marks that Windows editors put before a text."""


def read_text(path: Path, what: str) -> str:
    """Read a text in UTF-8, or in UTF-16 if marked. If it fails, `InvalidInputError` names `what` and the reason."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{what}: cannot be read: {error.strerror}") from error
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{what}: cannot be read: byte {error.start} is not {encoding}; allowed: a text saved as UTF-8"
        ) from error
