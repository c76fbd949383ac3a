"""A server optimizer on a chain: its step and its state are part of what servers recompute and vote on."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fbfl.chain.rounds import Update
from fbfl.chain.task import Task
from fbfl.errors import AggregationError, InvalidInputError
from fbfl.learning import aggregation, server_optimizers
from fbfl.mec.global_model import initial_model, next_model
from fbfl.mec.plan import TaskPlan, resolve_server_optimizer, untrained_of
from fbfl.storage.payload import decode, encode
from fbfl.storage.store import Reference
from fbfl.tensors import ModelSpec, TensorSpec, Vector
from tests.support.servers import definition

SPEC = ModelSpec((TensorSpec("kernel", (3, 2)), TensorSpec("moving_variance", (2,)), TensorSpec("bias", (2,))))
STEPPED = np.array([True] * 6 + [False] * 2 + [True] * 2)
PARENT = np.linspace(-1, 1, SPEC.size, dtype=np.float32)


def plan(rule: str = "fedavg", server: str = "fedadam", **arguments: Any) -> TaskPlan:
    about = definition(SPEC, server_optimizer=server, server_optimizer_args=arguments, untrained=["moving_variance"])
    return TaskPlan.of(Task(1, "0x", "pow", "0x", rule, b"{}", about, Reference(b"", 0), 0))


def published(*vectors: Vector) -> list[tuple[Update, bytes]]:
    payloads = [encode(SPEC, vector) for vector in vectors]
    return [
        (Update(f"0x{seat}", seat, Reference.to(payload), 1, 0, "0x"), payload) for seat, payload in enumerate(payloads)
    ]


def drawn(round_number: int, count: int = 4) -> list[Vector]:
    return list(np.random.default_rng(round_number).normal(size=(count, SPEC.size)).astype(np.float32))


@pytest.mark.parametrize("rule", ["fedavg", "centered_clipping"])
@pytest.mark.parametrize("name", server_optimizers.SERVER_OPTIMIZERS)
def test_rounds_are_those_of_the_rule_and_the_server_optimizer_one_after_the_other(name: str, rule: str) -> None:
    """An oracle without payloads and plans: the state of both goes on from round to round."""
    chain = plan(rule, name)
    payload = initial_model(chain, PARENT).payload
    resolved, step = aggregation.resolve(rule), server_optimizers.resolve(name)
    weights = PARENT
    rule_state: Mapping[str, Any] = {}
    server_state: Mapping[str, Any] = {}
    for number in (1, 2, 3):
        updates = drawn(number)
        payload = next_model(chain, number, payload, published(*updates)).payload
        aggregate = resolved(np.stack(updates), [1] * 4, state=rule_state, clients=range(4), round_number=number)
        moved = aggregate.vector.copy()
        moved[STEPPED], server_state = step(moved[STEPPED], server_state)
        weights, rule_state = weights + moved, aggregate.state
        assert decode(SPEC, payload, chain.state_limit)[0].tobytes() == weights.tobytes()
    carried = decode(SPEC, payload, chain.state_limit)[1]
    expected = {f"rule/{key}" for key in rule_state} | {f"server/{key}" for key in server_state}
    assert set(carried) == expected
    assert len(payload) <= chain.max_payload


def test_the_definition_says_what_the_plan_holds() -> None:
    chain = plan(server="momentum", beta=0.5)
    assert chain.server is not None
    assert TaskPlan.of(_task(chain)).definition() == chain.definition()
    assert (chain.stepped == STEPPED).all()
    assert b"untrained" not in replace(chain, server=None).definition()


def _task(chain: TaskPlan) -> Task:
    return Task(1, "0x", "pow", "0x", "fedavg", b"{}", json.loads(chain.definition()), Reference(b"", 0), 0)


@pytest.mark.parametrize("name", ["fedadam", "fedadagrad", "fedyogi", "momentum"])
@pytest.mark.parametrize("value", [3e38, -1e25])
def test_no_liar_ends_every_round_by_an_update_whose_square_is_beyond_float32(name: str, value: float) -> None:
    chain = plan(server=name)
    payload = initial_model(chain, PARENT).payload
    for number in (1, 2, 3):
        lie = np.full(SPEC.size, value, np.float32)
        model = next_model(chain, number, payload, published(*drawn(number, 3), lie))
        payload = model.payload
        assert set(model.refused) <= {"0x3"}
    refusal = "payload refused: the server optimizer's state is not finite: it exceeds the range of float32"
    assert name == "momentum" or model.refused["0x3"] == refusal


@pytest.mark.parametrize("learning_rate", [0.1, 1.0, 1e9, 1e300])
def test_a_liar_that_has_gone_leaves_no_momentum_that_ends_every_round(learning_rate: float) -> None:
    """It gives the model a speed with which the model leaves float32 in later rounds, whatever these bring."""
    chain = plan(server="momentum", beta=0.99, learning_rate=learning_rate)
    payload = initial_model(chain, PARENT).payload
    lie = np.full(SPEC.size, np.finfo(np.float32).max, np.float32)
    for number in range(1, 60):
        lies = [lie] if number < 30 else []
        model = next_model(chain, number, payload, published(*drawn(number, 3), *lies))
        assert set(model.refused) <= {"0x3"}
        payload = model.payload


def test_updates_that_are_all_beyond_it_end_the_round_alone() -> None:
    chain = plan()
    payload = initial_model(chain, PARENT).payload
    with pytest.raises(AggregationError, match="no update that could be aggregated"):
        next_model(chain, 1, payload, published(np.full(SPEC.size, 1e30, np.float32)))


def cautious(update: Vector, state: Any) -> Any:
    return update / 2, state


def swollen(update: Vector, state: Any) -> Any:
    return update, {"all": np.zeros(100 * SPEC.size + 20_000, np.float64)}


def test_state_beyond_the_payload_ends_the_round_with_the_sizes() -> None:
    swollen.canonical = True  # type: ignore[attr-defined]
    chain = replace(plan(), server=server_optimizers.resolve(swollen))
    with pytest.raises(AggregationError, match=rf"take \d+ bytes; allowed: {chain.max_payload}"):
        next_model(chain, 1, initial_model(chain, PARENT).payload, published(*drawn(1)))


def test_code_of_a_task_is_not_imported_and_other_users_have_to_say_that_it_is_canonical() -> None:
    with pytest.raises(InvalidInputError, match="the server optimizer of task 1 is 'shutil:rmtree'; allowed: "):
        plan(server="shutil:rmtree")
    with pytest.raises(InvalidInputError, match=r"allowed: cautious\.canonical = True behind the function"):
        resolve_server_optimizer(f"{__name__}:cautious", {})
    with pytest.raises(InvalidInputError, match="does not take 'gamma'"):
        plan(server="fedadam", gamma=1)


def test_a_mask_names_whole_tensors() -> None:
    assert untrained_of(SPEC, STEPPED) == ("moving_variance",)
    torn = STEPPED.copy()
    torn[0] = False
    with pytest.raises(InvalidInputError, match="tensor 'kernel' is trained in part"):
        untrained_of(SPEC, torn)
