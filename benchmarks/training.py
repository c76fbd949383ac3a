"""Local training against the paper's way, Flower and pfl, and against the matrix-product limit, in one run.

    make bench                                   the peers, each in a virtual environment of its own, and all of it
    python benchmarks/training.py                about half an hour on two idle cores
    python benchmarks/training.py --quick        once each, at a tenth of the samples
    python benchmarks/training.py --name torch --contenders pfl fbfl_torch torch --old COMMIT
                                                 only these, and fbfl at a former commit, in the cases that have them

Every contender is a process that plays a round when asked; within a case they get turns, so that a disturbance of the
machine meets all of them. In a turn it plays rounds for three seconds, at least one, as in an experiment, where a round
follows another: the turn's figure is their median. The others are stopped meanwhile: Ray takes a twentieth of a core
even where nothing is asked of it. A round is training on all clients and averaging their weights, without the
evaluation. The first turn of each (tracing, imports) is not counted. CPU seconds are those of the contender and all its
descendants. A contender that takes longer than --limit seconds for a round is ended and said to take more than that.
Linux only. Results go to benchmarks/results/training.{json,md}, or files of the name that is given.
"""

import argparse
import contextlib
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from fbfl.learning.datasets import load

HERE = Path(__file__).parent
PEERS = HERE.parent / ".tools"
PYTHONS = {
    "fbfl": sys.executable,
    "fbfl_old": sys.executable,
    "keras": sys.executable,
    "flower": str(PEERS / "flower/bin/python"),
    "flower_kept": str(PEERS / "flower/bin/python"),
    "pfl": str(PEERS / "pfl/bin/python"),
    "fbfl_torch": str(PEERS / "torch/bin/python"),
    "torch": str(PEERS / "torch/bin/python"),
    "sgemm": sys.executable,
}
SCRIPTS = {
    "fbfl": "fbfl_lanes.py",
    "fbfl_old": "fbfl_lanes.py",
    "keras": "keras_fit.py",
    "flower": "flower_keras.py",
    "flower_kept": "flower_keras.py",
    "pfl": "pfl_torch.py",
    "fbfl_torch": "fbfl_torch.py",
    "torch": "torch_loop.py",
    "sgemm": "sgemm.py",
}
LABELS = {
    "fbfl": "fbfl",
    "fbfl_old": "fbfl at the former commit",
    "keras": "the paper's way (a fresh Keras model per client, fit)",
    "flower": "Flower 1.41 + Keras on Ray, a new model per client as in its TensorFlow quickstart",
    "flower_kept": "the same, but every worker keeps its model",
    "pfl": "pfl 0.6.0 (PyTorch)",
    "fbfl_torch": "fbfl with PyTorch",
    "torch": "a plain loop with PyTorch",
}
PAIRS = (("fbfl", "fbfl_old"), ("fbfl_torch", "torch"))
"""Contenders of which the first should take about as much processor time as the second."""


@dataclass(frozen=True)
class Case:
    """One workload: which model, how many clients with how many samples, and how much faster than whom it should be."""

    model: str
    clients: int
    samples: int
    targets: dict[str, float | None]
    """By contender; None: compared, but not aimed at."""
    flops_per_sample: float | None = None
    within_limit: float | None = None

    @property
    def name(self) -> str:
        return f"{self.model} {self.clients} x {self.samples}"


# Products of the forward pass, and of the backward pass for all layers' weights and all but the first one's inputs.
MLP_FLOPS = 2.0 * (2 * 784 * 128 + 3 * 128 * 10)
CASES = (
    Case(
        "mlp",
        10,
        6000,
        {"keras": 40, "flower": 25, "flower_kept": None, "pfl": 4, "fbfl_torch": None, "torch": None},
        MLP_FLOPS,
        3.0,
    ),
    Case("mlp", 100, 600, {"pfl": 5}, MLP_FLOPS),
    Case("mlp", 1000, 60, {"flower_kept": 20, "pfl": 4, "fbfl_torch": None, "torch": None}, MLP_FLOPS),
    Case("2nn", 10, 6000, {"keras": 25}),
    Case("cnn", 10, 600, {"keras": 2}),
)


TURN = 3.0  # seconds of rounds
MOST = 10  # rounds of a turn


class TooSlowError(Exception):
    """A contender that did not answer in time."""


