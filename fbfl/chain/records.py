"""What the chain records of a task, as plain values: for people (`fbfl rounds`), programs (`--json`) and the dashboard.

Reading them off a chain is `fbfl.chain.queries`; this module imports nothing that is slow to import.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import with_config

from fbfl.chain.task import Task
from fbfl.errors import InvalidInputError, PayloadRefusedError
from fbfl.storage.store import Reference
from fbfl.values.contract_types import STRICT, Number


@dataclass(frozen=True)
class UpdateRecord:
    """An update: its sender, the CID of its payload, its number of samples, and whether it was left out."""

    server: str
    seat: Number
    cid: str
    digest: str
    size: Number
    samples: Number
    included: bool
    block: Number
    transaction: str

    @property
    def payload(self) -> Reference:
        """Its payload; `PayloadRefusedError` if the record, which may come from a file, names none."""
        return _reference(self.digest, self.size)


@dataclass(frozen=True)
class ProposalRecord:
    """A proposed global model."""

    proposer: str
    view: Number
    value_digest: str
    cid: str
    digest: str
    size: Number
    block: Number
    transaction: str


@dataclass(frozen=True)
class VoteRecord:
    """A vote; `stage` is `prepare` or `commit`."""

    voter: str
    view: Number
    stage: str
    accept: bool
    block: Number
    transaction: str


@with_config(STRICT)
@dataclass(frozen=True)
class RoundRecord:
    """A round: `status` is `open`, `final` or `aborted`; digests and hashes are hex, sizes bytes, gas units of gas."""

    task: Number
    round: Number
    status: str
    consensus: str
    leader: str | None
    views: Number
    parent_cid: str
    model_cid: str | None
    model_digest: str | None
    model_size: Number | None
    value_digest: str | None
    reason: str | None
    updates: tuple[UpdateRecord, ...]
    missing: tuple[str, ...]
    proposals: tuple[ProposalRecord, ...]
    votes: tuple[VoteRecord, ...]
    barred: tuple[str, ...]
    rewards: tuple[tuple[str, Number], ...]
    slashes: tuple[tuple[str, Number, str], ...]
    gas_used: Number
    transactions: Number
    calldata_bytes: Number
    first_block: Number
    last_block: Number
    drawn: tuple[str, ...] | None = None
    """Servers that were drawn to submit; None where all may."""

    @property
    def model(self) -> Reference | None:
        """The new global model, if there is one; raises as `UpdateRecord.payload`."""
        if self.model_digest is None or self.model_size is None:
            return None
        return _reference(self.model_digest, self.model_size)

    @property
    def payload_bytes(self) -> int:
        """Bytes published off the chain: the updates, and every model that was proposed."""
        models = {proposal.digest: proposal.size for proposal in self.proposals}
        return sum(update.size for update in self.updates) + sum(models.values())

    def as_json(self) -> dict[str, Any]:
        """Return the record as JSON values, with the field names as keys."""
        values = asdict(self)
        values["rewards"] = [{"server": server, "wei": wei} for server, wei in self.rewards]
        values["slashes"] = [{"server": server, "wei": wei, "reason": reason} for server, wei, reason in self.slashes]
        return values


@dataclass(frozen=True)
class ServerRecord:
    """A server in the registry; stake (wei) and standing are None if contracts of a former version keep them."""

    address: str
    url: str
    stake: Number | None
    standing: str | None
    """`active`, `leaving` or `expelled`."""


@with_config(STRICT)
@dataclass(frozen=True)
class TaskRecords:
    """All that is recorded of a task."""

    task: Task
    terms: Mapping[str, Any]
    """See `fbfl.chain.queries.task_terms`."""
    servers: tuple[ServerRecord, ...]
    """By their numbers in the registry."""
    rounds: tuple[RoundRecord, ...]
    """All from 1 on, or the one that was asked for."""
    num_rounds: Number
    """Rounds that the task has opened."""

    def round(self, number: int) -> RoundRecord:
        """Return a round of all; one that does not exist raises `InvalidInputError`."""
        if not 1 <= number <= self.num_rounds:
            raise no_round(number, self.num_rounds)
        return self.rounds[number - 1]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The servers' addresses, by their numbers in the registry."""
        return tuple(server.address for server in self.servers)


def no_round(number: int, rounds: int) -> InvalidInputError:
    """Return the error for a round that none of so many rounds is."""
    return InvalidInputError(
        f"round {number} does not exist; {f'allowed: 1 to {rounds}' if rounds else 'there is none'}"
    )


def _reference(digest: str, size: int) -> Reference:
    try:
        return Reference(bytes.fromhex(digest.removeprefix("0x")), size)
    except ValueError as error:
        raise PayloadRefusedError(f"{digest[:80]!r} is no digest") from error
