"""State on disk: whatever numbers a function returns come back, and what cannot is refused when it is returned."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fbfl.errors import InvalidInputError
from fbfl.learning import checkpoint
from fbfl.tensors import state_arrays

DTYPES = (
    arrays.boolean_dtypes()
    | arrays.integer_dtypes(endianness="?")
    | arrays.unsigned_integer_dtypes(endianness="?")
    | arrays.floating_dtypes(endianness="?", sizes=(16, 32, 64))
)
LAYOUTS = (
    lambda array: array,
    lambda array: array.T,
    lambda array: array[..., ::2],
    lambda array: array[..., :1],
    lambda array: array[::-1],
    lambda array: np.broadcast_to(array, (2, *array.shape)),
    np.asfortranarray,
)


@given(arrays.arrays(DTYPES, arrays.array_shapes(min_dims=1, min_side=0)), st.sampled_from(LAYOUTS))
def test_arrays_come_back_however_they_lie_in_memory(array: npt.NDArray[Any], layout: Callable[..., Any]) -> None:
    given = layout(array)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        checkpoint.write(path, 3, {"whose": "mine"}, {"rule/a": given})
        number, tensors = checkpoint.read(path, {"whose": "mine"})
    assert number == 3
    assert tensors["rule/a"].dtype == given.dtype.newbyteorder("=")
    np.testing.assert_array_equal(tensors["rule/a"], given)
    (kept,) = state_arrays("it", {"a": given}).values()
    assert (kept.dtype, kept.shape) == (tensors["rule/a"].dtype, given.shape)


@pytest.mark.parametrize("number", [3.0, 3, True, np.float32(3), np.int8(3)])
def test_a_number_is_an_array_without_dimensions(number: float | np.float32 | np.int8, tmp_path: Path) -> None:
    state = state_arrays("it", {"n": number})
    checkpoint.write(tmp_path / "state", 1, {}, state)
    _, tensors = checkpoint.read(tmp_path / "state", {})
    assert state["n"].shape == tensors["n"].shape == ()
    assert state["n"].dtype == tensors["n"].dtype
    assert tensors["n"] == number


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "a NoneType as state"),
        (np.zeros(3), "a ndarray as state"),
        ([("a", 1.0)], "a list as state"),
        ({3: 1.0}, "state named 3"),
        ({"a": "text"}, "state 'a' of the type <U4"),
        ({"a": None}, "state 'a' of the type NoneType"),
        ({"a": {"b": 1.0}}, "state 'a' of the type dict"),
        ({"a": [[1.0], [1.0, 2.0]]}, "state 'a' that NumPy cannot read"),
        ({"a": 1j}, "state 'a' of the type complex128"),
        ({"a": np.longdouble(1)}, "state 'a' of the type"),
        ({"a": np.array("2026", "M8[Y]")}, "state 'a' of the type datetime64"),
    ],
)
def test_what_cannot_be_saved_is_refused_when_it_is_returned(
    state: dict[str, Any] | list[tuple[str, float]] | npt.NDArray[Any] | None, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"my rule returned {message}"):
        state_arrays("my rule", state)
