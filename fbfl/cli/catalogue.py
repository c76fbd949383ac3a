"""The names that settings take: for `fbfl list` and for the completion of shells."""

import dataclasses
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from fbfl.learning import plugins
from fbfl.settings import SETTINGS


@dataclass(frozen=True)
class Entry:
    """A name, its settings as ``KEY`` or ``KEY=DEFAULT``, and what it is in a line; "" if its name says it."""

    name: str
    settings: tuple[str, ...] = ()
    about: str = ""


def catalogue() -> dict[str, tuple[Entry, ...]]:
    """Return the names that each setting takes, without those of users' functions and files."""
    from fbfl.learning import aggregation, attacks, losses
    from fbfl.learning.aggregation.rule_function import CONTEXT
    from fbfl.learning.attacks.lookup import CONTEXT as OF_ATTACKS
    from fbfl.learning.datasets import LOADERS
    from fbfl.learning.metrics import METRICS
    from fbfl.learning.models import ABOUT
    from fbfl.learning.partition import PARTITIONS
    from fbfl.learning.schedules import SCHEDULES
    from fbfl.learning.server_optimizers import SERVER_OPTIMIZERS
    from fbfl.learning.trainer import TRAINERS
    from fbfl.learning.training import Purpose
    from fbfl.mec.mobility import MOBILITIES
    from fbfl.mec.radio import RADIOS

    return {
        "aggregator": _of(aggregation.RULES, 1, CONTEXT),
        "attack": _of(attacks.ATTACKS, 2, {"rng", *OF_ATTACKS}),
        "consensus": _of_choices("consensus"),
        "dataset": _of(LOADERS, 0),
        "draw": _of_choices("draw"),
        "loss": tuple(Entry(name, about=text) for name, text in losses.ABOUT.items()),
        "metric": _of(METRICS, 2),
        "mobility": _of(MOBILITIES, 1, ("names",)),  # of devices of their own
        "model": tuple(Entry(name, about=text) for name, text in ABOUT.items()),
        "partition": _of(PARTITIONS, 2, ("seed", "device_of")),
        "payload": _of_choices("payload"),
        "quorum": _of_choices("quorum"),
        "radio": _of(RADIOS, 0),
        "schedule": _of(SCHEDULES, 2),
        "server_optimizer": _of(SERVER_OPTIMIZERS, 2),
        "store": _of_choices("store"),
        "trainer": _of(TRAINERS, 0, (*(each.name for each in dataclasses.fields(Purpose)), "lanes")),
    }


def _of(table: Mapping[str, Callable[..., Any]], data: int, context: Collection[str] = ()) -> tuple[Entry, ...]:
    """Return the entries of a table of functions; `data` and `context` as for `plugins.resolve`."""
    return tuple(
        Entry(
            name,
            tuple(_setting(*item) for item in plugins.own_settings(function, data, context).items()),
            _first_paragraph(function),
        )
        for name, function in table.items()
    )


def _of_choices(name: str) -> tuple[Entry, ...]:
    return tuple(Entry(choice) for choice in SETTINGS[name].allowed or ())


def _setting(name: str, default: object) -> str:
    return name if default in (inspect.Parameter.empty, None) else f"{name}={default}"


def _first_paragraph(function: Callable[..., Any]) -> str:
    """Return the first paragraph of a docstring, in a line and without marks of code."""
    paragraph = inspect.cleandoc(function.__doc__ or "").partition("\n\n")[0]
    return " ".join(paragraph.replace("`", "").split())
