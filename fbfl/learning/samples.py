"""Samples and labels: the types that are accepted, and the range of their values."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError
from fbfl.values.checks import is_whole

Array = npt.NDArray[Any]

MAX_CLASSES = 65_536
"""Bound above labels: three times the classes of the largest public data sets; the output layer fits in memory."""

Range = tuple[float, float]
"""The smallest and the largest value of samples."""

WHOLE = "int32"
"""Type of samples that are whole numbers, such as numbers of words, for models that embed them."""

PICTURES: Range = (0.0, 1.0)
"""The range of pictures. In bytes, 255 stands for 1."""

_RENUMBERED = "np.unique(y, return_inverse=True)[1] numbers classes from 0"


def checked(
    samples: object, where: str, x_name: str = "x", y_name: str = "y", num_classes: int | None = None
) -> tuple[Array, Array]:
    """Return samples x [n, ...] and labels y [n] of one owner, n may be 0, as NumPy arrays of their own types.

    Without classes (`num_classes` 0) labels are numbers, float32; of classes they are below `num_classes` (None: any).
    `where` and the names begin the message of the `InvalidInputError` for anything else.
    """
    if not isinstance(samples, tuple | list) or len(samples) != 2:
        raise InvalidInputError(f"{where} is a {type(samples).__name__}; needed: a pair (x, y) of samples and labels")
    x, y = samples_of(samples[0], f"{where}: {x_name}"), labels_of(samples[1], f"{where}: {y_name}", num_classes)
    if len(x) != len(y):
        raise InvalidInputError(f"{where}: {x_name} holds {len(x)} samples, {y_name} {len(y)} labels; needed: as many")
    return x, y


def samples_of(x: object, where: str) -> Array:
    """Return samples [n, ...] as a NumPy array: uint8, int32, or floating point that is finite as float32."""
    array = _array(x, where)
    if array.ndim and not len(array):
        return array
    if array.ndim < 2 or not array.size:
        raise InvalidInputError(f"{where} has the shape {list(array.shape)}; needed: samples [n, ...] with values")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "fiu":
        raise InvalidInputError(
            f"{where} is {array.dtype}; allowed: uint8 (0..255), floating point, as x.astype('float32') makes it, and "
            "whole numbers, of words, say"
        )
    low, high = array.min(), array.max()  # NaN if there is one
    if array.dtype.kind in "iu":
        for value in (low, high):
            if not -(2**31) <= int(value) < 2**31:
                raise InvalidInputError(f"{where} holds {value}; allowed: whole numbers that int32 holds")
        return array.astype(np.int32, copy=False)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InvalidInputError(f"{where} holds NaN or Inf; allowed: finite values")
    with np.errstate(over="ignore"):
        beyond = [value for value in (low, high) if not np.isfinite(np.float32(value))]
    if beyond:
        raise InvalidInputError(f"{where} holds {beyond[0]:g}; allowed: what float32 holds, up to 3.4e38")
    return array


def labels_of(y: object, where: str, num_classes: int | None = None) -> Array:
    """Return labels [n] as a NumPy array of integers from 0 to `MAX_CLASSES` - 1, or below `num_classes`.

    Without classes (0) they are numbers, float32.
    """
    if num_classes == 0:
        return numbers_of(y, where)
    array = _array(y, where)
    if not _are_integers(array):
        raise InvalidInputError(f"{where} is {_form(array)}; needed: labels [n], whole numbers; {_advice(array)}")
    if array.size and array.min() < 0:
        raise InvalidInputError(f"{where} holds {array.min()}: classes count from 0; {_RENUMBERED}")
    if array.size and array.max() >= MAX_CLASSES:
        raise InvalidInputError(
            f"{where} holds {array.max()}; allowed: labels from 0 to {MAX_CLASSES - 1}; {_RENUMBERED}"
        )
    if num_classes is not None and array.size and array.max() >= num_classes:
        raise InvalidInputError(
            f"{where} holds {array.max()}; allowed with {of_classes(num_classes)}: 0 to {num_classes - 1}"
        )
    return _of_integer_type(array)


def of_classes(num_classes: int) -> str:
    """Return the words of a message for a number of classes, which may follow from the loss."""
    return f"num_classes = {num_classes}" + (", as of loss binary_cross_entropy" if num_classes == 2 else "")


def numbers_of(y: object, where: str) -> Array:
    """Return labels [n] that are numbers, finite as float32, as a NumPy array of float32."""
    array = _array(y, where)
    if array.ndim != 1:
        raise InvalidInputError(
            f"{where} is {_form(array)}; needed: labels [n], a number per sample"
            + ("; y.reshape(-1) makes it flat" if array.ndim and array.size == len(array) else "")
        )
    if array.dtype.kind not in "fiu" and array.size:
        raise InvalidInputError(f"{where} is {_form(array)}; needed: numbers; y.astype('float32') makes them")
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32)
    beyond = array[~np.isfinite(numbers)]
    if beyond.size:
        raise InvalidInputError(f"{where} holds {beyond[0]}; allowed: finite numbers that float32 holds, up to 3.4e38")
    return numbers


def integers_of(values: object, where: str) -> Array:
    """Whole numbers [n] as a NumPy array of an integer type; Python's, as in columns of pandas, and none are int64.

    `where` begins the message of the `InvalidInputError` for anything else.
    """
    array = _array(values, where)
    if not _are_integers(array):
        raise InvalidInputError(f"{where} is {_form(array)}; needed: whole numbers [n]")
    for value in (array.min(), array.max()) if array.size else ():
        if not -(2**63) <= int(value) < 2**63:
            raise InvalidInputError(f"{where} holds {value}; allowed: what int64 holds")
    return _of_integer_type(array)


def type_of(x: Array) -> str:
    """Return what trainers take samples as: `WHOLE` numbers, or float32, which bytes become."""
    return WHOLE if x.dtype.kind in "iu" and x.dtype != np.uint8 else "float32"


def range_of(parts: Iterable[Array]) -> Range:
    """Return the range of samples [n, ...] per part, as float32 has it; `PICTURES` if none of them is outside that."""
    found = [PICTURES if x.dtype == np.uint8 else (_float32(x.min()), _float32(x.max())) for x in parts if x.size]
    low, high = min((low for low, _ in found), default=0.0), max((high for _, high in found), default=0.0)
    return PICTURES if PICTURES[0] <= low and high <= PICTURES[1] else (low, high)


def absent_labels(num_classes: int, parts: Iterable[Array]) -> tuple[str, ...]:
    """Return a line if some classes have no sample, as when labels count from 1; else nothing. y [n] per part."""
    absent = np.setdiff1d(np.arange(num_classes), np.concatenate([np.unique(y) for y in parts]))
    if not absent.size:
        return ()
    return (f"no sample has the label {_some(absent)}, yet there are {num_classes} classes, from 0 on; {_RENUMBERED}",)


def unlearnt_labels(y_train: Array, y_test: Array) -> tuple[str, ...]:
    """Return lines on classes that nobody can learn: one alone, and those of test samples [n] without one to train."""
    only = ("all samples to train on have the same label: there is nothing to tell apart",)
    unseen = np.setdiff1d(y_test, y_train)
    if not unseen.size:
        return only if len(np.unique(y_train)) == 1 else ()
    return (f"no sample to train on has the label {_some(unseen)}, and samples to test have it",)


def _some(labels: Array) -> str:
    return ", ".join(map(str, labels[:5])) + (f" and {labels.size - 5:,} more" if labels.size > 5 else "")


def _float32(value: Any) -> float:
    return float(value if isinstance(value, np.integer) else np.float32(value))


def _array(values: object, where: str) -> Array:
    if np.ma.is_masked(values):
        raise InvalidInputError(f"{where} is a masked array, which hides some of its values; needed: all")
    try:
        return np.asarray(values)
    except Exception as error:  # lists of unequal lengths, tensors on another device or with a gradient
        raise InvalidInputError(f"{where} is a {type(values).__name__} that NumPy cannot read: {error}") from error


def _are_integers(array: Array) -> bool:
    """Return True if an array is [n] and holds whole numbers, NumPy's or Python's."""
    return array.ndim == 1 and (
        not array.size
        or array.dtype.kind in "iu"
        or (array.dtype == object and all(is_whole(value) for value in array))
    )


def _of_integer_type(array: Array) -> Array:
    return array if array.dtype.kind in "iu" else np.array(array.tolist(), np.int64)  # none may be complex


def _form(array: Array) -> str:
    return f"{array.dtype}{list(array.shape)}"


def _advice(array: Array) -> str:
    if array.ndim == 2 and array.shape[1] > 1:
        return "of one-hot rows y.argmax(axis=1) makes them"
    if array.ndim != 1:
        return "y.reshape(-1) makes it flat" if array.ndim else "one per sample"
    if array.dtype.kind == "b" or (array.dtype.kind == "f" and (array == np.rint(array)).all()):
        return "y.astype(int) makes them"
    if array.dtype.kind == "f":
        return "NaN and fractions are not classes; numbers need loss mean_squared_error, or num_classes = 0"
    return _RENUMBERED
