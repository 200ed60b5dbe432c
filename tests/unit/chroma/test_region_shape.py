"""chroma.region_shape: a region hangs together, has no small holes, and covers what is uniform up to its edges."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from chroma.region_shape import HOLE, UNIFORM_RANGE, UNIFORM_STEP, connected, filled, parts_with, uniform_around

SHAPE = (40, 60)
NOWHERE = np.zeros(SHAPE, bool)


def box(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_parts_are_those_that_a_place_touches() -> None:
    one, other, corner = box(5, 10, 5, 10), box(20, 30, 20, 30), box(10, 15, 10, 15)
    assert_array_equal(parts_with(one | other | corner, box(9, 12, 0, 7)), one)
    assert not parts_with(one, box(30, 35, 0, 7)).any()
    assert not parts_with(NOWHERE, one).any()


def test_what_hangs_together_keeps_its_soft_edge_alone() -> None:
    share = np.zeros(SHAPE, np.float32)
    share[5:15, 5:15] = 0.9
    share[15, 5:15] = 0.4
    share[30:35, 40:50] = 0.8
    share[29, 40:50] = 0.3
    kept = connected(share, box(7, 9, 7, 9))
    assert_allclose(kept[5:15, 5:15], 0.9)
    assert_allclose(kept[15, 6:14], 0.4)
    assert not kept[25:].any()


def test_small_holes_are_filled_large_ones_and_those_taken_away_are_not() -> None:
    small, taken, large = box(10, 12, 10, 13), box(20, 22, 10, 13), box(10, 25, 30, 45)
    share = np.where(box(5, 35, 5, 55) & ~(small | taken | large), 0.9, 0.1).astype(np.float32)
    assert small.sum() < HOLE * (share > 0.5).sum() < large.sum()
    after = filled(share, box(20, 21, 11, 12))
    assert_array_equal(after > 0.5, (share > 0.5) | small)
    assert_allclose(after[~small], share[~small])


def test_a_gap_at_the_border_is_no_hole() -> None:
    share = np.where(box(0, 1, 30, 32), 0.0, 1.0).astype(np.float32)
    assert_array_equal(filled(share, NOWHERE), share)
    assert_array_equal(filled(np.ones(SHAPE, np.float32), NOWHERE), 1)
    assert_array_equal(filled(np.zeros(SHAPE, np.float32), NOWHERE), 0)


def test_a_uniform_area_goes_up_to_its_edges() -> None:
    left = box(0, 40, 0, 30)
    grain = np.random.default_rng(2).normal(0, 0.1, SHAPE)
    L = (np.where(left, 30.0, 75.0) + grain).astype(np.float32)
    assert_array_equal(uniform_around(L, box(10, 13, 10, 13)), left)
    assert_array_equal(uniform_around(L, box(10, 13, 50, 53)), ~left)


def test_a_slow_change_is_followed_for_a_while_and_a_texture_is_not() -> None:
    slope = np.tile(np.arange(SHAPE[1], dtype=np.float32) * (UNIFORM_STEP / 2), (SHAPE[0], 1))
    covered = np.flatnonzero(uniform_around(slope, box(20, 21, 30, 31))[20])
    assert covered.min() > 0
    assert_allclose(np.abs(slope[20, covered] - slope[20, 30]).max(), UNIFORM_RANGE, atol=UNIFORM_STEP)
    texture = np.where(np.indices(SHAPE).sum(axis=0) % 2, 50.0, 54.0).astype(np.float32)
    assert not uniform_around(texture, box(20, 22, 30, 32)).any()
    assert not uniform_around(texture, NOWHERE).any()
