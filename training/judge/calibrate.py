"""Choose what vividness means, on the validation split: the knobs from calm to vivid for one trained network.

Vividness is colorfulness. Calm errs least: the posterior's mean, shrunk towards gray as far as PSNR gains by it.
Default and vivid have a wanted share of the photographs' colorfulness; of all knobs that reach it within the limits on
false color, shadows and blotches, those of the highest PSNR are taken. Where none reaches it, less color is wanted.
Between the three, the knobs lie midway, with the gain that makes colorfulness rise evenly. The evaluation photographs
have no say.

The search has two stages: a grid on every third photograph, then the neighbors of its best on all of them.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import cv2
import keras
import numpy as np

from chroma.decoding import Knobs, VividnessCurve
from chroma.lab import rgb_u8_to_lab
from training import DataError
from training.data.photographs import open_photographs
from training.data.pictures import decode_photograph
from training.data.samples import is_gray
from training.judge.confidence import TEMPERATURES, Reliability, fit, report
from training.judge.decoder_search import (
    CALM,
    Found,
    Prediction,
    ScoreLimits,
    Scores,
    Sharpness,
    Survey,
    alike,
    at_colorfulness,
    best,
    calmest,
    gray_scores,
    leaders,
    survey,
)
from training.run.prediction import Decoder, predict_picture
from training.run.run_folder import CURVE_FILE, open_run
from training.whole_files import write_whole

GRID: Final = tuple(
    Sharpness(temperature, tau, cap)
    for temperature in (0.38, 0.6, 0.8, 1.0)
    for tau, cap in ((0.0, 1.0), (0.5, 3.0), (1.0, 3.0), (0.5, 6.0))
)
"""The first stage tries these."""

GAINS: Final = (1.0, 1.4, 1.9, 2.5, 3.2)

CALM_GAINS: Final = (0.76, 0.8, 0.84, 0.88, 0.92, 0.96, 1.0)
"""Tried for calm: a mean over an uncertain posterior still promises too much."""

EVERY: Final = 3
"""The first stage looks at every third photograph."""

LEADERS: Final = 2
"""So many of each target go on to the second stage, with the neighbors of the first in temperature."""

DEFAULT_COLOR: Final = 0.77
"""Colorfulness ratio wanted at vividness 0.5..."""

VIVID_COLOR: Final = 0.9
"""...and at vividness 1. The evaluation photographs come out 5 to 9 % paler than those of validation."""

COLOR_STEP: Final = 0.02
"""By so much less color is wanted where no knobs keep the limits."""

DEFAULT_PSNR_LOSS: Final = 1.0
"""Default may lose this much PSNR to calm, dB."""

GRAY_MARGIN: Final = 0.1
"""Every setting has at least this much more PSNR than gray, dB."""

DEFAULT_FALSE_RED: Final = 0.2
"""False red at the default, at most, percent: a fifth less than what is wanted of any photographs. With as many of each
data set as of the others, validation's false red is near that of other photographs; over the whole split it was a third
of it."""

DEFAULT_DARK_FALSE_RED: Final = 0.08

DEFAULT_FALSE_HUE: Final = 0.5
"""False yellow, green and blue at the default, at most so much of each, percent: half of what is wanted of any
photographs, since those of another origin show more of it."""

VIVID_FALSE_RED: Final = 0.4

VIVID_DARK_FALSE_RED: Final = 0.3

VIVID_FALSE_HUE: Final = 1.0

MOST_TVQ: Final = 1.1
"""TVq at the default, at most; judged at 96 px it is 1.2 times that at 256 px."""

MOST_VIVID_TVQ: Final = 1.3


def _limits(most: float, gray: float) -> tuple[ScoreLimits, ScoreLimits]:
    """Return what default and vivid must keep to, by the PSNR of calm and of gray, dB."""
    least_default = max(most - DEFAULT_PSNR_LOSS, min(gray + GRAY_MARGIN, most))
    # Vivid may do all that default may, so that it is never the paler one.
    least_vivid = min(gray + GRAY_MARGIN, least_default)
    return (
        ScoreLimits(least_default, DEFAULT_FALSE_RED, DEFAULT_DARK_FALSE_RED, DEFAULT_FALSE_HUE, MOST_TVQ),
        ScoreLimits(least_vivid, VIVID_FALSE_RED, VIVID_DARK_FALSE_RED, VIVID_FALSE_HUE, MOST_VIVID_TVQ),
    )


def calibrate_run(folder: Path, data: Path, *, pictures: int = 256) -> Iterator[str]:
    """Search the knobs and write curve.json; yields lines to print.

    Args:
        folder: run folder.
        data: the folder of photographs that the run trained on.
        pictures: validation photographs to look at, as many of every data set as it has; about 1.5 MB each.

    Raises:
        DataError: no validation photograph can be read and has color.
        TrainingError: no such run or photographs.
    """
    run = open_run(folder)
    model, decoder = run.load_model(), run.decoder()
    photographs = open_photographs(data, scenes=run.recipe.data.scenes)
    predictions: list[Prediction] = []
    kinds: Counter[str] = Counter()
    for photo in alike(photographs.split("val"), pictures):
        try:
            predictions.append(_predict(model, photographs.read(photo), run.recipe.size))
        except DataError as error:
            yield f"{photo.key} is left out: {error}"
        else:
            kinds[photo.dataset] += 1
    if not predictions:
        raise DataError(f"no validation photograph in {data} can be read and has color")
    shares = ", ".join(f"{name} {count}" for name, count in sorted(kinds.items()) if name)
    yield f"{len(predictions)} validation photographs{f' ({shares})' if shares else ''}"
    yield from _calibrate(folder, predictions, decoder, kinds)


def _calibrate(
    folder: Path, predictions: Sequence[Prediction], decoder: Decoder, kinds: Mapping[str, int]
) -> Iterator[str]:
    """Search the knobs on what the network said of photographs, and write curve.json."""
    gray = gray_scores(predictions)
    calm = calmest(survey(predictions, decoder, CALM, CALM_GAINS))
    yield f"gray: PSNR {gray.psnr:.2f}"
    default_limits, vivid_limits = _limits(calm.scores.psnr, gray.psnr)
    tried = _two_stages(predictions, decoder)
    default = _most_colorful(tried, DEFAULT_COLOR, default_limits, calm)
    vivid = _most_colorful(tried, VIVID_COLOR, vivid_limits, default)

    # Calm has no prior correction, so its cap has no effect: take the default's, and the curve between stays smooth.
    knobs = [replace(calm.knobs, cap=default.knobs.cap), default.knobs, vivid.knobs]
    found = [
        knobs[0],
        _between(predictions, decoder, *knobs[:2]),
        knobs[1],
        _between(predictions, decoder, *knobs[1:]),
        knobs[2],
    ]
    curve = VividnessCurve(tuple(zip((0.0, 0.25, 0.5, 0.75, 1.0), found, strict=True)))
    scores = [_judge(predictions, decoder, at) for _, at in curve.points]
    names = {0.0: "calm", 0.5: "default", 1.0: "vivid"}
    for (vividness, at), scored in zip(curve.points, scores, strict=True):
        yield _line(names.get(vividness, f"vividness {vividness:g}"), at, scored)
    yield f"default is of the highest PSNR at CFr {default.scores.colorfulness_ratio:.2f} with {default_limits.line()}"
    yield f"vivid is of the highest PSNR at CFr {vivid.scores.colorfulness_ratio:.2f} with {vivid_limits.line()}"
    confidence = _confidence(predictions)
    temperature = fit(confidence)
    yield (
        f"confidence: its error (ECE) is {confidence[1.0].ece():.3f}, "
        f"and {confidence[temperature].ece():.3f} at temperature {temperature:g}"
    )
    chosen: dict[str, Any] = {
        "points": curve.to_rows(),
        "pictures": len(predictions),
        "data_sets": dict(kinds),
        "tried": len(tried),
        "gray": _rounded(gray),
        "scores": [_rounded(scored) for scored in scores],
        "confidence_temperature": temperature,
        "confidence": report(confidence[1.0], confidence[temperature]),
    }
    write_whole(folder / CURVE_FILE, json.dumps(chosen, indent=2) + "\n")


def _predict(model: keras.Model, data: bytes, side: int) -> Prediction:
    """Read a photograph and ask the network.

    Raises:
        DataError: it cannot be read, or is gray.
    """
    rgb_u8 = np.ascontiguousarray(decode_photograph(data))
    if is_gray(rgb_u8):
        raise DataError("it has no color to compare with")
    L = rgb_u8_to_lab(cv2.resize(rgb_u8, (side, side), interpolation=cv2.INTER_AREA))[..., :1]
    return Prediction.of(rgb_u8, predict_picture(model, np.ascontiguousarray(L), side))


def _two_stages(predictions: Sequence[Prediction], decoder: Decoder) -> Survey:
    """Survey the grid on some photographs, and its best with their neighbors on all; return the second survey."""
    coarse = survey(predictions[::EVERY], decoder, GRID, GAINS)
    wanted: list[Sharpness] = []
    for target in (DEFAULT_COLOR, VIVID_COLOR):
        first = leaders(coarse, target, LEADERS)
        wanted += [*first, *(neighbor for sharpness in first[:1] for neighbor in _neighbors(sharpness))]
    return survey(predictions, decoder, wanted, GAINS)


def _neighbors(sharpness: Sharpness) -> tuple[Sharpness, ...]:
    temperature, tau, cap = sharpness
    cooler, warmer = round(temperature * 0.87, 2), min(round(temperature * 1.15, 2), 1.0)
    return Sharpness(cooler, tau, cap), Sharpness(warmer, tau, cap)


def _most_colorful(tried: Survey, target: float, limits: ScoreLimits, paler: Found) -> Found:
    """Return the best knobs at the target, or at the next lower one with any; `paler` where nothing is above it."""
    least = paler.scores.colorfulness_ratio
    for wanted in np.arange(max(target, least), least, -COLOR_STEP):
        if found := best(tried, float(wanted), limits):
            return found
    return paler


def _between(predictions: Sequence[Prediction], decoder: Decoder, low: Knobs, high: Knobs) -> Knobs:
    """Return knobs midway, with the gain whose colorfulness is midway, too."""
    middle = Sharpness(
        *(
            round((a + b) / 2, 3)
            for a, b in ((low.temperature, high.temperature), (low.tau, high.tau), (low.cap, high.cap))
        )
    )
    ends = [_judge(predictions[::EVERY], decoder, knobs).colorfulness_ratio for knobs in (low, high)]
    gains = sorted({round(gain, 3) for gain in np.linspace(0.9, 1.1, 3) * (low.gain + high.gain) / 2})
    reached = at_colorfulness(survey(predictions[::EVERY], decoder, [middle], gains)[middle], sum(ends) / 2)
    return middle.knobs(round(reached[0], 3) if reached else gains[1])


def _judge(predictions: Sequence[Prediction], decoder: Decoder, knobs: Knobs) -> Scores:
    sharpness = Sharpness(knobs.temperature, knobs.tau, knobs.cap)
    return survey(predictions, decoder, [sharpness], [knobs.gain])[sharpness][knobs.gain]


def _confidence(predictions: Sequence[Prediction]) -> dict[float, Reliability]:
    """Measure how well confidence is calibrated, by temperature, on every third photograph."""
    measured = {temperature: Reliability(temperature) for temperature in TEMPERATURES}
    for prediction in predictions[::EVERY]:
        rows, columns = prediction.logits.shape[:2]
        ab = np.ascontiguousarray(prediction.truth_lab[..., 1:])
        true_ab = cv2.resize(ab, (columns, rows), interpolation=cv2.INTER_AREA)
        for reliability in measured.values():
            reliability.add(prediction.logits.astype(np.float32), true_ab)
    return measured


def _line(name: str, knobs: Knobs, scores: Scores) -> str:
    return f"{name}: T {knobs.temperature:g} tau {knobs.tau:g} cap {knobs.cap:g} gain {knobs.gain:g} -> {scores.line()}"


def _rounded(scores: Scores) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores._asdict().items()}
