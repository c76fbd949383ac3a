"""Half an hour of rounds by agents on real nodes: how many a minute; whether memory and open files stay as they are.

    python -m benchmarks.soak [--minutes 30] [--output DIR]

Four agents as processes on Anvil, with PBFT and signed votes, on the digits data; their payloads are in two Kubo
daemons where Kubo is installed, and kept for five rounds. Every agent is looked at all ten seconds.
DIR/soak.csv gets what was seen. The first two minutes, in which programs load, are no part of the comparison of the
first third with the last one. Exit status 1 if something grew, or rounds became fewer.
"""

import argparse
import csv
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from fbfl.errors import ProcessError
from fbfl.nodes import chains, kubo
from fbfl.nodes.processes import find_program
from tests.integration.agents import SERVERS, Agents
from tests.support.ports import free_ports

INTERVAL = 10.0  # s
WARM_UP = 120.0  # s
GROWTH = 0.05  # of the memory, from the first third to the last
FILES = 2  # more open files
SLOWER = 0.2  # of the rounds a minute
MIB = 1 << 20


@dataclass(frozen=True)
class Sample:
    """One agent at one time."""

    seconds: float
    round: int
    agent: int
    memory_mib: float
    files: int
    failures: int


def main() -> int:
    """Run the soak; returns the exit status."""
    parser = argparse.ArgumentParser(prog="soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default 30)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of logs and figures (default: a new one)")
    options = parser.parse_args()
    if options.minutes * 60 < 2 * WARM_UP:
        parser.error(f"--minutes {options.minutes:g}; allowed: {2 * WARM_UP / 60:g} or more")
    folder = (options.output or Path(tempfile.mkdtemp(prefix="soak-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        samples = soak(folder, options.minutes * 60)
    finally:
        kubo.down(state=folder)
        chains.down("anvil", state=folder)
    with (folder / "soak.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(asdict(samples[0])))
        writer.writeheader()
        writer.writerows(asdict(sample) for sample in samples)
    print(f"all figures and logs: {folder}")
    return 0 if is_flat([sample for sample in samples if sample.seconds >= WARM_UP]) else 1


def soak(folder: Path, seconds: float) -> list[Sample]:
    """Play rounds for this time, and watch the agents meanwhile."""
    (node,) = chains.up("anvil", port=free_ports(), state=folder)
    agents = Agents(folder, node.address, free_ports(), ipfs=_daemons(folder))
    try:
        settings = ("--dataset", "digits", "--servers", SERVERS, "--consensus", "pbft")
        task = agents.create_task(*settings, "--signatures", "--retention", 5, "--rounds", 1000)
        agents.enrol(task)
        for number in range(SERVERS):
            agents.begin_agent(number)
        drive = agents.command("task", "drive", "--account", 0, "--rounds", 1_000_000, "--servers", SERVERS)
        agents.others.append(agents.start(drive, "drive.log"))
        return _watch(agents, seconds)
    finally:
        agents.end()


def is_flat(samples: Sequence[Sample]) -> bool:
    """Print the first third beside the last one; whether nothing grew."""
    begin, end = samples[0].seconds, samples[-1].seconds
    first = [sample for sample in samples if sample.seconds <= begin + (end - begin) / 3]
    last = [sample for sample in samples if sample.seconds >= end - (end - begin) / 3]
    verdicts = []

    def compare(what: str, of: Callable[[Sequence[Sample]], float], fits: Callable[[float, float], bool]) -> None:
        before, after = of(first), of(last)
        verdicts.append(fits(before, after))
        print(f"{what:<24} {before:>8.1f} {after:>8.1f}  {'flat' if verdicts[-1] else 'NOT FLAT'}")

    print(f"{'':<24} {'first':>8} {'last':>8}  third of {(end - begin) / 60:.1f} minutes")
    compare("rounds a minute", _rounds_a_minute, lambda before, after: after >= (1 - SLOWER) * before)
    for agent in range(SERVERS):
        memory, files = _median("memory_mib", agent), _median("files", agent)
        compare(f"agent {agent}: memory, MiB", memory, lambda before, after: after <= (1 + GROWTH) * before)
        compare(f"agent {agent}: open files", files, lambda before, after: after <= before + FILES)
    failures = sum(sample.failures for sample in samples[-SERVERS:])
    print(f"{'failures':<24} {failures:>8}")
    return all(verdicts)


def _watch(agents: Agents, seconds: float) -> list[Sample]:
    samples: list[Sample] = []
    started = time.monotonic()
    processes = {number: psutil.Process(agent.pid) for number, agent in agents.agents.items()}
    while (passed := time.monotonic() - started) < seconds:
        for number, process in processes.items():
            if agents.agents[number].poll() is not None:
                raise ProcessError(f"agent {number} ended; its log is {agents.folder / f'agent-{number}.log'}")
            at_round = (agents.health(number) or {}).get("round") or 0
            failed = sum(line["message"].startswith("failed") for line in agents.log(number))
            memory = process.memory_info().rss / MIB
            samples.append(Sample(round(passed, 1), at_round, number, round(memory, 1), process.num_fds(), failed))
        if len(samples) % (6 * SERVERS) == SERVERS:  # once a minute
            seen = samples[-SERVERS:]
            memory_now = ", ".join(f"{sample.memory_mib:.0f}" for sample in seen)
            files_now = ", ".join(str(sample.files) for sample in seen)
            print(f"{passed / 60:5.1f} min  round {seen[0].round:>4}  MiB {memory_now}  files {files_now}", flush=True)
        time.sleep(INTERVAL)
    return samples


def _daemons(folder: Path) -> list[str]:
    try:
        find_program("ipfs")
    except ProcessError:
        return []
    return [daemon.address for daemon in kubo.up(nodes=2, port=free_ports(), state=folder)]


def _rounds_a_minute(samples: Sequence[Sample]) -> float:
    return 60 * (samples[-1].round - samples[0].round) / (samples[-1].seconds - samples[0].seconds)


def _median(name: str, agent: int) -> Callable[[Sequence[Sample]], float]:
    return lambda samples: statistics.median(getattr(each, name) for each in samples if each.agent == agent)


if __name__ == "__main__":
    sys.exit(main())
