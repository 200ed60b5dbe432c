"""chroma.motion: where points came from, and what is one scene."""

import itertools

import numpy as np
import pytest

from chroma.framing import resize_lightness
from chroma.lab import rgb_u8_to_lightness
from chroma.motion import backward_flow, is_flat, is_same_scene, likeness, match_light
from tests import films

PHOTOGRAPHS = [films.photograph(path) for path in films.PHOTOGRAPHS]


def lightness(rgb: np.ndarray, shape: tuple[int, int] = (96, 128)) -> np.ndarray:
    return resize_lightness(rgb_u8_to_lightness(np.ascontiguousarray(rgb)), shape)


def grid(L: np.ndarray) -> np.ndarray:
    return resize_lightness(L, (L.shape[0] // 4, L.shape[1] // 4))


def test_a_shift_is_found_in_grid_pixels() -> None:
    L = lightness(PHOTOGRAPHS[1], (96, 160))
    flow = backward_flow(L[:, 8:136], L[:, :128], (24, 32))
    inside = flow[4:-4, 6:-6]
    np.testing.assert_allclose(np.median(inside, axis=(0, 1)), [-2, 0], atol=0.15)


def test_nothing_moves_in_a_still_with_grain() -> None:
    L = lightness(PHOTOGRAPHS[0])
    rng = np.random.default_rng(1)
    grainy = [L + rng.normal(0, 0.5, L.shape).astype(np.float32) for _ in range(2)]
    assert (backward_flow(*grainy, (24, 32)) == 0).mean() > 0.9


def test_tiny_frames_stand_still() -> None:
    L = np.random.default_rng(0).uniform(0, 100, (8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(backward_flow(L, L[::-1], (2, 2)), np.zeros((2, 2, 2)))


@pytest.mark.parametrize("which", range(3))
def test_a_scene_stays_one_with_grain_and_any_light(which: int) -> None:
    frames = films.camera(PHOTOGRAPHS[which], 6, size=(96, 128), pan=(0.05, 0.02))
    seen = [grid(lightness(rgb)) for rgb in films.aged(films.gray(frames), grain=12, pumping=0.2)]
    assert all(is_same_scene(*pair) for pair in itertools.pairwise(seen))
    assert is_same_scene(seen[0], 0.5 * seen[0] + 50)


def test_other_photographs_are_other_scenes() -> None:
    seen = [grid(lightness(rgb)) for rgb in PHOTOGRAPHS]
    assert not any(is_same_scene(*pair) for pair in itertools.permutations(seen, 2))


def test_what_shows_nothing_is_like_nothing() -> None:
    flat, picture = np.full((24, 32, 1), 99.0, np.float32), grid(lightness(PHOTOGRAPHS[0]))
    assert is_flat(flat)
    assert not is_flat(picture)
    assert not is_same_scene(flat, picture)
    assert not is_same_scene(flat, flat)
    assert likeness(flat, picture) == 0
    assert likeness(picture, 100 - picture) == pytest.approx(-1)


def test_light_is_matched_within_reason() -> None:
    L = grid(lightness(PHOTOGRAPHS[0]))
    np.testing.assert_allclose(match_light(0.7 * L + 20, L), L, atol=0.01)
    faint = match_light(L * 0.1, L)
    assert faint.std() == pytest.approx(0.2 * L.std(), rel=0.01)
    assert faint.mean() == pytest.approx(L.mean(), abs=0.01)
