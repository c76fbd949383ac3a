"""Repeat the golden hashes of the aggregation rules under other BLAS kernels and vector units, one process each.

    python benchmarks/blas_kernels.py

Kernels and vector units decide in which order products and sums add up, so ordinary float results differ between
them; aggregates must not. Kernels that the processor or NumPy's BLAS cannot run are skipped. Exit status 1 when a hash
differs. `OPENBLAS_CORETYPE` is set for the child processes only.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "unit" / "learning" / "golden"
VARIANTS = (
    *({"OPENBLAS_CORETYPE": kernel} for kernel in ("Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX")),
    {"NPY_DISABLE_CPU_FEATURES": "X86_V4"},
    {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4"},
)
# Shows that the variants do differ: a plain float product and a plain float sum of fixed numbers.
PROBE = """
import hashlib, numpy as np
a = np.random.PCG64(1).random_raw(100 * 5000).reshape(100, 5000).astype(np.float64) * 2.0**-64
b = a.astype(np.float32)
for result in (a @ a.T, np.stack([b[0].sum(), np.exp(b).sum(), np.linalg.norm(b)])):
    print(hashlib.sha256(result.tobytes()).hexdigest()[:8])
"""


def run(variant: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variant}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


def main() -> int:
    golden = json.loads((GOLDEN / "aggregates.json").read_text())
    failed = False
    for variant in VARIANTS:
        for threads in ("1", "2"):
            environment = {**variant, "OPENBLAS_NUM_THREADS": threads}
            label = " ".join(f"{key}={value}" for key, value in environment.items())
            probe = run(environment, "-c", PROBE)
            if probe.returncode:
                print(f"{label}: cannot run here")
                continue
            hashes = json.loads(run(environment, str(GOLDEN / "compute.py")).stdout)
            differ = [key for key in golden if hashes.get(key) != golden[key]]
            failed |= bool(differ)
            verdict = f"all {len(golden)} hashes equal" if not differ else f"DIFFERENT: {', '.join(differ)}"
            print(f"{label}: plain product {probe.stdout.split()[0]}, plain sums {probe.stdout.split()[1]}; {verdict}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
