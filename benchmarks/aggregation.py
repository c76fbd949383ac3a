"""Time the aggregation rules against naive NumPy, 100 clients x 101,770 parameters (mlp), one thread each.

    python benchmarks/aggregation.py [--clients N] [--parameters P] [--repeats R]
    python benchmarks/aggregation.py --flower PYTHON   adds a column: Flower's functions, run by the interpreter of a
                                                       virtual environment of its own in which flwr is installed

Naive means the formula written down with NumPy calls, without copies or conversions that nobody would make, in float32
as given; it is checked against ours before anything is timed. Ours and naive alternate. A cell is the median of R runs
in milliseconds of processor time, which with one thread is the wall time of an idle machine, with the spread (max -
min). The last lines give the limits measured in the same run: reading the updates once, and the matrix products of the
Gram matrix.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before NumPy is imported: naive NumPy reductions have one thread too

import numpy as np  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fbfl.learning import aggregation  # noqa: E402

Pair = tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]


def naive_distances(updates: np.ndarray) -> np.ndarray:
    n = len(updates)
    distances = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            distances[i, j] = distances[j, i] = np.sum((updates[i] - updates[j]) ** 2)
    return distances


def naive_krum_order(distances: np.ndarray, f: int) -> np.ndarray:
    n = len(distances)
    scores = np.sort(distances, axis=1)[:, 1 : max(2, n - f - 1)].sum(axis=1)
    return np.argsort(scores, kind="stable")


def naive_bulyan(updates: np.ndarray, f: int) -> np.ndarray:
    distances = naive_distances(updates)
    left = list(range(len(updates)))
    picked = []
    for _ in range(len(updates) - 2 * f):
        picked.append(left.pop(int(naive_krum_order(distances[np.ix_(left, left)], f)[0])))
    chosen = updates[sorted(picked)]
    near = np.argsort(np.abs(chosen - np.median(chosen, axis=0)), axis=0)[: len(picked) - 2 * f]
    mean: np.ndarray = np.take_along_axis(chosen, near, axis=0).mean(axis=0)
    return mean


def naive_geometric_median(updates: np.ndarray, steps: int = 20) -> np.ndarray:
    centre: np.ndarray = updates.mean(axis=0)
    for _ in range(steps):
        pulls = 1 / np.maximum(np.linalg.norm(updates - centre, axis=1), 1e-6)
        centre = pulls @ updates / pulls.sum()
    return centre


def naive_centered_clipping(updates: np.ndarray, radius: float, steps: int = 3) -> np.ndarray:
    centre = np.zeros(updates.shape[1], np.float32)
    for _ in range(steps):
        offsets = updates - centre
        lengths = np.linalg.norm(offsets, axis=1)
        centre = centre + (offsets * np.minimum(1, radius / lengths)[:, None]).mean(axis=0)
    return centre


def naive_fltrust(updates: np.ndarray, root: np.ndarray) -> np.ndarray:
    norms, length = np.linalg.norm(updates, axis=1), np.linalg.norm(root)
    trust = np.maximum(updates @ root / norms / length, 0)
    mean: np.ndarray = (trust * length / norms) @ updates / trust.sum()
    return mean


def pairs(updates: np.ndarray, weights: np.ndarray) -> dict[str, Pair]:
    n = len(updates)
    f, g = (n - 3) // 3, (n - 3) // 4
    root = updates[: n // 2].mean(axis=0)
    norms = np.linalg.norm(updates, axis=1)
    bound = float(np.median(norms))
    shares = (weights / weights.sum()).astype(np.float32)
    a = aggregation
    return {
        "fedavg": (lambda: a.fedavg(updates, weights), lambda: np.average(updates, axis=0, weights=weights)),
        "fedavg (naive BLAS)": (lambda: a.fedavg(updates, weights), lambda: shares @ updates),
        "krum": (lambda: a.krum(updates, f), lambda: updates[naive_krum_order(naive_distances(updates), f)[0]]),
        "multi_krum": (
            lambda: a.multi_krum(updates, f, n // 2),
            lambda: updates[naive_krum_order(naive_distances(updates), f)[: n // 2]].mean(axis=0),
        ),
        "bulyan": (lambda: a.bulyan(updates, g), lambda: naive_bulyan(updates, g)),
        "median": (lambda: a.median(updates), lambda: np.median(updates, axis=0)),
        "trimmed_mean": (
            lambda: a.trimmed_mean(updates, n // 5),
            lambda: np.sort(updates, axis=0)[n // 5 : n - n // 5].mean(axis=0),
        ),
        "geometric_median": (lambda: a.geometric_median(updates), lambda: naive_geometric_median(updates)),
        "centered_clipping": (
            lambda: a.centered_clipping(updates, bound),
            lambda: naive_centered_clipping(updates, bound),
        ),
        "norm_clipping": (
            lambda: a.norm_clipping(updates, bound),
            lambda: (updates * np.minimum(1, bound / np.linalg.norm(updates, axis=1))[:, None]).mean(axis=0),
        ),
        "fltrust": (lambda: a.fltrust(updates, root), lambda: naive_fltrust(updates, root)),
    }


def timed(function: Callable[[], object]) -> float:
    start = time.thread_time()
    function()
    return (time.thread_time() - start) * 1e3


def cell(times: list[float]) -> str:
    return f"{statistics.median(times):8.1f} ±{max(times) - min(times):6.1f}"


FLOWER = """
import json, statistics, sys, time
import numpy as np
from flwr.server.strategy import aggregate as flower
updates = np.load(sys.argv[1])
n, repeats = len(updates), int(sys.argv[2])
f, g = (n - 3) // 3, (n - 3) // 4
everybody = [([row], 1) for row in updates]
calls = {
    "fedavg": lambda: flower.aggregate(results),
    "krum": lambda: flower.aggregate_krum(results, f, 0),
    "multi_krum": lambda: flower.aggregate_krum(results, f, n // 2),
    "bulyan": lambda: flower.aggregate_bulyan(results, g, flower.aggregate_krum, to_keep=0),
    "median": lambda: flower.aggregate_median(results),
    "trimmed_mean": lambda: flower.aggregate_trimmed_avg(results, 0.2),
}
times = {}
for name, call in calls.items():
    results = list(everybody)  # Bulyan takes clients out of the list that it is given
    call()
    times[name] = []
    for _ in range(repeats):
        results = list(everybody)
        start = time.thread_time(); call(); times[name].append((time.thread_time() - start) * 1e3)
print(json.dumps(times))
"""


def flower_times(python: str, updates: np.ndarray, repeats: int) -> dict[str, list[float]]:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"fbfl-benchmark-{os.getpid()}.npy"
    np.save(path, updates)
    try:
        run = subprocess.run(
            [python, "-c", FLOWER, str(path), str(repeats)], stdout=subprocess.PIPE, text=True, check=True
        )
    finally:
        path.unlink()
    times: dict[str, list[float]] = json.loads(run.stdout)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--parameters", type=int, default=101_770)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--flower", metavar="PYTHON", help="interpreter of an environment with flwr")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    updates = (rng.normal(size=(options.clients, options.parameters)) * 0.01).astype(np.float32)
    weights = rng.integers(100, 1_000, options.clients)
    peers = flower_times(options.flower, updates, options.repeats) if options.flower else {}

    print(
        f"{options.clients} x {options.parameters}, float32, one thread, ms: median of {options.repeats} ± (max - min)"
    )
    print(
        f"{'rule':20} {'fbfl':>16} {'naive NumPy':>16} {'ratio':>6}"
        + (f" {'Flower':>16} {'ratio':>6}" if peers else "")
    )
    for name, (ours, naive) in pairs(updates, weights).items():
        np.testing.assert_allclose(naive(), ours(), rtol=2e-3, atol=2e-5)
        both = [(timed(ours), timed(naive)) for _ in range(options.repeats)]
        mine, theirs = [list(column) for column in zip(*both, strict=True)]
        line = f"{name:20} {cell(mine)} {cell(theirs)} {statistics.median(theirs) / statistics.median(mine):6.1f}"
        if name in peers:
            line += f" {cell(peers[name])} {statistics.median(peers[name]) / statistics.median(mine):6.1f}"
        print(line, flush=True)

    reading = [timed(lambda: updates.max()) for _ in range(options.repeats)]
    gigabytes = updates.nbytes / statistics.median(reading) / 1e6
    print(f"{'limit: read once':20} {cell(reading)}   ({gigabytes:.1f} GB/s)")
    block = np.ascontiguousarray(updates[:, :2048].astype(np.float64))
    count = -(-3 * options.parameters // 2048)
    products = [timed(lambda: [block @ block.T for _ in range(count)]) for _ in range(options.repeats)]
    flops = 3 * options.clients**2 * options.parameters / statistics.median(products) / 1e6
    print(f"{'limit: Gram products':20} {cell(products)}   ({flops:.1f} GFLOP/s)")


if __name__ == "__main__":
    main()
