"""Rounds as records read from the chain, for people (`fbfl rounds`) and programs (`--json`)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hexbytes import HexBytes
from web3.exceptions import BadFunctionCallOutput

from fbfl.chain.answers import answer
from fbfl.chain.digests import from_short_text
from fbfl.chain.ledger import Ledger
from fbfl.chain.logs import Event
from fbfl.chain.records import (
    ProposalRecord,
    RoundRecord,
    ServerRecord,
    TaskRecords,
    UpdateRecord,
    VoteRecord,
    no_round,
)
from fbfl.chain.rounds import Answered, Stage
from fbfl.chain.seats import SeatSet
from fbfl.chain.task import Task
from fbfl.storage.store import Reference
from fbfl.values.parts import WHOLE


def task_terms(ledger: Ledger, task: int) -> dict[str, Any]:
    """Return a task's terms by the names of the settings; parts from 0 to 1, times in seconds, money in wei.

    They are empty if older contracts did not publish them.
    """
    terms, rewards = ledger.terms(task), ledger.reward_terms(task)
    if terms is None:
        return {}
    draw = {"participation": ledger.task(task).participation / WHOLE} if ledger.task(task).draws else {}
    puzzle = {"pow_hashes": 2**256 // terms.target, "solve_time": terms.solve_time} if terms.target else {}
    return {
        "quorum": "byzantine" if terms.byzantine_quorum else "majority",
        "view_timeout": terms.view_timeout,
        "max_views": terms.max_views,
        **puzzle,
        **draw,
        "min_updates": terms.min_updates,
        "max_samples": terms.max_samples,
        "reward": rewards.per_round,
        "leader_share": rewards.leader_share / WHOLE,
        "rejection_penalty": terms.rejection_penalty / WHOLE,
        "withheld_penalty": terms.withheld_penalty / WHOLE,
    }


def num_rounds(ledger: Ledger, task: int) -> int:
    """Return the number of rounds that a task has opened."""
    return sum(1 for _ in ledger.events("RoundOpened", task=task))


def round_records(ledger: Ledger, task: int) -> Iterator[RoundRecord]:
    """Yield all rounds of a task, from 1 on."""
    for number in range(1, num_rounds(ledger, task) + 1):
        yield round_record(ledger, task, number)


def task_records(ledger: Ledger, task: int, only: int | None = None) -> TaskRecords:
    """Return all that is recorded of a task, or of its rounds `only` one, as `round_record`."""
    numbers = range(1, num_rounds(ledger, task) + 1)
    return TaskRecords(
        task=ledger.task(task),
        terms=task_terms(ledger, task),
        servers=server_records(ledger),
        rounds=tuple(round_record(ledger, task, number) for number in (numbers if only is None else [only])),
        num_rounds=len(numbers),
    )


def server_records(ledger: Ledger) -> tuple[ServerRecord, ...]:
    """Return all servers that have ever registered, in the order of their registry numbers."""
    urls = {event.args["server"]: str(event.args["url"]) for event in ledger.events("ServerJoined")}
    return tuple(_server_record(ledger, server, urls[server]) for server in ledger.servers())


def _server_record(ledger: Ledger, server: str, url: str) -> ServerRecord:
    try:
        found = answer(ledger.registry.functions.server(server))
    except BadFunctionCallOutput:  # contracts of a former version answer in another form
        return ServerRecord(server, url, None, None)
    return ServerRecord(server, url, found.stake, Standing(found.status).name.lower())


def registered_url(ledger: Ledger, server: str) -> str | None:
    """Return the URL of a server in the registry; None before it registered."""
    joined = [event for event in ledger.events("ServerJoined") if event.args["server"] == server]
    return str(joined[-1].args["url"]) if joined else None


class Standing(Answered):
    """`IMECRegistry.Status`: a server's status in the registry."""

    UNKNOWN = 0
    ACTIVE = 1
    LEAVING = 2
    EXPELLED = 3


