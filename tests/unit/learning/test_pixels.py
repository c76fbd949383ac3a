from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fbfl.learning.pixels import compact


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=3, min_side=0), elements=st.integers(0, 255)))
def test_pixels_become_bytes_and_the_same_floats_again(pixels: npt.NDArray[Any]) -> None:
    found = compact(pixels / np.float32(255))
    assert found.dtype == np.uint8
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize("odd", [0.1, 1.5, -1 / 255, np.nextafter(np.float32(1), np.float32(0)), np.nan, np.inf, 257.0])
def test_what_is_no_pixel_stays_as_it_is(odd: float | np.float32) -> None:
    x = np.array([[0, 1, odd]], np.float32)
    assert compact(x) is x


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_other_types_are_left_alone(dtype: type[Any]) -> None:
    x = np.zeros((2, 3), dtype)
    assert compact(x) is x
