"""Full-size L + small ab -> RGB: size, L and grays kept, colors in gamut, strips equal to the whole."""

import inspect
import tracemalloc
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma.compose import compose, compose_planes, compose_u8, compose_u16, enlarge_ab, guided_enlarge_ab
from chroma.gamut import fit_gamut
from chroma.lab import (
    gray_to_lightness,
    lab_to_linear_rgb,
    lab_to_rgb,
    merge_lab,
    rgb_to_lab,
    rgb_to_lightness,
    rgb_u8_to_lab,
    rgb_u8_to_lightness,
    split_lab,
)
from chroma.quality import ab_error

Compose = Callable[..., np.ndarray]
PICTURE_SIZES = [(1, 1), (1, 50), (50, 1), (3, 5), (300, 17), (17, 300), (64, 64), (129, 131)]


def random_ab(h: int, w: int, *, chroma: float = 30.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, chroma, (h, w, 2)).astype(np.float32)


def random_lightness(H: int, W: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (H, W, 1)).astype(np.float32)


def of_hue(degrees: np.ndarray, chroma: float) -> np.ndarray:
    return (chroma * np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=-1)).astype(np.float32)


class TestEnlarge:
    @pytest.mark.parametrize("size", PICTURE_SIZES)
    @pytest.mark.parametrize("small", [(1, 1), (2, 3), (8, 8), (64, 64)])
    def test_shape_dtype_and_range(self, size: tuple[int, int], small: tuple[int, int]) -> None:
        ab = random_ab(*small)
        enlarged = enlarge_ab(ab, size)
        assert enlarged.shape == (*size, 2)
        assert enlarged.dtype == np.float32
        assert ab.min() - 1e-4 <= enlarged.min()
        assert enlarged.max() <= ab.max() + 1e-4

    def test_is_opencv_s_half_pixel_bilinear_filter(self) -> None:
        ab = random_ab(13, 9)
        assert_allclose(enlarge_ab(ab, (57, 100)), cv2.resize(ab, (100, 57)), atol=2e-3)

    def test_centers_of_pixels_stay_where_they_are(self) -> None:
        """An edge in the middle stays in the middle: corner-aligned enlargement would move it."""
        ab = np.zeros((4, 4, 2), np.float32)
        ab[:, 2:] = 10
        enlarged = enlarge_ab(ab, (32, 32))
        assert_allclose(enlarged, 10 - enlarged[:, ::-1], atol=1e-5)
        assert enlarged[0, 15, 0] < 5 < enlarged[0, 16, 0]

    def test_turning_commutes(self) -> None:
        ab = random_ab(7, 5)
        turned = enlarge_ab(np.ascontiguousarray(ab.transpose(1, 0, 2)), (40, 64)).transpose(1, 0, 2)
        assert_allclose(enlarge_ab(ab, (64, 40)), turned, atol=1e-3)

    def test_the_same_size_changes_nothing(self) -> None:
        ab = random_ab(7, 5)
        assert_array_equal(enlarge_ab(ab, (7, 5)), ab)

    def test_a_smaller_picture_takes_the_mean(self) -> None:
        ab = random_ab(8, 8)
        assert_allclose(enlarge_ab(ab, (1, 1))[0, 0], ab.mean(axis=(0, 1)), atol=1e-4)
        assert_allclose(enlarge_ab(ab, (4, 8)), ab.reshape(4, 2, 8, 2).mean(axis=1), atol=1e-4)

    def test_input_of_any_layout_is_taken_and_left_alone(self) -> None:
        ab = random_ab(6, 8)
        view = np.asfortranarray(ab.astype(np.float64))
        view.flags.writeable = False
        assert_array_equal(enlarge_ab(view, (30, 40)), enlarge_ab(ab, (30, 40)))

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_ab_that_is_no_number_is_refused(self, bad: float) -> None:
        ab = random_ab(3, 3)
        ab[1, 1, 0] = bad
        with pytest.raises(ValueError, match="NaN or an infinity"):
            enlarge_ab(ab, (10, 10))

    @pytest.mark.usefixtures("as_in_production")
    @pytest.mark.parametrize("shape", [(3, 3), (3, 3, 3), (0, 3, 2), (1, 3, 3, 2)])
    def test_another_shape_is_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="expected ab of shape"):
            enlarge_ab(np.zeros(shape, np.float32), (10, 10))

    def test_an_empty_picture_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not 0 x 10"):
            enlarge_ab(random_ab(3, 3), (0, 10))


