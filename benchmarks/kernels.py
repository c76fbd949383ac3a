"""TensorFlow's kernels for the local training: its own, oneDNN's, and oneDNN's with the system's allocator.

    python benchmarks/kernels.py [--repeats 5]

Seconds a round, medians (min to max), the three in turn. TensorFlow takes oneDNN's by itself only where the processor
has AVX-512 VNNI; `fbfl.learning.backend.load_tensorflow` always asks for them, with the system's allocator.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.training import CASES, Contender, write_data

SETTINGS = {
    "TensorFlow's own": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "0"},
    "oneDNN, system allocator": {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1"},
}
MODELS = {case.model: case for case in reversed(CASES)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        write_data(data)
        for case in MODELS.values():
            contenders = {}
            for name, setting in SETTINGS.items():
                os.environ.update(setting)  # which the contender inherits
                contenders[name] = Contender("fbfl", case, data, options.repeats + 1, 300, sys.stderr)
            turns = [
                {name: contender.turn()["seconds"] for name, contender in contenders.items()}
                for _ in range(options.repeats + 1)
            ][1:]  # the first compiles
            for name, contender in contenders.items():
                seconds = [each[name] for each in turns]
                spread = f"{statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})"
                print(f"{case.name:<16}{name:<28}{spread}", flush=True)
                contender.close()


if __name__ == "__main__":
    main()
