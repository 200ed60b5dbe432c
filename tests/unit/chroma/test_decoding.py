"""Heads -> ab: the laws of each decoder, and the red noise that the cap cures."""

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma.bins import Q, load_centers, nearest_bin
from chroma.decoding import (
    MIN_TEMPERATURE,
    Knobs,
    VividnessCurve,
    annealed_mean,
    argmax_ab,
    capped_log_weights,
    corrected_mean,
    decode,
    fuse,
    hue_guard,
    log_softmax,
    mean_and_backing,
    posterior_spread,
    softmax,
    zone_masses,
)
from chroma.prior import rebalancing_weights, smooth_prior
from chroma.quality import false_red_fraction
from chroma.soft_encoding import densify, soft_encode
from chroma.zones import BLUE, GREEN, RED, SKIN, YELLOW, ZONES, Zone, zone_bins

CALM = Knobs(temperature=1.0, tau=0.0, cap=1.0, gain=1.0)
DEFAULT = Knobs(temperature=0.38, tau=1.0, cap=5.0, gain=1.2)
LIGHT = np.full(1, 50, np.float32)
"""An L without shadow, for every pixel."""
UNCAPPED = Knobs(temperature=0.38, tau=1.0, cap=1e6, gain=1.0)


def random_logits(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (*shape, Q)).astype(np.float32)


def posterior_logits(*mixture: tuple[float, tuple[float, float]]) -> np.ndarray:
    """Logits of a posterior that is a mixture of (share, ab) pairs, each soft-encoded as in training; (Q,)."""
    posterior = sum(share * densify(*soft_encode(np.array(ab), load_centers(), k=10), Q) for share, ab in mixture)
    return np.log(np.maximum(posterior, 1e-7)).astype(np.float32)


def photographic_log_weights() -> np.ndarray:
    """Weights of a prior like that of photographs: mostly gray, falling with chroma; red weighs 25 times gray."""
    chroma = np.hypot(*load_centers().T)
    return np.log(rebalancing_weights(smooth_prior(np.exp(-chroma / 6.0), load_centers())))


def options(knobs: Knobs) -> dict[str, float]:
    return {"temperature": knobs.temperature, "tau": knobs.tau, "cap": knobs.cap, "gain": knobs.gain}


def decoded(logits: np.ndarray, knobs: Knobs) -> np.ndarray:
    return decode(logits, load_centers(), photographic_log_weights(), lightness=LIGHT, **options(knobs))


class TestSoftmax:
    def test_probabilities_sum_to_one(self) -> None:
        posterior = softmax(random_logits(3, 4))
        assert_allclose(posterior.sum(axis=-1), 1, atol=1e-5)
        assert_allclose(np.log(posterior), log_softmax(random_logits(3, 4)), atol=1e-4)

    @pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
    def test_nothing_overflows(self, scale: float) -> None:
        logits = random_logits(5) * np.float32(scale)
        assert np.isfinite(softmax(logits)).all()
        assert np.isfinite(log_softmax(logits)).all()

    def test_dtype_stays(self) -> None:
        assert softmax(random_logits(2)).dtype == log_softmax(random_logits(2)).dtype == np.float32


class TestArgmax:
    def test_gives_the_center_of_the_most_probable_bin(self) -> None:
        logits = random_logits(4, 5)
        expected = [[load_centers()[pixel.argmax()] for pixel in row] for row in logits]
        assert_array_equal(argmax_ab(logits, load_centers()), expected)


