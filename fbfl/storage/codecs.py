"""Codecs of updates: the precision with which each value is published.

`float32`: the update as it is, see `fbfl.storage.payload`. `float16`: rounded to IEEE 754 binary16, to nearest, ties to
even; a value is off by at most 2**-11 of itself, or by 2**-25 where that is more. `int8`: every tensor is symmetrically
quantised (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", section 2.1, with the zero point 0): to whole multiples q = -127, ..., 127 of a float32 scale, which is
max|x| / 127 rounded up; a value is off by at most half a scale. Its safetensors bytes are then one Zstandard frame
(RFC 8878).

Servers aggregate what the published bytes decode to. A global model is always float32.
"""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard
from safetensors.numpy import save

from fbfl.errors import InvalidInputError, PayloadRefusedError
from fbfl.storage.payload import Layout, decode, encode, max_size, tensor_names, tensors_in
from fbfl.tensors import ModelSpec, Vector

CODECS = ("float32", "float16", "int8")

_Tensors = dict[str, npt.NDArray[Any]]

_SCALE_PREFIX = "scale."
_LARGEST = 127  # -128 is not used: the range is symmetric
_DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "I8": np.dtype("i1")}
_LEVEL = 3  # of Zstandard: quantised noise hardly shrinks further with more
_SMALLEST_WINDOW = 1 << 10  # of Zstandard


def check_codec(codec: str) -> None:
    """Refuse the name of an unknown codec with `InvalidInputError`."""
    if codec not in CODECS:
        raise InvalidInputError(f"payload is {codec!r}; allowed: {', '.join(CODECS)}")


def encode_update(codec: str, spec: ModelSpec, update: Vector) -> bytes:
    """Return the payload of an update, float32 [P].

    The same bytes every time (of int8: with the same version of Zstandard). A wrong shape or dtype, NaN, Inf, or a
    value beyond the codec's range (float16: 65,504) raises `InvalidInputError`: nothing is clipped silently.
    """
    check_codec(codec)
    plain = encode(spec, update)  # checks the update
    if codec == "float32":
        return plain
    serialised = save(_tensors(codec, spec, update))
    return serialised if codec == "float16" else zstandard.ZstdCompressor(level=_LEVEL).compress(serialised)


def decode_update(codec: str, spec: ModelSpec, data: bytes) -> Vector:
    """Return the update, float32 [P], in a payload.

    Raises `PayloadRefusedError` for bytes that are not an update of this model in this codec. A frame is decompressed
    only if it says that it holds exactly the bytes that such an update has. Frames of other compressors are accepted:
    their content has one form, and how well they compress must not matter.
    """
    check_codec(codec)
    if codec == "float32":
        return decode(spec, data)[0]
    largest = max_update_size(codec, spec)
    if len(data) > largest:
        raise PayloadRefusedError(f"payload of {len(data)} bytes, this model allows at most {largest} in {codec}")
    tensors = _read(codec, spec, data if codec == "float16" else _decompressed(data, _serialised_size(codec, spec)))
    parts = []
    for name in tensor_names(spec):
        part = tensors[name].astype(np.float32)
        if codec == "int8":
            part = _dequantised(name, part, tensors[_SCALE_PREFIX + name])
        if not np.all(np.isfinite(part)):
            raise PayloadRefusedError(f"tensor {name!r} holds NaN or Inf")
        parts.append(part.ravel())
    return np.concatenate(parts)


@functools.cache
def max_update_size(codec: str, spec: ModelSpec) -> int:
    """Return the bytes of the largest payload of an update of this model."""
    check_codec(codec)
    if codec == "float32":
        return max_size(spec)
    size = _serialised_size(codec, spec)
    if codec == "float16":
        return size
    return size + (size >> 8) + max(0, (1 << 17) - size >> 11)  # ZSTD_COMPRESSBOUND in zstd.h


@functools.cache
def _serialised_size(codec: str, spec: ModelSpec) -> int:
    return len(save(_tensors(codec, spec, np.zeros(spec.size, np.float32))))


