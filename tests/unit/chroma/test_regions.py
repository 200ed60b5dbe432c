"""chroma.regions: a region covers the thing that was marked, stops at its edges, and takes its color."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma.bins import load_centers
from chroma.regions import (
    FAR,
    GRID_SIDE_PX,
    MOST_JUDGED,
    Mark,
    Region,
    apply_regions,
    features_of,
    grow,
    place_of,
    survey,
)

SIZE = (120, 160)
RED = (60.0, 40.0)


def scene(size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return L, ab, logits and mask of a bright thing in the middle of a dark ground, both with grain."""
    random = np.random.default_rng(1)
    rows, columns = np.mgrid[: size[0], : size[1]]
    inside = np.square(rows / size[0] - 0.5) + np.square(columns / size[1] - 0.5) < 0.06
    L = np.where(inside, 70.0, 30.0) + random.normal(0, 1, size)
    small = inside[::4, ::4]
    ab = np.where(small[..., None], (12.0, 8.0), (-6.0, 4.0))
    # the nearer a bin is to the color the likelier, as a network says it
    away = np.linalg.norm(load_centers() - ab[..., None, :], axis=-1)
    logits = 4 - away / 7 + random.normal(0, 0.1, (*small.shape, 313))
    return L[..., None].astype(np.float32), ab.astype(np.float32), logits.astype(np.float32), inside


def click(x: float, y: float, *, away: bool = False, radius: float = 0.0) -> Mark:
    return Mark(((x, y),), radius, away)


def overlap(share: np.ndarray, mask: np.ndarray) -> float:
    found = share > 0.5
    return float((found & mask).sum() / (found | mask).sum())


def test_one_click_finds_a_plain_thing() -> None:
    L, ab, logits, inside = scene()
    share = grow(survey(L, ab, logits), [click(0.5, 0.5)])
    assert share.shape == SIZE
    assert 0 <= share.min() <= share.max() <= 1
    assert overlap(share, inside) > 0.9


def test_marks_are_obeyed_where_they_are() -> None:
    """Whatever the network thinks."""
    L, ab, logits, _ = scene()
    marks = [click(0.5, 0.5), click(0.05, 0.05, radius=0.05), click(0.55, 0.6, away=True, radius=0.05)]
    share = grow(survey(L, ab, logits), marks)
    assert share[6, 8] == 1
    assert (share[place_of(marks, SIZE, takes_away=True)] == 0).all()


def test_of_two_marks_at_a_place_the_later_one_counts() -> None:
    L, ab, logits, _ = scene()
    ground = survey(L, ab, logits)
    wide, small = click(0.5, 0.5, radius=0.1), click(0.5, 0.5, away=True, radius=0.03)
    assert grow(ground, [wide, small])[60, 80] == 0
    assert grow(ground, [wide, small, click(0.5, 0.5)])[60, 80] == 1
    assert not grow(ground, [small, wide, click(0.5, 0.5, away=True, radius=1.0)]).any()


def test_a_mark_that_takes_away_adds_nowhere() -> None:
    """Neither one that is judged nor one of the many more that are not."""
    L, ab, logits, inside = scene()
    ground = survey(L, ab, logits)
    random = np.random.default_rng(4)
    marks = [click(0.5, 0.5)]
    before = grow(ground, marks)
    for _ in range(MOST_JUDGED + 3):
        marks.append(click(*random.uniform(0.2, 0.8, 2), away=True, radius=0.03))
        after = grow(ground, marks)
        assert (after <= before).all()
        before = after
    assert overlap(before, inside) < 0.9


def test_what_is_not_connected_with_a_mark_is_left_alone() -> None:
    L, ab, logits, inside = scene()
    twin = np.roll(inside, (20, 50), axis=(0, 1)) & (np.arange(SIZE[1]) > 120)
    L[twin] = 70
    share = grow(survey(L, ab, logits), [click(0.5, 0.5)])
    assert overlap(share, inside) > 0.8
    assert (share[:, 140:] < 0.5).all()