class TestAnnealedMean:
    def test_at_temperature_one_it_is_the_mean(self) -> None:
        logits = random_logits(6)
        expected = np.exp(log_softmax(logits).astype(np.float64)) @ load_centers()
        assert_allclose(annealed_mean(logits, load_centers(), 1.0), expected, atol=1e-3)

    def test_equals_the_papers_formula(self) -> None:
        """exp(log z / T) / sum exp(log z / T), on probabilities."""
        z = softmax(random_logits(6)).astype(np.float64)
        annealed = z ** (1 / 0.38)
        expected = annealed / annealed.sum(axis=-1, keepdims=True) @ load_centers()
        assert_allclose(annealed_mean(random_logits(6), load_centers(), 0.38), expected, atol=1e-3)

    def test_tends_to_the_argmax_as_temperature_falls(self) -> None:
        logits = random_logits(20, 20)
        mode = argmax_ab(logits, load_centers())
        gaps = np.diff(np.sort(logits, axis=-1)[..., -2:], axis=-1)[..., 0]
        clear = gaps > 0.1
        assert clear.mean() > 0.8
        errors = [
            np.abs(annealed_mean(logits, load_centers(), T) - mode)[clear].mean() for T in (1.0, 0.3, 0.1, 0.01, 1e-3)
        ]
        assert all(later < earlier for earlier, later in itertools.pairwise(errors))
        assert errors[-1] < 1e-3

    @pytest.mark.parametrize("temperature", [0.0, -1.0, 1e-9])
    def test_temperatures_below_the_least_count_as_the_least(self, temperature: float) -> None:
        logits = random_logits(5)
        least = annealed_mean(logits, load_centers(), MIN_TEMPERATURE)
        assert_array_equal(annealed_mean(logits, load_centers(), temperature), least)
        assert np.isfinite(least).all()

    def test_a_constant_added_to_the_logits_changes_nothing(self) -> None:
        logits = random_logits(5, 5)
        shift = np.random.default_rng(0).uniform(-50, 50, (5, 5, 1)).astype(np.float32)
        for T in (0.1, 0.38, 1.0):
            shifted = annealed_mean(logits + shift, load_centers(), T)
            assert_allclose(shifted, annealed_mean(logits, load_centers(), T), atol=5e-3)


class TestCap:
    @pytest.mark.parametrize("cap", [1.0, 2.0, 5.0, 8.0])
    def test_bounds_the_ratio_of_weights(self, cap: float) -> None:
        log_weights = photographic_log_weights()
        assert np.exp(np.ptp(log_weights)) > 20
        capped = capped_log_weights(log_weights, cap)
        assert np.exp(np.ptp(capped)) == pytest.approx(cap)
        assert capped.min() == log_weights.min()

    def test_light_weights_are_left_alone(self) -> None:
        log_weights = photographic_log_weights()
        light = log_weights <= log_weights.min() + np.log(5)
        assert_array_equal(capped_log_weights(log_weights, 5.0)[light], log_weights[light])
        assert_array_equal(capped_log_weights(log_weights, 1e6), log_weights)

    def test_a_cap_of_one_is_no_correction(self) -> None:
        logits = random_logits(6, 6)
        no_cap_room = Knobs(0.5, 1.0, 1.0, 1.0)
        assert_allclose(decoded(logits, no_cap_room), decoded(logits, Knobs(0.5, 0.0, 1.0, 1.0)), atol=2e-3)

    def test_one_cap_a_picture(self) -> None:
        log_weights = photographic_log_weights()
        both = capped_log_weights(log_weights, np.array([2.0, 5.0]))
        assert both.shape == (2, Q)
        assert_array_equal(both[1], capped_log_weights(log_weights, 5.0))


