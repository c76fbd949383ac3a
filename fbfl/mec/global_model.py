"""The step from one global model to the next, which every server and auditor recomputes from published bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fbfl.chain.rounds import Update
from fbfl.errors import AggregationError, InvalidInputError, PayloadRefusedError
from fbfl.learning.server_optimizers import moved
from fbfl.mec.plan import TaskPlan
from fbfl.storage.codecs import decode_update
from fbfl.storage.payload import State, decode, encode
from fbfl.storage.store import Reference
from fbfl.tensors import Vector

_RULE, _SERVER = "rule/", "server/"  # before the names of state, where there is a server optimizer


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
    """Return the global model after a round: parent + aggregate of the updates, or the server optimizer's step of it.

    The state of both is part of it.

    A pure function of bytes that anyone can fetch. `updates` come in the order of seats; those that are not updates of
    this task are left out, and so is one that leads model or state out of float32 by itself: no average of the others
    does, so no liar can make every round end without a model. `seed` is what the rule draws from
    (`TaskPlan.seed_of_draws`). Raises `AggregationError` if the rest cannot be aggregated, if the result is not finite,
    or if the rule needs the update of a trusted server and that is missing; and `InvalidInputError` if the rule draws
    and there is no seed.
    """
    if plan.rule.draws and seed is None:
        raise InvalidInputError(f"seed is None, and {plan.rule.name} draws at random; allowed: TaskPlan.seed_of_draws")
    weights, carried = decode(plan.spec, parent, plan.state_limit)
    rule_state, server_state = _states(plan, carried)
    refused: dict[str, str] = {}
    rows: list[Vector] = []
    kept: list[Update] = []
    for update, payload in updates:
        try:
            row = decode_update(plan.payload, plan.spec, payload)
            _require_finite_step(plan, weights, row, server_state)
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
        state=rule_state,
        clients=[update.seat for update in kept],
        seed=seed or 0,
        round_number=round_number,
        root_update=root,
    )
    step, server_state = _step(plan, aggregate.vector, server_state)
    model = _moved(plan, weights, step)
    if not np.isfinite(model).all():
        raise AggregationError(f"the global model of round {round_number} would not be finite")
    payload = encode(plan.spec, model, _carried(plan, aggregate.state, server_state))
    if len(payload) > plan.max_payload:
        raise AggregationError(
            f"the global model of round {round_number} and its state take {len(payload)} bytes; "
            f"allowed: {plan.max_payload}"
        )
    return GlobalModel(payload, Reference.to(payload), refused)


def _step(plan: TaskPlan, aggregate: Vector, state: State) -> tuple[Vector, State]:
    """Return the step of the model [P] and the server optimizer's next state; weights that are not trained move by the
    aggregate.
    """
    if plan.server is None:
        return aggregate, {}
    step, stepped = aggregate.copy(), plan.stepped
    step[stepped], state = plan.server(aggregate[stepped], state)
    return step, state


def _moved(plan: TaskPlan, weights: Vector, step: Vector) -> Vector:
    if plan.server is not None:
        return moved(weights, step)
    with np.errstate(over="ignore"):
        return weights + step


def _states(plan: TaskPlan, carried: State) -> tuple[State, State]:
    """Return the state of the rule and that of the server optimizer, out of a global model's."""
    if plan.server is None:
        return carried, {}
    of_rule, of_server = (
        {name.removeprefix(owner): array for name, array in carried.items() if name.startswith(owner)}
        for owner in (_RULE, _SERVER)
    )
    return of_rule, of_server


def _carried(plan: TaskPlan, rule_state: State, server_state: State) -> State:
    if plan.server is None:
        return rule_state
    named = {_RULE + name: array for name, array in rule_state.items()}
    return named | {_SERVER + name: array for name, array in server_state.items()}


def _require_finite_step(plan: TaskPlan, weights: Vector, update: Vector, server_state: State) -> None:
    """Refuse an update that leads out of the range of float32 by itself, from which no average of others leads."""
    try:
        reached = _moved(plan, weights, _step(plan, update, server_state)[0])
    except AggregationError as error:
        raise PayloadRefusedError(f"payload refused: {error}") from error
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
