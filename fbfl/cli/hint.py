"""Commands that messages propose, in a form to type into the same shell."""

import shlex
import shutil
import sys
from pathlib import Path


def command(*words: object) -> str:
    """Return an `fbfl` command with these arguments, called as this one was, quoted for a shell."""
    return shlex.join([*_called(), *map(str, words)])


def _called() -> list[str]:
    program = Path(sys.argv[0])
    if program.parts[-2:] == ("fbfl", "__main__.py"):
        return [sys.orig_argv[0], "-m", "fbfl"]
    if program.name != "fbfl":  # a program that calls `main`
        return ["fbfl"]
    found = shutil.which("fbfl")
    return ["fbfl" if found and Path(found).resolve() == program.resolve() else sys.argv[0]]
