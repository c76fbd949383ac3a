"""The Python of a page, run from its first block to the last."""

import importlib.util
import re
from pathlib import Path
from typing import Any


def names_of(page: Path) -> dict[str, Any]:
    """Return the names that the page's blocks define; one of a package that is not installed is left out.

    Tracebacks show the lines of the page.
    """
    names: dict[str, Any] = {}
    text = page.read_text()
    for block in re.finditer(r"^```python( \w+)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if block[1] and not importlib.util.find_spec(block[1].strip()):
            continue
        line = text[: block.start(2)].count("\n")
        exec(compile("\n" * line + block[2], str(page), "exec"), names)
    return names
