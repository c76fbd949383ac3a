import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from fbfl.errors import InvalidInputError, PayloadRefusedError
from fbfl.storage import payload as payloads
from fbfl.storage.payload import check_size, decode, encode, max_size
from fbfl.tensors import ModelSpec, TensorSpec, Vector

SPEC = ModelSpec((TensorSpec("dense/kernel", (3, 2)), TensorSpec("dense/bias", (2,)), TensorSpec("scale", ())))
VECTOR: Vector = np.arange(9, dtype=np.float32) / np.float32(7)
STATE = {"momentum": np.linspace(0, 1, 9), "rounds": np.array([3], np.int64)}
PAYLOAD = encode(SPEC, VECTOR)

tensors: dict[str, Any] = dict(zip([tensor.name for tensor in SPEC.tensors], SPEC.unflatten(VECTOR), strict=True))


@given(vector=st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=9, max_size=9))
def test_every_finite_vector_comes_back_bit_for_bit(vector: list[float]) -> None:
    weights = np.array(vector, np.float32)
    decoded, state = decode(SPEC, encode(SPEC, weights))
    assert decoded.tobytes() == weights.tobytes()
    assert decoded.dtype == np.float32
    assert state == {}


@given(
    names=st.lists(st.text("ab/é0", min_size=1, max_size=4), min_size=1, max_size=4, unique=True),
    shapes=st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), min_size=4, max_size=4),
    seed=st.integers(0, 9),
)
def test_the_payload_of_any_model_is_what_the_standard_library_writes(
    names: list[str], shapes: list[tuple[int, ...]], seed: int
) -> None:
    spec = ModelSpec(tuple(TensorSpec(name, shape) for name, shape in zip(names, shapes, strict=False)))
    vector: Vector = np.random.default_rng(seed).standard_normal(spec.size).astype(np.float32)
    payload = encode(spec, vector)
    parts = zip(names, spec.unflatten(vector), strict=True)
    assert payload == save({name: np.ascontiguousarray(part).reshape(part.shape) for name, part in parts})
    assert decode(spec, payload)[0].tobytes() == vector.tobytes()


