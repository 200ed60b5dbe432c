"""The judges: known answers for each measure."""

import doctest
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose

from chroma import noise, quality
from chroma.lab import rgb_u8_to_lab
from chroma.quality import (
    HUE_SECTORS,
    ab_error,
    auc,
    colorfulness,
    colorfulness_differences,
    colorfulness_ratio,
    dark_false_red_fraction,
    delta_e_2000,
    false_deep_red_fraction,
    false_hue_fraction,
    false_hue_fractions,
    false_hues,
    false_red_fraction,
    psnr,
    quarter_lab,
    right_thresholds,
    smooth_variation,
    speckle,
    tvq,
    tvr,
)

RED, GREEN, BLUE = (40.0, 20.0), (-40.0, 30.0), (0.0, -45.0)


def flat(H: int, W: int, L: float = 50.0, ab: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    return np.broadcast_to(np.float32([L, *ab]), (H, W, 3)).copy()


def test_examples_in_the_docstrings_are_true() -> None:
    results = [doctest.testmod(module) for module in (quality, noise)]
    assert sum(result.attempted for result in results) >= 15
    assert all(result.failed == 0 for result in results)


class TestPsnr:
    def test_known_values(self) -> None:
        black, white = np.zeros((4, 5, 3), np.uint8), np.full((4, 5, 3), 255, np.uint8)
        assert psnr(black, white) == 0
        assert psnr(white, white) == math.inf
        half = black.copy()
        half[:2] = 10
        assert psnr(half, black) == pytest.approx(10 * math.log10(255**2 / 50))

    def test_differences_do_not_wrap_round(self) -> None:
        low, high = np.full((2, 2, 3), 1, np.uint8), np.full((2, 2, 3), 3, np.uint8)
        assert psnr(low, high) == psnr(high, low) == pytest.approx(10 * math.log10(255**2 / 4))

    def test_adds_up_large_pictures_exactly(self) -> None:
        a = np.zeros((1500, 1500, 3), np.uint8)
        assert psnr(a, a + 200) == pytest.approx(10 * math.log10(255**2 / 200**2), abs=1e-9)


class TestAbError:
    def test_mean_of_distances_not_of_squares(self) -> None:
        truth = np.zeros((1, 2, 2))
        predicted = np.array([[[3.0, 4.0], [0.0, 1.0]]])
        assert ab_error(predicted, truth) == pytest.approx(3)

    def test_auc_counts_integer_thresholds(self) -> None:
        truth = np.zeros((1, 4, 2))
        predicted = np.array([[[0.0, 0.0], [0.0, 1.0], [0.0, 1.5], [0.0, 200.0]]])
        thresholds = np.arange(151)
        errors = np.array([0, 1, 1.5, 200])
        expected = (errors[None] <= thresholds[:, None]).mean()
        assert auc(predicted, truth) == pytest.approx(expected)

    def test_auc_of_a_perfect_and_a_hopeless_prediction(self) -> None:
        truth = np.zeros((3, 3, 2))
        assert auc(truth, truth) == 1
        assert auc(truth + 500, truth) == 0

    def test_auc_is_the_mean_of_the_pixels_right_thresholds(self) -> None:
        predicted, truth = np.random.default_rng(3).uniform(-90, 90, (2, 5, 7, 2))
        right = right_thresholds(predicted, truth)
        assert right.shape == (5, 7)
        assert auc(predicted, truth) == pytest.approx(right.mean())
        weights = np.arange(35.0).reshape(5, 7)
        assert auc(predicted, truth, weights=weights) == pytest.approx((weights * right).sum() / weights.sum())

    def test_auc_weighs_pixels(self) -> None:
        truth, predicted = np.zeros((1, 2, 2)), np.array([[[0.0, 0.0], [500.0, 0.0]]])
        assert auc(predicted, truth, weights=np.array([[3.0, 1.0]])) == pytest.approx(0.75)
        assert auc(predicted, truth, weights=np.array([[0.0, 1.0]])) == 0

    @pytest.mark.usefixtures("as_in_production")
    @pytest.mark.parametrize("weights", [np.zeros((2, 2)), -np.ones((2, 2)), np.ones((2, 3))])
    def test_auc_refuses_weights_without_meaning(self, weights: np.ndarray) -> None:
        with pytest.raises(ValueError, match="weights"):
            auc(np.zeros((2, 2, 2)), np.zeros((2, 2, 2)), weights=weights)


class TestDeltaE:
    def test_equal_colors_do_not_differ(self) -> None:
        lab = np.random.default_rng(0).uniform([0, -100, -100], [100, 100, 100], (50, 3))
        assert_allclose(delta_e_2000(lab, lab), 0)

    def test_grays_differ_by_lightness_alone(self) -> None:
        assert delta_e_2000(np.array([50.0, 0, 0]), np.array([60.0, 0, 0])) == pytest.approx(10 / 1.0559, rel=1e-3)

    @pytest.mark.parametrize("shape", [(), (1,), (1, 1), (2, 3, 4)])
    def test_any_leading_shape(self, shape: tuple[int, ...]) -> None:
        lab = np.zeros((*shape, 3), np.float32)
        assert delta_e_2000(lab, lab + 1).shape == shape


class TestColorfulness:
    def test_gray_is_zero(self) -> None:
        gray = np.random.default_rng(0).integers(0, 256, (20, 20, 1), np.uint8).repeat(3, axis=-1)
        assert colorfulness(gray) == 0

    def test_known_value_with_both_terms(self) -> None:
        """Half red, half blue: rg = 255, 0 and yb = 127.5, -255."""
        picture = np.zeros((1, 2, 3), np.uint8)
        picture[0, 0, 0] = picture[0, 1, 2] = 255
        spread, mean = math.hypot(127.5, 191.25), math.hypot(127.5, -63.75)
        assert colorfulness(picture) == pytest.approx(spread + 0.3 * mean)

    def test_agrees_with_what_the_eye_says(self, photograph: np.ndarray) -> None:
        pale = ((photograph.astype(np.float32) + 2 * photograph.mean(axis=-1, keepdims=True)) / 3).astype(np.uint8)
        assert 0 < colorfulness(pale) < 0.5 * colorfulness(photograph)

    def test_ratio_is_of_means(self) -> None:
        vivid, gray = np.full((2, 2, 3), [200, 100, 0], np.uint8), np.full((2, 2, 3), 100, np.uint8)
        assert colorfulness_ratio([vivid, gray], [vivid, vivid]) == pytest.approx(0.5)
        assert colorfulness_ratio([vivid, gray], [gray, vivid]) == pytest.approx(1)

    def test_ratio_refuses_sets_it_cannot_compare(self) -> None:
        gray = np.full((2, 2, 3), 100, np.uint8)
        with pytest.raises(ValueError, match="2 predictions for 1"):
            colorfulness_ratio([gray, gray], [gray])
        for nothing in ([], [gray]):
            with pytest.raises(ValueError, match="anything to compare"):
                colorfulness_ratio(nothing, nothing)

    def test_both_differences(self) -> None:
        assert colorfulness_differences([10.0, 30.0], [20.0, 24.0]) == pytest.approx((2, 8))
        assert colorfulness_differences([1.0, 2.0], [3.0, 5.0]) == pytest.approx((2.5, 2.5))
        for predicted, truth in (([], []), ([1.0], [])):
            with pytest.raises(ValueError, match=r"\d predictions for 0"):
                colorfulness_differences(predicted, truth)


class TestFalseHue:
    def test_sectors_are_the_whole_circle_once(self) -> None:
        degrees = np.arange(0, 360, 0.5)
        lab = np.stack(
            [np.full_like(degrees, 50), 60 * np.cos(np.radians(degrees)), 60 * np.sin(np.radians(degrees))], axis=-1
        )[None]
        gray = lab * [1, 0, 0]
        assert sum(false_hue_fractions(lab, gray).values()) == pytest.approx(1)
        assert list(false_hue_fractions(lab, gray)) == list(HUE_SECTORS)
        assert false_hue_fractions(lab, gray)["red"] == pytest.approx(70 / 360, abs=2e-3)

    @pytest.mark.parametrize(
        ("name", "rgb_u8"),
        [
            ("red", (255, 0, 0)),
            ("yellow", (255, 255, 0)),
            ("green", (0, 255, 0)),
            ("blue", (0, 0, 255)),
            ("magenta", (255, 0, 255)),
        ],
    )
    def test_each_sector_holds_its_primary(self, name: str, rgb_u8: tuple[int, int, int]) -> None:
        lab = rgb_u8_to_lab(np.array(rgb_u8, np.uint8))[None, None]
        assert false_hue_fractions(lab, lab * np.float32([1, 0, 0]))[name] == 1

    def test_pale_colors_are_no_claim(self) -> None:
        truth = flat(6, 6)
        assert false_red_fraction(flat(6, 6, ab=(25.0, 0.0)), truth) == 0
        assert false_red_fraction(flat(6, 6, ab=(25.1, 0.0)), truth) == 1

    def test_truth_supports_from_chroma_15(self) -> None:
        predicted = flat(6, 6, ab=RED)
        assert false_red_fraction(predicted, flat(6, 6, ab=(15.1, 0.0))) == 0
        assert false_red_fraction(predicted, flat(6, 6, ab=(15.0, 0.0))) == 1
        assert false_red_fraction(predicted, flat(6, 6, ab=GREEN)) == 1

    def test_truth_supports_two_pixels_round_itself(self) -> None:
        truth = flat(11, 11)
        truth[5, 5, 1:] = RED
        assert false_red_fraction(flat(11, 11, ab=RED), truth) == pytest.approx(1 - 25 / 121)

    def test_the_window_is_cut_at_the_border(self) -> None:
        truth = flat(10, 10)
        truth[0, 0, 1:] = RED
        assert false_red_fraction(flat(10, 10, ab=RED), truth) == pytest.approx(1 - 9 / 100)

    def test_deep_red_leaves_the_hues_of_skin_out(self) -> None:
        hues = np.radians([339.9, 340.1, 34.9, 35.1])
        predicted = np.stack((np.full(4, 50.0), 40 * np.cos(hues), 40 * np.sin(hues)), axis=-1)[None]
        gray = predicted * [1, 0, 0]
        assert [false_deep_red_fraction(predicted[:, [i]], gray[:, [i]]) for i in range(4)] == [0, 1, 1, 0]
        assert false_deep_red_fraction(predicted[:, [2]], predicted[:, [1]]) == 0
        assert false_deep_red_fraction(predicted[:, [2]], predicted[:, [3]]) == 1  # its truth is deep red, too

    def test_only_red_counts_as_false_red(self) -> None:
        truth = flat(6, 6)
        assert false_red_fraction(flat(6, 6, ab=BLUE), truth) == 0
        assert false_red_fraction(flat(6, 6, ab=RED), truth) == 1

    def test_dark_share_is_of_the_dark_pixels(self) -> None:
        truth = flat(10, 10, L=60)
        truth[:2, :, 0] = 10  # 20 dark pixels
        predicted = truth.copy()
        predicted[0, :5, 1:] = RED  # 5 of them red
        predicted[9, :, 1:] = RED  # bright: not counted here
        assert dark_false_red_fraction(predicted, truth) == pytest.approx(0.25)
        assert false_red_fraction(predicted, truth) == pytest.approx(0.15)

    def test_dark_means_below_25(self) -> None:
        predicted, truth = flat(4, 4, L=25, ab=RED), flat(4, 4, L=25)
        assert dark_false_red_fraction(predicted, truth) == 0
        truth[..., 0] = 24.9
        assert dark_false_red_fraction(predicted, truth) == 1

    def test_masks_are_what_the_fractions_count(self) -> None:
        predicted, truth = flat(8, 8), flat(8, 8)
        predicted[:2, :, 1:], predicted[5:, :4, 1:] = RED, BLUE
        truth[0, 0, 1:] = RED
        masks = false_hues(predicted, truth)
        assert {name: mask.mean() for name, mask in masks.items()} == false_hue_fractions(predicted, truth)
        assert masks["red"][:2, 3:].all()
        assert not masks["red"][:2, :3].any()
        assert masks["blue"].sum() == 12

    def test_an_unknown_sector_is_refused(self) -> None:
        with pytest.raises(ValueError, match="'teal'; there are red, yellow"):
            false_hue_fraction(flat(2, 2), flat(2, 2), "teal")


class TestSmoothVariation:
    def test_known_value(self) -> None:
        """One column of steps: 6 in a and 2 in b, over 5 columns, two channels, two directions."""
        lab = flat(4, 5)
        lab[:, 2:, 1:] = [6.0, -2.0]
        assert smooth_variation(lab) == pytest.approx((6 + 2) / 5 / 4)

    def test_down_counts_like_right(self) -> None:
        lab = flat(6, 6)
        lab[:, 3:, 1] = 5
        assert smooth_variation(lab) == pytest.approx(smooth_variation(lab.transpose(1, 0, 2)))

    def test_edges_of_lightness_are_left_out(self) -> None:
        lab = flat(4, 6)
        lab[:, 3:] = [80, 40, 0]
        assert smooth_variation(lab) == 0
        lab[:, 3:, 0] = 51.9  # a step of 1.9 is smooth
        assert smooth_variation(lab) > 0

    def test_smooth_in_both_directions(self) -> None:
        lab = flat(4, 4)
        lab[::2, :, 0] += 2  # every row is an edge downward, but for the last row's border
        lab[:, 2:, 1] = 8
        assert smooth_variation(lab) == pytest.approx(8 / 4 / 4)

    def test_nothing_smooth_is_zero(self) -> None:
        lab = flat(8, 8)
        lab[..., 0] = np.indices((8, 8)).sum(axis=0) % 2 * 100
        lab[:-1, :-1, 1] = 50
        assert smooth_variation(lab[:7, :7]) == pytest.approx(0)

    def test_tvq_of_the_quarter_truth_itself_is_one(self, photograph: np.ndarray) -> None:
        truth = rgb_u8_to_lab(photograph)
        assert tvq([quarter_lab(truth)], [truth]) == pytest.approx(1)
        assert tvq([truth], [truth]) > 1  # full size has grain that a quarter cannot show

    def test_tvq_divides_mean_by_mean(self, photograph: np.ndarray) -> None:
        truth = rgb_u8_to_lab(photograph)
        best = quarter_lab(truth)
        gray = best * np.float32([1, 0, 0])
        assert tvq([best, gray], [truth, truth]) == pytest.approx(0.5)

    def test_tvr_compares_with_the_truth_as_it_is(self, photograph: np.ndarray) -> None:
        truth = rgb_u8_to_lab(photograph)
        assert tvr([truth], [truth]) == pytest.approx(1)
        assert tvr([quarter_lab(truth)], [truth]) < 0.9  # what the best quarter-size answer can reach
        assert tvr([truth * np.float32([1, 0.5, 0.5])], [truth]) == pytest.approx(0.5)

    def test_tvq_refuses_truth_without_variation(self) -> None:
        with pytest.raises(ValueError, match="anything to compare"):
            tvq([flat(9, 9)], [flat(9, 9, ab=RED)])

    def test_quarter_lab_keeps_lightness_and_means(self, photograph: np.ndarray) -> None:
        lab = rgb_u8_to_lab(photograph)
        reduced = quarter_lab(lab)
        assert_allclose(reduced[..., 0], lab[..., 0])
        assert_allclose(reduced[..., 1:].mean(axis=(0, 1)), lab[..., 1:].mean(axis=(0, 1)), atol=0.1)


class TestSpeckle:
    def spotted(self, side: int, *, ab: tuple[float, float] = BLUE) -> np.ndarray:
        lab = flat(100, 100)
        lab[40 : 40 + side, 40 : 40 + side, 1:] = ab
        return lab

    def test_small_spots_count_with_their_area(self) -> None:
        assert speckle(self.spotted(4), flat(100, 100)) == pytest.approx(0.0016)

    def test_from_a_share_of_0_2_percent_on_it_is_an_object(self) -> None:
        almost = self.spotted(4)
        almost[44, 40:43, 1:] = BLUE
        assert speckle(almost, flat(100, 100)) == pytest.approx(0.0019)
        almost[44, 43, 1:] = BLUE  # 20 pixels of 10,000
        assert speckle(almost, flat(100, 100)) == 0

    def test_pale_spots_do_not_count(self) -> None:
        assert speckle(self.spotted(3, ab=(30.0, 0.0)), flat(100, 100)) == 0

    def test_diagonal_neighbors_are_one_part(self) -> None:
        lab = flat(100, 100)
        for i in range(25):
            lab[i, i, 1:] = BLUE
        assert speckle(lab, flat(100, 100)) == 0  # one part of 25 pixels, not 25 spots
        assert speckle(lab[:, ::2][:, :50].copy(), flat(100, 50)) > 0

    def test_spots_of_the_truth_do_not_count_whatever_their_hue(self) -> None:
        assert speckle(self.spotted(4), self.spotted(4, ab=RED)) == 0
        assert speckle(self.spotted(4), self.spotted(4, ab=(15.0, 0.0))) > 0

    def test_spots_on_rough_lightness_do_not_count(self) -> None:
        lab = self.spotted(4)
        lab[::2, :, 0] = 70
        assert speckle(lab, lab * np.float32([1, 0, 0])) == 0

    def test_each_spot_is_judged_alone(self) -> None:
        predicted, truth = self.spotted(4), flat(100, 100)
        predicted[10:13, 10:13, 1:] = RED
        truth[10:13, 10:13, 1:] = RED
        assert speckle(predicted, truth) == pytest.approx(0.0016)

    def test_a_picture_of_one_color_has_none(self) -> None:
        assert speckle(flat(30, 30, ab=RED), flat(30, 30)) == 0


PAIRWISE: list[Callable[[np.ndarray, np.ndarray], float]] = [
    false_red_fraction,
    dark_false_red_fraction,
    speckle,
]


@pytest.mark.parametrize("judge", PAIRWISE)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 2)])
def test_tiny_pictures(judge: Callable[[np.ndarray, np.ndarray], float], size: tuple[int, int]) -> None:
    assert judge(flat(*size, ab=RED), flat(*size, ab=RED)) == 0
    assert 0 <= judge(flat(*size, L=10, ab=RED), flat(*size, L=10)) <= 1
    assert smooth_variation(flat(*size, ab=RED)) == 0


