import re
from dataclasses import replace

import numpy as np
import pytest

from fbfl.chain.rounds import Update
from fbfl.errors import AggregationError, PayloadRefusedError
from fbfl.mec.global_model import initial_model, next_model
from fbfl.mec.known_results import KnownResults
from fbfl.mec.plan import TaskPlan
from fbfl.storage.codecs import encode_update
from fbfl.storage.store import Reference
from tests.support.servers import SPEC, START, small_task

PLAN = TaskPlan.of(small_task())
PARENT = initial_model(PLAN, START).payload


def update(seat: int, value: float, samples: int = 1) -> tuple[Update, bytes]:
    """An update of eight equal values; its record names other bytes, as a liar may claim."""
    payload = encode_update("float32", SPEC, np.full(SPEC.size, value, np.float32))
    return Update(f"0x{seat}", seat, Reference(bytes(32), len(payload)), samples, 1, "0x"), payload


def test_the_same_bytes_are_aggregated_once_and_held_once() -> None:
    results = KnownResults(PLAN)
    model = results.next_model(1, PARENT, [update(0, 1), update(1, 2)], None)
    assert model == next_model(PLAN, 1, PARENT, [update(0, 1), update(1, 2)])
    assert results.next_model(1, PARENT, [update(0, 1), update(1, 2)], None) is model
    first, second = update(0, 1)[1], bytes(bytearray(update(0, 1)[1]))
    assert first is not second
    reference = Reference.to(first)
    assert results.held_once(1, reference, first) is results.held_once(1, reference, second)
    assert results.held_once(1, reference, b"other") == b"other"
    assert results.held_once(1, reference, second) is first


def test_a_global_model_is_decoded_for_each_who_asks() -> None:
    results = KnownResults(PLAN)
    other = initial_model(PLAN, START + 1).payload
    weights = results.weights(1, PARENT)
    weights += 5  # as a user's training may do
    for round_number in (1, 2):
        np.testing.assert_array_equal(results.weights(round_number, PARENT), START)
        np.testing.assert_array_equal(results.weights(round_number, other), START + 1)
        with pytest.raises(PayloadRefusedError):
            results.weights(round_number, PARENT[:-1])


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_whoever_has_read_other_bytes_gets_another_model(value: float) -> None:
    results = KnownResults(PLAN)
    claimed, _ = update(1, 2)
    right = results.next_model(1, PARENT, [update(0, 1), update(1, 2)], None)
    spoiled = results.next_model(1, PARENT, [update(0, 1), (claimed, update(1, value)[1])], None)
    assert spoiled.reference != right.reference
    assert spoiled == next_model(PLAN, 1, PARENT, [update(0, 1), (claimed, update(1, value)[1])])


def test_all_that_a_model_follows_from_makes_a_difference() -> None:
    results = KnownResults(PLAN)
    updates = [update(0, 1), update(1, 2)]
    other_parent = initial_model(PLAN, START + 1).payload
    (first, payload), second = updates
    results.next_model(1, PARENT, updates, None)
    for parent, changed in (
        (other_parent, updates),
        (PARENT, [(replace(first, samples=5), payload), second]),
        (PARENT, [second]),
    ):
        assert results.next_model(1, parent, changed, None) == next_model(PLAN, 1, parent, changed)


def test_refusals_are_told_to_everyone_who_has_the_same_bytes() -> None:
    results = KnownResults(PLAN)
    results.check_update(1, update(0, 1)[1])
    for _ in range(2):
        with pytest.raises(PayloadRefusedError, match="safetensors"):
            results.check_update(1, b"garbage")
    huge = [update(seat, float(np.finfo(np.float32).max)) for seat in range(2)]
    parent = initial_model(PLAN, np.full(SPEC.size, np.finfo(np.float32).max, np.float32)).payload
    with pytest.raises(AggregationError) as own:
        next_model(PLAN, 1, parent, huge)
    for _ in range(2):
        with pytest.raises(AggregationError, match=re.escape(str(own.value))):
            results.next_model(1, parent, huge, None)


def test_a_round_is_forgotten_when_the_next_begins() -> None:
    results = KnownResults(PLAN)
    model = results.next_model(1, PARENT, [update(0, 1)], None)
    results.check_update(2, update(0, 1)[1])
    assert results.next_model(1, PARENT, [update(0, 1)], None) is not model
