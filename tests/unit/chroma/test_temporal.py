"""chroma.temporal: averages that follow the film, and start anew where another scene does."""

import cv2
import numpy as np
import pytest

from chroma.framing import resize_lightness
from chroma.lab import rgb_u8_to_lightness
from chroma.temporal import FLASH_FRAMES, Keyed, Seen, Shot, TemporalAverage, between, joined, trust
from tests import films

SHAPE = (96, 128)
GRID = (24, 32)
COFFEE, CAT, ASTRONAUT = (films.photograph(path) for path in films.PHOTOGRAPHS)


def lightness(rgb: np.ndarray) -> np.ndarray:
    return resize_lightness(rgb_u8_to_lightness(np.ascontiguousarray(rgb)), SHAPE)


def maps(value: float, channels: int = 5) -> np.ndarray:
    return np.full((*GRID, channels), value, np.float32)


def watch(average: TemporalAverage, L: np.ndarray, value: float) -> Shot:
    scene = average.see(L)
    average.add(maps(value))
    return scene


def test_the_first_frames_are_a_plain_mean_and_later_ones_an_exponential_one() -> None:
    average, L = TemporalAverage(memory=3.0), lightness(COFFEE)
    expected = 0.0
    for index, value in enumerate([1.0, 3.0, 5.0, 7.0, 20.0, 20.0]):
        watch(average, L, value)
        expected += (value - expected) / (min(index, 3) + 1)
        np.testing.assert_allclose(average.values, expected, rtol=1e-5)
    assert average.values.shape == (*GRID, 5)
    assert average.values.dtype == np.float32


def test_no_memory_is_no_average() -> None:
    average, L = TemporalAverage(memory=0.0), lightness(COFFEE)
    for value in (1.0, 5.0):
        watch(average, L, value)
    np.testing.assert_array_equal(average.values, maps(5.0))


def test_nothing_carries_over_a_cut() -> None:
    average = TemporalAverage(memory=12.0)
    for _ in range(4):
        watch(average, lightness(COFFEE), 1.0)
    assert watch(average, lightness(CAT), 9.0) is Shot.BEGINS
    np.testing.assert_array_equal(average.values, maps(9.0))
    assert watch(average, lightness(CAT), 9.0) is Shot.GOES_ON


@pytest.mark.parametrize("flash", ["white", "bright"])
def test_a_flash_does_not_interrupt(flash: str) -> None:
    average, L = TemporalAverage(memory=12.0), lightness(ASTRONAUT)
    for _ in range(8):
        watch(average, L, 1.0)
    burnt = np.full_like(L, 100) if flash == "white" else np.minimum(0.5 * L + 45, 100)
    watch(average, burnt, 5.0)
    after = watch(average, L, 1.0)
    assert after is (Shot.COMES_BACK if flash == "white" else Shot.GOES_ON)
    assert np.abs(average.values - 1).max() < 0.5


def test_a_scene_that_was_away_for_long_begins_anew() -> None:
    average = TemporalAverage(memory=12.0)
    watch(average, lightness(COFFEE), 1.0)
    for _ in range(FLASH_FRAMES + 1):
        watch(average, lightness(CAT), 5.0)
    assert watch(average, lightness(COFFEE), 9.0) is Shot.BEGINS
    np.testing.assert_array_equal(average.values, maps(9.0))


def test_a_fade_through_black_starts_anew() -> None:
    average = TemporalAverage(memory=12.0)
    for share in np.linspace(1, 0, 8):
        watch(average, lightness(COFFEE) * np.float32(share), 1.0)
    scenes = [watch(average, lightness(CAT) * np.float32(share), 9.0) for share in np.linspace(0, 1, 8)]
    assert Shot.BEGINS in scenes
    np.testing.assert_allclose(average.values, 9.0, rtol=1e-5)


