"""The search for knobs on networks made by hand; reading photographs and the command are in the integration tests."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from chroma import decoding, quality
from chroma.bins import load_centers, squared_distances
from chroma.compose import compose_u8
from chroma.decoding import Knobs
from chroma.lab import rgb_u8_to_lab
from chroma.soft_encoding import nearest_bins
from tests.synthetic_run import make_prior
from training.data.layouts import Photograph
from training.judge import decoder_search
from training.judge.decoder_search import (
    CALM_GAIN_NEAR_DB,
    CALM_NEAR_DB,
    Prediction,
    ScoreLimits,
    Scores,
    Sharpness,
    alike,
    at_colorfulness,
    best,
    calmest,
    gray_scores,
    leaders,
    survey,
)
from training.run.prediction import Decoder

pytestmark = pytest.mark.training

CENTERS = load_centers()
PLAIN = Sharpness(1.0, 0.0, 1.0)
NO_LIMITS = ScoreLimits(psnr=-np.inf, false_red=100, dark_false_red=100, false_hue=100, tvq=np.inf)


def scores(psnr: float = 20.0, color: float = 0.5, red: float = 0.0, dark: float = 0.0, tvq: float = 1.0) -> Scores:
    return Scores(psnr, color, red, dark, 0.0, 0.0, 0.0, tvq)


def make_predictions(count: int = 4) -> list[Prediction]:
    """Smooth photographs, and a network that is half sure of their colors."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        low = rng.integers(40, 220, (4, 4, 3)).astype(np.uint8)
        rgb = np.repeat(np.repeat(low, 24, axis=0), 24, axis=1)
        truth = rgb_u8_to_lab(rgb[::24, ::24])[..., 1:]
        near = nearest_bins(truth, CENTERS, k=1)[..., 0]
        logits = -squared_distances(CENTERS[near], CENTERS).astype(np.float32) / 800
        L = rgb_u8_to_lab(rgb[::24, ::24])[..., :1]
        made.append(Prediction.of(rgb, {"ab_logits": logits[None], "lightness": L[None]}))
    return made


@pytest.fixture(scope="module")
def predictions() -> list[Prediction]:
    return make_predictions()


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder.of_prior(make_prior(), CENTERS)


def photographs(**counts: int) -> list[Photograph]:
    return [
        Photograph(f"{name}{i}", Path("photos"), f"{name}{i}.jpg", split="val", scene="", dataset=name)
        for name, count in counts.items()
        for i in range(count)
    ]


def test_every_data_set_gives_as_many_photographs_or_all_it_has() -> None:
    everything = photographs(scenes=800, objects=50, clothes=3)
    chosen = alike(everything, 63)
    assert Counter(photo.dataset for photo in chosen) == {"scenes": 30, "objects": 30, "clothes": 3}
    assert chosen == sorted(chosen, key=everything.index)
    assert {chosen[0].key, chosen[29].key} == {"scenes0", "scenes799"}  # spread over all of it
    assert alike(everything, 5000) == everything


def test_a_survey_scores_what_the_decoder_would_show(predictions: list[Prediction], decoder: Decoder) -> None:
    knobs = Knobs(temperature=0.7, tau=0.5, cap=4.0, gain=1.3)
    found = survey(predictions, decoder, [Sharpness(0.7, 0.5, 4.0)], [1.0, 1.3])[Sharpness(0.7, 0.5, 4.0)][1.3]
    answers = []
    for prediction in predictions:
        heads = {
            "ab_logits": prediction.logits[None].astype(np.float32),
            "ab": np.zeros((1, 4, 4, 2), np.float32),
            "lightness": prediction.head_lightness[None],
        }
        answers.append(compose_u8(prediction.L, decoder.ab(heads, "annealed", knobs)[0]))
    truths = [prediction.truth_u8 for prediction in predictions]
    labs = [rgb_u8_to_lab(answer) for answer in answers]
    true_labs = [prediction.truth_lab for prediction in predictions]
    false = [quality.false_hue_fractions(a, b) for a, b in zip(labs, true_labs, strict=True)]
    assert found.psnr == pytest.approx(np.mean([quality.psnr(a, b) for a, b in zip(answers, truths, strict=True)]))
    assert found.colorfulness_ratio == pytest.approx(quality.colorfulness_ratio(answers, truths))
    for hue in ("red", "yellow", "green", "blue"):
        measured = getattr(found, f"false_{hue}")
        assert measured == pytest.approx(100 * np.mean([shares[hue] for shares in false])), hue
    assert found.tvq == pytest.approx(quality.tvq(labs, true_labs))


def test_gray_has_no_color_and_logits_keep_their_meaning_in_half_precision(predictions: list[Prediction]) -> None:
    gray = gray_scores(predictions)
    assert gray.colorfulness_ratio == pytest.approx(0, abs=0.02)
    assert gray.false_red == 0
    assert gray.tvq == pytest.approx(0, abs=1e-6)
    prediction = predictions[0]
    assert prediction.logits.dtype == np.float16
    assert_array_equal(prediction.logits.max(axis=-1), 0)
    exact = make_predictions(1)[0]
    assert_array_equal(decoding.argmax_ab(exact.logits, CENTERS), decoding.argmax_ab(prediction.logits, CENTERS))


