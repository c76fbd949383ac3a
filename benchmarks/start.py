"""Seconds from a command to its first answer: ``python -m benchmarks.start [--repeats N] [--beside CHECKOUT]``.

Wall and processor seconds, medians. `run` is `fbfl run` on digits until the line of its first round. The last two rows
import TensorFlow before, and in a thread beside, the import of the chain and the deployment of the contracts. With
another checkout, for example a git worktree of an older commit, both take turns.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
FBFL = ("-m", "fbfl")
RUN = (*FBFL, "run", "--dataset", "digits", "--rounds", "1")
IMPORTS = """
import os, sys, threading
os.environ["FBFL_LEAN_KERAS"] = "1"
from fbfl.learning.backend import load_tensorflow
thread = threading.Thread(target=load_tensorflow)
thread.start()
{wait_before}
from fbfl import simulation
from fbfl.settings import RunSettings
simulation.devnet_of(RunSettings(dataset="digits"))
thread.join()
"""
CASES = {
    "import fbfl": ("-c", "import fbfl"),
    "fbfl --help": (*FBFL, "--help"),
    "fbfl run --help": (*FBFL, "run", "--help"),
    "first round of fbfl run": RUN,
    "imports, one after the other": ("-c", IMPORTS.format(wait_before="thread.join()")),
    "imports, TensorFlow in a thread": ("-c", IMPORTS.format(wait_before="")),
}


def measured(checkout: Path, words: tuple[str, ...], folder: str) -> tuple[float, float]:
    """Return wall and processor seconds until a program ends, or until a run shows its first round."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    started, processor = time.perf_counter(), 0.0
    program = subprocess.Popen(
        [sys.executable, "-u", *words], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    process = psutil.Process(program.pid)
    assert program.stdout is not None
    if words == RUN:
        for line in program.stdout:
            if line.startswith("round "):
                wall = time.perf_counter() - started
                times = process.cpu_times()
                program.kill()
                program.wait()
                return wall, times.user + times.system
        raise SystemExit("the run ended without a round")
    before = os.times()
    program.communicate()
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    if program.returncode:
        raise SystemExit(f"{' '.join(words)}: status {program.returncode}")
    return time.perf_counter() - started, processor


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="measurements of each (default 5)")
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="another checkout to measure, too")
    options = parser.parse_args()
    checkouts = [ROOT, *([options.beside.resolve()] if options.beside else [])]
    print(f"{'':33}" + "".join(f"{f'wall {each.name}':>20}{f'cpu {each.name}':>20}" for each in checkouts))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name, words in CASES.items():
            found: list[list[tuple[float, float]]] = [[] for _ in checkouts]
            for _ in range(options.repeats):
                for checkout, results in zip(checkouts, found, strict=True):
                    results.append(measured(checkout, words, folder))
            medians = [statistics.median(values) for results in found for values in zip(*results, strict=True)]
            print(f"{name:33}" + "".join(f"{value:20.2f}" for value in medians), flush=True)


if __name__ == "__main__":
    main()
