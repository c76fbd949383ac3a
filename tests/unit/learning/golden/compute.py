"""Print the SHA-256 of every rule's aggregates on fixed inputs as JSON. `aggregates.json` holds what it has to print.

Run as ``python tests/unit/learning/golden/compute.py`` from the top of the repository. The inputs come from the raw
words of PCG64 by exact arithmetic, so that they are the same with every version of NumPy.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from fbfl.learning.aggregation import resolve

ROUNDS = {"fldetector": 5}
"""Rounds of a rule that needs more than two to do what it does."""
SHAPES = ((11, 1), (13, 5_003), (40, 9_001))
SETTINGS: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "krum": {"num_byzantine": 2},
    "multi_krum": {"num_byzantine": 2, "num_selected": 5},
    "bulyan": {"num_byzantine": 2},
    "trimmed_mean": {"trim": 3},
    "median": {},
    "geometric_median": {"weighted": True},
    "centered_clipping": {},
    "norm_clipping": {"max_norm": 0.5, "weighted": True},
    "random_selection": {"seed": 7, "num_selected": 4},
    "fltrust": {},
    "foolsgold": {},
    "dnc": {"num_byzantine": 2, "iterations": 2, "coordinates": 1_000},
    "signguard": {},
    "flame": {"seed": 3},
    "fldetector": {"window": 2},
}
MIXED = {
    "krum": {"num_byzantine": 2, "mixing": "nnm"},
    "trimmed_mean": {"trim": 2, "mixing": "bucketing", "bucket_size": 2},
    "fedavg": {"mixing": "bucketing", "bucket_size": 3},
    "foolsgold": {"mixing": "nnm", "mixing_byzantine": 3},
}
"""Rules of which the updates are mixed first."""


def words(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.PCG64(seed).random_raw(int(np.prod(shape))).reshape(shape)


def updates(n: int, p: int, seed: int) -> np.ndarray:
    """Sums of two uniform numbers around a common direction; one update 2^40 times larger, two alike."""
    raw = words(seed, (n, p))
    common = (words(seed + 1, (1, p)) >> np.uint64(42)).astype(np.float64) * 2.0**-22 - 0.5
    noise = (raw >> np.uint64(40)).astype(np.float64) * 2.0**-24 - (raw & np.uint64(0xFFFFFF)).astype(
        np.float64
    ) * 2.0**-24
    rows = ((common + noise) * 2.0**-4).astype(np.float32)
    rows[n // 2] *= np.float32(2.0**40)
    rows[-1] = rows[1]
    return rows


def hashes() -> dict[str, str]:
    found = {}
    for n, p in SHAPES:
        rounds = [updates(n, p, seed) for seed in (11, 23, 31, 41, 53)]
        weights = [1 + int(word) % 600 for word in words(5, (n,))]
        root = rounds[0][0] + rounds[1][0]
        named = [(name, name, settings) for name, settings in SETTINGS.items()]
        named += [(f"{name}+{settings['mixing']}", name, settings) for name, settings in MIXED.items()]
        for label, name, settings in named:
            if p == 1 and name == "foolsgold":
                continue  # on a line every client looks like a Sybil
            rule = resolve(name, **settings)
            digest = hashlib.sha256()
            state: Mapping[str, Any] = {}
            for round_number, matrix in enumerate(rounds[: ROUNDS.get(name, 2)], start=1):
                answer = rule(matrix, weights, state=state, round_number=round_number, root_update=root)
                state = answer.state
                digest.update(answer.vector.tobytes())
                digest.update(repr(answer.selected).encode())
                for key in sorted(state):
                    digest.update(state[key].tobytes())
            found[f"{label} {n}x{p}"] = digest.hexdigest()
    return found


if __name__ == "__main__":
    json.dump(hashes(), sys.stdout, indent=1)
    print()