def standing_of(ledger: Ledger, server: str) -> Standing:
    """Return a server's status in the registry."""
    return Standing(answer(ledger.registry.functions.server(server)).status)


def losses_of(ledger: Ledger, task: int, server: str) -> tuple[int, int]:
    """Return the wei that penalties in a task have taken from a server so far, and those of its stake now."""
    slashes = [event.args for event in ledger.events("ServerSlashed", task=task) if event.args["server"] == server]
    return sum(slash["amount"] for slash in slashes), int(answer(ledger.registry.functions.server(server)).stake)


def consensus_of(ledger: Ledger, task: int) -> str:
    """Return the name of a task's consensus; an ethash election on a chain without proof of work is called a mock."""
    name = ledger.task(task).consensus
    return "ethash (mock)" if name == "ethash" and not ledger.has_proof_of_work else name


def model_after(task: Task, records: Sequence[RoundRecord]) -> Reference:
    """Return the global model after the last of these rounds, which are a task's first ones; after none its initial."""
    return next((model for record in reversed(records) if (model := record.model) is not None), task.model)


def round_record(ledger: Ledger, task: int, number: int) -> RoundRecord:
    """Return one round; a number that was not opened raises `InvalidInputError`."""
    events = list(ledger.round_events(task, number))
    by_name: dict[str, list[Event]] = {}
    for event in events:
        by_name.setdefault(event.name, []).append(event)
    if "RoundOpened" not in by_name:
        raise no_round(number, num_rounds(ledger, task))
    opened = by_name["RoundOpened"][0].args
    final = by_name["RoundFinalized"][0].args if "RoundFinalized" in by_name else None
    aborted = by_name["RoundAborted"][0].args if "RoundAborted" in by_name else None
    missing = SeatSet(final["missing"] if final else 0)
    seats = {seat: server for server, seat in ledger.seats(task, number).items()}
    model = Reference(final["model"], final["modelSize"]) if final else None
    drawn = SeatSet(by_name["ParticipantsDrawn"][0].args["drawn"]) if "ParticipantsDrawn" in by_name else None
    transactions = {event.transaction: event.block for event in events}
    return RoundRecord(
        task=task,
        round=number,
        status="final" if final else "aborted" if aborted else "open",
        consensus=consensus_of(ledger, task),
        leader=final["leader"] if final else None,
        views=len(by_name.get("ViewStarted", [])),
        parent_cid=Reference(opened["parent"], opened["parentSize"]).cid,
        model_cid=model.cid if model else None,
        model_digest=_hex(model.digest) if model else None,
        model_size=model.size if model else None,
        value_digest=_hex(final["valueDigest"]) if final else None,
        reason=from_short_text(aborted["reason"]) if aborted else None,
        updates=tuple(
            UpdateRecord(
                server=update.server,
                seat=update.seat,
                cid=update.payload.cid,
                digest=_hex(update.payload.digest),
                size=update.payload.size,
                samples=update.samples,
                included=final is not None and update.seat not in missing,
                block=update.block,
                transaction=update.transaction,
            )
            for update in ledger.updates(task, number)
        ),
        missing=tuple(seats[seat] for seat in sorted(seats) if seat in missing),
        proposals=tuple(_proposals(by_name)),
        votes=tuple(_votes(by_name, seats)),
        barred=tuple(event.args["proposer"] for event in by_name.get("ProposerBarred", [])),
        rewards=tuple((event.args["server"], event.args["amount"]) for event in by_name.get("Credited", [])),
        slashes=tuple(_slashes(ledger, task, set(transactions))),
        gas_used=sum(_gas(ledger, transaction) for transaction in transactions),
        transactions=len(transactions),
        calldata_bytes=sum(_calldata(ledger, transaction) for transaction in transactions),
        first_block=min(transactions.values()),
        last_block=max(transactions.values()),
        drawn=None if drawn is None else tuple(seats[seat] for seat in sorted(seats) if seat in drawn),
    )