def test_the_region_takes_its_color_and_the_rest_does_not() -> None:
    L, ab, logits, inside = scene()
    before = apply_regions(L, ab, logits, ())
    after = apply_regions(L, ab, logits, [Region(RED, (click(0.5, 0.5),))])
    assert after.dtype == np.float32
    core, rest = inside & np.roll(inside, 12, 0) & np.roll(inside, -12, 0), ~(inside | np.roll(inside, 20, 0))
    rest &= ~(np.roll(inside, -20, 0) | np.roll(inside, 20, 1) | np.roll(inside, -20, 1))
    assert np.abs(after[core].mean(axis=0) - RED).max() < 6
    assert np.abs(after[rest] - before[rest]).mean() < 1.5


def test_strength_and_gray() -> None:
    L, ab, logits, _ = scene()
    marks = (click(0.5, 0.5),)

    def middle(region: Region) -> np.ndarray:
        return np.asarray(apply_regions(L, ab, logits, [region])[60, 80])

    plain = apply_regions(L, ab, logits, ())[60, 80]
    assert_allclose(middle(Region(RED, marks, 0.0)), plain, atol=1e-5)
    assert_allclose(middle(Region(RED, marks, 0.5)), (plain + middle(Region(RED, marks))) / 2, atol=1.5)
    assert np.hypot(*middle(Region((0.0, 0.0), marks))) < 3


def test_the_same_marks_give_the_same_region() -> None:
    L, ab, logits, _ = scene()
    region = Region(RED, (Mark(((0.4, 0.5), (0.6, 0.5)), 0.02), click(0.1, 0.1, away=True)))
    assert_array_equal(apply_regions(L, ab, logits, [region]), apply_regions(L, ab, logits, [region]))


def test_a_stroke_covers_its_line() -> None:
    covered = place_of([Mark(((0.1, 0.5), (0.9, 0.5)), 0.0)], (50, 100), takes_away=False)
    assert covered[25, 10:90].all()
    assert not covered[:15].any()
    assert not place_of([click(0.5, 0.5)], (50, 100), takes_away=True).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 2), (600, 30)])
def test_any_size_of_picture(size: tuple[int, int]) -> None:
    L = np.full((*size, 1), 50, np.float32)
    ab, logits = np.zeros((8, 8, 2), np.float32), np.zeros((8, 8, 313), np.float32)
    after = apply_regions(L, ab, logits, [Region(RED, (click(1.0, 1.0), click(0.0, 0.0, away=True)))])
    assert np.isfinite(after).all()
    assert max(after.shape[:2]) <= 512


def test_the_grid_is_bounded_and_features_of_no_mark_are_far() -> None:
    ground = survey(np.full((2000, 3000, 1), 40, np.float32), np.zeros((8, 8, 2), np.float32), scene()[2])
    assert max(ground.L.shape) == GRID_SIDE_PX
    features = features_of(ground, [click(0.5, 0.5)])
    assert features.shape == (*ground.L.shape, 30)
    assert (features[..., 20:28] == FAR).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"strength": 1.5}, "in \\[0, 1\\]"),
        ({"ab": (200.0, 0.0)}, "a and b"),
        ({"marks": ()}, "needs a mark"),
        ({"marks": (click(0.5, 0.5, away=True),)}, "needs a mark"),
        ({"marks": (click(2.0, 0.5),)}, "in \\[0, 1\\]"),
        ({"marks": (click(0.5, float("nan")),)}, "in \\[0, 1\\]"),
    ],
)
def test_what_is_no_region_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Region(**({"ab": RED, "marks": (click(0.5, 0.5),)} | change))


def test_what_is_no_lightness_is_refused() -> None:
    with pytest.raises(ValueError, match="expected L"):
        survey(np.zeros((0, 5, 1), np.float32), np.zeros((2, 2, 2), np.float32), scene()[2])
