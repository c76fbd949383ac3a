"""The audit: recompute every round from the chain and the payloads, and report what differs."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from fbfl.chain import digests
from fbfl.chain.ledger import CONSENSUS_CONTRACTS, Ledger
from fbfl.chain.queries import round_records
from fbfl.chain.records import RoundRecord
from fbfl.chain.task import Task
from fbfl.errors import AggregationError, PayloadNotFoundError, PayloadRefusedError
from fbfl.learning.sampling import number_drawn
from fbfl.mec.global_model import next_model
from fbfl.mec.plan import TaskPlan
from fbfl.randomness import drawn_seats
from fbfl.storage.store import Reference, Store
from fbfl.values.parts import WHOLE


@dataclass(frozen=True)
class Finding:
    """Evidence that is damaged, missing or wrong. `server` is None if it belongs to no server."""

    round: int
    server: str | None
    problem: str
    absent: Reference | None = None
    """The payload that nobody has, if that is the problem."""

    def __str__(self) -> str:
        who = f", server {self.server}" if self.server else ""
        return f"round {self.round}{who}: {self.problem}"


@dataclass(frozen=True)
class AuditReport:
    """Scope and findings of an audit."""

    rounds: int
    over: int
    """Number of rounds that are final or aborted."""
    final: int
    updates: int
    findings: tuple[Finding, ...]
    expired: int = 0
    """Number of payloads that are gone because the task's retention is over."""

    @property
    def passed(self) -> bool:
        """True if everything is there and right."""
        return not self.findings


