"""Laws of the judges."""

import math

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose

from chroma.quality import (
    HUE_SECTORS,
    ab_error,
    auc,
    colorfulness,
    dark_false_red_fraction,
    delta_e_2000,
    false_hue_fractions,
    false_red_fraction,
    psnr,
    smooth_variation,
    speckle,
)

seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(1, 24), st.integers(1, 24))
pictures = hnp.arrays(np.uint8, sizes.map(lambda size: (*size, 3)))


def random_lab(seed: int, size: tuple[int, int]) -> np.ndarray:
    """Coarse patches of color on L that is smooth in places."""
    rng = np.random.default_rng(seed)
    H, W = size
    L = 50 + np.cumsum(rng.normal(0, 1.5, (H, W, 1)), axis=1)
    ab = rng.normal(0, 30, (H // 3 + 1, W // 3 + 1, 2)).repeat(3, axis=0).repeat(3, axis=1)[:H, :W]
    return np.concatenate([np.clip(L, 0, 100), ab], axis=-1).astype(np.float32)


@given(pictures, seeds)
def test_psnr_is_symmetric_and_infinite_for_equals(picture: np.ndarray, seed: int) -> None:
    other = np.random.default_rng(seed).integers(0, 256, picture.shape, np.uint8)
    assert psnr(picture, other) == psnr(other, picture) >= 0
    assert psnr(picture, picture) == math.inf


@given(pictures)
def test_colorfulness_ignores_the_order_of_pixels_and_grays_have_none(picture: np.ndarray) -> None:
    value = colorfulness(picture)
    assert value >= 0
    assert math.isclose(colorfulness(picture[::-1, ::-1]), value, abs_tol=1e-9)
    gray = picture[..., :1].repeat(3, axis=-1)
    assert colorfulness(gray) == 0


labs = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 8), st.just(3)),
    elements=st.floats(-100, 100),
).map(lambda lab: np.abs(lab) * [1, 0, 0] + lab * [0, 1, 1])


@given(labs, seeds)
def test_delta_e_is_symmetric_not_negative_and_zero_for_equals(lab: np.ndarray, seed: int) -> None:
    other = np.random.default_rng(seed).uniform([0, -100, -100], 100, lab.shape)
    difference = delta_e_2000(lab, other)
    assert (difference >= 0).all()
    assert_allclose(difference, delta_e_2000(other, lab), atol=1e-6)
    assert_allclose(delta_e_2000(lab, lab), 0, atol=1e-9)


@given(seeds, sizes)
def test_auc_and_ab_error_tell_the_same_story(seed: int, size: tuple[int, int]) -> None:
    truth = random_lab(seed, size)[..., 1:]
    near, far = truth * np.float32(0.9), truth * np.float32(0.3)
    assert ab_error(near, truth) <= ab_error(far, truth)
    assert 1 >= auc(near, truth) >= auc(far, truth) >= 0
    # By its definition the area is what is missing to the limit, up to the rounding to whole thresholds.
    clipped = np.minimum(np.hypot(*np.moveaxis(far - truth, -1, 0)), 151)
    assert math.isclose(auc(far, truth), 1 - clipped.mean() / 151, abs_tol=1 / 151)


@given(seeds, seeds, sizes)
def test_shares_are_shares_and_equal_pictures_have_no_faults(one: int, two: int, size: tuple[int, int]) -> None:
    predicted, truth = random_lab(one, size), random_lab(two, size)
    for judge in (false_red_fraction, dark_false_red_fraction, speckle):
        assert 0 <= judge(predicted, truth) <= 1
        assert judge(truth, truth) == 0
    fractions = false_hue_fractions(predicted, truth)
    assert list(fractions) == list(HUE_SECTORS)
    assert 0 <= sum(fractions.values()) <= 1 + 1e-9
    assert fractions["red"] == false_red_fraction(predicted, truth)


@given(seeds, seeds, sizes)
def test_mirrored_pictures_are_judged_alike(one: int, two: int, size: tuple[int, int]) -> None:
    predicted, truth = random_lab(one, size), random_lab(two, size)
    for judge in (false_red_fraction, dark_false_red_fraction):
        assert judge(predicted[::-1, ::-1].copy(), truth[::-1, ::-1].copy()) == judge(predicted, truth)


@given(seeds, sizes, st.floats(0, 3, width=32))
def test_variation_grows_with_chroma(seed: int, size: tuple[int, int], gain: float) -> None:
    lab = random_lab(seed, size)
    assume(smooth_variation(lab) > 0)
    scaled = lab * np.float32([1, gain, gain])
    assert math.isclose(smooth_variation(scaled), gain * smooth_variation(lab), rel_tol=1e-4, abs_tol=1e-6)
    assert smooth_variation(lab * np.float32([1, 0, 0])) == 0


@given(seeds, sizes)
def test_paler_predictions_are_never_redder_by_mistake(seed: int, size: tuple[int, int]) -> None:
    predicted, truth = random_lab(seed, size), random_lab(seed + 1, size)
    paler = predicted * np.float32([1, 0.5, 0.5])
    assert false_red_fraction(paler, truth) <= false_red_fraction(predicted, truth)
