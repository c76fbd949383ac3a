"""What takes payloads, data or the whole chain: updates of a round, recall of its model, the audit; JSON values."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fbfl.chain.queries import model_after, task_records
from fbfl.chain.records import RoundRecord, TaskRecords
from fbfl.dashboard.geometry import geometry
from fbfl.dashboard.where import Where
from fbfl.errors import AggregationError, InvalidInputError, StorageError
from fbfl.mec.global_model import weights_of
from fbfl.mec.plan import TaskPlan
from fbfl.runs import index
from fbfl.storage.codecs import decode_update
from fbfl.storage.ipfs import IpfsStore
from fbfl.storage.local import LocalStore
from fbfl.storage.payload import decode
from fbfl.storage.store import Store
from fbfl.tensors import Vector

Say = Callable[[str], None]

MOST_VALUES = 400_000_000
"""Weights of all updates of a round together at most: 1.6 GB."""


def updates_of(where: Where, number: int, say: Say) -> dict[str, Any]:
    """Return how the updates of a round lie, and which of them the rule selected.

    `servers` are those whose update could be read, in the order of `norms`, `cosines` and `distances`; `refused` has
    the others with the reasons; `selected` the servers that the rule selected, None if it does not select, and
    `unselected` why that is not known.
    """
    say("reads the records")
    found, store = _recorded(where)
    record = found.round(number)
    plan = TaskPlan.of(found.task, where.plugins)
    if len(record.updates) * plan.spec.size > MOST_VALUES:
        raise InvalidInputError(
            f"round {number} has {len(record.updates)} updates of {plan.spec.size:,} weights; allowed: "
            f"{MOST_VALUES:,} in all"
        )
    rows: list[Vector] = []
    kept, refused = [], {}
    for place, update in enumerate(record.updates, 1):
        say(f"reads update {place} of {len(record.updates)}")
        try:
            rows.append(decode_update(plan.payload, plan.spec, store.get(update.payload)))
            kept.append(update)
        except StorageError as error:
            refused[update.server] = str(error)
    say("compares them")
    matrix = np.stack(rows) if rows else np.zeros((0, plan.spec.size), np.float32)
    parent, problem = _parent_of(plan, store, found, number)
    model = _model_of(plan, store, record)
    aggregate = None if parent is None or model is None else model - parent[0]
    if plan.rule.draws or plan.root is not None or parent is None or record.missing or refused or not rows:
        selected, unselected = None, problem or "the rule draws, compares with a trusted update, or lacks one"
    else:
        selected, unselected = _selected(plan, matrix, parent[1], record)
    return {
        "rule": plan.rule.name,
        "servers": [update.server for update in kept],
        **vars(geometry(matrix, aggregate)),
        "refused": refused,
        "selected": selected,
        "unselected": unselected,
    }


def recall_of(where: Where, number: int, say: Say) -> dict[str, Any]:
    """Return the figures of the global model after a round on the run's test set, and the recall of each class."""
    from fbfl.learning import evaluation
    from fbfl.mec.tasks import dataset_of, trainer_of
    from fbfl.runs.identity import code_in
    from fbfl.settings import read_stored

    if where.run is None:
        raise InvalidInputError("a network has no test set; allowed: --run with the folder of a run")
    settings = read_stored(where.run / "settings.json")
    for name in code_in(settings):
        if name not in where.plugins:
            raise InvalidInputError(f"the run's settings name the code {name!r}; allowed: what --plugin names")
    found, store = _recorded(where)
    found.round(number)
    say("loads data and model")
    data = dataset_of(settings)
    trainer = trainer_of(settings, data, 1)
    payload = store.get(model_after(found.task, found.rounds[:number]))
    weights = weights_of(TaskPlan.of(found.task, where.plugins), payload)
    say("evaluates the model")
    further = evaluation.resolve_metrics(settings.metric, data.num_classes)
    figures = evaluation.figures(trainer, weights, data.x_test, data.y_test, data.num_classes, further)
    told = {"accuracy": figures.accuracy, "loss": figures.loss, **figures.metrics}
    return {
        "figures": {name: value for name, value in told.items() if not math.isnan(value)},
        "recall": [None if math.isnan(each) else each for each in figures.recall],
    }


def audit_of(where: Where, say: Say) -> dict[str, Any]:
    """Execute the chain again, recompute every round, and return what differs."""
    say("executes every block of the chain again" if where.run else "reads the chain")
    from fbfl.audit import audit

    stored = where.open()
    report = audit(
        stored.ledger,
        stored.store,
        stored.task,
        where.plugins,
        progress=lambda done, of: say(f"round {done} of {of} recomputed"),
    )
    findings = [{"round": each.round, "server": each.server, "problem": each.problem} for each in report.findings]
    return {**vars(report), "findings": findings}


def index_of(where: Where, say: Say) -> int:
    """Execute the chain of a run again, write its index, and return the number of rounds."""
    say("executes every block of the chain again")
    assert where.run is not None, "a network is read as it is"
    return index.recorded_in(where.run).records.num_rounds


KINDS: Mapping[str, Callable[..., Any]] = {
    "index": index_of,
    "updates": updates_of,
    "recall": recall_of,
    "audit": audit_of,
}
"""The jobs by their names: functions of the task, in some the number of a round, and what tells their progress."""


def _recorded(where: Where) -> tuple[TaskRecords, Store]:
    """Return the records of a task and the store of its payloads; of a run from its index, if it has one."""
    if where.run is not None and (known := index.read(where.run)) is not None:
        from fbfl.runs.files import read_json

        kind = read_json(where.run / "settings.json").get("store")
        return known, IpfsStore() if kind == "ipfs" else LocalStore(where.run / "payloads")
    stored = where.open()
    return task_records(stored.ledger, stored.task.id), stored.store


def _parent_of(plan: TaskPlan, store: Store, found: TaskRecords, number: int) -> tuple[Any, str]:
    """Return weights and state of the global model before a round, or None and why they cannot be read."""
    try:
        return decode(plan.spec, store.get(model_after(found.task, found.rounds[: number - 1])), plan.state_limit), ""
    except StorageError as error:
        return None, str(error)


def _model_of(plan: TaskPlan, store: Store, record: RoundRecord) -> Vector | None:
    try:
        return None if record.model is None else weights_of(plan, store.get(record.model))
    except StorageError:
        return None


def _selected(plan: TaskPlan, matrix: Any, state: Any, record: RoundRecord) -> tuple[list[str] | None, str]:
    """Return the servers whose updates the rule selects; None if it selects none, or cannot aggregate them."""
    try:
        aggregate = plan.rule(
            matrix,
            [update.samples for update in record.updates],
            state=state,
            clients=[update.seat for update in record.updates],
            round_number=record.round,
        )
    except AggregationError as error:
        return None, str(error)
    if aggregate.selected is None:
        return None, f"{plan.rule.name} selects none: it combines all"
    return [record.updates[row].server for row in aggregate.selected], ""
