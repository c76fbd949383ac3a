"""Becomes another program, apart from its caller, after writing down which process that is.

A script with nothing but the standard library, run by `fbfl.processes`: launcher.py RECORD LOG NICENESS COMMAND...
The process writes its own record before it becomes the program. So a caller that is killed at any moment leaves no
process behind that is on no record.
"""

import json
import os
import subprocess
import sys
from pathlib import Path


def start_of(pid: int) -> str | None:
    """When a process started, in words that no later process with its number shares; None if it is not running.

    Not the time of day: that is shifted when a clock is set.
    """
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return listed.stdout.strip() or None
    try:
        # The name in parentheses may hold anything; after it: the state first, the start in clock ticks as 20th.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] in "ZX":  # ended, and nobody has asked for its exit status yet
        return None
    return f"boot {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}, tick {fields[19]}"


def main(record: Path, log: Path, niceness: int, command: list[str]) -> int:
    """Start the command as a daemon; returns once it runs, or says why it does not."""
    told, tell = os.pipe()  # closed by itself when the program starts
    if os.fork():
        os.close(tell)
        problem = os.read(told, 1000).decode()
        print(problem, file=sys.stderr)
        return 1 if problem else 0
    try:
        os.setsid()
        os.nice(niceness)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        draft = record.with_suffix(".draft")
        draft.write_text(json.dumps({"pid": os.getpid(), "start": start_of(os.getpid()), "command": command}))
        draft.replace(record)
        os.execv(command[0], command)
    except OSError as error:
        os.write(tell, f"{error.filename or command[0]}: {error.strerror}".encode())
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
