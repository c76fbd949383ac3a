"""A round from its opening to its end, step by step: what happened, who did it, in which block and transaction."""

from dataclasses import dataclass

from fbfl.chain.records import RoundRecord

LANES = ("opening", "updates", "proposals", "prepare votes", "commit votes", "end")


@dataclass(frozen=True)
class Step:
    """One thing that was recorded."""

    block: int
    lane: str
    """One of `LANES`."""
    who: str
    """Address of a server; empty if it is nobody's in particular."""
    what: str
    good: bool
    """False for a rejection, an update that was left out, and a round that was given up."""
    transaction: str | None = None


def steps(record: RoundRecord) -> tuple[Step, ...]:
    """Return the steps of a round in the order of blocks, and of `LANES` within a block."""
    out = record.status == "final"
    found = [Step(record.first_block, "opening", "", f"round {record.round} opens", True)]
    for update in record.updates:
        good = update.included or not out
        what = f"update of {update.samples:,} samples" + ("" if good else ", left out")
        found.append(Step(update.block, "updates", update.server, what, good, update.transaction))
    for each in record.proposals:
        what = f"proposal in view {each.view}"
        found.append(Step(each.block, "proposals", each.proposer, what, True, each.transaction))
    for vote in record.votes:
        what = f"{'accepts' if vote.accept else 'rejects'} in view {vote.view} ({vote.stage})"
        lane = "commit votes" if vote.stage == "commit" else "prepare votes"
        found.append(Step(vote.block, lane, vote.voter, what, vote.accept, vote.transaction))
    if record.status != "open":
        end = "final" if out else f"aborted: {record.reason or 'no reason recorded'}"
        found.append(Step(record.last_block, "end", record.leader or "", end, out))
    return tuple(sorted(found, key=lambda step: (step.block, LANES.index(step.lane))))


@dataclass(frozen=True)
class View:
    """The votes of one view and stage."""

    number: int
    stage: str
    proposer: str | None
    accepts: tuple[str, ...]
    rejects: tuple[str, ...]


def views(record: RoundRecord) -> tuple[View, ...]:
    """Return the votes by view and stage, in their order."""
    proposers = {proposal.view: proposal.proposer for proposal in record.proposals}
    kinds = sorted({(vote.view, vote.stage) for vote in record.votes}, key=lambda kind: (kind[0], kind[1] == "commit"))
    return tuple(
        View(
            view,
            stage,
            proposers.get(view),
            tuple(vote.voter for vote in record.votes if (vote.view, vote.stage) == (view, stage) and vote.accept),
            tuple(vote.voter for vote in record.votes if (vote.view, vote.stage) == (view, stage) and not vote.accept),
        )
        for view, stage in kinds
    )


def rewards(record: RoundRecord) -> dict[str, int]:
    """Return what each server was paid (wei), as leader and for its update together."""
    paid: dict[str, int] = {}
    for server, wei in record.rewards:
        paid[server] = paid.get(server, 0) + wei
    return paid


@dataclass(frozen=True)
class Transaction:
    """A transaction of a round and what it recorded."""

    hash: str
    block: int
    steps: tuple[Step, ...]


def transactions(record: RoundRecord) -> tuple[Transaction, ...]:
    """Return the transactions that are known by what they recorded, in the order of blocks."""
    by_hash: dict[str, list[Step]] = {}
    for step in steps(record):
        if step.transaction is not None:
            by_hash.setdefault(step.transaction, []).append(step)
    return tuple(Transaction(each, of[0].block, tuple(of)) for each, of in by_hash.items())
