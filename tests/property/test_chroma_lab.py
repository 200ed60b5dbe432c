"""Laws of the color spaces."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose

from chroma.lab import gray_to_lightness, lab_to_rgb, rgb_to_lab, rgb_to_lightness

shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=5).map(lambda shape: (*shape, 3))
unit = st.floats(0, 1, width=32)
rgbs = hnp.arrays(np.float32, shapes, elements=unit)


@given(rgbs)
def test_rgb_to_lab_and_back(rgb: np.ndarray) -> None:
    assert_allclose(lab_to_rgb(rgb_to_lab(rgb)), rgb, atol=1e-4)


@given(rgbs)
def test_lab_of_srgb_stays_in_its_range(rgb: np.ndarray) -> None:
    lab = rgb_to_lab(rgb)
    assert lab[..., 0].min() >= -1e-4
    assert lab[..., 0].max() <= 100 + 1e-3
    assert np.abs(lab[..., 1:]).max() <= 110


@given(rgbs, st.floats(0, 1, width=32))
def test_more_light_is_never_darker(rgb: np.ndarray, more: float) -> None:
    brighter = np.minimum(rgb + np.float32(more), 1)
    assert (rgb_to_lightness(brighter) >= rgb_to_lightness(rgb) - 1e-4).all()


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=6), elements=unit))
def test_lightness_of_a_gray_picture_is_that_of_its_gray(gray: np.ndarray) -> None:
    rgb = np.repeat(gray[..., None], 3, axis=-1)
    assert_allclose(rgb_to_lightness(rgb), gray_to_lightness(gray), atol=1e-4)


@given(rgbs)
def test_a_batch_equals_its_pixels_one_by_one(rgb: np.ndarray) -> None:
    lab = rgb_to_lab(rgb)
    for place in np.ndindex(rgb.shape[:-1]):
        assert_allclose(lab[place], rgb_to_lab(rgb[place]), atol=1e-4)
