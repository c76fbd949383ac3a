"""The payloads: a model or an update as safetensors bytes, with no room for anything else.

Every value has exactly one encoding, so a payload that does not re-encode to itself (metadata, another order, bytes
that nobody reads) is refused.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from fbfl.errors import InvalidInputError, PayloadRefusedError
from fbfl.tensors import ModelSpec, Vector, plain_array

STATE_PREFIX = "state."
STATE_DTYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64}

State = Mapping[str, npt.NDArray[Any]]
"""Tensors that an aggregation rule carries from round to round, by name: float32, float64 or int64, any shape."""

Layout = Mapping[str, tuple[str, tuple[int, ...]]]
"""Type, as safetensors names it, and shape of tensors, by name."""


def encode(spec: ModelSpec, vector: Vector, state: State | None = None) -> bytes:
    """Return the payload of a model or update, float32 [P], with the state of the rule if there is one.

    Deterministic bytes. A wrong shape or dtype, NaN or Inf raises `InvalidInputError`.
    """
    if vector.dtype != np.float32:
        raise InvalidInputError(f"weights are {vector.dtype}, a payload holds float32")
    parts = spec.unflatten(vector)
    if not state and np.isfinite(vector).all():
        header, order = _form(spec)
        return b"".join([header, *(parts[place].astype("<f4", copy=False).tobytes() for place in order)])
    tensors = dict(zip(tensor_names(spec), parts, strict=True))
    for name, array in (state or {}).items():
        if array.dtype.type not in STATE_DTYPES.values():
            raise InvalidInputError(f"state {name!r} is {array.dtype}; allowed: float32, float64 and int64")
        tensors[STATE_PREFIX + name] = array
    for name, array in tensors.items():
        if not np.all(np.isfinite(array)):
            raise InvalidInputError(f"tensor {name!r} holds NaN or Inf")
    return save({name: plain_array(array) for name, array in tensors.items()})


def decode(spec: ModelSpec, data: bytes, state_limit: int = 0) -> tuple[Vector, dict[str, npt.NDArray[Any]]]:
    """Return the model or update, float32 [P], and the state in a payload; `state_limit` as in `max_size`.

    Raises `PayloadRefusedError` for bytes that `encode` would not have written for this model.
    """
    check_size(spec, len(data), state_limit)
    plain = _plain(spec, data)
    if plain is not None:
        return plain, {}
    layout = {name: ("F32", tensor.shape) for name, tensor in zip(tensor_names(spec), spec.tensors, strict=True)}
    tensors, others = tensors_in(data, layout, "the model")
    vector = np.concatenate([np.frombuffer(content, "<f4") for content in tensors.values()], dtype=np.float32)

    state = {}
    for name, content in others.items():
        if not name.startswith(STATE_PREFIX):
            raise PayloadRefusedError(f"payload has the tensor {name!r}, which the model has not")
        if content["dtype"] not in STATE_DTYPES:
            raise PayloadRefusedError(f"state {name!r} is {content['dtype']}; allowed: {', '.join(STATE_DTYPES)}")
        dtype = np.dtype(STATE_DTYPES[content["dtype"]])
        array = np.frombuffer(content["data"], dtype=dtype.newbyteorder("<")).astype(dtype)
        try:
            state[name.removeprefix(STATE_PREFIX)] = array.reshape(content["shape"])
        except ValueError as error:  # of nothing, a shape may have any length
            raise PayloadRefusedError(f"state {name!r} has a shape that no array has: {error}") from error

    try:
        canonical = encode(spec, vector, state)
    except InvalidInputError as error:
        raise PayloadRefusedError(f"payload refused: {error}") from error
    if canonical != data:
        raise PayloadRefusedError("payload is not in its one canonical form: metadata, order or padding differ")
    return vector, state


def tensors_in(data: bytes, layout: Layout, owner: str) -> tuple[dict[str, bytes], dict[str, Mapping[str, Any]]]:
    """Return the values of tensors in safetensors bytes, which must have them all, and what further tensors there are.

    `owner` is what has the layout, in the message of the `PayloadRefusedError`.
    """
    try:
        others = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise PayloadRefusedError(f"payload is not in the safetensors format: {error}") from error
    tensors = {}
    for name, (dtype, shape) in layout.items():
        content = others.pop(name, None)
        if content is None:
            raise PayloadRefusedError(f"payload lacks the tensor {name!r}")
        if content["dtype"] != dtype or tuple(content["shape"]) != shape:
            found = f"{content['dtype']} {list(content['shape'])}"
            raise PayloadRefusedError(f"tensor {name!r} is {found}, {owner} has {dtype} {list(shape)}")
        tensors[name] = content["data"]
    return tensors, others


def _plain(spec: ModelSpec, data: bytes) -> Vector | None:
    """Return the model or update in a payload without state; None for all else, and for what is to be refused."""
    header, order = _form(spec)
    if len(data) != max_size(spec) or not data.startswith(header):
        return None
    vector = np.empty(spec.size, np.float32)
    parts, values = spec.unflatten(vector), np.frombuffer(data, "<f4", offset=len(header))
    start = 0
    for place in order:
        end = start + parts[place].size
        parts[place][...] = values[start:end].reshape(parts[place].shape)
        start = end
    return vector if np.isfinite(vector).all() else None


@functools.cache
def _form(spec: ModelSpec) -> tuple[bytes, Sequence[int]]:
    """Return how every payload of this model without state begins, and the order in which its tensors follow."""
    names = tensor_names(spec)
    data = save({tensor.name: np.zeros(tensor.shape, np.float32) for tensor in spec.tensors})
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    return data[:end], sorted(range(len(names)), key=lambda place: header[names[place]]["data_offsets"])


def check_size(spec: ModelSpec, size: int, state_limit: int = 0) -> None:
    """Refuse, before a byte of it is read, a payload of a size that this model cannot have."""
    largest = max_size(spec, state_limit)
    if not 0 <= size <= largest:
        raise PayloadRefusedError(f"payload of {size} bytes, this model allows at most {largest}")


@functools.cache
def max_size(spec: ModelSpec, state_limit: int = 0) -> int:
    """Return the bytes of the largest payload of this model.

    `state_limit` is how many bytes the state may add, its names and shapes in the header included.
    """
    return len(encode(spec, np.zeros(spec.size, np.float32))) + state_limit


def tensor_names(spec: ModelSpec) -> list[str]:
    """Return the names of the tensors in a payload. Names that collide raise `InvalidInputError`."""
    names = [tensor.name for tensor in spec.tensors]
    if len(set(names)) != len(names) or any(name.startswith(STATE_PREFIX) for name in names):
        raise InvalidInputError(f"tensor names must differ and not start with {STATE_PREFIX!r}: {', '.join(names)}")
    return names
