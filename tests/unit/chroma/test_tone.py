"""chroma.tone: only faded pictures change, black and white come apart, and the order of the tones stays."""

import numpy as np
import pytest

from chroma.tone import LEAST_SPAN, NARROWEST_SPAN, stretch_tones


def slope(black: float, white: float) -> np.ndarray:
    """A picture whose tones are spread evenly from black to white, 1 % of them beyond either end."""
    return np.linspace(black, white, 10_000, dtype=np.float32).reshape(100, 100, 1)


def ends(lightness: np.ndarray) -> np.ndarray:
    return np.asarray(np.percentile(lightness, (1, 99)))


@pytest.mark.parametrize(("black", "white"), [(0, 100), (5, 90), (22, 100), (0, 78)])
def test_a_picture_that_spans_enough_stays_itself(black: float, white: float) -> None:
    lightness = slope(black, white)
    seen, is_stretched = stretch_tones(lightness)
    assert seen is lightness
    assert not is_stretched


@pytest.mark.parametrize(("black", "white"), [(30, 60), (12, 70), (50, 95), (0, 40), (60, 100), (25, 90)])
def test_black_and_white_of_a_faded_picture_come_apart(black: float, white: float) -> None:
    lightness = slope(black, white)
    before = ends(lightness)
    seen, is_stretched = stretch_tones(lightness)
    after = ends(seen)
    assert is_stretched
    assert (seen.shape, seen.dtype) == (lightness.shape, lightness.dtype)
    assert after[1] - after[0] == pytest.approx(LEAST_SPAN, abs=0.01)
    # What is left above white is to what is left below black as before: a dark print stays dark.
    assert after[0] * (100 - before[1]) == pytest.approx(before[0] * (100 - after[1]), abs=1)
    assert (np.diff(seen.ravel()) >= 0).all()


@pytest.mark.parametrize("level", [0, 3, 50, 97, 100])
def test_an_even_picture_stays_even_and_in_range(level: float) -> None:
    seen, _ = stretch_tones(np.full((8, 8, 1), level, np.float32))
    assert np.ptp(seen) == 0
    assert 0 <= seen.min() <= seen.max() <= 100
    assert abs(float(seen[0, 0, 0]) - level) < 20


def test_an_even_middle_gray_stays_what_it_is() -> None:
    seen, _ = stretch_tones(np.full((8, 8, 1), 50, np.float32))
    np.testing.assert_allclose(seen, 50, atol=1e-4)


def test_stamps_and_holes_are_no_black_and_white() -> None:
    lightness = slope(30, 60)
    marked = lightness.copy()
    marked[0, :40], marked[-1, -40:] = 0, 100
    assert stretch_tones(marked)[1]
    middle = slice(20, 80)
    np.testing.assert_allclose(stretch_tones(marked)[0][middle], stretch_tones(lightness)[0][middle], atol=1)


def test_nothing_jumps_where_stretching_begins() -> None:
    lightness = slope(10, 10 + LEAST_SPAN / 0.98 - 0.1)
    seen, is_stretched = stretch_tones(lightness)
    assert is_stretched
    assert np.abs(seen - lightness).max() < 0.2


def test_grain_of_an_empty_picture_grows_no_further_than_it_may() -> None:
    grain = np.random.default_rng(0).normal(70, 1, (64, 64, 1)).astype(np.float32)
    seen, _ = stretch_tones(grain)
    assert seen.std() == pytest.approx(grain.std() * LEAST_SPAN / NARROWEST_SPAN, rel=0.01)
