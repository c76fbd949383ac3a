"""Updates in fewer bits: what comes back is near enough, and only well-formed bytes come back at all."""

import hashlib
import itertools
import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from fbfl.errors import InvalidInputError, PayloadRefusedError
from fbfl.storage.codecs import CODECS, decode_update, encode_update, max_update_size
from fbfl.storage.payload import encode, max_size
from fbfl.tensors import ModelSpec, TensorSpec, Vector

SPEC = ModelSpec((TensorSpec("dense/kernel", (3, 2)), TensorSpec("dense/bias", (2,)), TensorSpec("scale", ())))
VECTOR: Vector = (np.arange(9, dtype=np.float32) - np.float32(4)) / np.float32(7)
SMALL = ("float16", "int8")

values = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=9, max_size=9)
in_half_range = st.lists(st.floats(-65504, 65504, width=32), min_size=9, max_size=9)


def compressed(data: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


def parts(vector: np.ndarray) -> list[list[Fraction]]:
    return [[Fraction(float(x)) for x in part.ravel()] for part in SPEC.unflatten(vector)]


def test_float32_is_the_payload_that_it_always_was() -> None:
    vector: Vector = np.arange(9, dtype=np.float32) / np.float32(7)
    payload = encode_update("float32", SPEC, vector)
    assert payload == encode(SPEC, vector)
    assert hashlib.sha256(payload).hexdigest() == "dbaa7431aef2190715f7b810cd50cbb77829901a2ff3567d4452bc402f12bff8"
    assert max_update_size("float32", SPEC) == max_size(SPEC) == 236


@given(vector=in_half_range)
@example(vector=[65504.0, -65504.0, 2.0**-24, 2.0**-25, -(2.0**-26), 1e-45, -0.0, 65503.0, 1.0])
def test_float16_is_off_by_at_most_half_a_unit_in_the_last_place(vector: list[float]) -> None:
    update = np.array(vector, np.float32)
    decoded = decode_update("float16", SPEC, encode_update("float16", SPEC, update))
    assert decoded.dtype == np.float32
    for was, is_ in zip(itertools.chain(*parts(update)), itertools.chain(*parts(decoded)), strict=True):
        assert abs(was - is_) <= max(abs(was) / 2**11, Fraction(1, 2**25))


@given(vector=values)
@example(vector=[1e-45] * 9)
@example(vector=[178 * 2.0**-149, 2.0**-149, *[0.0] * 7])
@example(vector=[-1e38, 1.0, *[-0.0] * 7])
def test_int8_is_off_by_at_most_half_a_step_of_its_tensor(vector: list[float]) -> None:
    update = np.array(vector, np.float32)
    if np.abs(update).max() > 3.4e38:
        return  # the next test
    decoded = decode_update("int8", SPEC, encode_update("int8", SPEC, update))
    assert decoded.dtype == np.float32
    for was, is_ in zip(parts(update), parts(decoded), strict=True):
        # A scale above max / 127 by at most one unit in the last place, and a product rounded to float32.
        step = max(map(abs, was)) / 127 * (1 + Fraction(1, 2**23)) + Fraction(1, 2**149)
        for a, b in zip(was, is_, strict=True):
            assert abs(a - b) <= step / 2 + abs(b) / 2**24 + Fraction(1, 2**150)


@pytest.mark.parametrize(("codec", "value"), [("float16", 65520.0), ("float16", -1e30), ("int8", 3.4028235e38)])
def test_what_a_codec_cannot_hold_is_not_encoded(codec: str, value: float) -> None:
    vector = VECTOR.copy()
    vector[6] = value
    with pytest.raises(InvalidInputError, match=r"'dense/bias' has values .* the range"):
        encode_update(codec, SPEC, vector)


@pytest.mark.parametrize("codec", CODECS)
def test_what_no_one_may_publish_is_not_encoded(codec: str) -> None:
    for vector, reason in (
        (VECTOR[:-1], "shape"),
        (VECTOR.astype(np.float64), "float64"),
        (np.full(9, np.nan, np.float32), "NaN"),
        (np.full(9, np.inf, np.float32), "Inf"),
    ):
        with pytest.raises(InvalidInputError, match=reason):
            encode_update(codec, SPEC, vector)  # type: ignore[arg-type]


def test_an_unknown_codec_is_refused() -> None:
    calls: tuple[Callable[..., Any], ...] = (encode_update, decode_update)
    for call in calls:
        with pytest.raises(InvalidInputError, match="'int4'; allowed: float32, float16, int8"):
            call("int4", SPEC, VECTOR)


@pytest.mark.parametrize("codec", CODECS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_the_bytes_are_deterministic_and_within_the_bound(codec: str, seed: int) -> None:
    vector = np.random.default_rng(seed).standard_normal(9).astype(np.float32)
    payload = encode_update(codec, SPEC, vector)
    assert payload == encode_update(codec, SPEC, np.repeat(vector, 2)[::2])
    assert len(payload) <= max_update_size(codec, SPEC)


def test_noise_that_cannot_be_compressed_is_within_the_bound_and_a_quarter_of_float32() -> None:
    spec = ModelSpec((TensorSpec("w", (300, 500)),))
    vector = np.random.default_rng(1).uniform(-1, 1, spec.size).astype(np.float32)
    sizes = {codec: len(encode_update(codec, spec, vector)) for codec in CODECS}
    assert all(sizes[codec] <= max_update_size(codec, spec) for codec in CODECS)
    assert sizes["float16"] < 0.51 * sizes["float32"]
    assert sizes["int8"] < 0.26 * sizes["float32"]


def quantised(**changes: Any) -> dict[str, Any]:
    tensors: dict[str, Any] = load(zstandard.ZstdDecompressor().decompress(encode_update("int8", SPEC, VECTOR)))
    return {**tensors, **changes}


def test_other_libraries_read_an_int8_payload() -> None:
    tensors = quantised()
    back = tensors["dense/kernel"].astype(np.float32) * tensors["scale.dense/kernel"]
    np.testing.assert_allclose(back, SPEC.unflatten(VECTOR)[0], atol=4 / 7 / 254 * 1.001)
    assert tensors["dense/kernel"].dtype == np.int8


F16 = load(encode_update("float16", SPEC, VECTOR))
SIZE = len(save(quantised()))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (encode(SPEC, VECTOR), "at most"),
        (b"", "not in the safetensors format"),
        (save({**F16, "scale": np.full((), np.inf, np.float16)}), "'scale' holds NaN or Inf"),
        (save({**F16, "scale": np.full((1,), 1, np.float16)}), "at most|has F16"),
        (save({**F16, "scale": np.full((), 1, np.int8)}), r"'scale' is I8 \[\], float16 has F16 \[\]"),
        (save({n: t for n, t in F16.items() if n != "dense/bias"}), "lacks the tensor 'dense/bias'"),
        (save({n.replace("bias", "gain"): t for n, t in F16.items()}), "lacks the tensor 'dense/bias'"),
        (save(F16) + b"\0", "at most"),
    ],
)
def test_what_is_no_float16_update_is_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(PayloadRefusedError, match=reason):
        decode_update("float16", SPEC, payload)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "^payload is not a Zstandard frame$"),
        (save(quantised()), "not a Zstandard frame"),
        (b"\x50\x2a\x4d\x18\x01\0\0\0\0" + encode_update("int8", SPEC, VECTOR), "not a Zstandard frame"),
        (encode_update("int8", SPEC, VECTOR) + b"\0", "cannot be decompressed"),
        (encode_update("int8", SPEC, VECTOR) + compressed(b""), "cannot be decompressed"),
        (encode_update("int8", SPEC, VECTOR)[:-1], "cannot be decompressed|decompresses to"),
        (compressed(save(quantised()), write_content_size=False), "to an unknown size,"),
        (compressed(bytes(10**6)), f"to 1000000, an update of this model has {SIZE} bytes"),
        (compressed(bytes(SIZE - 1)), f"to {SIZE - 1},"),
        (compressed(bytes(SIZE)), "not in the safetensors format"),
        (compressed(save(quantised(scale=np.full((), -128, np.int8)))), "'scale' holds -128"),
        (compressed(save(quantised(**{"scale.scale": np.array(np.nan, np.float32)}))), "has the scale nan"),
        (compressed(save(quantised(**{"scale.scale": np.array(np.inf, np.float32)}))), "has the scale inf"),
        (compressed(save(quantised(**{"scale.scale": np.array(-1, np.float32)}))), "has the scale -1"),
        (
            compressed(save(quantised(**{"scale.scale": np.array(-0.0, np.float32)}))),
            "scale -0.0; allowed: finite",
        ),
        (compressed(save(quantised(**{"scale.scale": np.array(0, np.float32)}))), "has the scale 0"),
        (compressed(save(quantised(scale=np.full((), 0, np.int8)))), "exactly if all values are 0"),
        (compressed(save(quantised(**{"scale.scale": np.array(3e38, np.float32)}))), "'scale' holds NaN or Inf"),
        (compressed(save(quantised(**{"scale.scale": np.array(1, np.int32)}))), "'scale.scale' is I32"),
    ],
)
def test_what_is_no_int8_update_is_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(PayloadRefusedError, match=reason):
        decode_update("int8", SPEC, payload)


