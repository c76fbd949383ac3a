"""Do what a guide says, block by block; of the tutorial keep the figure that it shows.

    python -m tools.guides

A block with a title is a file, one of `sh` without further words is run, all others are for readers.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r'^```(\w+)(?: (?:title="([\w.]+)"|(\w+)))?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_SET_UP = re.compile(r"^mkdir thesis && cd thesis$\n", re.MULTILINE)


def follow(page: str, folder: Path) -> str:
    """Write the files of a page into a folder and run its commands there, in order; return what they print.

    A command that fails raises `subprocess.CalledProcessError`.
    """
    names = folder / ".commands"
    names.mkdir()
    for name, words in (("fbfl", "-m fbfl"), ("python", "")):
        (names / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (names / name).chmod(0o755)
    path = f"{names}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    said = ""
    for language, title, further, text in _BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        if title:
            (folder / title).write_text(text, encoding="utf-8")
        elif language == "sh" and not further:
            command = ["sh", "-e", "-c", _SET_UP.sub("", text)]
            done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            said += done.stdout
    return said


def main() -> None:
    """Follow the tutorial and keep its figure."""
    with tempfile.TemporaryDirectory() as folder:
        print(follow("tutorial.md", Path(folder)))
        shutil.copy(Path(folder) / "thesis.png", DOCS / "tutorial.png")


if __name__ == "__main__":
    main()