def test_frames_that_show_nothing_are_one_scene_while_they_are_as_light() -> None:
    average, black = TemporalAverage(memory=12.0), np.zeros((*SHAPE, 1), np.float32)
    watch(average, lightness(COFFEE), 1.0)
    shots = [watch(average, black, 5.0) for _ in range(FLASH_FRAMES + 4)]
    assert shots == [Shot.BEGINS, *[Shot.GOES_ON] * (FLASH_FRAMES + 3)]
    np.testing.assert_allclose(average.values, 5.0, rtol=1e-5)
    assert average.see(black) is Shot.GOES_ON
    assert average.unknown == 0
    assert watch(average, black + 100, 7.0) is Shot.BEGINS
    assert watch(average, lightness(CAT), 9.0) is Shot.BEGINS
    np.testing.assert_array_equal(average.values, maps(9.0))


def test_a_dissolve_lets_go_of_the_old_scene() -> None:
    average = TemporalAverage(memory=12.0)
    for _ in range(12):
        watch(average, lightness(COFFEE), 0.0)
    for share in np.linspace(0, 1, 12, dtype=np.float32):
        watch(average, (1 - share) * lightness(COFFEE) + share * lightness(CAT), float(share))
    for _ in range(3):
        watch(average, lightness(CAT), 1.0)
    blind = 0.0
    for share in (*np.linspace(0, 1, 12), 1.0, 1.0, 1.0):
        blind += (share - blind) / 13
    assert average.values.mean() > blind + 0.15


def test_colors_move_with_what_they_belong_to() -> None:
    wide = resize_lightness(rgb_u8_to_lightness(CAT), (96, 192))
    average = TemporalAverage(memory=12.0)
    for step in range(8):
        left = 4 * step
        average.see(wide[:, left : left + 128])
        if step == 0:
            place = np.zeros((*GRID, 1), np.float32)
            place[:, 16:] = 1  # An edge at x = 64 px of the first frame, at 36 px of the last.
            average.add(place)
    moved = average.values[4:-4, :, 0].mean(axis=0)
    assert abs(int(np.argmax(moved > 0.5)) - 9) <= 1


def test_what_appears_is_taken_as_new() -> None:
    average, L = TemporalAverage(memory=12.0), lightness(COFFEE)
    for _ in range(12):
        watch(average, L, 1.0)
    changed = L.copy()
    changed[40:64, 40:64] = np.where(L[40:64, 40:64] > 50, 20, 80)
    average.see(changed)
    assert 0.01 < average.unknown < 0.2
    average.add(maps(9.0))
    assert average.values[11:15, 11:15].mean() > 5
    assert average.values[:, :6].mean() < 2.5


def test_pumping_light_is_nothing_new() -> None:
    average, L = TemporalAverage(memory=12.0), lightness(ASTRONAUT)
    for light in (1.0, 0.85, 1.1, 0.9):
        average.see(L * np.float32(light) * 0.9)
        average.add(maps(1.0))
    assert average.unknown < 0.02


def test_the_lightness_is_averaged_along() -> None:
    average, L = TemporalAverage(memory=12.0), lightness(COFFEE)
    watch(average, L, 1.0)
    watch(average, L * np.float32(0.9), 1.0)
    np.testing.assert_allclose(average.lightness, 0.95 * resize_lightness(L, GRID), atol=0.5)


def test_misuse_is_told() -> None:
    with pytest.raises(ValueError, match="memory"):
        TemporalAverage(memory=-1.0)
    average = TemporalAverage(memory=1.0)
    with pytest.raises(ValueError, match="seen last"):
        average.add(maps(1.0))
    average.see(lightness(COFFEE))
    assert average.unknown == 1
    with pytest.raises(ValueError, match="nothing was added"):
        _ = average.values
    with pytest.raises(ValueError, match="seen last"):
        average.add(np.zeros((3, 3, 1), np.float32))


def test_a_film_that_changes_its_size_begins_anew() -> None:
    average = TemporalAverage(memory=12.0)
    watch(average, lightness(COFFEE), 1.0)
    average.see(lightness(COFFEE)[:64])
    with pytest.raises(ValueError, match="nothing was added"):
        _ = average.values


