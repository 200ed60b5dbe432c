"""Choose what vividness means, on the validation split: calm, default and vivid knobs for one trained network.

Calm is the plain posterior mean, which errs least. Default is the most colorful decode that loses little PSNR to calm
and keeps false red low. Vivid is the most colorful decode that is no worse than gray in PSNR, with a looser limit on
false red. The evaluation photographs have no say.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from chroma import quality
from chroma.compose import compose_u8
from chroma.decoding import Knobs, VividnessCurve
from chroma.lab import rgb_u8_to_lab
from training import DataError
from training.data import decode_photograph, is_gray
from training.photographs import open_photographs
from training.prediction import predict_picture
from training.run import CURVE_FILE, open_run, write_whole

CALM: Final = Knobs(temperature=1.0, tau=0.0, cap=1.0, gain=1.0)
TEMPERATURES: Final = (0.38, 0.6, 0.85)
TAUS: Final = (0.5, 0.75, 1.0)
CAPS: Final = (3.0, 5.0, 8.0)
GAINS: Final = (1.0, 1.1, 1.2, 1.3)
SIDE_PX: Final = 96
"""Pictures are judged at this side: knobs do not depend on detail, and the search stays quick."""
DEFAULT_PSNR_LOSS: Final = 0.5
"""Default may lose this much PSNR to calm, dB."""
DEFAULT_FALSE_RED: Final = 0.1
"""...with at most this share of false red, percent. Low on purpose: pictures of another kind than the validation
split's had three to seven times its false red."""
VIVID_FALSE_RED: Final = 0.25
"""Vivid: at most this share of false red, percent; low for the same reason."""
VIVID_GRAY_MARGIN: Final = 0.1
"""...and at least this much more PSNR than gray, dB."""


@dataclass(frozen=True)
class Sample:
    """A validation photograph with what the network says of it."""

    L: np.ndarray
    truth_u8: np.ndarray
    truth_lab: np.ndarray
    heads: dict[str, np.ndarray]


@dataclass(frozen=True)
class Scores:
    """Means over the samples: PSNR in dB, colorfulness ratio, false red in percent."""

    psnr: float
    colorfulness_ratio: float
    false_red: float


def calibrate_run(folder: Path, data: Path, *, pictures: int = 256) -> Iterator[str]:
    """Search the knobs and write curve.json; yields lines to print.

    Args:
        folder: run folder.
        data: the folder of photographs that the run trained on.
        pictures: validation photographs to look at, spread over the split.

    Raises:
        DataError: no validation photograph can be read and has color.
        TrainingError: no such run or photographs.
    """
    run = open_run(folder)
    model, decoder = run.load_model(), run.decoder()
    photographs = open_photographs(data, scenes=run.recipe.data.scenes)
    chosen = photographs.split("val")
    places = np.unique(np.linspace(0, len(chosen) - 1, min(pictures, len(chosen))).round().astype(int))
    samples = []
    for place in places:
        try:
            rgb_u8 = decode_photograph(photographs.read(chosen[place]))
            if is_gray(rgb_u8):
                raise DataError("it has no color to compare with")
        except DataError as error:
            yield f"{chosen[place].key} is left out: {error}"
            continue
        side = run.recipe.size
        L = rgb_u8_to_lab(cv2.resize(np.ascontiguousarray(rgb_u8), (side, side), interpolation=cv2.INTER_AREA))[..., :1]
        truth = cv2.resize(np.ascontiguousarray(rgb_u8), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        lab = rgb_u8_to_lab(truth)
        heads = predict_picture(model, np.ascontiguousarray(L), side)
        samples.append(Sample(np.ascontiguousarray(lab[..., :1]), truth, lab, heads))
    if not samples:
        raise DataError(f"no validation photograph in {data} can be read and has color")

    def judge(knobs: Knobs | None) -> Scores:
        answers = []
        for sample in samples:
            ab = np.zeros((1, 1, 2), np.float32) if knobs is None else decoder.ab(sample.heads, "annealed", knobs)[0]
            answers.append(compose_u8(sample.L, ab))
        false_red = [
            quality.false_red_fraction(rgb_u8_to_lab(answer), sample.truth_lab)
            for answer, sample in zip(answers, samples, strict=True)
        ]
        psnr = [quality.psnr(answer, sample.truth_u8) for answer, sample in zip(answers, samples, strict=True)]
        ratio = quality.colorfulness_ratio(answers, [sample.truth_u8 for sample in samples])
        return Scores(float(np.mean(psnr)), ratio, 100 * float(np.mean(false_red)))

    gray, calm = judge(None), judge(CALM)
    yield f"gray: PSNR {gray.psnr:.2f}"
    yield _line("calm", CALM, calm)
    tried = {CALM: calm} | {knobs: judge(knobs) for knobs in _grid()}
    least_default = calm.psnr - DEFAULT_PSNR_LOSS
    # Vivid may do all that default may, so that it is never the paler one.
    least_vivid = min(gray.psnr + VIVID_GRAY_MARGIN, least_default)
    default = _most_colorful(tried, least_default, DEFAULT_FALSE_RED) or CALM
    vivid = _most_colorful(tried, least_vivid, VIVID_FALSE_RED) or default
    # Calm has no prior correction, so its cap has no effect: take the default's, and the curve between stays smooth.
    start = Knobs(CALM.temperature, CALM.tau, default.cap, CALM.gain)
    curve = VividnessCurve(((0.0, start), (0.5, default), (1.0, vivid)))
    yield _line("default", default, tried[default])
    yield _line("vivid", vivid, tried[vivid])
    chosen_curve = {"points": curve.to_rows(), "pictures": len(samples), "tried": len(tried)}
    write_whole(folder / CURVE_FILE, json.dumps(chosen_curve, indent=2) + "\n")


def _grid() -> Iterator[Knobs]:
    for temperature, tau, cap, gain in itertools.product(TEMPERATURES, TAUS, CAPS, GAINS):
        yield Knobs(temperature, tau, cap, gain)


def _most_colorful(tried: dict[Knobs, Scores], least_psnr: float, most_false_red: float) -> Knobs | None:
    """Return the knobs with the highest colorfulness among those within both limits."""
    allowed = [k for k, scores in tried.items() if scores.psnr >= least_psnr and scores.false_red <= most_false_red]
    return max(allowed, key=lambda knobs: tried[knobs].colorfulness_ratio, default=None)


def _line(name: str, knobs: Knobs, scores: Scores) -> str:
    return (
        f"{name}: T {knobs.temperature:g} tau {knobs.tau:g} cap {knobs.cap:g} gain {knobs.gain:g} -> "
        f"PSNR {scores.psnr:.2f} CFr {scores.colorfulness_ratio:.2f} FRF {scores.false_red:.2f} %"
    )