def _tensors(codec: str, spec: ModelSpec, update: Vector) -> _Tensors:
    """Return the content of the safetensors bytes: per tensor its float16 values, or int8 values and a scale."""
    tensors: _Tensors = {}
    names = tensor_names(spec)
    for name, part in zip(names, spec.unflatten(update), strict=True):
        if codec == "float16":
            with np.errstate(over="ignore"):
                tensors[name] = np.ascontiguousarray(part).astype(np.float16).reshape(part.shape)
            if not np.all(np.isfinite(tensors[name])):
                raise InvalidInputError(f"tensor {name!r} has values beyond the range of float16 (65,504)")
        else:
            if _SCALE_PREFIX + name in names:
                raise InvalidInputError(f"tensor name {_SCALE_PREFIX + name!r} is taken by the scale of {name!r}")
            tensors[name], tensors[_SCALE_PREFIX + name] = _quantised(name, part)
    return tensors


def _quantised(name: str, part: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return multiples q and their scale [], such that q * scale is nearest to the values."""
    exact = float(np.max(np.abs(part), initial=0)) / _LARGEST
    scale = np.float32(exact)
    if float(scale) < exact:
        scale = np.nextafter(scale, np.float32(np.inf))  # rounded up, the largest value is within 127 scales
    with np.errstate(over="ignore"):
        if not np.isfinite(scale * np.float32(_LARGEST)):
            raise InvalidInputError(f"tensor {name!r} has values at the end of the range of float32")
    multiples = np.rint(part.astype(np.float64) / float(scale)) if scale > 0 else np.zeros(part.shape)
    return np.ascontiguousarray(multiples, np.int8).reshape(part.shape), np.asarray(scale)


def _dequantised(name: str, multiples: npt.NDArray[np.float32], scale: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return the values, float32: each is q * scale, correctly rounded."""
    if not np.isfinite(scale) or np.signbit(scale):
        raise PayloadRefusedError(f"tensor {name!r} has the scale {scale}; allowed: finite ones from 0")
    if np.any(multiples < -_LARGEST):
        raise PayloadRefusedError(f"tensor {name!r} holds -128; allowed: -{_LARGEST} to {_LARGEST}")
    if (scale == 0) != (not np.any(multiples)):
        raise PayloadRefusedError(f"tensor {name!r} has the scale {scale}; allowed: 0 exactly if all values are 0")
    with np.errstate(over="ignore"):
        return multiples * np.float32(scale)


def _read(codec: str, spec: ModelSpec, serialised: bytes) -> _Tensors:
    """Return the tensors in safetensors bytes, which must be exactly those of this codec and in canonical form."""
    layout = _layout(codec, spec)
    found, _ = tensors_in(serialised, layout, codec)
    tensors = {
        name: np.frombuffer(found[name], _DTYPES[dtype]).reshape(shape) for name, (dtype, shape) in layout.items()
    }
    if save(tensors) != serialised:
        raise PayloadRefusedError("payload is not in its one canonical form: metadata, order or padding differ")
    return tensors


def _layout(codec: str, spec: ModelSpec) -> Layout:
    """Return the layout of the safetensors bytes."""
    if codec == "float16":
        return {tensor.name: ("F16", tensor.shape) for tensor in spec.tensors}
    scales = {_SCALE_PREFIX + tensor.name: ("F32", ()) for tensor in spec.tensors}
    return {**scales, **{tensor.name: ("I8", tensor.shape) for tensor in spec.tensors}}


def _decompressed(data: bytes, size: int) -> bytes:
    """Return the content of one Zstandard frame of exactly `size` bytes, with nothing behind it."""
    try:
        if data[: len(zstandard.FRAME_HEADER)] != zstandard.FRAME_HEADER:
            raise PayloadRefusedError("payload is not a Zstandard frame")
        frame = zstandard.get_frame_parameters(data)
        if frame.content_size != size:
            known = "an unknown size" if frame.content_size == zstandard.CONTENTSIZE_UNKNOWN else frame.content_size
            raise PayloadRefusedError(f"payload decompresses to {known}, an update of this model has {size} bytes")
        decompressor = zstandard.ZstdDecompressor(max_window_size=max(size, _SMALLEST_WINDOW))
        return decompressor.decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise PayloadRefusedError(f"payload cannot be decompressed: {error}") from error