@pytest.mark.parametrize("judge", PAIRWISE)
def test_judging_changes_nothing(judge: Callable[[np.ndarray, np.ndarray], float], photograph: np.ndarray) -> None:
    lab = rgb_u8_to_lab(photograph)
    lab.flags.writeable = False
    assert judge(lab, lab) == 0


@pytest.mark.usefixtures("as_in_production")
@pytest.mark.parametrize("judge", [psnr, ab_error, auc, delta_e_2000, *PAIRWISE])
def test_pictures_of_different_shapes_are_refused(judge: Callable[[np.ndarray, np.ndarray], float]) -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        judge(np.zeros((4, 4, 3)), np.zeros((4, 5, 3)))


@pytest.mark.usefixtures("as_in_production")
@pytest.mark.parametrize("judge", [psnr, ab_error, auc, *PAIRWISE])
@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3), (2, 4, 4, 3)])
def test_what_is_no_picture_is_refused(
    judge: Callable[[np.ndarray, np.ndarray], float], shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="expected a picture"):
        judge(np.zeros(shape), np.zeros(shape))


@pytest.mark.usefixtures("as_in_production")
@pytest.mark.parametrize("judge", [colorfulness, smooth_variation, quarter_lab])
@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (0, 4, 3)])
def test_what_is_no_picture_is_refused_alone(judge: Callable[[np.ndarray], float], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected a picture"):
        judge(np.zeros(shape))
