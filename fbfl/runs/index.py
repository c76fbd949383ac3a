"""The index of a stored run: what its chain records, so that queries need not execute every block again.

index.jsonl in the folder of the run is written after every block was executed. Its first line pins what it was made
from: the chain's files, the deployment and the code of fbfl. If any of these is another now, if its own bytes are
damaged, or if a value is not of its type, there is no index. Whoever can write into the folder can write an index that
says anything: queries that read it say so, and an audit never does.
"""

import contextlib
import functools
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, with_config

import fbfl
from fbfl.chain.embedded.pin import BLOCKS_FILE, GENESIS_FILE, ChainHead, contents
from fbfl.chain.records import RoundRecord, TaskRecords
from fbfl.errors import ChainImportError
from fbfl.runs.files import pin_of
from fbfl.system import strictjson
from fbfl.system.atomic import write_atomically
from fbfl.values.contract_types import STRICT, Number

INDEX = "index.jsonl"

MOST_BYTES = 2**28
"""Bytes of an index at most; one of 500 rounds of 100 servers has an eighth of it."""


@dataclass(frozen=True)
class Recorded:
    """What is recorded of the task of a run, and whether its chain was executed again to find it."""

    records: TaskRecords
    executed: bool


@with_config(STRICT)
@dataclass(frozen=True)
class _Head:
    """The first line: what the index was made from, the SHA-256 of the lines after it, and their number."""

    made_from: str
    lines_sha256: str
    num_rounds: Number


_HEAD, _ABOUT, _ROUND = TypeAdapter(_Head), TypeAdapter(TaskRecords), TypeAdapter(RoundRecord)


def recorded_in(path: Path, only: int | None = None) -> Recorded:
    """Return what is recorded of the task of a run: all rounds, or `only` one.

    It is read from the index, if there is one; otherwise the chain is executed again, and the index written. A run on
    another network is read there. Raises as `fbfl.runs.folder.open_stored`; a round that does not exist raises
    `InvalidInputError`.
    """
    known = read(path, only)
    if known is not None:
        return Recorded(known, executed=False)
    from fbfl.chain.queries import task_records
    from fbfl.runs.folder import open_stored

    stored = open_stored(path)
    if stored.pin is None:
        return Recorded(task_records(stored.ledger, stored.task.id, only), executed=True)
    records = task_records(stored.ledger, stored.task.id)
    write(path, stored.pin, records)
    if only is not None:
        records = replace(records, rounds=(records.round(only),))
    return Recorded(records, executed=True)


def read(path: Path, only: int | None = None) -> TaskRecords | None:
    """Return what the index of a run says: all rounds, or `only` one; None if there is none for this chain and code."""
    try:
        file = path / INDEX
        if file.stat().st_size > MOST_BYTES:
            return None
        first, _, rest = file.read_bytes().partition(b"\n")
        head = _HEAD.validate_json(first)
        if hashlib.sha256(rest).hexdigest() != head.lines_sha256 or head.made_from != _made_from(path, pin_of(path)):
            return None
        about, *lines = rest.splitlines()
        wanted = range(1, len(lines) + 1) if only is None else [only]
        if len(lines) != head.num_rounds or not {*wanted} <= {*range(1, len(lines) + 1)}:
            return None
        rounds = tuple(_round_in(lines[number - 1], number) for number in wanted)
        known = _ABOUT.validate_json(about)
        return replace(known, rounds=rounds, num_rounds=len(lines))
    except (OSError, ValueError, ChainImportError):
        return None


def write(path: Path, pin: ChainHead, records: TaskRecords) -> None:
    """Write the index of a run whose chain was executed again up to `pin`; where it cannot be written there is none."""
    lines = [_ABOUT.dump_json(replace(records, rounds=())), *map(_ROUND.dump_json, records.rounds)]
    rest = b"".join(line + b"\n" for line in lines)
    with contextlib.suppress(OSError, ChainImportError):
        head = _Head(_made_from(path, pin), hashlib.sha256(rest).hexdigest(), len(records.rounds))
        write_atomically(path / INDEX, _HEAD.dump_json(head) + b"\n" + rest)


def _round_in(line: bytes, number: int) -> RoundRecord:
    record = _ROUND.validate_json(line)
    if record.round != number:
        raise ValueError(f"round {record.round} is in the place of {number}")
    return record


def _made_from(path: Path, pin: ChainHead) -> str:
    """Return the SHA-256 of all that an index depends on: the chain's files as they are, deployment and code."""
    found = hashlib.sha256()
    for part in (
        contents(path / "chain" / GENESIS_FILE),
        contents(path / "chain" / BLOCKS_FILE)[: pin.size],
        contents(path / "deployment.json"),
        strictjson.dumps(pin.to_json()).encode(),
        code().encode(),
    ):
        found.update(hashlib.sha256(part).digest())
    return found.hexdigest()


@functools.cache
def code() -> str:
    """Return the SHA-256 of the code of fbfl, its contracts included."""
    folder = Path(fbfl.__file__).parent
    found = hashlib.sha256()
    for file in sorted(each for pattern in ("*.py", "*.json") for each in folder.rglob(pattern)):
        found.update(file.relative_to(folder).as_posix().encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()