class TestGuidedEnlarge:
    @pytest.mark.parametrize("size", PICTURE_SIZES)
    @pytest.mark.parametrize("small", [(1, 1), (2, 3), (64, 64)])
    def test_shape_and_dtype(self, size: tuple[int, int], small: tuple[int, int]) -> None:
        enlarged = guided_enlarge_ab(random_ab(*small), random_lightness(*size))
        assert enlarged.shape == (*size, 2)
        assert enlarged.dtype == np.float32
        assert np.isfinite(enlarged).all()

    def test_flat_lightness_leaves_the_bilinear_result(self) -> None:
        ab, L = random_ab(8, 8), np.full((80, 60, 1), 42, np.float32)
        assert_allclose(guided_enlarge_ab(ab, L), enlarge_ab(ab, (80, 60)), atol=1e-4)

    def test_color_does_not_move_in_flat_regions_of_a_picture_with_edges(self) -> None:
        """Far from the one edge of L, more than two pixels of the small map, everything is as without a guide."""
        L = np.full((160, 160, 1), 20, np.float32)
        L[:, 80:] = 80
        ab = random_ab(16, 16)
        guided, plain = guided_enlarge_ab(ab, L), enlarge_ab(ab, (160, 160))
        assert_allclose(guided[:, :60], plain[:, :60], atol=1e-3)
        assert_allclose(guided[:, 100:], plain[:, 100:], atol=1e-3)

    def test_flat_color_stays_flat(self) -> None:
        ab = np.full((8, 8, 2), [12.0, -7.0], np.float32)
        assert_allclose(
            guided_enlarge_ab(ab, random_lightness(100, 100)), np.broadcast_to(ab[0, 0], (100, 100, 2)), atol=1e-3
        )

    def test_color_follows_an_edge_that_the_small_map_blurs(self) -> None:
        L = np.full((160, 160, 1), 20, np.float32)
        L[:, 75:] = 80  # in the middle of a pixel of the small map
        truth = np.zeros((160, 160, 2), np.float32)
        truth[:, 75:] = [40, -40]
        ab = cv2.resize(truth, (16, 16), interpolation=cv2.INTER_AREA)
        assert ab_error(guided_enlarge_ab(ab, L), truth) < 0.35 * ab_error(enlarge_ab(ab, (160, 160)), truth)

    def test_photographs_come_out_nearer_to_the_truth_with_their_means_kept(self, photograph: np.ndarray) -> None:
        L, truth = split_lab(rgb_u8_to_lab(photograph))
        H, W = photograph.shape[:2]
        ab = cv2.resize(np.ascontiguousarray(truth), (W // 8, H // 8), interpolation=cv2.INTER_AREA)
        guided, plain = guided_enlarge_ab(ab, L), enlarge_ab(ab, (H, W))
        assert ab_error(guided, truth) < 0.97 * ab_error(plain, truth)
        assert_allclose(guided.mean(axis=(0, 1)), plain.mean(axis=(0, 1)), atol=0.1)

    def test_a_large_eps_switches_the_guide_off(self, photograph: np.ndarray) -> None:
        L = rgb_u8_to_lightness(photograph)
        ab = random_ab(16, 16)
        assert_allclose(guided_enlarge_ab(ab, L, eps=1e9), enlarge_ab(ab, L.shape[:2]), atol=1e-3)

    @pytest.mark.parametrize("options", [{"radius": 0}, {"eps": 0.0}, {"eps": float("nan")}])
    def test_options_out_of_range_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="radius must be at least 1 and eps above 0"):
            guided_enlarge_ab(random_ab(3, 3), random_lightness(9, 9), **options)

    def test_a_wider_window_gives_another_slope(self) -> None:
        ab, L = random_ab(16, 16), random_lightness(64, 64)
        assert np.abs(guided_enlarge_ab(ab, L, radius=3) - guided_enlarge_ab(ab, L)).max() > 0.1


class TestGamut:
    def test_colors_in_gamut_are_left_alone(self, photograph: np.ndarray) -> None:
        """A photograph's own colors, but for the few that lie on the very boundary."""
        L, ab = split_lab(rgb_u8_to_lab(photograph))
        moved = np.abs(fit_gamut(L, ab) - ab).max(axis=-1)
        assert np.median(moved) == 0
        assert moved.max() < 1.5

    @pytest.mark.parametrize("chroma", [10.0, 40.0, 80.0, 150.0])
    def test_what_comes_out_can_be_shown_with_its_own_lightness(self, chroma: float) -> None:
        rng = np.random.default_rng(0)
        L = rng.uniform(0, 100, (300, 300, 1)).astype(np.float32)
        ab = of_hue(rng.uniform(0, 360, (300, 300)), chroma)
        fitted = fit_gamut(L, ab)
        linear = lab_to_linear_rgb(merge_lab(L, fitted))
        outside = np.maximum(-linear, linear - 1).max(axis=-1)
        moved = np.abs(rgb_to_lightness(lab_to_rgb(merge_lab(L, fitted))) - L)[..., 0]
        folded = (L[..., 0] > 89) & (np.abs(np.degrees(np.arctan2(ab[..., 1], ab[..., 0])) - 102) < 15)
        assert outside[~folded].max() < 0.01
        assert moved[~folded].max() < 0.05
        assert outside[folded].max() < 0.05
        assert moved[folded].max() < 0.45

    def test_the_corners_and_edges_of_srgb_keep_their_color(self) -> None:
        """Pure yellow is the hard one: a straight way from gray to it leaves the gamut and comes back."""
        axis = np.linspace(0, 255, 52).astype(np.uint8)
        rgb_u8 = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
        L, ab = split_lab(rgb_u8_to_lab(rgb_u8))
        lost = np.linalg.norm(fit_gamut(L, ab) - ab, axis=-1)
        assert lost.max() < 7
        assert np.quantile(lost, 0.99) < 0.7
        assert np.quantile(lost, 0.9) < 1e-3

    def test_chroma_is_not_given_away(self) -> None:
        """With 3 % more chroma than what comes out, nearly every reduced color would leave the gamut."""
        rng = np.random.default_rng(0)
        L = rng.uniform(2, 98, (200, 200, 1)).astype(np.float32)
        fitted = fit_gamut(L, of_hue(rng.uniform(0, 360, (200, 200)), 150.0))
        linear = lab_to_linear_rgb(merge_lab(L, fitted * np.float32(1.03)))
        outside = ((linear < 0) | (linear > 1)).any(axis=-1)
        assert outside.mean() > 0.97

    def test_hue_is_kept_and_chroma_never_grows(self) -> None:
        rng = np.random.default_rng(0)
        L = rng.uniform(0, 100, (200, 200, 1)).astype(np.float32)
        ab = of_hue(rng.uniform(0, 360, (200, 200)), 90.0)
        fitted = fit_gamut(L, ab)
        assert (np.hypot(*np.moveaxis(fitted, -1, 0)) <= 90.001).all()
        cross = fitted[..., 0] * ab[..., 1] - fitted[..., 1] * ab[..., 0]
        assert np.abs(cross).max() < 1e-2
        assert ((fitted * ab).sum(axis=-1) >= 0).all()

    @pytest.mark.parametrize("lightness", [-1.0, 0.0, 100.0, 100.00001, 120.0])
    def test_black_and_white_have_no_color(self, lightness: float) -> None:
        ab = of_hue(np.arange(0.0, 360.0), 50.0)
        L = np.full((360, 1), lightness, np.float32)
        assert_array_equal(fit_gamut(L, ab), 0)

    def test_hues_on_the_axes_and_next_to_them(self) -> None:
        """The table's seam lies at hue 0; tiny negative b must not read beyond its end."""
        tiny = np.float32(1e-30)
        ab = np.array([[99, 0], [99, -0.0], [99, tiny], [99, -tiny], [0, 99], [0, -99], [-99, 0], [-99, -tiny]])
        fitted = fit_gamut(np.full((8, 1), 50, np.float32), ab.astype(np.float32))
        assert np.isfinite(fitted).all()
        assert_allclose(fitted[1:4, 0], fitted[0, 0], rtol=1e-6)
        assert_allclose(fitted[7, 0], fitted[6, 0], rtol=1e-6)

    def test_it_settles_at_once(self) -> None:
        L, ab = random_lightness(50, 50), random_ab(50, 50, chroma=80)
        once = fit_gamut(L, ab)
        assert_allclose(fit_gamut(L, once), once, atol=1e-3)

    @pytest.mark.parametrize("shape", [(), (1,), (1, 1), (0,), (2, 3, 4)])
    def test_any_leading_shape_and_the_input_is_left_alone(self, shape: tuple[int, ...]) -> None:
        ab = np.full((*shape, 2), 90, np.float32)
        ab.flags.writeable = False
        fitted = fit_gamut(np.full((*shape, 1), 50, np.float32), ab)
        assert fitted.shape == (*shape, 2)
        assert (fitted < 90).all()

    def test_float64_and_strided_input_is_taken(self) -> None:
        lab = rgb_to_lab(np.random.default_rng(0).random((20, 30, 3)))
        lab[..., 1:] *= 2
        L, ab = split_lab(lab.astype(np.float64))
        assert_allclose(fit_gamut(L, ab), fit_gamut(L.astype(np.float32), ab.astype(np.float32)), atol=1e-5)


class TestCompose:
    @pytest.mark.parametrize(
        ("function", "dtype"), [(compose, np.float32), (compose_u8, np.uint8), (compose_u16, np.uint16)]
    )
    @pytest.mark.parametrize("enlargement", ["bilinear", "guided"])
    @pytest.mark.parametrize("size", PICTURE_SIZES)
    def test_the_picture_keeps_its_size(
        self, function: Compose, dtype: type, enlargement: str, size: tuple[int, int]
    ) -> None:
        rgb = function(random_lightness(*size), random_ab(8, 8), enlargement=enlargement)
        assert rgb.shape == (*size, 3)
        assert rgb.dtype == dtype

    def test_every_8_bit_gray_comes_back_exactly(self) -> None:
        gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
        rgb = compose_u8(gray_to_lightness(gray), np.zeros((4, 4, 2), np.float32))
        assert_array_equal(rgb, np.repeat(gray[..., None], 3, axis=-1))

    def test_every_16_bit_gray_comes_back_within_one(self) -> None:
        gray = np.arange(65536, dtype=np.uint16).reshape(256, 256)
        rgb = compose_u16(gray_to_lightness(gray), np.zeros((4, 4, 2), np.float32))
        assert np.abs(rgb.astype(np.int64) - gray[..., None]).max() <= 1

    @pytest.mark.parametrize("enlargement", ["bilinear", "guided"])
    @pytest.mark.parametrize("gain", [1.0, 4.0])
    def test_lightness_of_a_photograph_is_kept_after_rounding(
        self, photograph: np.ndarray, enlargement: str, gain: float
    ) -> None:
        L, truth = split_lab(rgb_u8_to_lab(photograph))
        ab = gain * cv2.resize(np.ascontiguousarray(truth), (64, 64), interpolation=cv2.INTER_AREA)
        error = np.abs(rgb_u8_to_lightness(compose_u8(L, ab, enlargement=enlargement)) - L)
        assert error.mean() <= 0.3
        assert np.quantile(error, 0.99) <= 1.0

    def test_lightness_is_kept_for_any_hue_at_full_saturation(self) -> None:
        L = np.repeat(np.linspace(0, 100, 360, dtype=np.float32)[:, None], 360, axis=1)[..., None]
        ab = np.broadcast_to(of_hue(np.arange(0.0, 360.0), 150.0), (360, 360, 2))
        error = np.abs(rgb_u8_to_lightness(compose_u8(L, ab)) - L)
        assert error.mean() <= 0.3
        assert np.quantile(error, 0.99) <= 1.0
        clipped = np.abs(rgb_u8_to_lightness((lab_to_rgb(merge_lab(L, ab)) * 255 + 0.5).astype(np.uint8)) - L)
        assert clipped.mean() > 5  # what the gamut fit is for

    @pytest.mark.parametrize("enlargement", ["bilinear", "guided"])
    @pytest.mark.parametrize("function", [compose, compose_u8, compose_u16])
    def test_strips_and_threads_give_the_whole_picture_bit_for_bit(self, function: Compose, enlargement: str) -> None:
        L, ab = random_lightness(203, 157), random_ab(16, 12, chroma=50)
        whole = function(L, ab, enlargement=enlargement, strip_rows=203)
        for strip_rows in (1, 2, 7, 64, 202, 1000, None):
            for workers in (1, 3):
                strips = function(L, ab, enlargement=enlargement, strip_rows=strip_rows, workers=workers)
                assert_array_equal(strips, whole)

    def test_compose_is_the_sum_of_its_steps(self) -> None:
        L, ab = random_lightness(40, 50), random_ab(5, 6)
        by_hand = lab_to_rgb(merge_lab(L, fit_gamut(L, enlarge_ab(ab, (40, 50)))))
        assert_array_equal(compose(L, ab), by_hand)
        guided = lab_to_rgb(merge_lab(L, fit_gamut(L, guided_enlarge_ab(ab, L))))
        assert_array_equal(compose(L, ab, enlargement="guided"), guided)

    @pytest.mark.parametrize("enlargement", ["bilinear", "guided"])
    def test_planes_of_any_rows_are_those_of_the_picture(self, enlargement: str) -> None:
        L, ab = random_lightness(40, 50), random_ab(5, 6, chroma=50)
        planes_of = compose_planes(L, ab, enlargement=enlargement)
        whole = np.moveaxis(compose(L, ab, enlargement=enlargement), -1, 0)
        for start, stop in ((0, 40), (0, 1), (7, 30), (39, 40)):
            assert_array_equal(planes_of(start, stop), whole[:, start:stop])

    @pytest.mark.usefixtures("as_in_production")
    def test_planes_of_what_is_no_picture_are_refused_before_any_is_asked_for(self) -> None:
        with pytest.raises(ValueError, match="expected L of shape"):
            compose_planes(random_lightness(5, 5)[..., 0], random_ab(2, 2))
        with pytest.raises(ValueError, match="enlargement must be"):
            compose_planes(random_lightness(5, 5), random_ab(2, 2), enlargement="cubic")

    def test_rounding_is_to_the_nearest(self) -> None:
        L, ab = random_lightness(40, 50), random_ab(5, 6)
        rgb = compose(L, ab).astype(np.float64)
        assert np.abs(compose_u8(L, ab) - rgb * 255).max() <= 0.6
        assert np.abs(compose_u16(L, ab) - rgb * 65535).max() <= 0.5 + 1e-2

    def test_memory_stays_bounded(self) -> None:
        """A 3-megapixel picture: its output and a few strips, where the whole in float32 would take 300 MB."""
        L, ab = random_lightness(2000, 1500), random_ab(48, 64)
        compose_u8(L[:10], ab)  # the gamut table is not this picture's
        tracemalloc.start()
        compose_u8(L, ab)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak_bytes - 2000 * 1500 * 3 < 25e6

    @pytest.mark.parametrize("options", [{"strip_rows": 0}, {"strip_rows": -3}, {"workers": 0}])
    def test_options_below_one_are_refused(self, options: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="must be at least 1"):
            compose_u8(random_lightness(5, 5), random_ab(2, 2), **options)

    @pytest.mark.usefixtures("as_in_production")
    @pytest.mark.parametrize("shape", [(5, 5), (5, 5, 3), (0, 5, 1)])
    def test_lightness_of_another_shape_is_refused(self, shape: tuple[int, ...]) -> None:
        for enlargement in ("bilinear", "guided"):
            with pytest.raises(ValueError, match="expected L of shape"):
                compose_u8(np.zeros(shape, np.float32), random_ab(2, 2), enlargement=enlargement)  # type: ignore[arg-type]

    @pytest.mark.usefixtures("as_in_production")
    def test_an_unknown_enlargement_is_refused(self) -> None:
        with pytest.raises(ValueError, match="'bilinear' or 'guided', is 'cubic'"):
            compose(random_lightness(5, 5), random_ab(2, 2), enlargement="cubic")  # type: ignore[arg-type]

    def test_a_nan_from_the_network_is_refused(self) -> None:
        ab = random_ab(3, 3)
        ab[0, 0] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            compose_u8(random_lightness(30, 30), ab)

    def test_all_three_take_the_same_options(self) -> None:
        def options(function: Compose) -> list[str]:
            return [str(p.replace(annotation=p.empty)) for p in inspect.signature(function).parameters.values()]

        assert options(compose) == options(compose_u8) == options(compose_u16)
