"""Hashes per second of the proof-of-work miner: ``python -m benchmarks.pow [PROCESSES]``."""

import sys
import time

from benchmarks.miner import Miner
from fbfl.chain.pow import Puzzle

SECONDS = 3.0


def main() -> None:
    hopeless = Puzzle(1, "0x" + "11" * 20, 1, 1, 0, bytes(32), "0x" + "22" * 20, target=1)
    for processes in [int(argument) for argument in sys.argv[1:]] or [1, 2]:
        with Miner(processes) as miner:
            miner.attempt(hopeless)
            miner.stop()  # the processes are up now
            miner.hashes, miner.seconds = 0, 0.0
            miner.start(hopeless)
            time.sleep(SECONDS)
            miner.stop()
            total = miner.hashes_per_second * processes
            print(f"{processes} processes: {total:,.0f} hashes/s, {miner.hashes_per_second:,.0f} each")


if __name__ == "__main__":
    main()
