"""What is known of a task, now: metrics of a run, records of the chain, the state of the round that is open."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fbfl.chain.embedded.pin import BLOCKS_FILE, GENESIS_FILE, HEAD_FILE
from fbfl.chain.records import RoundRecord, ServerRecord, TaskRecords
from fbfl.dashboard.jobs import Job, Jobs
from fbfl.dashboard.where import Where
from fbfl.errors import FbflError
from fbfl.runs import files, index

if TYPE_CHECKING:
    from fbfl.chain.rounds import TaskState
    from fbfl.runs.folder import StoredRun


PAUSES = 5
"""The chain of a run that goes on is read again after so many times what it took: reading executes all of it."""

NOT_EXECUTED = "not re-executed: from the index beside the run; an audit executes its chain"


@dataclass(frozen=True)
class Known:
    """Records of a task, if there are any yet, and a line on where they come from or what is wrong."""

    records: TaskRecords | None
    note: str = ""
    trouble: bool = False


OpenRound = dict[str, Any]
"""The round that is open: its phase, who has submitted, who may propose or has, and how the votes stand."""


class Chain:
    """A task on a network, read again only where something has changed."""

    def __init__(self, where: Where) -> None:
        self._where = where
        self._lock = threading.Lock()
        self._kept: dict[int, tuple[tuple[bytes, ...], RoundRecord]] = {}
        self._last: TaskRecords | None = None
        self._about: tuple[int, tuple[ServerRecord, ...], Mapping[str, Any]] | None = None

    @cached_property
    def _stored(self) -> "StoredRun":
        return self._where.open()

    def check(self) -> None:
        """Open the task, so that wrong input is told at once."""
        self._stored.ledger.state(self._stored.task.id)

    def known(self) -> Known:
        """Return the records up to the newest block, or up to the last one of a node that does not answer any more."""
        from web3.exceptions import Web3Exception

        try:
            with self._lock:
                self._last = self._records()
                return Known(self._last, "read from the network as it is now")
        except (FbflError, Web3Exception) as error:
            return Known(self._last, str(error), trouble=True)

    def open_round(self) -> OpenRound | None:
        """Return the round that is open; None if none is."""
        from web3.exceptions import Web3Exception

        try:
            with self._lock:
                stored = self._stored
                return _open_round(stored, stored.ledger.state(stored.task.id))
        except (FbflError, Web3Exception):
            return None  # `known` tells

    def _records(self) -> TaskRecords:
        from fbfl.chain.queries import num_rounds, round_record, server_records, task_terms

        ledger, task = self._stored.ledger, self._stored.task
        records = []
        for number in range(1, num_rounds(ledger, task.id) + 1):
            events = tuple(event.block_hash + event.index.to_bytes(4) for event in ledger.round_events(task.id, number))
            if number not in self._kept or self._kept[number][0] != events:
                self._kept[number] = events, round_record(ledger, task.id, number)
            records.append(self._kept[number][1])
        seen = sum(1 for _ in ledger.events())  # stakes change with events only
        if self._about is None or self._about[0] != seen:
            self._about = seen, server_records(ledger), task_terms(ledger, task.id)
        return TaskRecords(task, self._about[2], self._about[1], tuple(records), len(records))


class NetworkSource(Chain):
    """A task on a network whose players are elsewhere: the chain is all that is known of it."""

    settings: Mapping[str, Any] = {}
    goes_on = True

    def __init__(self, where: Where) -> None:
        from fbfl.chain.networks import public_name

        super().__init__(where)
        self.where = where
        self.label = public_name(str(where.network))

    def metrics(self) -> Sequence[Mapping[str, Any]]:
        """Return what the chain says of the rounds that are over, in the words of metrics.jsonl."""
        records = self.known().records
        return [] if records is None else [line_of(record) for record in records.rounds if record.status != "open"]


class RunSource:
    """A run in its folder, which may be under way."""

    def __init__(self, where: Where, jobs: Jobs) -> None:
        self.where = where
        self.path = where.run or Path()
        self.label = str(where.run)
        settings = files.read_json(self.path / "settings.json")
        network = str(settings.get("network", "eth-tester"))
        self._network = None if network == "eth-tester" else Chain(where)
        # The URL of a node may hold a provider's key.
        self.settings: Mapping[str, Any] = {**settings, "network": _public(network)}
        self._jobs = jobs
        self._lock = threading.Lock()
        self._last: tuple[object, TaskRecords] | None = None
        self._reading: Job | None = None

    def check(self) -> None:
        """Begin to read the chain; a damaged one is shown."""
        self.known()

    @property
    def goes_on(self) -> bool:
        """True until the run has ended and its records are known."""
        ended = (self.path / "summary.json").exists()
        return not ended or (self._network is None and self._last is None)

    def metrics(self) -> Sequence[Mapping[str, Any]]:
        """Return the lines of metrics.jsonl so far, without one that is being written."""
        return files.read_metrics(self.path)

    def known(self) -> Known:
        """Return the records of the index; without one have the chain executed again, and say so meanwhile."""
        if self._network is not None:
            return self._network.known()
        with self._lock:
            stamp = _stamp(self.path)
            if self._last is None or self._last[0] != stamp:
                records = index.read(self.path)
                if records is not None:
                    self._last = stamp, records
            if self._last is not None and self._last[0] == stamp:
                return Known(self._last[1], NOT_EXECUTED)
            before = None if self._last is None else self._last[1]
            job = self._reading
            if job is None or (job.done and job.running_for > (1 + PAUSES) * job.seconds):
                job = self._reading = self._jobs.ask("index", self.where, stamp=repr(stamp[1:]))
        if job.error is not None:
            return Known(before, job.error, trouble=True)
        if job.done:
            return Known(before, "the chain has grown since it was read; it will be read again")
        return Known(before, f"the chain is read ({job.progress}, {job.running_for:.0f} s)")

    def open_round(self) -> OpenRound | None:
        """Return the round that is open, if the run plays on a network."""
        return self._network.open_round() if self._network else None


Source = NetworkSource | RunSource
"""A task that pages are about."""


def line_of(record: RoundRecord) -> dict[str, Any]:
    """Return what a record says of a round in the words of metrics.jsonl."""
    return {
        "round": record.round,
        "leader": record.leader,
        "status": record.status,
        "views": record.views,
        "updates": sum(update.included for update in record.updates),
        "gas_used": record.gas_used,
        "transactions": record.transactions,
        "payload_bytes": record.payload_bytes,
    }


def _public(network: str) -> str:
    if "://" not in network:
        return network
    from fbfl.chain.networks import public_name

    return public_name(network)


def _open_round(stored: "StoredRun", state: "TaskState") -> OpenRound | None:
    if state.phase.is_over:
        return None
    from fbfl.chain.rounds import ZERO_ADDRESS

    seats = {seat: server for server, seat in stored.ledger.seats(stored.task.id, state.round).items()}
    decision = state.decision
    decides = decision.round == state.round
    leader = decision.proposer if decides and decision.proposer != ZERO_ADDRESS else decision.leader
    return {
        "number": state.round,
        "phase": state.phase.name.lower(),
        "submitted": tuple(seats.get(seat, "?") for seat in state.submitted),
        "expected": state.awaited,
        "leader": leader if decides and leader != ZERO_ADDRESS else None,
        "view": decision.view if decides else 0,
        "stage": decision.stage.name.lower() if decides else "none",
        "accepts": decision.accepts if decides else 0,
        "rejects": decision.rejects if decides else 0,
        "quorum": decision.quorum if decides else 0,
    }


_OF_CHAIN = (HEAD_FILE, BLOCKS_FILE, GENESIS_FILE)


def _stamp(path: Path) -> tuple[object, ...]:
    """Return what tells that files of the run have changed: first of the index, then of the chain."""
    found: list[object] = []
    for name in (index.INDEX, *(f"chain/{each}" for each in _OF_CHAIN), "summary.json", "deployment.json"):
        try:
            status = (path / name).stat()
            found.append((status.st_mtime_ns, status.st_size))
        except OSError:
            found.append(None)
    return tuple(found)