def audit(
    ledger: Ledger,
    store: Store,
    task: Task,
    plugins: Collection[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> AuditReport:
    """Audit all rounds of a task; of functions that the task names, only those in `plugins` are imported.

    `progress` is called after each round, with their number so far and that of all.

    It checks for every round: who was drawn to submit, the running hash over its updates, every payload, the digest
    that was voted on, the votes, the outcome that the ledger keeps, the rewards, and the new global model, recomputed
    from the payloads.
    """
    plan = TaskPlan.of(task, plugins)
    findings: list[Finding] = []
    records = list(round_records(ledger, task.id))
    parent = task.model
    expired: set[Reference] = set()
    for record in records:
        due = plan.retention is not None and record.round <= len(records) - plan.retention
        for finding in _audit_round(ledger, store, task, plan, record, parent, due):
            if due and finding.absent is not None:
                expired.add(finding.absent)
            else:
                findings.append(finding)
        parent = record.model or parent
        if progress is not None:
            progress(record.round, len(records))
    return AuditReport(
        rounds=len(records),
        over=sum(record.status != "open" for record in records),
        final=sum(record.status == "final" for record in records),
        updates=sum(len(record.updates) for record in records),
        findings=tuple(findings),
        expired=len(expired),
    )


def _audit_round(
    ledger: Ledger, store: Store, task: Task, plan: TaskPlan, record: RoundRecord, parent: Reference, due: bool
) -> Iterator[Finding]:
    """Yield all that is wrong with one round; `due` says that its payloads may be gone."""
    number = record.round
    if record.parent_cid != parent.cid:
        yield Finding(number, None, f"starts from {record.parent_cid}, but the model before it is {parent.cid}")
    yield from _audit_draw(ledger, task, record)
    yield from _audit_digests(ledger, task, record, parent)
    yield from _audit_votes(ledger, task, record)
    yield from _audit_rewards(ledger, task, record)

    updates = [update for update in ledger.updates(task.id, number) if update.server not in record.missing]
    payloads = []
    for update in updates:
        payload, problem, absent = _read(store, update.payload, due)
        if payload is None:
            yield Finding(number, update.server, f"update {update.payload.cid}: {problem}", absent)
        else:
            payloads.append((update, payload))
    before, problem, absent = _read(store, parent, due)
    if before is None:
        yield Finding(number, None, f"parent model {parent.cid}: {problem}", absent)
    model = record.model
    if record.status != "final" or model is None:
        return
    after, problem, absent = _read(store, model, due)
    if after is None:
        yield Finding(number, record.leader, f"global model {model.cid}: {problem}", absent)
    if before is None or len(payloads) < len(updates):
        return  # the findings above say why it cannot be recomputed
    try:
        closing = ledger.closing_hash(task.id, number)
        if closing is None:
            yield Finding(number, None, "it is final, and no block closed its submissions")
            return
        seed = plan.seed_of_draws(closing, ledger.accumulator(task.id, number), number)
        recomputed = next_model(plan, number, before, payloads, seed).reference
    except AggregationError as error:
        yield Finding(number, record.leader, f"a global model was recorded, but the updates give none: {error}")
        return
    if recomputed != model:
        problem = f"the recorded global model {model.cid} is not the aggregate of the updates, {recomputed.cid}"
        yield Finding(number, record.leader, problem)


def _audit_draw(ledger: Ledger, task: Task, record: RoundRecord) -> Iterator[Finding]:
    """Check that the members drawn are those that follow from the task's seed, and that nobody else submitted."""
    number = record.round
    seats, drawn = ledger.seats(task.id, number), ledger.drawn(task.id, number)
    if task.draws or record.drawn is not None:
        terms = ledger.terms(task.id)  # a node that hides them, or how the task draws, hides what follows from it
        count = number_drawn(len(seats), task.participation, terms.min_updates) if terms else 0
        if (*drawn,) != drawn_seats(seats.values(), count, task.seed, number):
            yield Finding(number, None, "the members that were drawn are not those that follow from the task's seed")
    for update in record.updates:
        if update.seat not in drawn:
            yield Finding(number, update.server, "its update is recorded, and it was not drawn for this round")


def _audit_digests(ledger: Ledger, task: Task, record: RoundRecord, parent: Reference) -> Iterator[Finding]:
    number = record.round
    domain = ledger.domain(task.id)
    accumulator = ledger.accumulator(task.id, number)
    for closed in ledger.round_events(task.id, number, "SubmissionsClosed"):
        if closed.args["accumulator"] != accumulator:
            yield Finding(number, None, "the running hash does not belong to the recorded updates")
    for final in ledger.round_events(task.id, number, "RoundFinalized"):
        args = final.args
        values = {
            digests.value_digest(
                domain,
                number,
                parent=parent.digest,
                closing=closing,
                accumulator=accumulator,
                missing=args["missing"],
                rule=task.rule,
                rule_params=task.rule_params,
                model=args["model"],
                model_size=args["modelSize"],
            )
            for closing in (ledger.closing_hash(task.id, number), None)  # None: as contracts of 0.1 form it
        }
        kept = ledger.outcome(task.id, number)
        if args["valueDigest"] not in values or digests.outcome(args["valueDigest"], args["leader"]) != kept:
            yield Finding(number, record.leader, "the outcome on the ledger is not what the committee voted on")


def _audit_votes(ledger: Ledger, task: Task, record: RoundRecord) -> Iterator[Finding]:
    """Check that a quorum of the committee voted for what became final, in the last stage of the last view."""
    if record.status != "final" or task.consensus not in CONSENSUS_CONTRACTS:
        return  # in which stage somebody else's consensus decides is not known here
    size = len(ledger.seats(task.id, record.round))
    quorum = task.quorum_of(size)
    stage = "commit" if task.consensus == "pbft" else "prepare"
    voters = {
        vote.voter
        for vote in record.votes
        if vote.accept and vote.stage == stage and vote.view == record.proposals[-1].view
    }
    if len(voters) < quorum:
        problem = f"{len(voters)} of {size} members accepted it, {quorum} are needed"
        yield Finding(record.round, record.leader, problem)


def _audit_rewards(ledger: Ledger, task: Task, record: RoundRecord) -> Iterator[Finding]:
    """Check that the leader and every included update were paid what the task's terms say."""
    if not record.rewards:
        return
    terms = ledger.reward_terms(task.id)
    for_leader = terms.per_round * terms.leader_share // WHOLE
    payable = [
        u for u in record.updates if u.included and not (record.missing and _is_hidden(ledger, record, u.server))
    ]
    weights = {u.server: u.samples if terms.by_samples else 1 for u in payable}
    due = dict.fromkeys(weights, 0)
    for server, weight in weights.items():
        due[server] = (terms.per_round - for_leader) * weight // sum(weights.values())
    if record.leader is not None:
        due[record.leader] = due.get(record.leader, 0) + for_leader
    paid: dict[str, int] = {}
    for server, amount in record.rewards:
        paid[server] = paid.get(server, 0) + amount
    for server in sorted(due.keys() | paid.keys()):
        if due.get(server, 0) != paid.get(server, 0):
            problem = f"was paid {paid.get(server, 0)} wei, the terms say {due.get(server, 0)}"
            yield Finding(record.round, server, problem)


def _is_hidden(ledger: Ledger, record: RoundRecord, server: str) -> bool:
    """Return True if a server had taken another seat when its round was settled.

    Where updates are left out, the pool cannot tell its update from those.
    """
    joined = 0
    for event in ledger.events("MemberJoined", "RoundSettled", task=record.task):
        if event.name == "RoundSettled" and event.args["round"] == record.round:
            return joined > record.round
        if event.name == "MemberJoined" and event.args["server"] == server:
            joined = event.args["since"]
    return False


def _read(store: Store, reference: Reference, due: bool) -> tuple[bytes | None, str, Reference | None]:
    """Return the payload, or the problem with it, and its reference if nobody has it.

    A payload that may be gone is looked for here alone: a search among all peers takes a time-out each.
    """
    try:
        if not due or store.has(reference):
            return store.get(reference), "", None
    except PayloadRefusedError as error:
        return None, f"the payload is damaged: {error}", None
    except PayloadNotFoundError:
        pass
    return None, "the payload is missing", reference
