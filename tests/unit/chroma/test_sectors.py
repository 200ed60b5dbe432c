"""Sectors of the truth, and how much of their chroma an answer keeps: known answers."""

import doctest
from collections.abc import Callable

import numpy as np
import pytest

from chroma import sectors
from chroma.sectors import (
    Box,
    chroma_kept,
    chroma_sum,
    foliage_mask,
    fullest_sector_share,
    inside_boxes,
    mean_chroma,
    red_mask,
    skin_mask,
)


def pixels(*colors: tuple[float, float, float]) -> np.ndarray:
    """A row of pixels from (L, chroma, hue in degrees): CIE Lab, (1, W, 3)."""
    L, chroma, hue = np.array(colors, float).T
    angle = np.radians(hue)
    return np.stack((L, chroma * np.cos(angle), chroma * np.sin(angle)), axis=-1)[None]


def everywhere(lab: np.ndarray) -> np.ndarray:
    return np.ones(lab.shape[:2], bool)


def test_the_examples_hold() -> None:
    found = doctest.testmod(sectors, globs={**vars(sectors), "np": np})
    assert (found.attempted > 0, found.failed) == (True, 0)


def test_skin_is_a_warm_midtone_in_a_box() -> None:
    lab = pixels((60, 20, 9), (60, 20, 11), (60, 20, 84), (60, 20, 86), (60, 4.9, 50), (60, 5.1, 50))
    assert skin_mask(lab, everywhere(lab)).tolist() == [[False, True, True, False, False, True]]
    lab = pixels((19.9, 20, 50), (20, 20, 50), (92, 20, 50), (92.1, 20, 50))
    assert skin_mask(lab, everywhere(lab)).tolist() == [[False, True, True, False]]
    assert not skin_mask(lab, ~everywhere(lab)).any()


def test_foliage_is_green_enough() -> None:
    lab = pixels((50, 20, 101), (50, 20, 103), (50, 20, 164), (50, 20, 166), (50, 11.9, 130), (50, 12.1, 130))
    assert foliage_mask(lab).tolist() == [[False, True, True, False, False, True]]
    edge = np.array([[[50.0, -12.0 * np.sin(np.radians(30)), 12.0 * np.cos(np.radians(30))]]])
    assert foliage_mask(edge * [1, 1.0001, 1.0001]).all()


def test_reds_lie_across_zero() -> None:
    lab = pixels((50, 30, 339), (50, 30, 341), (50, 30, 0), (50, 30, 44), (50, 30, 46), (50, 25, 0), (50, 25.1, 0))
    assert red_mask(lab).tolist() == [[False, True, True, True, False, False, True]]


def test_boxes_are_shares_of_the_picture() -> None:
    inside = inside_boxes((10, 20), [Box(0, 0, 0.1, 0.1), Box(0.5, 0.5, 1, 1)])
    assert inside[0, :2].all()
    assert inside[5:, 10:].all()
    assert inside.sum() == 2 + 50
    assert not inside_boxes((10, 20), []).any()


@pytest.mark.parametrize("box", [Box(0.5, 0, 0.5, 1), Box(0, 0.6, 1, 0.5), Box(-0.1, 0, 1, 1), Box(0, 0, 1, 1.01)])
def test_a_box_outside_or_without_area_is_refused(box: Box) -> None:
    with pytest.raises(ValueError, match="is no box in a picture"):
        inside_boxes((10, 20), [box])


def test_kept_is_a_ratio_of_sums_over_all_pictures() -> None:
    small, large = pixels((50, 30, 20)), pixels(*[(50, 60, 20)] * 3, (50, 10, 200))
    masks = [red_mask(small), red_mask(large)]
    assert chroma_sum(large, masks[1]) == pytest.approx(180)
    answers = [small * 0, large * [1, 0.5, 0.5]]  # 0 of 30 and 90 of 180; what is not red does not count
    assert chroma_kept(answers, [small, large], masks) == pytest.approx(90 / 210)


def test_kept_asks_how_colorful_not_which_color() -> None:
    truth = pixels((50, 30, 20))
    assert chroma_kept([pixels((10, 45, 200))], [truth], [red_mask(truth)]) == pytest.approx(1.5)


def test_kept_needs_the_sector_and_equal_sets() -> None:
    sky = pixels((50, 30, 250))
    with pytest.raises(ValueError, match="no true picture has anything to compare with"):
        chroma_kept([sky], [sky], [red_mask(sky)])
    with pytest.raises(ValueError, match="longer than"):
        chroma_kept([sky], [sky, sky], [red_mask(sky)] * 2)
    with pytest.raises(ValueError, match="shapes differ"):
        chroma_kept([sky], [np.concatenate((sky, sky))], [red_mask(sky)])


@pytest.mark.usefixtures("as_in_production")
def test_boxes_of_another_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        skin_mask(pixels((50, 30, 50)), np.ones((2, 2), bool))


@pytest.mark.parametrize("judge", [foliage_mask, red_mask, mean_chroma, fullest_sector_share])
def test_what_is_no_picture_is_refused(judge: Callable[[np.ndarray], object]) -> None:
    with pytest.raises(ValueError, match="expected a picture"):
        judge(np.zeros((0, 4, 3)))


def test_one_tint_may_lie_anywhere() -> None:
    for middle in (30, 0, 179.5, 330):
        lab = pixels(*[(50, 10, middle + turn) for turn in (-29, 0, 29)])
        assert fullest_sector_share(lab) == pytest.approx(1)
    assert fullest_sector_share(pixels((50, 10, 0), (50, 10, 61))) == pytest.approx(0.5)
    assert fullest_sector_share(pixels((50, 10, 0), (50, 30, 180))) == pytest.approx(0.75)


def test_all_hues_alike_are_a_sixth_and_gray_is_none() -> None:
    assert fullest_sector_share(pixels(*[(50, 10, degree + 0.5) for degree in range(360)])) == pytest.approx(1 / 6)
    assert fullest_sector_share(pixels((50, 0, 0))) == 0
    assert fullest_sector_share(np.array([[[50.0, 10.0, -1e-16]]])) == 1  # a hue that rounds up to 360


def test_mean_chroma_is_over_all_pixels() -> None:
    assert mean_chroma(pixels((50, 10, 30), (20, 30, 200))) == pytest.approx(20)