@pytest.mark.parametrize("more", [50, 1, -1, -50])
def test_a_frame_that_lies_about_its_size_is_refused(more: int) -> None:
    frame = bytearray(compressed(bytes(SIZE + more)))
    honest = compressed(bytes(SIZE))
    assert zstandard.frame_header_size(frame) == zstandard.frame_header_size(honest)
    frame[: zstandard.frame_header_size(honest)] = honest[: zstandard.frame_header_size(honest)]
    with pytest.raises(PayloadRefusedError, match="cannot be decompressed"):
        decode_update("int8", SPEC, bytes(frame))


@pytest.mark.parametrize("codec", SMALL)
def test_another_order_of_the_header_is_refused(codec: str) -> None:
    plain = encode_update(codec, SPEC, VECTOR)
    plain = plain if codec == "float16" else zstandard.ZstdDecompressor().decompress(plain)
    length = int.from_bytes(plain[:8], "little")
    header = json.loads(plain[8 : 8 + length])
    turned = json.dumps(dict(reversed(header.items())), separators=(",", ":")).encode().ljust(length)
    assert len(turned) == length
    other = plain[:8] + turned + plain[8 + length :]
    assert load(other).keys() == load(plain).keys()
    with pytest.raises(
        PayloadRefusedError,
        match=r"^payload is not in its one canonical form: metadata, order or padding differ$",
    ):
        decode_update(codec, SPEC, other if codec == "float16" else compressed(other))