class TestDecode:
    def test_without_correction_gain_or_doubt_it_is_the_annealed_mean(self) -> None:
        green = posterior_logits((0.8, (-40.0, 35.0)), (0.2, (0.0, 0.0))) + random_logits(4, 4) * np.float32(0.1)
        for T in (0.1, 0.38, 1.0):
            plain = decoded(green, Knobs(T, 0.0, 5.0, 1.0))
            assert_array_equal(plain, annealed_mean(green, load_centers(), T))

    @pytest.mark.parametrize("knobs", [CALM, DEFAULT, UNCAPPED, Knobs(1e-3, 0.5, 3.0, 2.0)])
    def test_a_batch_equals_its_pixels_one_by_one(self, knobs: Knobs) -> None:
        logits = random_logits(2, 3, 4)
        batch = decoded(logits, knobs)
        assert batch.shape == (2, 3, 4, 2)
        assert batch.dtype == np.float32
        for place in np.ndindex(2, 3, 4):
            assert_allclose(batch[place], decoded(logits[place], knobs), atol=1e-3)

    def test_knobs_a_picture_equal_pictures_one_by_one(self) -> None:
        logits = random_logits(3, 4, 5)
        every = [CALM, DEFAULT, UNCAPPED]
        stacked: dict[str, Any] = {
            name: np.array([options(knobs)[name] for knobs in every], np.float32) for name in options(CALM)
        }
        together = decode(logits, load_centers(), photographic_log_weights(), lightness=LIGHT, **stacked)
        for picture, knobs in enumerate(every):
            assert_allclose(together[picture], decoded(logits[picture], knobs), atol=2e-3)

    @pytest.mark.parametrize("knobs", [CALM, DEFAULT, UNCAPPED])
    def test_it_is_the_corrected_mean_guarded_by_the_masses(self, knobs: Knobs) -> None:
        logits, centers, weights = random_logits(3, 4), load_centers(), photographic_log_weights()
        before = logits.copy()
        ab, backing = mean_and_backing(logits, centers, weights, zone_bins(centers, ZONES), **options(knobs))
        assert_allclose(ab, corrected_mean(logits, centers, weights, **options(knobs)), rtol=1e-5)
        assert_allclose(backing, zone_masses(logits, centers), rtol=1e-5)
        assert_array_equal(hue_guard(ab, backing, LIGHT), decoded(logits, knobs))
        assert ab.dtype == backing.dtype == np.float32
        assert_array_equal(logits, before)

    def test_gain_multiplies_chroma(self) -> None:
        green = posterior_logits((1.0, (-40.0, 35.0)))
        once = decoded(green, Knobs(1.0, 0.0, 1.0, 1.0))
        assert_allclose(decoded(green, Knobs(1.0, 0.0, 1.0, 1.5)), 1.5 * once, rtol=1e-5)
        assert_array_equal(decoded(green, Knobs(1.0, 0.0, 1.0, 0.0)), 0)

    def test_prior_correction_makes_rare_colors_likelier(self) -> None:
        unsure = posterior_logits((0.8, (0.0, 0.0)), (0.2, (-40.0, 40.0)))
        chroma = [np.hypot(*decoded(unsure, Knobs(0.8, tau, 3.0, 1.0))) for tau in (0.0, 0.25, 0.5, 1.0)]
        assert all(more > less for less, more in itertools.pairwise(chroma))

    def test_prior_correction_is_p_times_w_to_the_tau(self) -> None:
        logits = random_logits(5) - 20 * RED.bins(load_centers()).astype(np.float32)
        capped = np.exp(capped_log_weights(photographic_log_weights(), 4.0))
        corrected = softmax(logits.astype(np.float64)) * capped**0.6
        expected = corrected / corrected.sum(axis=-1, keepdims=True) @ load_centers()
        raw = annealed_mean(np.log(corrected).astype(np.float32), load_centers(), 1.0)
        assert_allclose(raw, expected, atol=1e-3)
        guarded = hue_guard(raw, zone_masses(logits, load_centers()), LIGHT)
        assert_allclose(decoded(logits, Knobs(1.0, 0.6, 4.0, 1.0)), guarded, atol=2e-3)

    def test_the_scale_of_the_weights_does_not_matter(self) -> None:
        logits, log_weights = random_logits(5), photographic_log_weights()
        same = decode(logits, load_centers(), log_weights + 3, lightness=LIGHT, **options(DEFAULT))
        once = decode(logits, load_centers(), log_weights, lightness=LIGHT, **options(DEFAULT))
        assert_allclose(same, once, atol=2e-3)


def strong(degrees: float, chroma: float = 50.0) -> np.ndarray:
    """Return one color of a hue, (1, 2)."""
    return chroma * np.array([[np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]], np.float32)


def backed(zone: Zone, mass: float) -> np.ndarray:
    """Return the backing of one pixel that has a mass on one zone's bins and all of it on the others', (1, Z)."""
    return np.array([[mass if other is zone else 1.0 for other in ZONES]], np.float32)


def chroma_shown(zone: Zone, mass: float, L: float = 50.0) -> float:
    """Return what the guard leaves of a chroma of 50 in the middle of a zone."""
    guarded = hue_guard(strong(zone.center_degrees), backed(zone, mass), np.full(1, L, np.float32))
    return float(np.hypot(*guarded[0]))


