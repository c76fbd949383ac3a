"""`/updates/R`: how the updates of a round lie, and what the rule made of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from fbfl.dashboard.pages.view import View, malicious_in, names_of, records_or_none

SIZE = 460.0
"""Side of the picture of distances."""


def updates(view: View) -> dict[str, Any]:
    """Return a row per update, the distances between them as a picture, and the recall per class if it is asked for."""
    known = view.source.known()
    shown: dict[str, Any] = {**records_or_none(known), "number": view.round, "job": None, "rows": [], "recall": None}
    shown |= {"may_recall": view.source.where.run is not None, "last_round": 0}
    if known.records is None:
        return shown
    record = known.records.round(view.round)
    settings, names = view.source.settings, names_of(known.records)
    malicious = malicious_in(settings, known.records)
    job = view.jobs.ask("updates", view.source.where, retry=True, round=view.round)
    shown |= {"job": job, "malicious": malicious, "last_round": known.records.num_rounds, "status": record.status}
    if "recall" in view.arguments and shown["may_recall"]:
        shown["recall"] = view.jobs.ask("recall", view.source.where, retry=True, round=view.round)
    if job.result is None:
        return shown
    found = job.result
    included = {update.server for update in record.updates if update.included}
    samples = {update.server: update.samples for update in record.updates}
    longest = max(found["norms"], default=0.0) or 1.0
    rows = [
        {
            "server": server,
            "samples": samples.get(server),
            "norm": norm,
            "bar": 120 * norm / longest,
            "cosine": cosine,
            "mean_distance": sum(apart) / max(1, len(apart) - 1),
            "included": server in included,
            "selected": None if found["selected"] is None else server in found["selected"],
        }
        for server, norm, cosine, apart in zip(
            found["servers"], found["norms"], found["cosines"], found["distances"], strict=True
        )
    ]
    return {**shown, "rows": rows, "found": found, "matrix": matrix(found["servers"], found["distances"], names)}


def matrix(servers: Sequence[str], distances: Sequence[Sequence[float]], names: Mapping[str, str]) -> dict[str, Any]:
    """Return squares for the distance of each update from each, darker for larger ones."""
    side = SIZE / max(1, len(servers))
    largest = max((value for row in distances for value in row), default=0.0) or 1.0
    called = [names.get(server, server) for server in servers]
    return {
        "size": SIZE,
        "side": side,
        "largest": largest,
        "labels": [(round((place + 0.5) * side, 1), name) for place, name in enumerate(called)],
        "squares": [
            (round(column * side, 2), round(row * side, 2), round(value / largest, 3), f"{a} to {b}: {value:.4g}")
            for row, (a, line) in enumerate(zip(called, distances, strict=True))
            for column, (b, value) in enumerate(zip(called, line, strict=True))
        ],
    }
