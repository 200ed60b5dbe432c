"""chroma.flicker: color that wanders where the film stands still."""

import numpy as np
import pytest

from chroma.flicker import color_change, flicker


def frame(L: np.ndarray | float, a: float, b: float = 0.0) -> np.ndarray:
    lab = np.zeros((16, 24, 3), np.float32)
    lab[..., 0], lab[..., 1], lab[..., 2] = L, a, b
    return lab


SLOPE = np.linspace(20, 80, 24, dtype=np.float32)[None]


def test_a_film_that_stands_still_has_none() -> None:
    assert flicker([frame(SLOPE, 10.0)] * 3) == 0
    assert flicker([frame(50.0, 3.0)]) == flicker([]) == 0


def test_the_distance_in_lab_units_is_what_counts() -> None:
    assert flicker([frame(SLOPE, 0.0, 0.0), frame(SLOPE, 3.0, 4.0), frame(SLOPE, 3.0, 4.0)]) == pytest.approx(2.5)


def test_light_that_pumps_is_no_motion_and_what_moves_does_not_count() -> None:
    moved = SLOPE + np.where(np.arange(24) < 12, 0.0, 30.0).astype(np.float32)
    before, after = frame(SLOPE, 0.0), frame(moved + 0.0, 0.0)
    after[:, 12:, 1] = 40.0
    after[:, :12, 1] = 2.0
    change = color_change(before, after)
    assert change.static in (pytest.approx(0.5), 0.0)
    brighter = color_change(frame(SLOPE, 0.0), frame(SLOPE + 6, 2.0))
    assert brighter == (pytest.approx(2.0), 1.0)


def test_a_third_that_moves_is_left_out() -> None:
    after = frame(SLOPE, 2.0)
    after[:, 16:, 0] += 30
    after[:, 16:, 1] = 90
    assert color_change(frame(SLOPE, 0.0), after) == (pytest.approx(2.0), pytest.approx(2 / 3))


def test_a_cut_is_no_flicker() -> None:
    film = [frame(SLOPE, 0.0), frame(SLOPE, 50.0), frame(SLOPE, 51.0)]
    assert flicker(film, cuts=[1]) == pytest.approx(1.0)
    assert flicker(film) == pytest.approx(25.5)


def test_grain_of_color_hardly_counts() -> None:
    rng = np.random.default_rng(0)
    film = [frame(SLOPE, 0.0) + rng.normal(0, [0, 1, 1], (16, 24, 3)).astype(np.float32) for _ in range(4)]
    assert flicker(film) < 0.6


def test_frames_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        color_change(frame(0.0, 0.0), frame(0.0, 0.0)[:8])
