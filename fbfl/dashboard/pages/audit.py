"""`/audit`: recompute every round in the background."""

from typing import Any

from fbfl.dashboard.pages.view import View, records_or_none


def audit(view: View) -> dict[str, Any]:
    """Return the audit that was begun last, if any."""
    return {**records_or_none(view.source.known()), "job": view.jobs.known("audit", view.source.where)}
