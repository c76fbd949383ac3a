"""`fbfl rounds`, `round`, `blocks` and `audit`: show what the chain records, and check it."""

import argparse
import itertools
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from fbfl.cli import output, tables
from fbfl.cli.network import add_plugin, plugins_of
from fbfl.cli.parser import Commands
from fbfl.cli.source import add_source, folder_of, open_records, open_source
from fbfl.errors import InvalidInputError, NoFinalRoundError
from fbfl.system import strictjson
from fbfl.system.printable import counted

if TYPE_CHECKING:
    from fbfl.chain.records import RoundRecord
    from fbfl.runs.folder import StoredRun
    from fbfl.storage.store import Reference


_WIDTHS = {
    "round": 5,
    "status": 7,
    "leader": 10,
    "model": 12,
    "updates": 7,
    "views": 5,
    "votes": 5,
    "gas": 11,
    "blocks": 11,
    "paid (ether)": 12,
    "slashed": 7,
    "reason": 0,
}
"""Columns of a table of rounds, with their widths in rows that are printed one by one."""
_COLUMNS = tuple(_WIDTHS)
_NUMBERS = _WIDTHS.keys() - {"status", "leader", "model", "reason"}
_FOLLOW_SECONDS = 1.0


def add_parser(commands: Commands) -> None:
    """Add the four commands."""
    listing = commands.add_parser("rounds", help="the rounds on the chain, a line each")
    answer = listing.add_mutually_exclusive_group()
    answer.add_argument("--json", action="store_true", help="a JSON list")
    answer.add_argument("--follow", action="store_true", help="go on with --network: print rounds as they end")
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
    if options.follow and options.network is None:
        raise InvalidInputError("--follow; allowed: only with --network, where rounds go on")
    if options.follow:
        return _follow(open_source(options))
    found = open_records(options)
    records = found.rounds
    if options.json:
        print(strictjson.dumps([record.as_json() for record in records], indent=1))
        return 0
    if all(record.status == "open" for record in records):
        print("no round is over")
    if records:
        names = tables.names_of(found.addresses)
        tables.show(_COLUMNS, [_row(record, names) for record in records], right=_NUMBERS)
    return 0


def _follow(run: "StoredRun") -> int:
    """Print the line of every round as soon as it is over, until interrupted."""
    from fbfl.chain.queries import num_rounds, round_record

    for number in itertools.count(1):
        while number > num_rounds(run.ledger, run.task.id) or (
            (record := round_record(run.ledger, run.task.id, number)).status == "open"
        ):
            time.sleep(_FOLLOW_SECONDS)
        row = _row(record, tables.names_of(run.ledger.servers()))
        tables.show(_COLUMNS, [row], right=_NUMBERS, headed=number == 1, widths=[*_WIDTHS.values()])
        output.flush()
    return 0


def one_round(options: argparse.Namespace) -> int:
    """Print all that is recorded of one round."""
    found = open_records(options, options.number)
    (record,), terms = found.rounds, found.terms
    if options.json:
        print(strictjson.dumps({**record.as_json(), "terms": terms}, indent=1))
        return 0
    names = tables.names_of(found.addresses)
    tables.show(_COLUMNS, [_row(record, names)], right=_NUMBERS)
    about = {"parent model": record.parent_cid}
    if record.model_cid:
        about["global model"] = f"{record.model_cid}  {record.model_size:,} bytes"
        about["value digest"] = str(record.value_digest)
    tables.show(("", ""), headed=False, rows=[(name, str(value)) for name, value in {**about, **terms}.items()])
    for title, rows in _parts(record, names).items():
        if rows:
            print(f"\n{title}")
            tables.show(("",) * len(rows[0]), rows, headed=False)
    return 0


def _parts(record: "RoundRecord", names: Mapping[str, str]) -> dict[str, list[tuple[str, ...]]]:
    """Return the parts of a round, a row each, below their titles."""

    def who(server: str) -> tuple[str, str]:
        return names.get(server, "-"), server

    out = {update.server for update in record.updates if record.status == "final" and not update.included}
    return {
        "drawn": [who(server) for server in record.drawn or ()],
        "updates": [
            (
                *who(each.server),
                counted(each.samples, "sample"),
                each.cid,
                "left out" if each.server in out else "",
            )
            for each in record.updates
        ],
        "proposals": [(*who(each.proposer), f"view {each.view}", each.cid) for each in record.proposals],
        "votes": [
            (*who(vote.voter), f"view {vote.view}", vote.stage, "accept" if vote.accept else "reject")
            for vote in record.votes
        ],
        "barred": [who(server) for server in record.barred],
        "rewards": [(*who(server), f"{wei:,} wei") for server, wei in record.rewards],
        "slashed": [(*who(server), f"{wei:,} wei", reason) for server, wei, reason in record.slashes],
    }


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
        gone = "is" if report.expired == 1 else "are"
        print(
            f"{counted(report.expired, 'payload')} {gone} past the task's retention and gone: "
            "what needs them was not recomputed"
        )
    print(
        f"{counted(report.rounds, 'round')}, {report.final} final, {counted(report.updates, 'update')}: "
        + (counted(len(findings), "finding") if findings else "everything recomputed is as recorded")
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


def _row(record: "RoundRecord", names: Mapping[str, str]) -> tuple[str, ...]:
    """Return a round as a row below `_COLUMNS`."""
    included = sum(update.included for update in record.updates) if record.status == "final" else len(record.updates)
    leader, model = record.leader or "", record.model_cid or ""
    return (
        str(record.round),
        record.status,
        names.get(leader, tables.short(leader)),
        tables.short(model),
        str(included),
        str(record.views),
        str(len(record.votes)),
        f"{record.gas_used:,}",
        f"{record.first_block}-{record.last_block}",
        f"{sum(wei for _, wei in record.rewards) / 10**18:.4g}",
        str(len(record.slashes)),
        record.reason or "",
    )
