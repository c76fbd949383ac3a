"""The retarget of the puzzle on Anvil: how soon a solution takes `--solve-time`, from puzzles too easy or too hard.

    python -m benchmarks.retarget [--solve-time 8] [--rounds 16] [HASHES ...]

For each HASHES, the average of the first puzzle, it plays a task of two servers, which mine in a process each, on an
Anvil that it starts. It prints a line per round: the hashes that its puzzle took on average, those that were
tried, and the seconds of the chain from the close of the submissions to the solution.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.miner import Miner
from fbfl.chain.logs import Event
from fbfl.chain.pow import Puzzle
from fbfl.errors import FbflError
from fbfl.learning import datasets
from fbfl.nodes import chains
from fbfl.settings import RunSettings
from fbfl.simulation import Simulation, devnet_of
from fbfl.storage.local import LocalStore
from tests.support.ports import free_ports

SERVERS = 2
STEADY_FROM = 8
"""Rounds from this one on count as steady: each moves the target by a factor of 4 at most."""


@dataclass(frozen=True)
class Solved:
    """A round's puzzle: hashes that it took on average, hashes that were tried, seconds to its solution."""

    round: int
    expected: int
    tried: int
    seconds: int


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="retarget", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--solve-time", type=int, default=8, help="seconds that a solution should take (default 8)")
    parser.add_argument("--rounds", type=int, default=16, help="rounds of a task (default 16)")
    parser.add_argument("hashes", type=int, nargs="*", default=[2**12, 2**24], help="of the first puzzle (4096, 2**24)")
    options = parser.parse_args()
    for hashes in options.hashes:
        print(f"first puzzle {hashes:,} hashes, solve time {options.solve_time} s")
        print("round  hashes expected       tried  seconds")
        found = []
        for solved in play(hashes, options.solve_time, options.rounds):
            found.append(solved)
            print(f"{solved.round:>5}  {solved.expected:>15,}  {solved.tried:>10,}  {solved.seconds:>7}", flush=True)
        steady = [solved.seconds for solved in found if solved.round >= STEADY_FROM]
        if steady:
            print(f"from round {STEADY_FROM} on: mean {statistics.mean(steady):.1f} s, wanted {options.solve_time} s\n")


def play(hashes: int, solve_time: int, rounds: int) -> Iterator[Solved]:
    """Play a task on an Anvil of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="retarget-")))
        (node,) = chains.up("anvil", port=free_ports(), state=folder)
        stack.callback(chains.down, "anvil", state=folder)
        settings = RunSettings(
            dataset="digits",
            servers=SERVERS,
            rounds=rounds,
            network=node.address,
            pow_hashes=hashes,
            solve_time=solve_time,
            view_timeout=3600,
        )
        miners = [stack.enter_context(Miner()) for _ in range(SERVERS)]
        federation = Simulation(
            settings,
            datasets.load("digits"),
            LocalStore(folder / "payloads"),
            devnet=devnet_of(settings, folder / "deployment.json"),
        )
        for election, miner in zip(federation.puzzles, miners, strict=True):
            election.attempt = partial(_attempt, miner, miners)
        expected, tried = hashes, 0
        for result in federation.rounds():
            number = result.record.round
            if result.record.status != "final":
                raise FbflError(f"round {number} is {result.record.status}: {result.record.reason}")
            (closed,) = federation.ledger.round_events(federation.task.id, number, "SubmissionsClosed")
            (solved,) = federation.ledger.round_events(federation.task.id, number, "PuzzleSolved")
            seconds = _time_of(federation, solved) - _time_of(federation, closed)
            before, tried = tried, sum(miner.hashes for miner in miners)
            yield Solved(number, expected, tried - before, seconds)
            expected = 2**256 // solved.args["nextTarget"]


def _attempt(miner: Miner, miners: Sequence[Miner], puzzle: Puzzle) -> int | None:
    """Search on; the first to find a solution ends the search of the others."""
    nonce = miner.attempt(puzzle)
    if nonce is not None:
        for other in miners:
            if other is not miner:
                other.stop()
    return nonce


def _time_of(federation: Simulation, event: Event) -> int:
    return int(federation.chain.w3.eth.get_block(event.block)["timestamp"])


if __name__ == "__main__":
    main()