class TestHueGuard:
    def test_confident_red_is_left_alone(self) -> None:
        logits = posterior_logits((0.95, (60.0, 30.0)), (0.05, (0.0, 0.0)))
        assert zone_masses(logits, load_centers(), (RED,))[0] > RED.backed
        assert_array_equal(decoded(logits, Knobs(0.38, 0.0, 1.0, 1.0)), annealed_mean(logits, load_centers(), 0.38))
        assert np.hypot(*decoded(logits, Knobs(0.38, 0.0, 1.0, 1.0))) > 60

    @pytest.mark.parametrize("ab", [(-30.0, 40.0), (0.0, 60.0), (-50.0, 10.0), (10.0, -50.0)])
    def test_other_confident_colors_are_left_alone(self, ab: tuple[float, float]) -> None:
        logits = posterior_logits((0.95, ab), (0.05, (0.0, 0.0)))
        assert_array_equal(decoded(logits, Knobs(0.38, 0.0, 1.0, 1.0)), annealed_mean(logits, load_centers(), 0.38))

    @pytest.mark.parametrize("zone", ZONES, ids=lambda zone: zone.name)
    def test_color_without_backing_keeps_nothing_of_its_excess(self, zone: Zone) -> None:
        assert chroma_shown(zone, 0.0) == pytest.approx(zone.passes, rel=1e-5)
        assert chroma_shown(zone, zone.unbacked) == pytest.approx(zone.passes, rel=1e-5)
        assert chroma_shown(zone, zone.backed) == pytest.approx(50, rel=1e-5)

    def test_backing_is_that_of_the_posterior_before_the_correction(self) -> None:
        """Or the correction would vouch for the red that it makes itself."""
        logits = posterior_logits((0.5, (0.0, 0.0)), (0.5, (50.0, 10.0)))
        knobs = Knobs(0.38, 1.0, 1e6, 1.0)
        corrected = logits + photographic_log_weights().astype(np.float32)
        assert zone_masses(corrected, load_centers(), (RED,))[0] > RED.backed
        unguarded = annealed_mean(corrected, load_centers(), knobs.temperature)
        doubt = (RED.backed - zone_masses(logits, load_centers(), (RED,))[0]) / (RED.backed - RED.unbacked)
        chroma = np.hypot(*unguarded)
        assert doubt > 0.5
        assert np.hypot(*decoded(logits, knobs)) == pytest.approx(chroma - (chroma - RED.passes) * doubt, rel=1e-3)

    @pytest.mark.parametrize("zone", ZONES, ids=lambda zone: zone.name)
    def test_backing_counts_in_proportion(self, zone: Zone) -> None:
        chroma = [chroma_shown(zone, mass) for mass in np.linspace(zone.unbacked, zone.backed, 5)]
        assert_allclose(np.diff(chroma), (50 - zone.passes) / 4, rtol=1e-3)

    def test_shadow_asks_for_more_backing(self) -> None:
        """0.7 of the mass keeps 0.6 of the excess in the light, nothing in full shadow, and less the darker between."""
        kept = [chroma_shown(RED, 0.7, L) for L in (90, 35, 32, 27.5, 24, 20, 0)]
        assert kept[0] == kept[1] == pytest.approx(RED.passes + 0.6 * (50 - RED.passes), rel=1e-5)
        assert all(darker < lighter for lighter, darker in itertools.pairwise(kept[1:5]))
        assert kept[-1] == kept[-2] == pytest.approx(RED.passes, rel=1e-5)

    def test_even_a_sure_red_is_held_back_in_full_shadow(self) -> None:
        assert chroma_shown(RED, 1.0, 10) == pytest.approx(50 - (50 - RED.passes) * 0.6, rel=1e-5)

    @pytest.mark.parametrize("zone", [YELLOW, GREEN, BLUE], ids=lambda zone: zone.name)
    def test_shadow_asks_nothing_more_of_other_hues(self, zone: Zone) -> None:
        assert chroma_shown(zone, 0.6, 5) == chroma_shown(zone, 0.6, 90)

    def test_each_pixel_has_its_own_shadow_and_backing(self) -> None:
        rng = np.random.default_rng(3)
        ab = rng.uniform(-80, 80, (4, 5, 2)).astype(np.float32)
        backing, L = rng.random((4, 5, len(ZONES)), np.float32), 100 * rng.random((4, 5, 1), np.float32)
        whole = hue_guard(ab, backing, L)
        for place in np.ndindex(4, 5):
            assert_allclose(whole[place], hue_guard(ab[place], backing[place], L[place]), rtol=1e-5)

    def test_the_strictest_of_two_zones_decides(self) -> None:
        """At 34 degrees skin is fully watched, and red still a little."""
        color, none = strong(34.0), np.zeros((1, len(ZONES)), np.float32)
        both = hue_guard(color, none, LIGHT)
        alone = [hue_guard(color, none[:, :1], LIGHT, (zone,)) for zone in (RED, SKIN)]
        assert np.hypot(*both[0]) == min(np.hypot(*one[0]) for one in alone)
        assert all(np.hypot(*one[0]) < 40 for one in alone)

    def test_pale_colors_are_left_alone(self) -> None:
        none = np.zeros((1, len(ZONES)), np.float32)
        for degrees in range(0, 360, 5):
            pale = strong(degrees, 17.9)
            assert_allclose(hue_guard(pale, none, LIGHT), pale, rtol=1e-5)
        gray = np.zeros((1, 2), np.float32)
        assert_array_equal(hue_guard(gray, none, LIGHT), gray)

    def test_all_hues_are_guarded_and_kept(self) -> None:
        """Magenta, which is never shown by mistake, by what reaches into it from red and blue."""
        degrees = np.arange(0.0, 360.0, 5.0)
        colors = np.concatenate([strong(at, 80.0) for at in degrees])
        guarded = hue_guard(colors, np.zeros((len(colors), len(ZONES)), np.float32), LIGHT)
        turned = np.degrees(np.arctan2(guarded[:, 1], guarded[:, 0])) - degrees
        assert_allclose((turned + 180) % 360 - 180, 0, atol=1e-3)
        chroma = np.hypot(*guarded.T)
        assert (chroma < 70).all()
        assert (chroma[(degrees < 315) | (degrees > 330)] < 30).all()