def block_listing(
    ledger: Ledger, task: int, tensors: Callable[[str, Reference], dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the paper's listing of blocks: one entry per finished round, with every update and the new global model.

    `tensors` reads a payload of a type (`update` or `global_model`) as JSON values; without it, payloads are named by
    their CID alone. `timestamp`, `previous_hash`, `nonce` and `hash` are those of the block in which the round ended.
    """
    chain = []
    for record in round_records(ledger, task):
        if record.status == "open":
            continue
        block: Any = ledger.w3.eth.get_block(record.last_block)
        entries = [
            {
                "type": "update",
                "sender": update.server,
                "samples": update.samples,
                **_payload("update", update.payload, tensors),
            }
            for update in record.updates
        ]
        if record.model is not None:
            entries.append(
                {"type": "global_model", "sender": record.leader, **_payload("global_model", record.model, tensors)}
            )
        chain.append(
            {
                "index": record.round,
                "transactions": entries,
                "timestamp": block["timestamp"],
                "previous_hash": _hex(block["parentHash"]),
                "nonce": _hex(block["nonce"]),
                "hash": _hex(block["hash"]),
            }
        )
    return {"length": len(chain), "chain": chain}


def _payload(
    kind: str, reference: Reference, tensors: Callable[[str, Reference], dict[str, Any]] | None
) -> dict[str, Any]:
    named = {"cid": reference.cid, "digest": _hex(reference.digest), "size": reference.size}
    return {**named, "tensors": tensors(kind, reference)} if tensors else named


def _proposals(by_name: dict[str, list[Event]]) -> Iterator[ProposalRecord]:
    views = {(e.transaction, e.args["valueDigest"]): e.args["view_"] for e in by_name.get("Proposed", [])}
    for event in by_name.get("ModelProposed", []):
        args = event.args
        reference = Reference(args["model"], args["modelSize"])
        yield ProposalRecord(
            proposer=args["proposer"],
            view=views[event.transaction, args["valueDigest"]],
            value_digest=_hex(args["valueDigest"]),
            cid=reference.cid,
            digest=_hex(reference.digest),
            size=reference.size,
            block=event.block,
            transaction=_hex(event.transaction),
        )


def _votes(by_name: dict[str, list[Event]], seats: dict[int, str]) -> Iterator[VoteRecord]:
    # A proposal is its proposer's vote for it.
    for event in by_name.get("Proposed", []):
        args = event.args
        yield VoteRecord(args["proposer"], args["view_"], "prepare", True, event.block, _hex(event.transaction))
    for event in by_name.get("Voted", []):
        args = event.args
        stage = Stage(args["stage"]).name.lower()
        yield VoteRecord(args["voter"], args["view_"], stage, args["accept"], event.block, _hex(event.transaction))
    for event in [*by_name.get("VotesRecorded", []), *by_name.get("RejectionsRecorded", [])]:
        args, accept = event.args, event.name == "VotesRecorded"
        voters, stage = SeatSet(args["voters"]), Stage(args["stage"]).name.lower()
        for seat in sorted(seats):
            if seat in voters:
                yield VoteRecord(seats[seat], args["view_"], stage, accept, event.block, _hex(event.transaction))


def _slashes(ledger: Ledger, task: int, transactions: set[bytes]) -> Iterator[tuple[str, int, str]]:
    for event in ledger.events("ServerSlashed", task=task):
        if event.transaction in transactions:
            yield event.args["server"], event.args["amount"], from_short_text(event.args["reason"])


def _gas(ledger: Ledger, transaction: bytes) -> int:
    return int(ledger.w3.eth.get_transaction_receipt(HexBytes(transaction))["gasUsed"])


def _calldata(ledger: Ledger, transaction: bytes) -> int:
    return len(HexBytes(ledger.w3.eth.get_transaction(HexBytes(transaction))["input"]))


def _hex(value: bytes) -> str:
    return "0x" + bytes(value).hex()
