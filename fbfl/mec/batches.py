"""Batches of samples as bytes: a safetensors file of `x` and `y`, and the checks of a server."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from fbfl.learning.samples import PICTURES, WHOLE, Range, type_of
from fbfl.mec.request_body import RequestRefusedError
from fbfl.mec.samples import Array, Batch

X_DTYPES: dict[str, dict[str, Any]] = {"float32": {"U8": np.uint8, "F32": np.float32}, WHOLE: {"I32": np.int32}}
"""Samples are bytes 0..255, which stand for 0 to 1, or finite float32; or they are whole numbers."""

MAX_BODY = 8 * 2**20
"""Bytes of the largest batch."""

HEADER = 1_024
"""Bytes that a batch has at most beside its samples."""


@dataclass(frozen=True)
class SampleForm:
    """Form of the samples of one task."""

    shape: tuple[int, ...]
    """Shape of one sample."""
    classes: int
    """Number of classes; labels are below. 0: labels are numbers."""
    range: Range = PICTURES
    """Range of the samples that the task was made with."""
    label_range: Range = PICTURES
    """Range of the labels that the task was made with, where they are numbers."""
    sample_type: str = "float32"
    """Type of samples as the model sees them."""

    @property
    def label_type(self) -> type[np.generic]:
        """Type of labels."""
        return np.int64 if self.classes else np.float32

    def problem(self, x: Array, y: Array) -> str | None:
        """Return the fault of samples x [n, ...] and labels y [n], integers of classes, or None."""
        if x.shape[1:] != self.shape:
            return f"samples have the shape {list(x.shape[1:])}; allowed in this task: {list(self.shape)}"
        if type_of(x) != self.sample_type:
            whole = "whole numbers, int32" if self.sample_type == WHOLE else "uint8 and floating point"
            return f"samples are {x.dtype}; allowed in this task: {whole}"
        if self.classes and len(y) and not 0 <= y.min() <= y.max() < self.classes:
            return f"labels are {y.min()} to {y.max()}; allowed in this task: 0 to {self.classes - 1}"
        if not self.classes and not np.isfinite(y).all():
            return "labels hold NaN or Inf; allowed in this task: finite numbers"
        of_labels = None if self.classes else _problem_of_range("labels", y, self.label_range)
        # A model has no place for a word that the task does not know.
        wider = self.sample_type != WHOLE
        return problem_of_values(x) or _problem_of_range("samples", x, self.range, wider=wider) or of_labels


def _problem_of_range(what: str, values: Array, allowed: Range, *, wider: bool = True) -> str | None:
    """Return the fault of values that are much larger than others of the task, and would blow training up.

    Those of another place may well lie beyond the task's range: if `wider`, by its width on either side.
    """
    low, high = allowed
    margin = high - low if wider else 0.0
    least, most = low - margin, high + margin
    scale = 255.0 if values.dtype == np.uint8 else 1.0
    found = (float(values.min()) / scale, float(values.max()) / scale) if values.size else (least, most)
    if least <= found[0] and found[1] <= most:
        return None
    return f"{what} hold {found[0]:g} to {found[1]:g}; allowed in this task: {least:g} to {most:g}"


def problem_of_values(x: Array) -> str | None:
    """Return the fault in the values of samples, or None."""
    if x.dtype != np.uint8 and not np.isfinite(x).all():
        return "samples hold NaN or Inf; allowed: finite values, or bytes"
    return None


def encode_batch(batch: Batch) -> bytes:
    """Return the bytes of a batch, x uint8, float32 or int32 [n, ...], y int64 or float32 [n]; not device and place."""
    return save({"x": np.ascontiguousarray(batch.x), "y": np.ascontiguousarray(batch.y)})


def decode_batch(data: bytes, device: int, first: int, form: SampleForm) -> Batch:
    """Return the batch in these bytes; `RequestRefusedError` if there is none (400), or none of this task (422)."""
    try:
        tensors = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise RequestRefusedError(400, f"the batch is not in the safetensors format: {error}") from error
    if tensors.keys() != {"x", "y"}:
        raise RequestRefusedError(400, f"the batch holds {sorted(tensors)}; allowed: ['x', 'y']")
    of_labels = {"I64": np.int64} if form.classes else {"F32": np.float32, "I64": np.int64}
    x, y = _array("x", tensors["x"], X_DTYPES[form.sample_type]), _array("y", tensors["y"], of_labels)
    if y.ndim != 1 or x.ndim < 1 or len(x) != len(y) or not len(y):
        shapes = f"x {list(x.shape)}, y {list(y.shape)}"
        raise RequestRefusedError(400, f"the batch holds {shapes}; allowed: x [n, ...], y [n], n at least 1")
    problem = form.problem(x, y)
    if problem is not None:
        raise RequestRefusedError(422, problem)
    return Batch(device, first, x, y.astype(form.label_type, copy=False))


def most_samples(size: int, sample: int) -> int:
    """Return the number of samples, of `sample` bytes each without label, that fit into a batch of `size` bytes."""
    return max(0, size - HEADER) // (sample + np.dtype(np.int64).itemsize)


def _array(name: str, content: Any, dtypes: dict[str, Any]) -> Array:
    if content["dtype"] not in dtypes:
        raise RequestRefusedError(400, f"{name} is {content['dtype']}; allowed: {', '.join(dtypes)}")
    dtype = np.dtype(dtypes[content["dtype"]])
    array = np.frombuffer(content["data"], dtype=dtype.newbyteorder("<")).astype(dtype, copy=False)
    try:
        return array.reshape(content["shape"])
    except ValueError as error:  # of nothing, a shape may have any length
        raise RequestRefusedError(400, f"{name} has a shape that no array has: {error}") from error
