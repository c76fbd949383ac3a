"""One case of `benchmarks.chain`, in a process of its own: by the code that `PYTHONPATH` names, of whatever age.

    python chain_case.py '{"servers": 10, "consensus": "pow", "rounds": 3, ...}'

Prints a JSON object. Only names that versions share from 0.1 on are used.
"""

import contextlib
import inspect
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fbfl.learning import datasets
from fbfl.settings import RunSettings
from fbfl.storage.local import LocalStore


def main() -> None:
    """Play the rounds of a case, after one that compiles; print what they took."""
    case: dict[str, Any] = json.loads(sys.argv[1])
    rounds, alone, execution = case.pop("rounds"), case.pop("alone", False), case.pop("execution", False)
    with _node(case):
        print(json.dumps(_alone(case, rounds) if alone else _on_a_chain(case, rounds, execution)))


@contextlib.contextmanager
def _node(case: dict[str, Any]) -> Iterator[None]:
    """Run a node as long as this, where the case names a network; the case gets its URL."""
    if "network" not in case:
        yield
        return
    from fbfl.nodes import chains

    with tempfile.TemporaryDirectory() as folder:
        (node,) = chains.up(case["network"], port=18_545, state=Path(folder))
        name, case["network"] = case["network"], node.address
        try:
            yield
        finally:
            chains.down(name, state=Path(folder))


def _on_a_chain(case: dict[str, Any], rounds: int, execution: bool) -> dict[str, Any]:
    from fbfl.simulation import Simulation

    began, cpu_began = time.perf_counter(), time.process_time()
    settings = RunSettings(rounds=rounds + 1, **case)
    with tempfile.TemporaryDirectory() as folder:
        federation = Simulation(settings, datasets.load(case["dataset"]), _store(Path(folder)))
        ready, cpu_ready = time.perf_counter(), time.process_time()
        federation.play_round()
        results = [federation.play_round() for _ in range(rounds)]
        records = [result.record for result in results]
        executions = _executions(federation, records) if execution else []
        payloads = [_payloads(federation, record) for record in records] if execution else [0.0]
        return {
            "setup_seconds": ready - began,
            "setup_cpu": cpu_ready - cpu_began,
            "seconds": statistics.median(result.seconds for result in results),
            "cpu": statistics.median(result.cpu_seconds for result in results),
            "train_seconds": statistics.median(result.train_seconds for result in results),
            "transactions": statistics.median(record.transactions for record in records),
            "views": statistics.median(record.views for record in records),
            "gas": statistics.median(record.gas_used for record in records),
            "blocks": statistics.median(record.last_block - record.first_block + 1 for record in records),
            "execution_cpu": statistics.median(executions or [0.0]),
            "payloads_cpu": statistics.median(payloads),
            "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        }


def _store(folder: Path) -> LocalStore:
    """The store of a run, which does not wait for the disk; earlier versions always do."""
    if "durable" not in inspect.signature(LocalStore).parameters:
        return LocalStore(folder)
    return LocalStore(folder, durable=False)


def _executions(federation: Any, records: Sequence[Any]) -> list[float]:
    """Return the processor seconds of executing the blocks of each round again by py-evm as it comes, and nothing else.

    None where blocks have seals, or are on a node.
    """
    node = federation.chain
    if records[0].consensus.startswith("ethash") or not hasattr(node, "chain"):
        return []
    from eth.db.atomic import AtomicDB
    from eth.vm.forks.london import LondonVM
    from eth_typing import BlockNumber

    from fbfl.chain.embedded.rules import LondonChain
    from fbfl.chain.embedded.seals import SEALS

    class StockVM(LondonVM):
        consensus_class = SEALS["none"]

    class StockChain(LondonChain):
        vm_configuration = ((BlockNumber(0), StockVM),)
        consensus = SEALS["none"]

    stock: Any = StockChain.from_genesis(AtomicDB(), dict(node.genesis.header), dict(node.genesis.alloc))
    times = {}
    for number in range(1, records[-1].last_block + 1):
        block = node.chain.get_canonical_block_by_number(number)
        began = time.process_time()
        stock.import_block(block)
        times[number] = time.process_time() - began
    return [sum(times[n] for n in range(record.first_block, record.last_block + 1)) for record in records]


def _payloads(federation: Any, record: Any) -> float:
    """Return the processor seconds of hashing and decoding the updates of a round once, and nothing else."""
    from fbfl.storage.cid import digest_of
    from fbfl.storage.codecs import decode_update
    from fbfl.storage.store import Reference

    known = [Reference(bytes.fromhex(update.digest.removeprefix("0x")), update.size) for update in record.updates]
    payloads = [federation.store.get(reference) for reference in known]
    began = time.process_time()
    for payload in payloads:
        digest_of(payload)
        decode_update(federation.plan.payload, federation.plan.spec, payload)
    return time.process_time() - began


def _alone(case: dict[str, Any], rounds: int) -> dict[str, Any]:
    """The same training and aggregation without a chain."""
    from fbfl.learning import partition
    from fbfl.learning.federation import Federation

    data = datasets.load(case["dataset"])
    shares = partition.iid(data.y_train, num_clients=case["servers"], seed=0)
    clients = [(data.x_train[share], data.y_train[share]) for share in shares]
    results = Federation(clients, test=(data.x_test, data.y_test), seed=0).rounds(rounds + 1)
    seconds, cpu = [], []
    for _ in range(rounds + 1):
        began, cpu_began = time.perf_counter(), time.process_time()
        next(results)
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - cpu_began)
    return {"seconds": statistics.median(seconds[1:]), "cpu": statistics.median(cpu[1:])}


if __name__ == "__main__":
    main()
