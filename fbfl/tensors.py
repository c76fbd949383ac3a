"""The shape of a model as data: which tensors it has, in which order, and their flat float32 form."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError

Vector = npt.NDArray[np.float32]
"""All weights of one model, or one update, as a float32 array [P]."""


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
