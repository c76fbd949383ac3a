"""`fbfl rounds`, `round`, `blocks` and `audit`: show what the chain records, and check it."""

import argparse
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from fbfl.cli.network import add_plugin, plugins_of
from fbfl.cli.parser import Commands
from fbfl.cli.stored import add_source, folder_of, open_source
from fbfl.errors import InvalidInputError, NoFinalRoundError
from fbfl.system import strictjson

if TYPE_CHECKING:
    from fbfl.chain.queries import RoundRecord
    from fbfl.runs.folder import StoredRun
    from fbfl.storage.store import Reference


def add_parser(commands: Commands) -> None:
    """Add the four commands."""
    listing = commands.add_parser("rounds", help="the rounds on the chain, a line each")
    listing.add_argument("--json", action="store_true", help="a JSON list")
    listing.set_defaults(command=rounds)
    one = commands.add_parser("round", help="one round: updates, votes, leader, gas")
    one.add_argument("number", type=int, metavar="R", help="the round, from 1")
    one.add_argument("--json", action="store_true", help="a JSON object")
    one.set_defaults(command=one_round)
    as_blocks = commands.add_parser("blocks", help="one block per finished round, as JSON")
    as_blocks.add_argument("--tensors", action="store_true", help="with the tensors of every payload")
    add_plugin(as_blocks)
    as_blocks.set_defaults(command=blocks)
    checking = commands.add_parser("audit", help="recompute every round from chain and payloads")
    checking.add_argument(
        "--geth",
        nargs="?",
        const="",
        metavar="PATH",
        help="also execute the chain of the run again with stock geth 1.11.6 (default: that of fbfl nodes install)",
    )
    add_plugin(checking)
    checking.set_defaults(command=audit)
    for command in (listing, one, as_blocks, checking):
        add_source(command)


def rounds(options: argparse.Namespace) -> int:
    """Print a line, or a JSON object, per round."""
    from fbfl.chain.queries import round_records

    run = open_source(options)
    records = list(round_records(run.ledger, run.task.id))
    if options.json:
        print(strictjson.dumps([record.as_json() for record in records], indent=1))
        return 0
    if all(record.status == "open" for record in records):
        print("no round is over")
    for record in records:
        print(_line(record))
    return 0


def one_round(options: argparse.Namespace) -> int:
    """Print all that is recorded of one round."""
    from fbfl.chain.queries import round_record, task_terms

    run = open_source(options)
    record = round_record(run.ledger, run.task.id, options.number)
    terms = task_terms(run.ledger, run.task.id)
    if options.json:
        print(strictjson.dumps({**record.as_json(), "terms": terms}, indent=1))
        return 0
    print(_line(record))
    for name, value in terms.items():
        print(f"  {name:<17} {value}")
    print(f"  parent model   {record.parent_cid}")
    if record.model_cid:
        print(f"  global model   {record.model_cid}  ({record.model_size} bytes)")
        print(f"  value digest   {record.value_digest}")
    for update in record.updates:
        left_out = "" if update.included or record.status != "final" else "  left out"
        print(f"  update  {update.server}  {update.samples:>6} samples  {update.cid}{left_out}")
    for proposal in record.proposals:
        print(f"  proposal view {proposal.view}  {proposal.proposer}  {proposal.cid}")
    for vote in record.votes:
        print(f"  vote view {vote.view} {vote.stage:<7}  {vote.voter}  {'accept' if vote.accept else 'reject'}")
    for server in record.barred:
        print(f"  barred   {server}")
    for server, wei in record.rewards:
        print(f"  reward   {server}  {wei} wei")
    for server, wei, reason in record.slashes:
        print(f"  slashed  {server}  {wei} wei: {reason}")
    return 0


def blocks(options: argparse.Namespace) -> int:
    """Print the paper's listing of blocks."""
    from fbfl.chain.queries import block_listing

    plugins = plugins_of(options)
    run = open_source(options)
    listing = block_listing(run.ledger, run.task.id, _tensors(run, plugins) if options.tensors else None)
    print(strictjson.dumps(listing, indent=None if options.tensors else 1))
    return 0


def _tensors(run: "StoredRun", plugins: Collection[str]) -> "Callable[[str, Reference], dict[str, Any]]":
    """Return a function that reads the tensors of an update or a model, by its kind and reference."""
    from fbfl.mec.plan import TaskPlan
    from fbfl.storage.codecs import decode_update
    from fbfl.storage.payload import decode

    plan = TaskPlan.of(run.task, plugins)

    def tensors(kind: str, reference: "Reference") -> dict[str, Any]:
        payload = run.store.get(reference)
        if kind == "update":
            vector = decode_update(plan.payload, plan.spec, payload)
        else:
            vector, _ = decode(plan.spec, payload, plan.state_limit)
        arrays = plan.spec.unflatten(vector)
        return {tensor.name: array.tolist() for tensor, array in zip(plan.spec.tensors, arrays, strict=True)}

    return tensors


def audit(options: argparse.Namespace) -> int:
    """Recompute everything; 1 if anything differs, 3 if no round is over yet."""
    from fbfl import audit as auditing

    plugins = plugins_of(options)
    if options.geth is not None and options.network is not None:
        raise InvalidInputError("--geth; allowed: only with --run, for the chain that the run keeps")
    run = open_source(options)
    report = auditing.audit(run.ledger, run.store, run.task, plugins)
    findings = [str(finding) for finding in report.findings]
    if options.geth is not None:
        findings += _differences_of_geth(options)
    for finding in findings:
        print(finding)
    if not findings and not report.over:
        raise NoFinalRoundError("no round is over: there is nothing to audit")
    if report.expired:
        print(f"{report.expired} payloads are past the task's retention and gone: their rounds were not recomputed")
    print(
        f"{report.rounds} rounds, {report.final} final, {report.updates} updates: "
        + (f"{len(findings)} findings" if findings else "everything recomputed is as recorded")
    )
    if options.geth is not None and not findings:
        print("geth, executing the chain again, comes to the same blocks")
    return 1 if findings else 0


def _differences_of_geth(options: argparse.Namespace) -> list[str]:
    """Return the problems that geth finds in the chain of the run."""
    from fbfl.chain.reexecution import execute_with_geth
    from fbfl.runs.folder import recorded_chain

    problem = execute_with_geth(*recorded_chain(folder_of(options)), options.geth or None)
    return [] if problem is None else [problem]


def _line(record: "RoundRecord") -> str:
    if record.status == "final":
        outcome = f"final    leader {record.leader}  model {record.model_cid}"
    elif record.status == "aborted":
        outcome = f"aborted  {record.reason}"
    else:
        outcome = "open"
    included = sum(update.included for update in record.updates) if record.status == "final" else len(record.updates)
    paid = sum(wei for _, wei in record.rewards)
    money = (f"paid {paid} wei  " if paid else "") + (f"{len(record.slashes)} slashed  " if record.slashes else "")
    return (
        f"round {record.round:>3}  {outcome}  {included} updates  {record.views} views  {len(record.votes)} votes  "
        f"{money}gas {record.gas_used:,}  blocks {record.first_block}-{record.last_block}"
    )