class Contender:
    """A process that plays rounds on request; one takes `limit` seconds at most."""

    def __init__(
        self, name: str, case: Case, data: Path, turns: int, limit: float, log: Any, old: Path | None = None
    ) -> None:
        self.limit = limit
        self.accuracies: list[float] = []
        self.command = [PYTHONS[name], str(HERE / "contenders" / SCRIPTS[name])]
        self.command += [case.model, str(case.clients), str(case.samples), str(data), str(turns * MOST), name]
        tree = old if name == "fbfl_old" else HERE.parent
        paths = [str(HERE / "contenders")] + ([str(tree)] if name.startswith("fbfl") else [])
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": os.pathsep.join(paths)}
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
            start_new_session=True,  # so that it ends with its workers
        )
        self._answer()
        self._each(psutil.Process.suspend)

    def turn(self) -> dict[str, float]:
        """Play rounds for a while; the median of each figure."""
        self._each(psutil.Process.resume)
        played = [self._round()]
        while sum(answer["seconds"] for answer in played) < TURN and len(played) < MOST:
            played.append(self._round())
        self._each(psutil.Process.suspend)
        return {key: statistics.median(answer[key] for answer in played) for key in played[0]}

    def _round(self) -> dict[str, float]:
        assert self.process.stdin
        before = cpu_seconds(self.process.pid)
        self.process.stdin.write("round\n")
        self.process.stdin.flush()
        answer = self._answer()
        answer["cpu_seconds"] = cpu_seconds(self.process.pid) - before
        self.accuracies.append(self._answer().get("accuracy", math.nan))  # which it says after the evaluation
        return answer

    def close(self) -> None:
        assert self.process.stdin
        self._each(psutil.Process.resume)
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self._kill()

    def _each(self, action: Callable[[psutil.Process], None]) -> None:
        """Do something to the process and all its descendants that are still there."""
        with contextlib.suppress(psutil.NoSuchProcess):
            own = psutil.Process(self.process.pid)
            for process in (own, *own.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    action(process)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout
        started = time.monotonic()
        timer = threading.Timer(self.limit, self._kill)
        timer.start()
        try:
            for line in self.process.stdout:
                if line.startswith("@"):
                    found: dict[str, float] = json.loads(line[1:])
                    return found
        finally:
            timer.cancel()
        if time.monotonic() - started >= self.limit:
            raise TooSlowError
        raise SystemExit(f"{' '.join(self.command)} ended: see benchmarks/results/training.log")


def cpu_seconds(root: int) -> float:
    """User and system time of a process, its living descendants, and their dead ones that have been waited for."""
    times, parents = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        parents[int(folder.name)] = int(fields[1])
        times[int(folder.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    family = {root}
    while True:
        grown = family | {pid for pid, parent in parents.items() if parent in family}
        if grown == family:
            return sum(times.get(pid, 0.0) for pid in family)
        family = grown


def measure(case: Case, data: Path, repeats: int, limit: float, log: Any, old: Path | None = None) -> dict[str, Any]:
    available = [name for name in case.targets if Path(PYTHONS[name]).exists()]
    contenders = {}
    results: dict[str, list[dict[str, float]]] = {}
    too_slow: set[str] = set()
    try:
        for name in ("fbfl", *available, "sgemm"):
            contenders[name] = Contender(name, case, data, repeats + 1, limit, log, old)
            results[name] = []
        for repeat in range(repeats + 1):
            for name, contender in contenders.items():
                if name in too_slow:
                    continue
                try:
                    answer = contender.turn()
                except TooSlowError:
                    too_slow.add(name)
                    continue
                if repeat:  # the first is not counted
                    results[name].append(answer)
        accuracies = {name: contender.accuracies for name, contender in contenders.items()}
    finally:
        for contender in contenders.values():
            contender.close()
    gflops = statistics.median(answer["gflops"] for answer in results.pop("sgemm"))
    measured = {
        # All have played as many rounds as there were turns; those with short rounds, more.
        name: summary(answers) | {"accuracy": accuracies[name][repeats]}
        for name, answers in results.items()
        if name not in too_slow
    }
    own = measured["fbfl"]["seconds"]["median"]
    report: dict[str, Any] = {"case": case.name, "sgemm_gflops": gflops, "contenders": measured, "ratios": {}}
    report["too_slow"] = {name: {"limit": limit, "rounds": len(results[name])} for name in sorted(too_slow)}
    for name in available:
        if name in too_slow:
            continue
        ratio = measured[name]["seconds"]["median"] / own
        report["ratios"][name] = {"faster": ratio, "target": case.targets[name]}
    report["pairs"] = {
        f"{one} / {other}": ratios(one, other, measured) for one, other in PAIRS if {one, other} <= {*measured}
    }
    if case.flops_per_sample:
        limit = case.flops_per_sample * case.clients * case.samples / gflops / 1e9
        report["limit"] = {"seconds": limit, "times": own / limit, "target": case.within_limit}
    return report


def summary(answers: list[dict[str, float]]) -> dict[str, Any]:
    values = {key: [answer[key] for answer in answers] for key in ("seconds", "cpu_seconds")}
    return {
        key: {"median": statistics.median(numbers), "min": min(numbers), "max": max(numbers), "all": numbers}
        for key, numbers in values.items()
    }


def ratios(one: str, other: str, measured: dict[str, Any]) -> dict[str, float]:
    """Medians of the ratios of two contenders' seconds in each turn, in which they played one soon after the other."""
    return {
        key: statistics.median(
            mine / theirs for mine, theirs in zip(measured[one][key]["all"], measured[other][key]["all"], strict=True)
        )
        for key in ("seconds", "cpu_seconds")
    }


def table(report: dict[str, Any]) -> str:
    lines = [
        "# Local training: seconds a round",
        "",
        f"{report['machine']}, {report['cores']} cores, {report['date']}; medians of {report['repeats']} (min to max), "
        "contenders in turn. Load before the run: " + f"{report['load']:.2f}.",
        "",
        f"| case | contender | wall | CPU | accuracy after {report['repeats'] + 1} rounds "
        "| fbfl is faster by | wanted |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in report["cases"]:
        for name, values in case["contenders"].items():
            wall, cpu = values["seconds"], values["cpu_seconds"]
            ratio = case["ratios"].get(name)
            wanted = f"{ratio['target']:g}x" if ratio and ratio["target"] else ""
            compared = f"{ratio['faster']:.1f}x | {wanted}" if ratio else " | "
            lines.append(
                f"| {case['case']} | {LABELS[name]} | {wall['median']:.3f} ({wall['min']:.3f} to {wall['max']:.3f}) | "
                f"{cpu['median']:.2f} | {values['accuracy']:.3f} | {compared} |"
            )
        for name, slow in case["too_slow"].items():
            after = f"stopped in a round of over {slow['limit']:g} s, after {slow['rounds']} counted ones"
            lines.append(f"| {case['case']} | {LABELS[name]} | {after} | | | | |")
        for pair, ratio in case["pairs"].items():
            one, other = (LABELS[name] for name in pair.split(" / "))
            seconds = f"{ratio['seconds']:.2f} times | {ratio['cpu_seconds']:.2f} times"
            lines.append(f"| {case['case']} | {one}, per turn beside {other} | {seconds} | | | |")
        if "limit" in case:
            limit = case["limit"]
            wanted = f"within {limit['target']:g}x" if limit["target"] else ""
            lines.append(
                f"| {case['case']} | limit: matrix products alone at {case['sgemm_gflops']:.0f} GFLOP/s | "
                f"{limit['seconds']:.3f} | | | fbfl takes {limit['times']:.1f}x | {wanted} |"
            )
    return "\n".join(lines) + "\n"


def write_data(path: Path) -> None:
    """60,000 + 10,000 samples: MNIST, or mnist-5k repeated, since speed does not depend on what the pictures show."""
    data = load("mnist", fallback=True)
    arrays = {"x_train": data.x_train, "y_train": data.y_train, "x_test": data.x_test, "y_test": data.y_test}
    sizes = {"train": 60_000, "test": 10_000}
    repeated: dict[str, Any] = {name: np.resize(a, (sizes[name[2:]], *a.shape[1:])) for name, a in arrays.items()}
    np.savez(path, **repeated)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit", type=float, default=300, help="seconds that a round may take")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--name", default="training", help="of the files of results")
    parser.add_argument(
        "--contenders", nargs="+", choices=sorted({n for case in CASES for n in case.targets}), default=[]
    )
    parser.add_argument(
        "--old", metavar="COMMIT", help="fbfl at this commit, too, as far as it runs with these packages"
    )
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--output", type=Path, default=HERE / "results")
    options = parser.parse_args()
    missing = [name for name, python in PYTHONS.items() if not Path(python).exists()]
    if missing:
        print(f"without {', '.join(missing)}: sh benchmarks/peers.sh and make test-torch install them")
    options.output.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "repeats": 1 if options.quick else options.repeats,
        "cases": [],
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        (options.output / f"{options.name}.log").open("w") as log,
        contextlib.ExitStack() as ends,
    ):
        data, old = Path(folder) / "data.npz", Path(folder) / "old" if options.old else None
        write_data(data)
        if old:
            git = ["git", "-C", str(HERE.parent), "worktree"]
            subprocess.run([*git, "add", "--quiet", "--detach", str(old), options.old], check=True)
            ends.callback(subprocess.run, [*git, "remove", "--force", str(old)], check=True)
        for case in CASES:
            if options.only in case.name and {*options.contenders} <= case.targets.keys():
                named = {name: case.targets[name] for name in options.contenders or case.targets}
                case = replace(case, targets={"fbfl_old": None, **named} if old else named)
                if options.quick:
                    case = replace(case, samples=case.samples // 10, within_limit=None)
                report["cases"].append(measure(case, data, report["repeats"], options.limit, log, old))
                print(table(report | {"cases": report["cases"][-1:]}), flush=True)
    (options.output / f"{options.name}.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.output / f"{options.name}.md").write_text(table(report))


if __name__ == "__main__":
    main()
