"""Samples and labels of strangers: taken if they are what they should be, else refused in one line that helps."""

import contextlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.ma import MaskedArray
from pandas import DataFrame

from fbfl.errors import InvalidInputError
from fbfl.learning.noise import add_noise
from fbfl.learning.samples import MAX_CLASSES, absent_labels, checked, labels_of, range_of, samples_of

pandas = pytest.importorskip("pandas")


class Tensor:
    """An array that NumPy can read, as tensors of other packages."""

    def __init__(self, values: Any, error: Any = None) -> None:
        self.values, self.error = values, error

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self.error:
            raise self.error
        return np.array(self.values, dtype)


@pytest.mark.parametrize(
    "labels",
    [
        [0, 2, 1],
        (0, 2, 1),
        np.array([0, 2, 1], np.uint8),
        np.array([0, 2, 1], np.uint64),
        np.array([0, 2, 1], ">i4"),
        pandas.Series([0, 2, 1]),
        pandas.Series([0, 2, 1], dtype="Int64"),
        pandas.Categorical([0, 2, 1]),
        Tensor([0, 2, 1]),
    ],
)
def test_whole_numbers_are_labels_whatever_holds_them(labels: Any) -> None:
    found = labels_of(labels, "y")
    assert found.tolist() == [0, 2, 1]
    assert found.dtype.kind in "iu"


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.eye(3), r"y is float64\[3, 3\]; .*y.argmax\(axis=1\)"),
        (np.eye(3, dtype=int), r"argmax"),
        (np.array([[0], [1]]), r"y is int64\[2, 1\]; .*y.reshape\(-1\)"),
        (pandas.DataFrame({"label": [0, 1]}), r"reshape"),
        (3, r"y is int64\[\]; .*one per sample"),
        ([0.0, 1.0], r"y.astype\(int\)"),
        ([True, False], r"y is bool\[2\]; .*astype\(int\)"),
        ([0.5, 1.0], "fractions are not classes"),
        ([0.0, np.nan], "NaN and fractions"),
        (["cat", "dog"], "np.unique"),
        (pandas.Series(["cat", "dog"]), "np.unique"),
        (pandas.Series([1, None], dtype="Int64"), "NaN and fractions"),
        ([0, None], "np.unique"),
        ([[0, 1], [2]], "a list that NumPy cannot read"),
        (
            Tensor([], RuntimeError("Tensor that requires grad")),
            "a Tensor that NumPy cannot read: Tensor that requires",
        ),
        ([-1, 0], "y holds -1: classes count from 0"),
        ([1, 10**9], f"y holds 1000000000; allowed: labels from 0 to {MAX_CLASSES - 1}; np.unique"),
        (np.array([2**63], np.uint64), "y holds 9223372036854775808"),
        ([2**70], "y holds 1180591620717411303424"),
    ],
)
def test_other_labels_are_refused_with_what_to_do(labels: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said) as caught:
        labels_of(labels, "y")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros(3), r"x has the shape \[3\]"),
        (np.zeros((3, 0, 8)), r"x has the shape \[3, 0, 8\]"),
        (np.zeros((3, 2), bool), r"x is bool; .*x.astype\('float32'\)"),
        (np.full((3, 2), 2**31), "x holds 2147483648; allowed: whole numbers that int32 holds"),
        (np.full((3, 2), 2**63, np.uint64), "x holds 9223372036854775808; allowed"),
        (np.zeros((3, 2), complex), "x is complex128"),
        (pandas.DataFrame({"a": [1, 2], "b": ["p", "q"]}), "x is object"),
        (np.array([[1.0, np.nan]]), "x holds NaN or Inf"),
        (np.array([[1.0, -np.inf]], np.float16), "x holds NaN or Inf"),
        (np.array([[1.0, 1e39]]), r"x holds 1e\+39; allowed: what float32 holds"),
        (np.array([[-1e300, 1.0]]), r"x holds -1e\+300"),
        (np.ma.masked_invalid([[1.0, np.nan]]), "x is a masked array, which hides some of its values"),
    ],
)
def test_other_samples_are_refused(samples: MaskedArray | DataFrame | npt.NDArray[Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        samples_of(samples, "x")


def test_samples_keep_their_type_and_values() -> None:
    for samples in (np.full((2, 3), 200, np.uint8), np.full((2, 3), -5.5), np.full((2, 3), 1e38, np.float32)):
        assert samples_of(samples, "x") is samples
    assert samples_of([[0.5, 1], [2, 3]], "x").tolist() == [[0.5, 1], [2, 3]]
    words = samples_of([[7, 2**31 - 1], [-1, 3]], "x")
    assert (words.dtype, words.tolist()) == (np.int32, [[7, 2**31 - 1], [-1, 3]])
    assert range_of([words]) == (-1, 2**31 - 1)


@given(
    st.one_of(
        st.tuples(
            arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)),
            arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)),
        ),
        st.recursive(st.none() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5),
    )
)
def test_whatever_it_is_it_is_taken_whole_or_refused(given_samples: Any) -> None:
    with contextlib.suppress(InvalidInputError):
        x, y = checked(given_samples, "client 0")
        assert len(x) == len(y)
        assert y.ndim == 1
        assert y.dtype.kind in "iu"
        assert all(0 <= label < MAX_CLASSES for label in y.tolist())
        assert not len(x) or np.isfinite(x.astype(np.float32)).all()


def test_labels_without_samples_are_named() -> None:
    assert absent_labels(3, [np.array([0, 1]), np.array([2], np.uint64)]) == ()
    (line,) = absent_labels(12, [np.array([11, 2])])
    assert "the label 0, 1, 3, 4, 5 and 5 more, yet there are 12 classes" in line


def test_the_range_is_that_of_pictures_unless_something_is_outside() -> None:
    bytes_, floats = np.full((2, 3), 200, np.uint8), np.array([[0.25, 0.5]])
    assert range_of([]) == range_of([bytes_]) == range_of([floats]) == range_of([bytes_, floats[:0]]) == (0, 1)
    assert range_of([floats * 4]) == (1, 2)
    assert range_of([floats, -floats]) == (-0.5, 0.5)
    assert range_of([bytes_, floats * -4]) == (-2, 1)
    assert range_of([np.array([[0.1, 1e3]])]) == (float(np.float32(0.1)), 1000)


@given(st.floats(-100, 100, width=16), st.floats(0.5, 100, width=16), st.floats(0.01, 2))
def test_noise_on_another_scale_is_the_same_noise(low: float, width: float, std: float) -> None:
    x = np.linspace(0, 1, 50, dtype=np.float32).reshape(5, 10)
    noisy = add_noise(x, std, np.random.default_rng(0))
    scaled = add_noise(low + width * x, std, np.random.default_rng(0), (low, low + width))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose((scaled - low) / width, noisy, atol=1e-4)


def test_noise_of_any_strength_stays_in_range() -> None:
    x = np.array([[-3e38, 0, 3e38]], np.float32)
    noisy = add_noise(x, 1e300, np.random.default_rng(0), (-3e38, 3e38))
    assert np.isfinite(noisy).all()
