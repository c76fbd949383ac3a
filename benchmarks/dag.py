"""ethash's data set by fbfl beside geth, a few percent of it: ``python -m benchmarks.dag [PERCENT]``. Needs geth."""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fbfl.nodes import geth
from fbfl.nodes.dag import write_dag
from fbfl.nodes.processes import find_program


def main(percent: int = 3) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([find_program("geth"), "makecache", "0", name], capture_output=True, check=True)
        theirs = seconds_of_geth(folder, percent) / percent
        ours = seconds_of_fbfl(folder, percent) / percent
    for who, seconds in ("geth", theirs), ("fbfl", ours):
        print(f"{who}: {seconds:.2f} s a percent, {100 * seconds / 60:.1f} minutes in all")
    print(f"fbfl is {theirs / ours:.1f} times as fast")


def seconds_of_geth(folder: Path, percent: int) -> float:
    """For so many percent after its first."""
    command = [find_program("geth"), "makedag", "0", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as making:
        assert making.stderr is not None
        starts = 0.0
        for line in making.stderr:
            done = re.search(r"Generating DAG in progress.*percentage=(\d+)", line)
            if done and int(done[1]) == 0:
                starts = time.perf_counter()
            if done and int(done[1]) == percent:
                making.kill()
                return time.perf_counter() - starts
    raise SystemExit("geth ended before it had computed that much")


def seconds_of_fbfl(folder: Path, percent: int) -> float:
    """With the start of its processes."""
    (cache,) = folder.glob("cache*")
    start = time.perf_counter()
    for _ in write_dag(cache, folder / "dag", geth.DAG_SIZES[0] * percent // 100):
        pass
    return time.perf_counter() - start


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
