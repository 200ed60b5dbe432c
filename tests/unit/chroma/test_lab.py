"""sRGB <-> Lab: what the docstrings of `chroma.lab` say."""

import inspect

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma import lab as lab_module
from chroma.lab import (
    decode_srgb,
    encode_srgb,
    gray_to_lightness,
    lab_to_linear_rgb,
    lab_to_rgb,
    merge_lab,
    rgb_to_lab,
    rgb_to_lightness,
    rgb_u8_to_lab,
    rgb_u8_to_lightness,
    split_lab,
)

SHAPES = [(), (1,), (5,), (1, 1), (2, 3), (2, 3, 4)]


def random_rgb(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random((*shape, 3), dtype=np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_any_leading_shape(shape: tuple[int, ...]) -> None:
    rgb = random_rgb(*shape)
    lab = rgb_to_lab(rgb)
    assert lab.shape == (*shape, 3)
    assert lab.dtype == np.float32
    assert rgb_to_lightness(rgb).shape == (*shape, 1)
    assert gray_to_lightness(rgb[..., 0]).shape == (*shape, 1)
    assert lab_to_rgb(lab).shape == (*shape, 3)


def test_round_trip_is_exact_for_every_8_bit_gray_and_many_colors() -> None:
    rng = np.random.default_rng(0)
    gray = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    rgb_u8 = np.concatenate([gray, rng.integers(0, 256, (20_000, 3), dtype=np.uint8)])
    back = np.rint(lab_to_rgb(rgb_u8_to_lab(rgb_u8)) * 255).astype(np.uint8)
    assert_array_equal(back, rgb_u8)


def test_the_8_bit_shortcuts_give_the_same_values() -> None:
    rgb_u8 = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    rgb = rgb_u8.astype(np.float32) / 255
    assert_allclose(rgb_u8_to_lab(rgb_u8), rgb_to_lab(rgb), atol=2e-4)
    assert_allclose(rgb_u8_to_lightness(rgb_u8), rgb_to_lightness(rgb), atol=2e-5)


def test_lightness_is_the_first_channel_of_lab() -> None:
    rgb = random_rgb(50, 50)
    assert_allclose(rgb_to_lightness(rgb), rgb_to_lab(rgb)[..., :1], atol=2e-5)


def test_lightness_is_not_luma() -> None:
    """Pure blue: L is 32.3; luma of the encoded values would be 7 to 11."""
    assert rgb_to_lightness(np.array([0.0, 0.0, 1.0]))[0] == pytest.approx(32.3, abs=0.05)


def test_grays_have_no_color() -> None:
    gray = np.repeat(np.linspace(0, 1, 1001, dtype=np.float32)[:, None], 3, axis=1)
    assert np.abs(rgb_to_lab(gray)[:, 1:]).max() < 2e-4


def test_gray_codes_of_8_and_16_bit_and_float_agree() -> None:
    codes = np.arange(256, dtype=np.uint8)
    from_u8 = gray_to_lightness(codes)
    assert_allclose(gray_to_lightness(codes.astype(np.uint16) * 257), from_u8, atol=2e-5)
    assert_allclose(gray_to_lightness(codes / 255), from_u8, atol=2e-5)
    assert_allclose(from_u8, rgb_u8_to_lightness(np.repeat(codes[:, None], 3, axis=1)), atol=2e-5)


def test_lightness_spans_0_to_100_and_rises() -> None:
    L = gray_to_lightness(np.arange(65536, dtype=np.uint16))[:, 0]
    assert L[0] == 0
    assert L[-1] == pytest.approx(100, abs=1e-4)
    assert (np.diff(L) > 0).all()


def test_gray_of_another_dtype_is_refused() -> None:
    with pytest.raises(TypeError, match="int32"):
        gray_to_lightness(np.zeros((2, 2), np.int32))


def test_transfer_function_joins_its_two_parts_and_inverts() -> None:
    encoded = np.linspace(0, 1, 4001, dtype=np.float32)
    linear = decode_srgb(encoded)
    assert_allclose(encode_srgb(linear), encoded, atol=2e-6)
    assert (np.diff(linear) > 0).all()
    assert decode_srgb(np.float32([0.5]))[0] == pytest.approx(0.21404, abs=1e-5)
    assert encode_srgb(np.float32([-0.1]))[0] == 0


def test_linear_rgb_is_not_clipped_but_rgb_is() -> None:
    vivid = np.array([[50.0, 120.0, 0.0]], np.float32)
    linear = lab_to_linear_rgb(vivid)
    assert linear.max() > 1 or linear.min() < 0
    rgb = lab_to_rgb(vivid)
    assert rgb.min() >= 0
    assert rgb.max() <= 1


def test_float64_stays_float64_where_it_is_promised() -> None:
    lab = np.array([[50.0, 10.0, -20.0]])
    assert lab_to_linear_rgb(lab).dtype == np.float64
    assert lab_to_linear_rgb(lab.astype(np.float32)).dtype == np.float32
    assert_allclose(lab_to_linear_rgb(lab), lab_to_linear_rgb(lab.astype(np.float32)), atol=1e-6)


def test_split_and_merge_are_inverse_and_split_copies_nothing() -> None:
    lab = random_rgb(4, 5)
    L, ab = split_lab(lab)
    assert L.shape == (4, 5, 1)
    assert ab.shape == (4, 5, 2)
    assert np.shares_memory(L, lab)
    assert np.shares_memory(ab, lab)
    assert_array_equal(merge_lab(L, ab), lab)


def test_white_has_no_rounding_of_its_own() -> None:
    """The white is what (1, 1, 1) maps to, not a table's value, or grays would carry a tint."""
    assert_array_equal(lab_module.WHITE, lab_module.RGB_TO_XYZ.sum(axis=1))
    assert_allclose(lab_module.WHITE, [0.95047, 1.0, 1.08883], atol=2e-5)
    assert "clip" in (inspect.getdoc(lab_to_rgb) or "")
