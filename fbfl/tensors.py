"""The shape of a model as data: its tensors, their order, and their flat float32 form."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError

Vector = npt.NDArray[np.float32]
"""All weights of one model, or one update, as a float32 array [P]."""


def plain_array(value: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return the value as an array in C order and in the machine's byte order; no copy if it is one already.

    The safetensors library copies memory as it lies: it would not see the strides of a view.
    """
    array = np.asarray(value)
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def vector_of(
    owner: str, what: str, returned: object, width: int, error: type[InvalidInputError] = InvalidInputError
) -> npt.NDArray[Any]:
    """Return a function's answer as real numbers [width], of the type that NumPy gives them; raise `error` for others.

    `owner` and `what` name the function and its answer in the message.
    """
    try:
        vector = np.asarray(returned)
    except (TypeError, ValueError) as cause:  # rows of several lengths, a tensor of a graph
        raise error(f"{owner} returned {what} that NumPy cannot read: {cause}") from cause
    if vector.shape != (width,) or vector.dtype.kind not in "biuf":
        kind = type(returned).__name__ if vector.dtype == object else vector.dtype
        raise error(f"{owner} returned {what} {list(vector.shape)} of {kind}; needed: numbers {[width]}")
    return vector


def state_arrays(owner: str, state: object) -> dict[str, npt.NDArray[Any]]:
    """Return a function's state for the next round as plain arrays by name; a number is an array of no dimensions.

    `owner` names the function in the message. State that cannot be saved raises `InvalidInputError`.
    """
    if not isinstance(state, Mapping):
        raise InvalidInputError(f"{owner} returned a {type(state).__name__} as state; needed: arrays by name")
    for name in state:
        if not isinstance(name, str):
            raise InvalidInputError(f"{owner} returned state named {name!r}: a name has to be text")
    arrays = {}
    for name, value in state.items():
        try:
            arrays[name] = plain_array(value)
        except (TypeError, ValueError) as error:  # rows of several lengths, a tensor of a graph
            raise InvalidInputError(f"{owner} returned state {name!r} that NumPy cannot read: {error}") from error
        if arrays[name].dtype not in _STATE_DTYPES:
            kind = type(value).__name__ if arrays[name].dtype == object else arrays[name].dtype
            raise InvalidInputError(f"{owner} returned state {name!r} of the type {kind}; needed: numbers")
    return arrays


_STATE_DTYPES = [np.dtype(letter) for letter in "?bhilqBHILQefd"]


@dataclass(frozen=True)
class TensorSpec:
    """One float32 tensor of a model: its name (the Keras variable path) and shape."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class ModelSpec:
    """The tensors of a model in their fixed order. P, the number of parameters, is `size`."""

    tensors: tuple[TensorSpec, ...]

    @property
    def size(self) -> int:
        """Number of parameters P."""
        return sum(tensor.size for tensor in self.tensors)

    def flatten(self, arrays: Sequence[npt.NDArray[np.float32]]) -> Vector:
        """Join one array per tensor into a float32 vector [P]. A wrong shape raises `InvalidInputError`."""
        shapes = tuple(tuple(array.shape) for array in arrays)
        expected = tuple(tensor.shape for tensor in self.tensors)
        if shapes != expected:
            raise InvalidInputError(f"weights have the shapes {shapes}, the model has {expected}")
        return np.concatenate([np.ravel(array).astype(np.float32, copy=False) for array in arrays])

    def unflatten(self, vector: Vector) -> list[npt.NDArray[np.float32]]:
        """Split a vector [P] into one float32 array per tensor (views, no copy)."""
        if vector.shape != (self.size,):
            raise InvalidInputError(f"weights have the shape {vector.shape}, the model has ({self.size},)")
        arrays = []
        start = 0
        for tensor in self.tensors:
            arrays.append(vector[start : start + tensor.size].reshape(tensor.shape))
            start += tensor.size
        return arrays
