"""Checks of inputs: updates as a float32 matrix, weights as float64 numbers, bounds on n and f."""

import operator
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import AggregationError, NonFiniteUpdateError, require
from fbfl.learning.clients import client_numbers
from fbfl.values.checks import Within

Matrix = npt.NDArray[np.float32]
"""Updates as float32 [n, P], a row per client in registry order."""

Iterations = Annotated[int, Within(1, 10_000)]
"""Iterations of a rule on n^2 products: more change nothing, and servers of a task that asks for them would not come to
an end. Checked before a rule is used, so also when a task is created or joined."""

Passes = Annotated[int, Within(1, 100)]
"""Iterations of a rule that each compute products of their own: of 100 updates and 10,000 coordinates half a second."""

Floats = npt.NDArray[np.float64]

Updates = npt.ArrayLike | Sequence[npt.NDArray[np.float32]]
Weights = npt.ArrayLike | Sequence[int] | None


def as_matrix(updates: Updates) -> Matrix:
    """Return the updates as a contiguous float32 [n, P], without a copy where they are one already."""
    if np.ma.is_masked(updates):
        raise AggregationError("updates are a masked array, which hides some of its values; all are needed")
    try:
        matrix = np.asarray(updates)
    except ValueError as error:
        raise AggregationError("updates have different lengths; all must hold the same P coordinates") from error
    if matrix.ndim == 2 and not len(matrix):
        raise AggregationError("there are no updates to aggregate")
    if matrix.ndim != 2 or matrix.size == 0:
        raise AggregationError(f"updates must be an array [n, P] with n >= 1 and P >= 1, not of shape {matrix.shape}")
    if matrix.dtype.kind not in "fiu":
        raise AggregationError(f"updates must be real numbers, not {matrix.dtype}")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(matrix, dtype=np.float32)


def as_finite_matrix(updates: Updates) -> Matrix:
    """Like `as_matrix`, and refuse NaN and Inf by naming their rows."""
    matrix = as_matrix(updates)
    require_finite(matrix)
    return matrix


def require_finite(matrix: Matrix) -> None:
    """Raise `NonFiniteUpdateError` with the rows that hold NaN or Inf."""
    bad = tuple(i for i, row in enumerate(matrix) if not np.isfinite(row).all())
    if bad:
        raise NonFiniteUpdateError(f"NaN or Inf in the update of client {', '.join(map(str, bad))}", bad)


def as_weights(weights: Weights, n: int) -> Floats:
    """Return n float64 weights; None means that all clients count the same."""
    if weights is None:
        return np.ones(n)
    try:
        array = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise AggregationError(f"weights must be {n} numbers: {error}") from error
    if array.shape != (n,):
        raise AggregationError(f"{n} updates need {n} weights, not an array of shape {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array) | (array < 0))
    if bad.size:
        raise AggregationError(f"weights[{bad[0]}] is {array[bad[0]]}; allowed: finite numbers from 0")
    if not (array > 0).any():
        raise AggregationError("all weights are 0: at least one must be positive")
    return array


def registry_numbers(clients: Sequence[int] | None, n: int) -> list[int]:
    """Return whose the n rows are, by default 0..n-1; repeated numbers raise `AggregationError`."""
    numbers = list(range(n)) if clients is None else [*client_numbers("clients", clients)]
    require(len(set(numbers)) == n, "clients", numbers, f"{n} different registry indices", AggregationError)
    return numbers


def with_room(array: npt.NDArray[Any], clients: int, fill: int = 0) -> npt.NDArray[Any]:
    """Return a copy of an array of a row per client, with rows for at least so many; new ones are `fill`."""
    missing = max(0, clients - len(array))
    return np.concatenate([array, np.full((missing, *array.shape[1:]), fill, array.dtype)])


def require_count(rule: str, n: int, f: int, factor: int, constant: int) -> int:
    """Check n >= factor * f + constant and f >= 0, and return f as an int."""
    f = as_integer("num_byzantine", f, minimum=0)
    bound = factor * f + constant
    if n < bound:
        raise AggregationError(f"{rule} needs n >= {factor}f+{constant} updates; n={n}, f={f} needs {bound}")
    return f


def as_integer(name: str, value: int, *, minimum: int) -> int:
    """Return a whole number that is at least `minimum`."""
    try:
        whole = operator.index(value)
    except TypeError:
        raise AggregationError(f"{name} is {value!r}; allowed: whole numbers") from None
    require(whole >= minimum, name, whole, f"at least {minimum}", AggregationError)
    return whole


def as_positive(name: str, value: float) -> float:
    """Return a finite number above 0."""
    number = float(value)
    require(0 < number < np.inf, name, value, "finite numbers above 0", AggregationError)
    return number
