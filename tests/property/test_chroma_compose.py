"""Laws of composition: size, L and grays are kept; strips, threads and neighbors do not matter."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from chroma.compose import compose, compose_u8, compose_u16, enlarge_ab, guided_enlarge_ab
from chroma.gamut import fit_gamut
from chroma.lab import gray_to_lightness, lab_to_rgb, merge_lab, rgb_to_lab, rgb_to_lightness

seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 70)
small_sides = st.integers(1, 20)
enlargements = st.sampled_from(["bilinear", "guided"])


def random_lightness(seed: int, H: int, W: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (H, W, 1)).astype(np.float32)


def random_ab(seed: int, h: int, w: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(h, w, 2)) * rng.uniform(0, 100)).astype(np.float32)


@given(seeds, sides, sides, small_sides, small_sides, enlargements)
def test_the_output_has_the_size_and_the_lightness_of_the_input(
    seed: int, H: int, W: int, h: int, w: int, enlargement: str
) -> None:
    L = random_lightness(seed, H, W)
    rgb = compose(L, random_ab(seed, h, w), enlargement=enlargement)
    assert rgb.shape == (H, W, 3)
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    assert np.abs(rgb_to_lightness(rgb) - L).max() <= 0.45


@settings(max_examples=30)
@given(seeds, sides, sides, small_sides, small_sides, enlargements, st.integers(1, 80), st.integers(1, 3))
def test_strips_and_threads_do_not_matter(
    seed: int, H: int, W: int, h: int, w: int, enlargement: str, strip_rows: int, workers: int
) -> None:
    L, ab = random_lightness(seed, H, W), random_ab(seed, h, w)
    whole = compose(L, ab, enlargement=enlargement, strip_rows=H)
    strips = compose(L, ab, enlargement=enlargement, strip_rows=strip_rows, workers=workers)
    assert_array_equal(strips, whole)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)), enlargements)
def test_a_gray_picture_of_8_bits_comes_back_exactly(gray: np.ndarray, enlargement: str) -> None:
    rgb = compose_u8(gray_to_lightness(gray), np.zeros((3, 3, 2), np.float32), enlargement=enlargement)
    assert_array_equal(rgb, np.repeat(gray[..., None], 3, axis=-1))


@given(hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_a_gray_picture_of_16_bits_comes_back_within_one(gray: np.ndarray) -> None:
    rgb = compose_u16(gray_to_lightness(gray), np.zeros((3, 3, 2), np.float32))
    assert np.abs(rgb.astype(np.int64) - gray[..., None]).max() <= 1


@given(seeds, sides, sides, small_sides, small_sides)
def test_enlarging_stays_within_the_range_and_keeps_constants(seed: int, H: int, W: int, h: int, w: int) -> None:
    ab = random_ab(seed, h, w)
    enlarged = enlarge_ab(ab, (H, W))
    assert (enlarged >= ab.min(axis=(0, 1)) - 1e-3).all()
    assert (enlarged <= ab.max(axis=(0, 1)) + 1e-3).all()
    constant = np.broadcast_to(ab[:1, :1], ab.shape)
    assert_allclose(enlarge_ab(constant, (H, W)), np.broadcast_to(ab[0, 0], (H, W, 2)), atol=1e-4)


@given(seeds, sides, sides, small_sides, small_sides)
def test_mirroring_commutes_with_enlarging(seed: int, H: int, W: int, h: int, w: int) -> None:
    """Half-pixel centers have no preferred side."""
    ab, L = random_ab(seed, h, w), random_lightness(seed, H, W)
    mirrored = np.ascontiguousarray(ab[::-1, ::-1])
    assert_allclose(enlarge_ab(mirrored, (H, W))[::-1, ::-1], enlarge_ab(ab, (H, W)), atol=2e-2)
    guided = guided_enlarge_ab(mirrored, np.ascontiguousarray(L[::-1, ::-1]))[::-1, ::-1]
    assert_allclose(guided, guided_enlarge_ab(ab, L), atol=5e-2)


@given(seeds, sides, sides, small_sides, small_sides, st.floats(0, 100, width=32))
def test_flat_lightness_guides_nothing(seed: int, H: int, W: int, h: int, w: int, lightness: float) -> None:
    ab = random_ab(seed, h, w)
    guided = guided_enlarge_ab(ab, np.full((H, W, 1), lightness, np.float32))
    assert_allclose(guided, enlarge_ab(ab, (H, W)), atol=1e-2)


colors = st.tuples(st.floats(0, 100, width=32), st.floats(-150, 150, width=32), st.floats(-150, 150, width=32))


@given(st.lists(colors, min_size=1, max_size=50))
def test_fitting_keeps_lightness_and_hue_and_never_adds_chroma(values: list[tuple[float, float, float]]) -> None:
    lab = np.array(values, np.float32)
    L, ab = lab[:, :1], lab[:, 1:]
    fitted = fit_gamut(L, ab)
    before, after = np.hypot(*ab.T), np.hypot(*fitted.T)
    assert (after <= before * (1 + 1e-5)).all()
    assert_allclose(fitted[:, 0] * ab[:, 1], fitted[:, 1] * ab[:, 0], atol=1e-2)
    assert ((fitted * ab).sum(axis=1) >= 0).all()
    assert_allclose(rgb_to_lightness(lab_to_rgb(merge_lab(L, fitted))), L, atol=0.45)


@given(hnp.arrays(np.float32, (20, 3), elements=st.floats(0, 1, width=32)))
def test_fitting_hardly_touches_what_srgb_can_show(rgb: np.ndarray) -> None:
    """At most 7 Lab units, at pure yellow; nothing to speak of inside."""
    lab = rgb_to_lab(rgb)
    inside = rgb_to_lab(0.1 + 0.8 * rgb)
    assert np.linalg.norm(fit_gamut(lab[:, :1], lab[:, 1:]) - lab[:, 1:], axis=-1).max() < 7
    assert_allclose(fit_gamut(inside[:, :1], inside[:, 1:]), inside[:, 1:], atol=1e-4)


@given(st.lists(colors, min_size=2, max_size=20))
def test_a_color_is_fitted_alike_alone_and_in_company(values: list[tuple[float, float, float]]) -> None:
    lab = np.array(values, np.float32)
    together = fit_gamut(lab[:, :1], lab[:, 1:])
    alone = np.stack([fit_gamut(color[:1], color[1:]) for color in lab])
    assert_array_equal(together, alone)
