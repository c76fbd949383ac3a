"""The step from one global model to the next, which every server and auditor recomputes from published bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fbfl.chain.rounds import Update
from fbfl.errors import AggregationError, InvalidInputError, PayloadRefusedError
from fbfl.mec.plan import TaskPlan
from fbfl.storage.codecs import decode_update
from fbfl.storage.payload import decode, encode
from fbfl.storage.store import Reference
from fbfl.tensors import Vector


@dataclass(frozen=True)
class GlobalModel:
    """A global model in its published form."""

    payload: bytes
    reference: Reference
    refused: Mapping[str, str]
    """Servers whose update was left out because it is not one of this task, with the reasons."""


def initial_model(plan: TaskPlan, weights: Vector) -> GlobalModel:
    """Return the model that a task starts from."""
    payload = encode(plan.spec, weights)
    return GlobalModel(payload, Reference.to(payload), {})


def weights_of(plan: TaskPlan, payload: bytes) -> Vector:
    """Return the weights [P] in the payload of a global model."""
    return decode(plan.spec, payload, plan.state_limit)[0]


def next_model(
    plan: TaskPlan,
    round_number: int,
    parent: bytes,
    updates: Sequence[tuple[Update, bytes]],
    seed: int | None = None,
) -> GlobalModel:
    """Return the global model after a round: parent + aggregate of the updates, with the rule's state.

    A pure function of bytes that anyone can fetch. `updates` come in the order of seats; those that are not updates of
    this task are left out, and so is one that leads out of the range of float32 by itself: no average of the others
    does, so no liar can make every round end without a model. `seed` is what the rule draws from
    (`TaskPlan.seed_of_draws`). Raises `AggregationError` if the rest cannot be aggregated, if the result is not finite,
    or if the rule needs the update of a trusted server and that is missing; and `InvalidInputError` if the rule draws
    and there is no seed.
    """
    if plan.rule.draws and seed is None:
        raise InvalidInputError(f"seed is None, and {plan.rule.name} draws at random; allowed: TaskPlan.seed_of_draws")
    weights, state = decode(plan.spec, parent, plan.state_limit)
    refused: dict[str, str] = {}
    rows: list[Vector] = []
    kept: list[Update] = []
    for update, payload in updates:
        try:
            row = decode_update(plan.payload, plan.spec, payload)
            _require_finite_step(weights, row)
            rows.append(row)
            kept.append(update)
        except PayloadRefusedError as error:
            refused[update.server] = str(error)
    root = _taken_out(plan, round_number, rows, kept)
    if not rows:
        raise AggregationError(f"round {round_number} has no update that could be aggregated")
    aggregate = plan.rule(
        np.stack(rows),
        [update.samples for update in kept],
        state=state,
        clients=[update.seat for update in kept],
        seed=seed or 0,
        round_number=round_number,
        root_update=root,
    )
    with np.errstate(over="ignore"):
        model = weights + aggregate.vector
    if not np.isfinite(model).all():
        raise AggregationError(f"the global model of round {round_number} would not be finite")
    payload = encode(plan.spec, model, aggregate.state)
    return GlobalModel(payload, Reference.to(payload), refused)


def _require_finite_step(weights: Vector, update: Vector) -> None:
    with np.errstate(over="ignore"):
        reached = weights + update
    if not np.isfinite(reached).all():
        raise PayloadRefusedError("payload refused: the global model plus this update is not finite")


def _taken_out(plan: TaskPlan, round_number: int, rows: list[Vector], kept: list[Update]) -> Vector | None:
    """Take the trusted update from among the others and return it; None if the rule needs none."""
    if plan.root is None:
        return None
    for place, update in enumerate(kept):
        if plan.root in (update.server, update.seat):  # tasks of the first release name the seat
            kept.pop(place)
            return rows.pop(place)
    raise AggregationError(f"round {round_number} has no update of the trusted server {plan.root}")
