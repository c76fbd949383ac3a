"""`/`: how the task stands."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fbfl.dashboard.charts import Chart, chart
from fbfl.dashboard.pages.view import View, malicious_in, records_or_none
from fbfl.runs.measures import RATES, further_in, value_in

SHOWN = (
    ("accuracy", "accuracy on the test set"),
    ("loss", "loss on the test set"),
    ("attack_success_rate", "success of the attack"),
    ("gas_used", "gas per round"),
    ("payload_bytes", "bytes of payloads per round"),
    ("seconds", "seconds per round"),
)
SETTINGS = (
    *("dataset", "servers", "devices", "rounds", "partition", "model", "trainer", "optimizer", "learning_rate"),
    *("schedule", "proximal", "local_epochs", "local_steps", "participation", "draw", "dropout", "stragglers"),
    *("aggregator", "server_optimizer", "attack", "malicious", "consensus"),
)


def overview(view: View) -> dict[str, Any]:
    """Return the figures of the last round, curves over all, and the round that is open."""
    source = view.source
    lines = source.metrics()
    known = source.known()
    last = lines[-1] if lines else {}
    settings = source.settings
    return {
        **records_or_none(known),
        "last": {name: value_in(last, name) for name, _ in SHOWN},
        "further": {name: value_in(last, name) for name in further_in(lines)},
        "over": len(lines),
        "final": sum(line.get("status") == "final" for line in lines),
        "wanted": settings.get("rounds"),
        "leader": last.get("leader"),
        "charts": charts_of(lines),
        "open": source.open_round(),
        "members": known.records.addresses if known.records else (),
        "malicious": malicious_in(settings, known.records),
        "settings": {name: settings[name] for name in SETTINGS if settings.get(name) is not None},
        "ended": not source.goes_on,
    }


def charts_of(lines: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Return the curves of what the lines hold."""
    return [
        chart(title, {title: points(lines, name)}, share=name in RATES)
        for name, title in shown_of(lines)
        if any(value_in(line, name) is not None for line in lines)
    ]


def shown_of(lines: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return name and title of what is drawn: further metrics after the measures of the model."""
    return [*SHOWN[:3], *((name, name) for name in further_in(lines)), *SHOWN[3:]]


def points(lines: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float | None]]:
    """Return a measure by round."""
    return [(place, value_in(line, name)) for place, line in enumerate(lines, 1)]
