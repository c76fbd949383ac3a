"""Indexes of runs that say something else than the chain."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fbfl.runs import index


def lines_of(run: Path) -> list[Any]:
    return [json.loads(line) for line in (run / index.INDEX).read_text().splitlines()]


def forge(run: Path, change: Callable[[list[Any]], object]) -> None:
    """Change the lines of the index, and have it say that it is whole."""
    head, *lines = lines_of(run)
    change(lines)
    rest = b"".join((json.dumps(line) + "\n").encode() for line in lines)
    head |= {"lines_sha256": hashlib.sha256(rest).hexdigest(), "num_rounds": len(lines) - 1}
    (run / index.INDEX).write_bytes(json.dumps(head).encode() + b"\n" + rest)