def test_more_gain_is_more_color(predictions: list[Prediction], decoder: Decoder) -> None:
    by_gain = survey(predictions, decoder, [PLAIN], [0.5, 1.0, 1.5])[PLAIN]
    color = [row.colorfulness_ratio for row in by_gain.values()]
    assert color == sorted(color)
    gain, at = at_colorfulness(by_gain, color[1]) or pytest.fail("it is reached")
    assert (gain, at) == (pytest.approx(1.0), pytest.approx(by_gain[1.0]))
    assert at_colorfulness(by_gain, color[2] + 0.01) is None
    assert at_colorfulness(by_gain, color[0] - 0.01) is None


def line(psnr: float, red: float = 0.0) -> dict[float, Scores]:
    """Scores along the gain: colorfulness 0.4 to 1, the same PSNR and false red all along."""
    return {1.0: scores(psnr, 0.4, red), 2.0: scores(psnr, 1.0, red)}


def test_the_highest_psnr_within_the_limits_wins() -> None:
    tried = {Sharpness(0.4, 0.0, 1.0): line(23.0, red=0.9), Sharpness(0.6, 0.0, 1.0): line(22.0), PLAIN: line(21.0)}
    found = best(tried, 0.7, NO_LIMITS)
    assert found is not None
    assert found.knobs == Knobs(0.4, 0.0, 1.0, 1.5)
    assert found.scores.colorfulness_ratio == pytest.approx(0.7)
    limited = best(tried, 0.7, ScoreLimits(psnr=0, false_red=0.5, dark_false_red=1, false_hue=1, tvq=2))
    assert limited is not None
    assert limited.knobs.temperature == 0.6
    assert best(tried, 0.7, ScoreLimits(psnr=24, false_red=1, dark_false_red=1, false_hue=1, tvq=2)) is None
    assert best(tried, 1.2, NO_LIMITS) is None
    assert leaders(tried, 0.7, 2) == [Sharpness(0.4, 0.0, 1.0), Sharpness(0.6, 0.0, 1.0)]


def test_calm_is_the_most_cautious_of_those_that_err_least() -> None:
    def by_gain(*psnr: float) -> dict[float, Scores]:
        return {gain: scores(value, gain, 0) for gain, value in zip((0.8, 0.9, 1.0), psnr, strict=True)}

    sharp, plain, flat = (Sharpness(temperature, 0.0, 1.0) for temperature in (0.5, 0.8, 1.0))
    near, too_far = 23 - 0.9 * CALM_NEAR_DB, 23 - 1.1 * CALM_NEAR_DB
    tried = {sharp: by_gain(22, 23, 22), plain: by_gain(22, near, near), flat: by_gain(22, 22, too_far)}
    assert calmest(tried).knobs == Knobs(0.8, 0.0, 1.0, 0.9)
    assert calmest(tried).scores.psnr == near
    tried[plain] = by_gain(near - 0.9 * CALM_GAIN_NEAR_DB, near, 22)
    assert calmest(tried).knobs.gain == 0.8
    tried[plain] = by_gain(near - 1.1 * CALM_GAIN_NEAR_DB, near, 22)
    assert calmest(tried).knobs.gain == 0.9
    tried[flat] = by_gain(near, 22, 22)
    assert calmest(tried).knobs == Knobs(1.0, 0.0, 1.0, 0.8)


def test_among_equals_the_least_sharpened_wins() -> None:
    near = decoder_search.NEAR_DB
    tried = {Sharpness(0.4, 0.0, 1.0): line(22.0), Sharpness(0.8, 0.0, 1.0): line(22.0 - 0.9 * near)}
    found = best(tried, 0.7, NO_LIMITS)
    assert found is not None
    assert found.knobs.temperature == 0.8
    tried[Sharpness(0.4, 0.0, 1.0)] = line(22.0 + 0.2 * near)
    found = best(tried, 0.7, NO_LIMITS)
    assert found is not None
    assert found.knobs.temperature == 0.4


@pytest.mark.parametrize(
    ("limited", "value"),
    [
        ("psnr", 19.9),
        ("false_red", 0.3),
        ("dark_false_red", 0.2),
        ("false_yellow", 0.6),
        ("false_green", 0.6),
        ("false_blue", 0.6),
        ("tvq", 1.2),
    ],
)
def test_each_limit_limits(limited: str, value: float) -> None:
    limits = ScoreLimits(psnr=20.0, false_red=0.2, dark_false_red=0.1, false_hue=0.5, tvq=1.1)
    kept = Scores(20.0, 0.5, 0.2, 0.1, 0.5, 0.5, 0.5, 1.1)
    assert limits.allow(kept)
    assert not limits.allow(kept._replace(**{limited: value}))