class TestRedNoise:
    """The requester's bug on a law that is known: gray 19 times in 20, red once, and nothing in L tells which."""

    def scene(self) -> tuple[np.ndarray, np.ndarray]:
        """A true picture of 5 % red tiles on gray, and the logits of a network that has learned the law."""
        rng = np.random.default_rng(0)
        tiles = rng.random((20, 20)) < 0.05
        truth = np.zeros((160, 160, 3), np.float32)
        truth[..., 0] = 50
        truth[..., 1:] = np.where(tiles.repeat(8, axis=0).repeat(8, axis=1)[..., None], np.float32([50, 40]), 0)
        logits = posterior_logits((0.95, (0.0, 0.0)), (0.05, (50.0, 40.0)))
        return truth, logits + rng.normal(0, 0.15, (160, 160, Q)).astype(np.float32)

    def false_red(self, ab: np.ndarray, truth: np.ndarray) -> float:
        return false_red_fraction(np.concatenate([truth[..., :1], ab], axis=-1), truth)

    def test_argmax_of_the_weighted_posterior_is_red_noise(self) -> None:
        truth, logits = self.scene()
        weighted = logits + photographic_log_weights().astype(np.float32)
        assert self.false_red(argmax_ab(weighted, load_centers()), truth) > 0.3

    def test_our_decoders_show_none(self) -> None:
        truth, logits = self.scene()
        for knobs in (CALM, DEFAULT):
            assert self.false_red(decoded(logits, knobs), truth) <= 0.005

    def test_the_cap_is_what_cures_it(self) -> None:
        """Without the guard, too: uncapped correction tints the gray, the capped one does not."""
        _, logits = self.scene()
        log_weights = photographic_log_weights().astype(np.float32)

        def chroma(cap: float) -> float:
            corrected = logits[:40, :40] + capped_log_weights(log_weights, cap)
            return float(np.hypot(*np.moveaxis(annealed_mean(corrected, load_centers(), 0.38), -1, 0)).mean())

        assert chroma(1e6) > 25
        assert chroma(5.0) < 10

    def test_a_confident_red_survives_the_default(self) -> None:
        red = decoded(posterior_logits((0.9, (50.0, 40.0)), (0.1, (0.0, 0.0))), DEFAULT)
        assert_allclose(red, [60, 48], atol=4)


class TestSpread:
    def test_two_colors_half_and_half(self) -> None:
        logits = np.full((1, Q), -100, np.float32)
        for ab in ((0.0, 0.0), (0.0, 20.0)):
            logits[0, nearest_bin(np.array(ab), load_centers())] = 0
        assert_allclose(posterior_spread(logits, load_centers()), [[10.0]], atol=1e-3)

    def test_a_sure_posterior_has_next_to_none(self) -> None:
        """Next to none: the difference of two moments in float32 leaves up to 0.1."""
        sure = np.full((Q, Q), -200, np.float32)
        np.fill_diagonal(sure, 0)
        assert posterior_spread(sure, load_centers()).max() < 0.15

    def test_agrees_with_the_definition(self) -> None:
        logits = random_logits(3, 4)
        posterior = softmax(logits.astype(np.float64))
        offset = load_centers() - (posterior @ load_centers())[..., None, :]
        expected = np.sqrt((posterior * np.square(offset).sum(axis=-1)).sum(axis=-1, keepdims=True))
        assert_allclose(posterior_spread(logits, load_centers()), expected, rtol=1e-4)


