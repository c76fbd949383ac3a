"""`/rounds`, and `/round/R`: the rounds in a table that can be sorted and filtered, and one of them step by step."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fbfl.chain.records import RoundRecord
from fbfl.dashboard import timeline
from fbfl.dashboard.charts import track
from fbfl.dashboard.pages.view import View, malicious_in, names_of, records_or_none
from fbfl.runs.measures import CURVES, finite, further_in, value_in

ROWS = 50
"""Rounds of a page."""

FIRST = ("round", "status", "leader")
LAST = ("updates", "views", "votes", "transactions", "gas_used", "slashes", "seconds")
"""Columns before and after the measures of the global model."""
TITLES = {"attack_success_rate": "attack", "gas_used": "gas", "slashes": "slashed"}
TEXTS = ("status", "leader")


def rounds(view: View) -> dict[str, Any]:
    """Return a page of rows: `sort`, `order`, `status` and `leader` say which, `page` the how many-th."""
    lines = view.source.metrics()
    measures = [
        name
        for name in (*CURVES, *further_in(lines))
        if name not in (*FIRST, *LAST) and any(value_in(line, name) is not None for line in lines)
    ]
    columns = [*FIRST, *measures, *LAST]
    sort = view.one_of("sort", columns)
    order = view.one_of("order", ("ascending", "descending"))
    status = view.one_of("status", ("all", "final", "aborted", "open"))
    leader = view.arguments.get("leader", "")[:60].strip()
    known = view.source.known()
    names = names_of(known.records)
    rows = rows_of(known.records.rounds if known.records else (), lines, names, (*measures, "seconds"))
    chosen = [
        row
        for row in rows
        if status in ("all", row["status"])
        and leader.lower() in (f"{row['leader']} {row['address'] or ''}".lower() if leader else "")
    ]
    chosen.sort(key=lambda row: _key(row, sort), reverse=order == "descending")
    pages = max(1, math.ceil(len(chosen) / ROWS))
    page = min(view.number("page", 1), pages)
    return {
        **records_or_none(known),
        "rows": chosen[(page - 1) * ROWS : page * ROWS],
        "found": len(chosen),
        "all": len(rows),
        "columns": [(name, TITLES.get(name, name)) for name in columns],
        "measures": measures,
        "texts": TEXTS,
        "chosen": {"sort": sort, "order": order, "status": status, "leader": leader},
        "page": page,
        "pages": pages,
    }


def rows_of(
    records: tuple[RoundRecord, ...], lines: Any, names: Mapping[str, str], measures: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a row per round, from the records where there are any, else from the lines of metrics.jsonl.

    The `measures` are of the lines.
    """
    measured = {line.get("round"): line for line in lines}
    rows: list[dict[str, Any]] = [
        {
            "round": record.round,
            "status": record.status,
            "leader": names.get(record.leader or "", record.leader or ""),
            "address": record.leader,
            "updates": sum(update.included for update in record.updates)
            if record.status == "final"
            else len(record.updates),
            "views": record.views,
            "votes": len(record.votes),
            "transactions": record.transactions,
            "gas_used": record.gas_used,
            "slashes": len(record.slashes),
        }
        for record in records
    ]
    there = {row["round"] for row in rows}
    for number, line in measured.items():
        if isinstance(number, int) and number not in there:
            told = {name: line.get(name) for name in ("status", "updates", "views", "transactions", "gas_used")}
            address = line.get("leader")
            rows.append({"round": number, "leader": names.get(str(address), address), "address": address, **told})
    for row in rows:
        row |= {name: value_in(measured.get(row["round"], {}), name) for name in measures}
    return sorted(rows, key=lambda row: int(row["round"]))


def _key(row: Mapping[str, Any], name: str) -> tuple[bool, Any]:
    value = row.get(name)
    if name in TEXTS:
        return value is None, _natural(str(value))
    number = finite(value)
    return number is None, number if number is not None else 0.0


def _natural(text: str) -> tuple[str, int]:
    """Return a key by which server-2 comes before server-10."""
    head, _, number = text.rpartition("-")
    return (head, int(number)) if number.isascii() and number.isdigit() and len(number) < 10 else (text, 0)


def one_round(view: View) -> dict[str, Any]:
    """Return a round from its opening to its rewards."""
    known = view.source.known()
    lines = {line.get("round"): line for line in view.source.metrics()}
    shown: dict[str, Any] = {**records_or_none(known), "number": view.round, "line": lines.get(view.round, {})}
    if known.records is None:
        return {**shown, "record": None}
    record = known.records.round(view.round)
    names = names_of(known.records)
    return {
        **shown,
        "record": record,
        "terms": known.records.terms,
        "track": track(timeline.steps(record), names),
        "views": timeline.views(record),
        "transactions": timeline.transactions(record),
        "rewards": timeline.rewards(record),
        "last_round": known.records.num_rounds,
        "malicious": malicious_in(view.source.settings, known.records),
    }
