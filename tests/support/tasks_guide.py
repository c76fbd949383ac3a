"""docs/tasks.md: its files and its commands."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import REPOSITORY

LONGEST = 30
"""Most lines of a file there."""


def prepared(title: str, folder: Path) -> Iterator[list[str]]:
    """Write the files of a section into a folder, and yield the words of its commands."""
    text = (REPOSITORY / "docs" / "tasks.md").read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    for name, content in re.findall(r"^```python ([\w.]+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        assert len(content.splitlines()) <= LONGEST
        (folder / name).write_text(content)
    commands = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert commands, title
    yield from (shlex.split(line) for block in commands for line in block.replace("\\\n", " ").splitlines())
