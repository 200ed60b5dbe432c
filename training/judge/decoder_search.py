"""Find the decoder's knobs: photographs with what a network says of them, many knobs, and what each of them scores.

A sharpness (temperature, tau, cap) says how the posterior becomes a mean; the gain then says how colorful the picture
is. Knobs are compared at *equal colorfulness*: for each sharpness, the gain that reaches the wanted one is read off
scores at a few gains, and the sharpness that errs least there wins. docs/decoder.md has what was tried, and why this.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np

from chroma import decoding, quality, signature
from chroma.compose import compose_u8
from chroma.decoding import Knobs
from chroma.lab import rgb_u8_to_lab
from training.data.photographs import Photograph
from training.run.prediction import Decoder

SIDE_PX: Final = 96
"""Pictures are judged at this side: knobs do not depend on detail, and the search stays quick."""

NEAR_DB: Final = 0.1
"""PSNR differences below this are not worth following, dB: half of it is the standard error of the mean of paired
differences, the other half is lost again on photographs unlike those of validation, see docs/decoder.md."""

FALSE_HUES: Final = ("yellow", "green", "blue")
"""Sectors whose false color is limited besides red, in the order of `Scores`."""

_MOST_LOGIT: Final = 60.0  # below the largest: what is left out weighs 1e-26


class Sharpness(NamedTuple):
    """The knobs but the gain, see `chroma.decoding.Knobs`."""

    temperature: float
    tau: float
    cap: float

    def knobs(self, gain: float) -> Knobs:
        """Return the knobs with a gain."""
        return Knobs(*self, gain)


CALM: Final = tuple(Sharpness(temperature, 0.0, 1.0) for temperature in (0.6, 0.7, 0.8, 0.9, 1.0))
"""Calm is one of these: the mean of the posterior, sharpened or not, without prior correction."""

CALM_NEAR_DB: Final = 0.05
"""The standard error of the mean of paired differences, dB."""

CALM_GAIN_NEAR_DB: Final = 0.005
"""So little PSNR is no reason for color that is wrong in more photographs, dB."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """A photograph at `SIDE_PX` with what the network says of it.

    Attributes:
        L: lightness in [0, 100], float32, (H, W, 1).
        truth_u8: sRGB, uint8, (H, W, 3).
        truth_lab: CIE Lab, float32, (H, W, 3).
        logits: of the network, float16 (half the memory; the largest is 0), (h, w, Q).
        head_lightness: lightness at the logits' grid, float32, (h, w, 1).
        colorfulness: of the truth.
        variation: `smooth_variation` of the truth's ab at a quarter of the size, Lab units.
    """

    L: np.ndarray
    truth_u8: np.ndarray
    truth_lab: np.ndarray
    logits: np.ndarray
    head_lightness: np.ndarray
    colorfulness: float
    variation: float

    @classmethod
    def of(cls, rgb_u8: np.ndarray, heads: Mapping[str, np.ndarray]) -> "Prediction":
        """Make one of a photograph, uint8, (H, W, 3), and the heads of a batch of 1."""
        truth = cv2.resize(np.ascontiguousarray(rgb_u8), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        lab = rgb_u8_to_lab(truth)
        logits = heads[signature.AB_LOGITS][0].astype(np.float32)
        logits = np.maximum(logits - logits.max(axis=-1, keepdims=True), -_MOST_LOGIT).astype(np.float16)
        variation = quality.smooth_variation(quality.quarter_lab(lab))
        L, head_lightness = np.ascontiguousarray(lab[..., :1]), heads[signature.LIGHTNESS][0]
        return cls(L, truth, lab, logits, head_lightness, quality.colorfulness(truth), variation)


class Scores(NamedTuple):
    """Means over photographs; PSNR in dB, ratios of means, false color in percent."""

    psnr: float
    colorfulness_ratio: float
    false_red: float
    dark_false_red: float
    false_yellow: float
    false_green: float
    false_blue: float
    tvq: float

    def line(self) -> str:
        """Return them in words."""
        return (
            f"PSNR {self.psnr:.2f} CFr {self.colorfulness_ratio:.2f} FRF {self.false_red:.2f} % "
            f"DFR {self.dark_false_red:.2f} % false yellow {self.false_yellow:.2f} green {self.false_green:.2f} "
            f"blue {self.false_blue:.2f} % TVq {self.tvq:.2f}"
        )


@dataclass(frozen=True)
class ScoreLimits:
    """What knobs must keep.

    Attributes:
        psnr: at least, dB.
        false_red: at most, percent.
        dark_false_red: at most, percent.
        false_hue: yellow, green and blue by mistake, at most so much of each, percent.
        tvq: at most.
    """

    psnr: float
    false_red: float
    dark_false_red: float
    false_hue: float
    tvq: float

    def allow(self, scores: Scores) -> bool:
        """Return whether scores are within the limits."""
        return (
            scores.psnr >= self.psnr
            and scores.false_red <= self.false_red
            and scores.dark_false_red <= self.dark_false_red
            and max(scores.false_yellow, scores.false_green, scores.false_blue) <= self.false_hue
            and scores.tvq <= self.tvq
        )

    def line(self) -> str:
        """Return them in words."""
        return (
            f"PSNR >= {self.psnr:.2f}, FRF <= {self.false_red:g} %, DFR <= {self.dark_false_red:g} %, "
            f"false yellow, green and blue <= {self.false_hue:g} %, TVq <= {self.tvq:g}"
        )


Survey = dict[Sharpness, dict[float, Scores]]
"""Scores by sharpness and, by rising order, gain."""


class Found(NamedTuple):
    """Knobs that reach a colorfulness, with their (interpolated) scores."""

    knobs: Knobs
    scores: Scores


def alike(photographs: Sequence[Photograph], count: int) -> list[Photograph]:
    """Return photographs of which every data set has the same number, or all it has; spread over each, in order.

    A validation split may be mostly scenes while people bring pictures of anything, and false red differs tenfold
    between data sets.

    Args:
        photographs: of a split.
        count: how many to return, or all there are.

    Returns:
        Photographs in the order given.
    """
    places: dict[str, list[int]] = {}
    for place, photo in enumerate(photographs):
        places.setdefault(photo.dataset, []).append(place)
    chosen: list[int] = []
    left = min(count, len(photographs))
    for turn, members in enumerate(sorted(places.values(), key=len)):
        share = min(len(members), round(left / (len(places) - turn)))
        chosen += [members[int(i)] for i in np.linspace(0, len(members) - 1, share).round()]
        left -= share
    return [photographs[place] for place in sorted(chosen)]


def survey(
    predictions: Sequence[Prediction], decoder: Decoder, sharpnesses: Iterable[Sharpness], gains: Sequence[float]
) -> Survey:
    """Score every sharpness at every gain.

    Args:
        predictions: to judge on, at least one.
        decoder: of the run.
        sharpnesses: to try.
        gains: to try with each, rising.

    Returns:
        The scores.
    """
    tried: Survey = {}
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8), thread_name_prefix="survey") as pool:
        for sharpness in dict.fromkeys(sharpnesses):
            rows = np.array(
                list(pool.map(lambda prediction, s=sharpness: _rows(prediction, decoder, s, gains), predictions))
            )
            tried[sharpness] = {gain: _mean(predictions, rows[:, i]) for i, gain in enumerate(gains)}
    return tried


def gray_scores(predictions: Sequence[Prediction]) -> Scores:
    """Return the scores of doing nothing."""
    return _mean(
        predictions, np.array([_row(prediction, np.zeros((1, 1, 2), np.float32)) for prediction in predictions])
    )


def at_colorfulness(tried: Mapping[float, Scores], wanted: float) -> tuple[float, Scores] | None:
    """Return the gain at which a colorfulness ratio is reached, and the scores there, linear between those tried.

    Args:
        tried: scores by rising gain.
        wanted: colorfulness ratio.

    Returns:
        Gain and scores; None where no gain that was tried reaches it, or where the least of them passes it.
    """
    gains, rows = list(tried), np.array(list(tried.values()))
    color = rows[:, Scores._fields.index("colorfulness_ratio")]
    if not color[0] <= wanted <= color[-1]:
        return None
    gain = float(np.interp(wanted, color, gains))
    return gain, Scores(*(float(np.interp(wanted, color, column)) for column in rows.T))


def best(tried: Survey, wanted: float, limits: ScoreLimits) -> Found | None:
    """Return the knobs of the highest PSNR at a colorfulness and within the limits.

    Among those within `NEAR_DB` of the highest the one of the highest temperature is taken: what sharpens least errs
    least on pictures unlike those it was chosen on.

    Args:
        tried: from `survey`.
        wanted: colorfulness ratio.
        limits: what the knobs must keep.

    Returns:
        The knobs; None where none are allowed.
    """
    allowed: dict[Sharpness, tuple[float, Scores]] = {}
    for sharpness, by_gain in tried.items():
        reached = at_colorfulness(by_gain, wanted)
        if reached is not None and limits.allow(reached[1]):
            allowed[sharpness] = reached
    if not allowed:
        return None
    highest = max(scores.psnr for _, scores in allowed.values())
    near = [s for s, (_, scores) in allowed.items() if scores.psnr >= highest - NEAR_DB]
    chosen = max(near, key=lambda s: (s.temperature, allowed[s][1].psnr))
    gain, scores = allowed[chosen]
    return Found(chosen.knobs(round(gain, 3)), scores)


def calmest(tried: Survey) -> Found:
    """Return the knobs that err least: of the highest PSNR, and of those near to it the most cautious.

    The highest temperature within `CALM_NEAR_DB` is taken, for the reason of `best`; at it the least gain within
    `CALM_GAIN_NEAR_DB`, because what is shrunk more is worse than gray in fewer photographs.

    Args:
        tried: from `survey`, at least one sharpness at one gain.

    Returns:
        The knobs.
    """
    peaks = {sharpness: max(scores.psnr for scores in by_gain.values()) for sharpness, by_gain in tried.items()}
    highest = max(peaks.values())
    chosen = max(s for s, psnr in peaks.items() if psnr >= highest - CALM_NEAR_DB)
    gain, scores = min(
        (gain, scores) for gain, scores in tried[chosen].items() if scores.psnr >= peaks[chosen] - CALM_GAIN_NEAR_DB
    )
    return Found(chosen.knobs(gain), scores)


def leaders(tried: Survey, wanted: float, count: int) -> list[Sharpness]:
    """Return the sharpnesses of the highest PSNR at a colorfulness, whatever else they do."""
    reached = {s: found[1].psnr for s, by_gain in tried.items() if (found := at_colorfulness(by_gain, wanted))}
    return sorted(reached, key=lambda s: -reached[s])[:count]


def _rows(prediction: Prediction, decoder: Decoder, sharpness: Sharpness, gains: Sequence[float]) -> list[list[float]]:
    """Score one photograph at every gain; the decode is `chroma.decoding.decode`, its mean computed once."""
    logits, (temperature, tau, cap) = prediction.logits.astype(np.float32), sharpness
    mean = decoding.corrected_mean(
        logits, decoder.centers, decoder.log_weights, temperature=temperature, tau=tau, cap=cap, gain=1.0
    )
    backing = decoding.zone_masses(logits, decoder.centers)
    return [
        _row(prediction, decoding.hue_guard(mean * np.float32(gain), backing, prediction.head_lightness))
        for gain in gains
    ]


def _row(prediction: Prediction, ab: np.ndarray) -> list[float]:
    answer = compose_u8(prediction.L, ab)
    lab = rgb_u8_to_lab(answer)
    false = quality.false_hues(lab, prediction.truth_lab, ("red", *FALSE_HUES))
    return [
        quality.psnr(answer, prediction.truth_u8),
        quality.colorfulness(answer),
        100 * float(false["red"].mean()),
        100 * quality.dark_share(false["red"], prediction.truth_lab),
        *(100 * float(false[hue].mean()) for hue in FALSE_HUES),
        quality.smooth_variation(lab),
    ]


def _mean(predictions: Sequence[Prediction], rows: np.ndarray) -> Scores:
    psnr, color, *false, variation = (float(value) for value in rows.mean(axis=0))
    true_color = float(np.mean([prediction.colorfulness for prediction in predictions]))
    true_variation = float(np.mean([prediction.variation for prediction in predictions]))
    # A set without any variation has nothing to compare with.
    tvq = variation / true_variation if true_variation else 0.0
    return Scores(psnr, color / true_color, *false, tvq)