@pytest.mark.parametrize("codec", CODECS)
def test_tensors_of_zeros_and_of_no_elements_come_back(codec: str) -> None:
    spec = ModelSpec((TensorSpec("none", (0, 3)), TensorSpec("zeros", (2,)), TensorSpec("some", (1,))))
    update = np.array([0, 0, 127], np.float32)
    np.testing.assert_array_equal(decode_update(codec, spec, encode_update(codec, spec, update)), update)


def test_another_compressors_frame_of_the_same_content_counts() -> None:
    other = compressed(save(quantised()), level=19, write_checksum=True)
    assert other != encode_update("int8", SPEC, VECTOR)
    expected = decode_update("int8", SPEC, encode_update("int8", SPEC, VECTOR))
    np.testing.assert_array_equal(decode_update("int8", SPEC, other), expected)


@pytest.mark.parametrize("codec", SMALL)
@settings(max_examples=200)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_damaged_bytes_are_refused_or_another_finite_update(codec: str, place: int, bit: int) -> None:
    payload = bytearray(encode_update(codec, SPEC, VECTOR))
    payload[place % len(payload)] ^= 1 << bit
    try:
        decoded = decode_update(codec, SPEC, bytes(payload))
    except PayloadRefusedError:
        return
    assert decoded.shape == (9,)
    assert np.isfinite(decoded).all()


@pytest.mark.parametrize("codec", SMALL)
@settings(max_examples=200)
@given(data=st.binary(max_size=300))
@example(data=zstandard.FRAME_HEADER)
@example(data=compressed((2**40).to_bytes(8, "little") + bytes(SIZE - 8)))
def test_no_bytes_crash_the_decoder(codec: str, data: bytes) -> None:
    with pytest.raises(PayloadRefusedError):
        decode_update(codec, SPEC, data)


def test_a_model_whose_names_collide_with_the_scales_is_refused() -> None:
    spec = ModelSpec((TensorSpec("w", (1,)), TensorSpec("scale.w", (1,))))
    with pytest.raises(InvalidInputError, match=r"'scale\.w' is taken"):
        encode_update("int8", spec, np.ones(2, np.float32))
