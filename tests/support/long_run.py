"""The folder of a long run of many servers, with all that pages read: metrics and an index; no block of it is executed.

python -m tests.support.long_run DIR [ROUNDS [SERVERS]]
"""

import hashlib
import json
import math
import sys
from pathlib import Path

from fbfl.chain.embedded.pin import BLOCKS_FILE, GENESIS_FILE, HEAD_FILE, ChainHead
from fbfl.chain.records import ProposalRecord, RoundRecord, ServerRecord, TaskRecords, UpdateRecord, VoteRecord
from fbfl.chain.task import Task
from fbfl.runs import index
from fbfl.storage.store import Reference


def write_run(path: Path, rounds: int = 500, servers: int = 100) -> Path:
    """Write the folder of a run with so many rounds and servers."""
    (path / "chain").mkdir(parents=True)
    addresses = [f"0x{_hash('server', number)[:40]}" for number in range(servers)]
    records = [_round(number, addresses) for number in range(1, rounds + 1)]
    settings = {"dataset": "mnist-5k", "servers": servers, "devices": 2 * servers, "rounds": rounds, "malicious": 10}
    _write(path / "settings.json", {**settings, "attack": "label_flipping", "mobility": "random_waypoint"})
    _write(path / "deployment.json", {})
    lines = [
        {
            "round": record.round,
            "accuracy": 1 - math.exp(-record.round / 60),
            "loss": 2.3 * math.exp(-record.round / 90),
            "leader": record.leader,
            "status": record.status,
            "gas_used": record.gas_used,
            "payload_bytes": record.payload_bytes,
            "seconds": 1.5,
        }
        for record in records
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in (BLOCKS_FILE, GENESIS_FILE):
        (path / "chain" / name).write_bytes(b"")
    empty = hashlib.sha256(b"").hexdigest()
    pin = ChainHead(records[-1].last_block, "0x00", 0, empty, empty)
    _write(path / "chain" / HEAD_FILE, pin.to_json())
    _write(path / "summary.json", {"chain": pin.to_json()})
    task = Task(1, addresses[0], "pbft", addresses[0], "fedavg", b"{}", {}, Reference(bytes(32), 1), 1)
    known = tuple(
        ServerRecord(each, f"http://10.0.0.{place}", 10**18, "active") for place, each in enumerate(addresses)
    )
    index.write(path, pin, TaskRecords(task, {}, known, tuple(records), rounds))
    return path


def _round(number: int, addresses: list[str]) -> RoundRecord:
    leader, first = addresses[number % len(addresses)], 10 * number
    digest = f"0x{_hash('model', number)}"
    updates = tuple(
        UpdateRecord(
            server,
            seat,
            f"bafybei{_hash('cid', number, seat)[:52]}",
            f"0x{_hash('update', number, seat)}",
            400_000,
            100 + seat,
            True,
            first + 1 + seat % 4,
            f"0x{_hash('submit', number, seat)}",
        )
        for seat, server in enumerate(addresses)
    )
    votes = tuple(
        VoteRecord(server, 0, "prepare", True, first + 6 + seat % 3, f"0x{_hash('vote', number, seat)}")
        for seat, server in enumerate(addresses)
    )
    proposal = ProposalRecord(leader, 0, digest, f"bafybei{digest[2:54]}", digest, 400_000, first + 5, digest)
    return RoundRecord(
        task=1,
        round=number,
        status="aborted" if number % 97 == 0 else "final",
        consensus="pbft",
        leader=None if number % 97 == 0 else leader,
        views=1 + number % 3,
        parent_cid="bafybei",
        model_cid=proposal.cid,
        model_digest=digest,
        model_size=400_000,
        value_digest=digest,
        reason="no quorum" if number % 97 == 0 else None,
        updates=updates,
        missing=(),
        proposals=(proposal,),
        votes=votes,
        barred=(),
        rewards=tuple((server, 10**13) for server in addresses),
        slashes=(),
        gas_used=8_000_000 + 1000 * number,
        transactions=2 * len(addresses) + 3,
        calldata_bytes=50_000,
        first_block=first,
        last_block=first + 9,
    )


def _hash(*what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))


if __name__ == "__main__":
    write_run(Path(sys.argv[1]), *map(int, sys.argv[2:]))
