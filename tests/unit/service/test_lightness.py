"""service.pictures.lightness: L in few bytes, and made smaller without all of it at once."""

import numpy as np
import pytest

from chroma import framing
from chroma.framing import resize_lightness
from chroma.lab import L_STEPS, gray_to_lightness, rgb_to_lightness
from service.pictures.lightness import StoredLightness, lightness_of, store_lightness

SHAPES = {"fraction": (61, 47), "whole": (40, 30), "one side grows": (61, 400), "other grows": (500, 47)}


def stored(kind: str) -> StoredLightness:
    noise = np.random.default_rng(7)
    if kind == "color":
        return store_lightness(noise.integers(0, 256, (360, 270, 3), np.uint8))
    return store_lightness(noise.integers(0, 65536, (360, 270)).astype(np.dtype(kind)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_levels_are_stored_as_they_are(dtype: type[np.generic]) -> None:
    gray = np.arange(2000).astype(dtype).reshape(40, 50)
    found = store_lightness(gray, workers=2)
    np.testing.assert_array_equal(found.levels, gray)
    assert found.levels is not gray
    assert (found.shape, found.size, found.nbytes) == ((40, 50, 1), 2000, gray.nbytes)
    np.testing.assert_array_equal(found[:], gray_to_lightness(gray))
    np.testing.assert_array_equal(found[:], lightness_of(gray))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lightness_of_a_color_picture_is_rounded_to_a_code_of_16_bits(dtype: type[np.generic]) -> None:
    rgb = np.random.default_rng(3).integers(0, np.iinfo(dtype).max + 1, (60, 50, 3)).astype(dtype)
    found = store_lightness(rgb)
    truth = rgb_to_lightness(rgb.astype(np.float64) / np.iinfo(dtype).max)
    assert found.levels.dtype == np.uint16
    assert np.abs(found[:] - truth).max() < 0.6 * 100 / L_STEPS


@pytest.mark.parametrize("kind", ["uint8", "uint16", "color"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("few", [0, framing.SMALL_PIXELS], ids=["few rows at a time", "all at once"])
def test_it_is_made_smaller_bit_for_bit_as_the_whole(
    monkeypatch: pytest.MonkeyPatch, kind: str, shape: tuple[int, int], few: int
) -> None:
    found = stored(kind)
    whole = resize_lightness(found[:], shape)
    monkeypatch.setattr(framing, "SMALL_PIXELS", few)
    monkeypatch.setattr(framing, "MEAN_ROWS", 7)
    for workers in (1, 3):
        smaller = resize_lightness(found, shape, workers=workers)
        np.testing.assert_array_equal(smaller, resize_lightness(found[:], shape))
        np.testing.assert_allclose(smaller, whole, atol=2e-5)


def test_rows_are_those_of_the_whole() -> None:
    found = stored("color")
    np.testing.assert_array_equal(found[100:130], found[:][100:130])