class TestFuse:
    def test_sure_takes_the_classification_unsure_the_regression(self) -> None:
        decoded_ab, regressed = np.float32([[[40, 10]]]), np.float32([[[10, 0]]])
        assert_array_equal(fuse(decoded_ab, regressed, np.zeros((1, 1, 1), np.float32)), decoded_ab)
        far = fuse(decoded_ab, regressed, np.full((1, 1, 1), 200, np.float32))
        assert_allclose(far, regressed, atol=1e-5)

    def test_at_the_stated_spread_the_share_is_exp_minus_half(self) -> None:
        mixed = fuse(np.float32([[1, 0]]), np.float32([[0, 0]]), np.float32([[25]]))
        assert mixed[0, 0] == pytest.approx(np.exp(-0.5), rel=1e-5)


class TestKnobs:
    @pytest.mark.parametrize(
        "values",
        [
            (0.0, 0.5, 5.0, 1.0),
            (9e-4, 0.5, 5.0, 1.0),
            (0.38, -0.1, 5.0, 1.0),
            (0.38, 1.1, 5.0, 1.0),
            (0.38, 0.5, 0.9, 1.0),
            (0.38, 0.5, 5.0, -0.1),
            (np.nan, 0.5, 5.0, 1.0),
            (0.38, 0.5, 5.0, np.inf),
            (0.38, 0.5, np.inf, 1.0),
            (np.inf, 0.5, 5.0, 1.0),
        ],
    )
    def test_values_without_meaning_are_refused(self, values: tuple[float, float, float, float]) -> None:
        with pytest.raises(ValueError, match="knobs out of range"):
            Knobs(*values)

    def test_the_ends_of_the_ranges_are_allowed(self) -> None:
        assert Knobs(MIN_TEMPERATURE, 0.0, 1.0, 0.0).gain == 0
        assert Knobs(100.0, 1.0, 1e6, 3.0).tau == 1


class TestVividnessCurve:
    CURVE = VividnessCurve(((0.0, CALM), (0.5, DEFAULT), (1.0, Knobs(0.3, 1.0, 8.0, 1.4))))

    def test_gives_its_points_exactly(self) -> None:
        for vividness, knobs in self.CURVE.points:
            assert self.CURVE.at(vividness) == knobs

    def test_is_linear_between_its_points(self) -> None:
        halfway = self.CURVE.at(0.25)
        assert halfway.temperature == pytest.approx((1.0 + 0.38) / 2)
        assert halfway.tau == pytest.approx(0.5)
        assert halfway.cap == pytest.approx(3)
        assert halfway.gain == pytest.approx(1.1)

    @pytest.mark.parametrize("vividness", [-0.01, 1.01, float("nan")])
    def test_there_is_nothing_outside_0_to_1(self, vividness: float) -> None:
        with pytest.raises(ValueError, match="vividness must be in"):
            self.CURVE.at(vividness)

    def test_rows_there_and_back(self) -> None:
        assert VividnessCurve.from_rows(self.CURVE.to_rows()) == self.CURVE

    def test_a_relative_gain_is_one_at_the_default_and_the_gain_itself_without_one(self) -> None:
        curve = VividnessCurve(((0.0, Knobs(1.0, 0.0, 1.0, 0.8)), (1.0, Knobs(1.0, 0.0, 1.0, 2.4))))
        assert curve.relative_gain(curve.at(0.5).gain) == pytest.approx(1.0)
        assert curve.relative_gain(2.4) == pytest.approx(1.5)
        gray = VividnessCurve(((0.0, Knobs(1.0, 0.0, 1.0, 0.0)), (1.0, Knobs(1.0, 0.0, 1.0, 0.0))))
        assert gray.relative_gain(0.7) == 0.7

    @pytest.mark.parametrize("at", [[], [0.0], [0.0, 0.5], [0.1, 1.0], [0.0, 0.6, 0.6, 1.0], [0.0, 0.7, 0.3, 1.0]])
    def test_a_curve_that_does_not_rise_from_0_to_1_is_refused(self, at: list[float]) -> None:
        with pytest.raises(ValueError, match="rises from 0 to 1"):
            VividnessCurve(tuple((vividness, CALM) for vividness in at))

    @pytest.mark.parametrize(
        "row", [[0.0], [0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0, 1.0]]
    )
    def test_a_broken_row_is_refused(self, row: list[float]) -> None:
        with pytest.raises(ValueError, match=r"unpack|out of range"):
            VividnessCurve.from_rows([row, [1.0, 1.0, 0.0, 1.0, 1.0]])
