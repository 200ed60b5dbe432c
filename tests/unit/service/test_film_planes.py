"""service.archive.film_planes: grays and small ab become luma and color differences, and L stays what it was."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from chroma.compose import compose
from chroma.lab import gray_to_lightness, rgb_to_lab
from service.archive.film_pixels import LUMA, Gray, Scale
from service.archive.film_planes import to_frame
from tests import films

BLACK, GRAY, COLOR = 16, 219, 224


def planes_of(frame: object, scale: int) -> list[np.ndarray]:
    found = []
    for plane in frame.planes:  # type: ignore[attr-defined]
        levels = np.frombuffer(plane, np.uint8 if scale == 1 else np.uint16).reshape(plane.height, -1)
        found.append(levels[:, : plane.width].astype(np.float32) / scale)
    return found


def as_shown(planes: list[np.ndarray]) -> np.ndarray:
    """Return CIE Lab, as a player decodes BT.709."""
    luma = (planes[0] - BLACK) / GRAY
    size = luma.shape[::-1]
    blue_difference, red_difference = (
        (cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) - 128) / COLOR for plane in planes[1:]
    )
    red_share, blue_share = LUMA[1]
    red = luma + 2 * (1 - red_share) * red_difference
    blue = luma + 2 * (1 - blue_share) * blue_difference
    green = (luma - red_share * red - blue_share * blue) / (1 - red_share - blue_share)
    return rgb_to_lab(np.clip(np.stack([red, green, blue], axis=-1), 0, 1).astype(np.float32))


def photograph_as_gray(path: Path) -> Gray:
    rgb = films.photograph(path)
    return Gray(cv2.cvtColor(rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2], cv2.COLOR_RGB2GRAY), Scale(8))


@pytest.mark.parametrize("is_deep", [False, True])
def test_without_color_every_level_stays(is_deep: bool) -> None:
    levels = np.arange(16, 236, dtype=np.uint8)[None].repeat(4, axis=0)
    frame = to_frame(
        Gray(levels, Scale(8, is_limited=True)),
        np.zeros((2, 2, 2), np.float32),
        is_deep=is_deep,
        enlargement="bilinear",
    )
    luma, blue, red = planes_of(frame, 4 if is_deep else 1)
    np.testing.assert_array_equal(luma, levels)
    assert (blue == 128).all()
    assert (red == 128).all()
    assert (frame.color_range, frame.colorspace) == (1, 1)


@pytest.mark.parametrize("is_deep", [False, True])
@pytest.mark.parametrize("path", films.PHOTOGRAPHS, ids=lambda path: path.stem)
def test_lightness_stays_and_colors_are_those_of_the_full_size(path: Path, is_deep: bool) -> None:
    gray = photograph_as_gray(path)
    hues = np.random.default_rng(0).normal((8, 15), 18, (12, 16, 2)).astype(np.float32)
    frame = to_frame(gray, hues, is_deep=is_deep, enlargement="bilinear")
    shown = as_shown(planes_of(frame, 4 if is_deep else 1))
    L = gray_to_lightness(gray.levels)
    off = np.abs(shown[..., :1] - L)
    assert off.mean() < (0.1 if is_deep else 0.2)
    assert np.percentile(off, 99) < 1
    wanted = cv2.resize(rgb_to_lab(compose(L, hues)), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    found = cv2.resize(shown, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert np.linalg.norm(wanted - found, axis=-1).mean() < 1


def test_a_last_odd_row_and_column_are_repeated() -> None:
    levels = np.random.default_rng(0).integers(16, 236, (5, 7), np.uint8)
    frame = to_frame(
        Gray(levels, Scale(8, is_limited=True)), np.zeros((1, 1, 2), np.float32), is_deep=False, enlargement="guided"
    )
    luma = planes_of(frame, 1)[0]
    np.testing.assert_array_equal(luma, np.pad(levels, ((0, 1), (0, 1)), mode="edge"))