def walk(count: int) -> list[np.ndarray]:
    """Return frames in which a dark block goes from left to right over a still picture."""
    frames = []
    for index in range(count):
        L = lightness(COFFEE) * 0.5 + 45
        left = 8 + 8 * index
        L[24:72, left : left + 16] = 5
        frames.append(L)
    return frames


def test_between_two_frames_colors_are_those_of_what_is_seen() -> None:
    frames = walk(9)
    average = TemporalAverage(memory=12.0)
    seen = []
    for L in frames:
        average.see(L)
        if not seen:
            average.add(maps(0.0))
        seen.append(average.seen)
    # By each of the two that were looked at the wall is 10; the block is 60, and nothing else is.
    keys = []
    for L in (frames[0], frames[-1]):
        gridded = resize_lightness(L, GRID)
        ab = np.where(gridded < 25, 60, 10).repeat(2, axis=2).astype(np.float32)
        keys.append(Keyed(ab, gridded))
    colors = between(keys[0], keys[1], seen[1:-1], seen[-1])
    assert len(colors) == 7
    for L, ab in zip(frames[1:-1], colors, strict=True):
        wall = cv2.dilate((resize_lightness(L, GRID) < 30).astype(np.uint8), np.ones((3, 3))) == 0
        assert np.percentile(ab[wall], 98) < 25, "what the block uncovers does not keep its color"
        assert np.median(ab[~wall]) > 30, "the block does"


def test_without_a_frame_behind_colors_go_on() -> None:
    average = TemporalAverage(memory=12.0)
    seen = []
    for _ in range(4):
        average.see(lightness(CAT))
        seen.append(average.seen)
    key = Keyed(np.full((*GRID, 2), 7, np.float32), seen[0].gridded)
    assert [float(ab.mean()) for ab in between(key, None, seen[1:], None)] == [7.0, 7.0, 7.0]


def test_where_both_are_as_good_the_nearer_counts_more() -> None:
    L = lightness(CAT)
    average = TemporalAverage(memory=12.0)
    seen = []
    for _ in range(5):
        average.see(L)
        seen.append(average.seen)
    first, last = (Keyed(np.full((*GRID, 2), value, np.float32), seen[0].gridded) for value in (0, 8))
    means = [float(ab.mean()) for ab in between(first, last, seen[1:-1], seen[-1])]
    assert means == pytest.approx([2, 4, 6], abs=0.05)


def test_what_comes_from_beyond_the_edge_is_new() -> None:
    L = resize_lightness(lightness(CAT), GRID)
    offset = np.zeros((*GRID, 2), np.float32)
    offset[..., 0] = 4  # What is seen was 4 px further to the right.
    known = trust(L, L, offset)
    assert (known[:, -3:] == 0).all()
    assert (known[:, :-5] == 1).all()


def test_offsets_add_up() -> None:
    step = np.full((*GRID, 2), 1.5, np.float32)
    np.testing.assert_allclose(joined(step, joined(step, np.zeros_like(step))), 3.0)


def test_of_few_looks_that_are_far_apart_one_at_least_is_remembered() -> None:
    average, L = TemporalAverage(memory=12.0), lightness(COFFEE)
    watch(average, L, 0.0)
    for _ in range(3):
        average.see(L)
        average.add(maps(8.0), frames=24)
    np.testing.assert_allclose(average.values, 7.0, rtol=1e-5)


def test_a_frame_may_be_added_to_after_the_next_was_seen() -> None:
    average = TemporalAverage(memory=12.0)
    watch(average, lightness(COFFEE), 1.0)
    last = average.seen
    assert average.see(lightness(CAT)) is Shot.BEGINS
    average.add(maps(3.0), seen=last)
    np.testing.assert_allclose(last.values, 2.0)
    assert isinstance(average.seen, Seen)
    assert average.unknown == 1