def test_a_model_alone_is_read_in_place_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library copies every tensor, and the canonical form would be made once more to compare with."""
    monkeypatch.setattr(payloads, "tensors_in", None)
    assert decode(SPEC, PAYLOAD)[0].tobytes() == VECTOR.tobytes()


def test_the_standard_library_reads_the_payload_by_the_models_names() -> None:
    read = load(PAYLOAD)
    assert sorted(read) == sorted(tensors)
    np.testing.assert_array_equal(read["dense/kernel"], tensors["dense/kernel"])


def test_state_comes_back_and_is_part_of_the_bytes() -> None:
    vector, state = decode(SPEC, encode(SPEC, VECTOR, STATE), state_limit=500)
    np.testing.assert_array_equal(vector, VECTOR)
    assert {name: (array.dtype, array.tolist()) for name, array in state.items()} == {
        name: (array.dtype, array.tolist()) for name, array in STATE.items()
    }


def test_views_that_are_not_contiguous_are_encoded_by_value() -> None:
    table = np.arange(12, dtype=np.float64).reshape(3, 4)
    _, state = decode(SPEC, encode(SPEC, VECTOR, {"history": table.T}), state_limit=500)
    np.testing.assert_array_equal(state["history"], table.T)
    assert encode(SPEC, np.repeat(VECTOR, 2)[::2]) == PAYLOAD


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (PAYLOAD[:-1], "not in the safetensors format"),
        (PAYLOAD + b"\0", "at most"),
        (b"", "not in the safetensors format"),
        (save(tensors, {"author": "me"}), "at most|canonical"),
        (save({**tensors, "extra": np.zeros(1, np.float32)}), "at most"),
        (save({name: tensors[name] for name in ("dense/kernel", "scale")}), "lacks the tensor 'dense/bias'"),
        (save({**tensors, "scale": np.ones(1, np.float32)}), r"'scale' is F32 \[1\], the model has F32 \[\]"),
        (save({**tensors, "dense/bias": np.zeros(2, np.float16)}), "'dense/bias' is F16"),
        (save({**tensors, "dense/bias": np.array([1, np.nan], np.float32)}), "'dense/bias' holds NaN or Inf"),
        (save({**tensors, "dense/bias": np.array([1, -np.inf], np.float32)}), "'dense/bias' holds NaN or Inf"),
    ],
)
def test_anything_else_is_refused_with_the_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(PayloadRefusedError, match=reason):
        decode(SPEC, payload)


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"extra": np.zeros(1, np.float32)}, "which the model has not"),
        ({"state.small": np.zeros(1, np.float16)}, "'state.small' is F16; allowed: F32, F64, I64$"),
        ({"state.bad": np.array([np.inf])}, "'state.bad' holds NaN or Inf"),
        ({"state.big": np.zeros(200)}, "at most"),
    ],
)
def test_state_outside_the_rule_is_refused(extra: dict[str, Any], reason: str) -> None:
    with pytest.raises(PayloadRefusedError, match=reason):
        decode(SPEC, save({**tensors, **extra}), state_limit=500)


@pytest.mark.parametrize("shape", [[2**63, 0], [0] * 100])
def test_a_shape_that_no_array_has_is_refused(shape: list[int]) -> None:
    """Of nothing, the format lets a shape have any length."""
    length = int.from_bytes(PAYLOAD[:8], "little")
    header, content = json.loads(PAYLOAD[8 : 8 + length]), PAYLOAD[8 + length :]
    header["state.x"] = {"dtype": "F32", "shape": shape, "data_offsets": [len(content)] * 2}
    text = json.dumps(header).encode()
    with pytest.raises(PayloadRefusedError, match="has a shape that no array has"):
        decode(SPEC, len(text).to_bytes(8, "little") + text + content, state_limit=1000)


def test_state_where_none_is_allowed_is_refused() -> None:
    small = ModelSpec((TensorSpec("w", (1,)),))
    room = len(encode(SPEC, VECTOR)) - len(encode(small, np.zeros(1, np.float32)))
    assert room > 0
    with pytest.raises(PayloadRefusedError, match="at most"):
        decode(small, encode(small, np.zeros(1, np.float32), {"m": np.zeros(1)}))


def test_metadata_that_fits_the_size_is_still_refused() -> None:
    form = r"^payload is not in its one canonical form: metadata, order or padding differ$"
    with pytest.raises(PayloadRefusedError, match=form):
        decode(SPEC, save(tensors, {"a": "b"}), state_limit=500)


@settings(max_examples=300)
@given(data=st.binary(max_size=len(PAYLOAD)))
@example(data=b"\xff" * 8)
@example(data=(2**40).to_bytes(8, "little") + b"{}")
@example(data=(2).to_bytes(8, "little") + b"{}")
@example(data=(4).to_bytes(8, "little") + b"null")
def test_no_bytes_crash_the_decoder(data: bytes) -> None:
    with pytest.raises(PayloadRefusedError):
        decode(SPEC, data)


@settings(max_examples=300)
@given(bit=st.integers(0, 8 * len(PAYLOAD) - 1))
def test_a_flipped_bit_is_refused_or_is_another_payload(bit: int) -> None:
    damaged = bytearray(PAYLOAD)
    damaged[bit // 8] ^= 1 << bit % 8
    try:
        vector, _ = decode(SPEC, bytes(damaged))
    except PayloadRefusedError:
        return
    assert encode(SPEC, vector) == bytes(damaged) != PAYLOAD


@given(cut=st.integers(0, len(PAYLOAD) - 1))
def test_a_truncated_payload_is_refused(cut: int) -> None:
    with pytest.raises(PayloadRefusedError):
        decode(SPEC, PAYLOAD[:cut])


def test_a_size_that_the_model_cannot_have_is_refused_before_reading() -> None:
    assert max_size(SPEC) == len(PAYLOAD)
    assert max_size(SPEC, 500) == len(PAYLOAD) + 500
    check_size(SPEC, max_size(SPEC))
    for size in (max_size(SPEC) + 1, -1):
        with pytest.raises(PayloadRefusedError, match=f"payload of {size} bytes, this model allows at most"):
            check_size(SPEC, size)


@pytest.mark.parametrize(
    ("vector", "state", "reason"),
    [
        (VECTOR[:-1], None, "shape"),
        (VECTOR.astype(np.float64), None, "float64"),
        (np.full(9, np.nan, np.float32), None, "NaN"),
        (VECTOR, {"m": np.zeros(1, np.float16)}, "float16"),
        (VECTOR, {"m": np.array([np.nan])}, "NaN"),
    ],
)
def test_what_no_one_may_publish_is_not_encoded(vector: Any, state: Any, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        encode(SPEC, vector, state)


@pytest.mark.parametrize("names", [("a", "a"), ("state.a", "b")])
def test_a_model_whose_names_collide_is_refused(names: tuple[str, str]) -> None:
    spec = ModelSpec(tuple(TensorSpec(name, (1,)) for name in names))
    with pytest.raises(InvalidInputError, match=f"tensor names .*: {', '.join(names)}$"):
        encode(spec, np.zeros(2, np.float32))
