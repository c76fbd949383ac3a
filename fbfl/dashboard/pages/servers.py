"""`/servers`: what each server has at stake, did and got."""

from typing import Any

from fbfl.dashboard.pages.view import View, malicious_in, records_or_none
from fbfl.dashboard.standing import Standing, standings


def servers(view: View) -> dict[str, Any]:
    """Return a row per server, by their numbers."""
    known = view.source.known()
    if known.records is None:
        return {**records_or_none(known), "rows": []}
    of = standings(known.records.servers, known.records.rounds)
    return {
        **records_or_none(known),
        "rows": [(server, of.get(server.address, Standing())) for server in known.records.servers],
        "malicious": malicious_in(view.source.settings, known.records),
        "rounds": known.records.num_rounds,
    }
