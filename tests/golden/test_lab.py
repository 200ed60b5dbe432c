"""Lab against two independent implementations and published values.

Oracles: colour-science (four-decimal matrix of IEC 61966-2-1, white of CIE 15) and scikit-image (its own matrix and
white). They differ from each other by 0.02 Lab units, so 0.03 is allowed against either.
"""

from collections.abc import Callable

import colour
import numpy as np
import pytest
import skimage.color
from numpy.testing import assert_allclose

from chroma.lab import lab_to_rgb, rgb_to_lab, rgb_u8_to_lab

ALLOWED = 0.03


def grid_u8() -> np.ndarray:
    """18^3 colors that include every corner and edge of the RGB cube; uint8, (18, 18, 18, 3)."""
    axis = np.arange(0, 256, 15, dtype=np.uint8)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def colour_science(rgb: np.ndarray) -> np.ndarray:
    white = colour.CCS_ILLUMINANTS["CIE 1931 2 Degree Standard Observer"]["D65"]
    return colour.XYZ_to_Lab(colour.sRGB_to_XYZ(rgb), white)


@pytest.mark.parametrize("oracle", [colour_science, skimage.color.rgb2lab])
def test_rgb_to_lab_agrees_with_other_implementations(oracle: Callable[[np.ndarray], np.ndarray]) -> None:
    rgb = grid_u8() / 255
    assert_allclose(rgb_to_lab(rgb), oracle(rgb), atol=ALLOWED, rtol=0)


@pytest.mark.parametrize("oracle", [colour_science, skimage.color.rgb2lab])
def test_every_gray_agrees_with_other_implementations(oracle: Callable[[np.ndarray], np.ndarray]) -> None:
    gray_u8 = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    assert_allclose(rgb_u8_to_lab(gray_u8), oracle(gray_u8 / 255), atol=ALLOWED, rtol=0)


def test_lab_to_rgb_agrees_with_scikit_image() -> None:
    lab = skimage.color.rgb2lab(grid_u8() / 255)
    assert_allclose(lab_to_rgb(lab), skimage.color.lab2rgb(lab), atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("rgb_u8", "lab"),
    [
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0.0, 0.0)),
    ],
)
def test_known_colors(rgb_u8: tuple[int, int, int], lab: tuple[float, float, float]) -> None:
    """Oracle: the values that Lindbloom's calculator gives for sRGB with D65."""
    assert_allclose(rgb_u8_to_lab(np.array(rgb_u8, np.uint8)), lab, atol=ALLOWED)
