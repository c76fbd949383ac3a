"""Start another program, apart from its caller, and record its process.

A script that imports nothing of fbfl, run by `fbfl.nodes.processes` out of reach of the caller's terminal: launcher.py
RECORD LOG NICENESS COMMAND... So a caller that is killed at any moment leaves no process without a record.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

APART: dict[str, Any] = {"start_new_session": True}
"""Arguments of `subprocess` for a process that the caller's terminal does not end."""
if sys.platform == "win32":
    APART = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}


def start_of(pid: int) -> str | None:
    """Return the start of a process as a text that no later process with its number shares; None if it does not run.

    On Linux it is not the time of day, which shifts when a clock is set.
    """
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):  # nobody has asked for its exit status yet
            return None
        if not psutil.LINUX:
            return f"time {process.create_time()}"
        # The name in parentheses may hold anything; after it: the state first, the start in clock ticks as 20th.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return f"boot {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}, tick {fields[19]}"
    except (psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError):
        return None


def main(record: Path, log: Path, niceness: int, command: list[str]) -> int:
    """Start the command; return once it is on record, or print why it was not started."""
    if hasattr(os, "nice"):
        os.nice(niceness)
    process = None
    try:
        log.write_bytes(b"")
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **APART)
        draft = record.with_suffix(".draft")
        start = start_of(process.pid) or "ended at once"
        draft.write_text(json.dumps({"pid": process.pid, "start": start, "command": command}))
        draft.replace(record)
    except OSError as error:
        if process is not None:
            process.kill()
        print(f"{error.filename or command[0]}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
