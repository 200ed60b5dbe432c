"""Score a run on color photographs: every decoder beside doing nothing.

Protocol: each photograph is squashed to 256x256 (area), its true L is the input, the network sees L at the inference
size, the answer is composed at 256x256 and rounded to 8 bits, and everything is measured on those bits: what users
would see. PSNR and errors are means over photographs; CFr and TVq are ratios of means.
"""

import datetime
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import keras
import numpy as np

from chroma import quality
from chroma.compose import compose_u8
from chroma.decoding import Knobs
from chroma.lab import rgb_u8_to_lab
from chroma.prior import rebalancing_weights, smooth_prior_1d
from training import DataError
from training.data import decode_photograph, is_gray
from training.photographs import SUFFIXES
from training.prediction import Decoder, Mode, predict_picture
from training.preview import write_png
from training.run import EVALUATION, Run, open_run, write_whole

log = logging.getLogger(__name__)

SIDE_PX: Final = 256
"""Pictures are judged at this side, px."""
WORST: Final = 10
"""How many of the worst pictures a report names."""
DO_NOTHING: Final = "do nothing (gray)"
"""The row that leaves every picture as it is."""
COLUMNS: Final = (
    ("psnr", "PSNR dB", "{:.2f}"),
    ("ab_error", "ab error", "{:.1f}"),
    ("delta_e", "dE2000", "{:.1f}"),
    ("auc", "AuC %", "{:.1f}"),
    ("colorfulness_ratio", "CFr", "{:.2f}"),
    ("false_red", "FRF %", "{:.2f}"),
    ("worst_false_red", "worst FRF %", "{:.1f}"),
    ("dark_false_red", "DFR %", "{:.2f}"),
    ("speckle", "SPK %", "{:.2f}"),
    ("tvq", "TVq", "{:.2f}"),
    ("lightness_error", "mean dL", "{:.2f}"),
    ("lightness_error_p99", "p99 dL", "{:.2f}"),
)
"""Scores by name, their heading, and how they are printed; shares are in percent."""
CARD_START: Final = "<!-- scores: start, written by photochrom-train evaluate -->"
CARD_END: Final = "<!-- scores: end -->"


@dataclass(frozen=True)
class Way:
    """One way to decode.

    Attributes:
        name: row of the table.
        mode: which decoder.
        knobs: what it takes.
        decoder: centers and prior weights.
    """

    name: str
    mode: Mode
    knobs: Knobs
    decoder: Decoder


@dataclass
class Tally:
    """Scores of one way, picture by picture."""

    scores: list[dict[str, float]] = field(default_factory=list)
    predicted_colorfulness: list[float] = field(default_factory=list)
    variation: list[float] = field(default_factory=list)

    def add(self, rgb_u8: np.ndarray, truth_u8: np.ndarray, truth_lab: np.ndarray) -> None:
        """Score a picture against its truth, both (H, W, 3)."""
        lab = rgb_u8_to_lab(rgb_u8)
        lightness_error = np.abs(lab[..., 0] - truth_lab[..., 0])
        self.scores.append(
            {
                "psnr": quality.psnr(rgb_u8, truth_u8),
                "ab_error": quality.ab_error(lab[..., 1:], truth_lab[..., 1:]),
                "delta_e": float(np.mean(quality.delta_e_2000(lab, truth_lab))),
                "auc": 100 * quality.auc(lab[..., 1:], truth_lab[..., 1:]),
                "false_red": 100 * quality.false_red_fraction(lab, truth_lab),
                "dark_false_red": 100 * quality.dark_false_red_fraction(lab, truth_lab),
                "speckle": 100 * quality.speckle(lab, truth_lab),
                "lightness_error": float(lightness_error.mean()),
                "lightness_error_p99": float(np.percentile(lightness_error, 99)),
            }
        )
        self.predicted_colorfulness.append(quality.colorfulness(rgb_u8))
        self.variation.append(quality.smooth_variation(lab))

    def result(self, true_colorfulness: list[float], true_variation: list[float]) -> dict[str, float]:
        """Return the means; `colorfulness_ratio` and `tvq` are ratios of means."""
        means = {name: float(np.mean([score[name] for score in self.scores])) for name in self.scores[0]}
        means["worst_false_red"] = max(score["false_red"] for score in self.scores)
        means["colorfulness_ratio"] = float(np.sum(self.predicted_colorfulness) / np.sum(true_colorfulness))
        means["tvq"] = float(np.sum(self.variation) / np.sum(true_variation))
        return {name: round(value, 4) for name, value in means.items()}


def ways_to_decode(run: Run) -> tuple[Way, ...]:
    """Return every way that the table compares, the defaults first."""
    decoder, calm, default, vivid = run.decoder(), *(run.curve.at(vividness) for vividness in (0.0, 0.5, 1.0))
    original_weights = rebalancing_weights(smooth_prior_1d(run.prior))
    original = Decoder(decoder.centers, np.log(original_weights).astype(np.float32))
    uncapped_mode = Knobs(temperature=1e-3, tau=1.0, cap=1e6, gain=1.0)
    return (
        Way("calm (vividness 0)", "annealed", calm, decoder),
        Way("default (vividness 0.5)", "annealed", default, decoder),
        Way("vivid (vividness 1)", "annealed", vivid, decoder),
        Way("fused", "fused", default, decoder),
        Way("regression", "regression", calm, decoder),
        Way("argmax", "argmax", calm, decoder),
        Way("annealed T=0.38", "annealed", Knobs(0.38, 0.0, 1.0, 1.0), decoder),
        Way("original decode: rebalanced, argmax", "annealed", uncapped_mode, original),
    )


def evaluate_run(
    folder: Path, pictures: Path, *, out: Path | None = None, size: int | None = None, weights: str | None = None
) -> dict[str, Any]:
    """Score a run and write evaluation.json into its folder.

    Args:
        folder: run folder.
        pictures: folder of color photographs.
        out: where to put each photograph as one PNG: gray, calm, default, vivid, truth; None for nowhere.
        size: inference size, px; None for the recipe's.
        weights: file in the run folder; None for the best.

    Returns:
        The report: protocol, rows by way, worst pictures.

    Raises:
        TrainingError: no such run, or no photographs.
    """
    run = open_run(folder)
    model = run.load_model(weights) if weights else run.load_model()
    report = score(model, run, pictures, size=size or run.recipe.size, out=out)
    write_whole(folder / EVALUATION, json.dumps(report, indent=2) + "\n")
    return report


def score(model: keras.Model, run: Run, pictures: Path, *, size: int, out: Path | None = None) -> dict[str, Any]:
    """Score a network on a folder of color photographs; see `evaluate_run`.

    Raises:
        DataError: no such folder, or no color photograph in it.
    """
    ways = ways_to_decode(run)
    tallies = {DO_NOTHING: Tally()} | {way.name: Tally() for way in ways}
    colorfulness, variation, names = [], [], []
    for name, truth_u8 in squashed_photographs(pictures):
        truth_lab = rgb_u8_to_lab(truth_u8)
        L = np.ascontiguousarray(truth_lab[..., :1])
        heads = predict_picture(model, L, size)
        answers = {DO_NOTHING: compose_u8(L, np.zeros((1, 1, 2), np.float32))}
        answers |= {way.name: compose_u8(L, way.decoder.ab(heads, way.mode, way.knobs)[0]) for way in ways}
        for way_name, rgb_u8 in answers.items():
            tallies[way_name].add(rgb_u8, truth_u8, truth_lab)
        colorfulness.append(quality.colorfulness(truth_u8))
        variation.append(quality.smooth_variation(quality.quarter_lab(truth_lab)))
        names.append(name)
        if out is not None:
            shown = list(answers.values())[:4]
            out.mkdir(parents=True, exist_ok=True)
            write_png(out / f"{Path(name).stem}.png", np.concatenate([*shown, truth_u8], axis=1))
    if not names:
        raise DataError(f"no color photographs in {pictures}")
    default = [picture["psnr"] for picture in tallies[ways[1].name].scores]
    gray = [picture["psnr"] for picture in tallies[DO_NOTHING].scores]
    order = np.argsort(np.subtract(default, gray))[:WORST]
    return {
        "protocol": f"{len(names)} photographs squashed to {SIDE_PX}x{SIDE_PX}, true L, network input {size} px",
        "pictures": len(names),
        "size": size,
        "date": datetime.date.today().isoformat(),
        "curve": run.curve.to_rows(),
        "rows": {name: tally.result(colorfulness, variation) for name, tally in tallies.items()},
        "worse_than_gray": round(float(np.mean(np.less(default, gray))), 4),
        "worst": [{"name": names[i], "gain_db": round(default[i] - gray[i], 2)} for i in order],
    }


def squashed_photographs(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, RGB uint8 (256, 256, 3)) of every color picture in a folder, by name; warn of the others.

    Raises:
        DataError: no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}")
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES:
            continue
        try:
            rgb_u8 = decode_photograph(path.read_bytes())
            if is_gray(rgb_u8):
                raise DataError("it has no color to score against")
        except (DataError, OSError) as error:
            log.warning("%s is left out: %s", path.name, error)
            continue
        yield path.name, cv2.resize(np.ascontiguousarray(rgb_u8), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)


def table_markdown(report: dict[str, Any]) -> str:
    """Return a report as a Markdown table."""
    lines = [
        f"{report['protocol']}; {report['date']}.",
        "",
        "| | " + " | ".join(heading for _, heading, _ in COLUMNS) + " |",
        "| --- |" + " ---: |" * len(COLUMNS),
    ]
    for name, row in report["rows"].items():
        lines.append(f"| {name} | " + " | ".join(form.format(row[key]) for key, _, form in COLUMNS) + " |")
    return "\n".join(lines) + "\n"


def update_card(card: Path, report: dict[str, Any]) -> None:
    """Replace what stands between the two score marks of a model card by the report: its table and its failures.

    Args:
        card: Markdown file that holds both marks, each on a line of its own.
        report: from `evaluate_run`.

    Raises:
        DataError: the card cannot be read, or lacks a mark.
    """
    try:
        head, rest = card.read_text(encoding="utf-8").split(CARD_START)
        _, tail = rest.split(CARD_END)
    except (OSError, ValueError) as error:
        raise DataError(f"{card} must be a file that holds the lines {CARD_START} and {CARD_END}") from error
    worst = ", ".join(f"{picture['name']} ({picture['gain_db']:+.1f} dB)" for picture in report["worst"])
    failures = (
        f"{report['worse_than_gray']:.0%} of the photographs score below gray at the default setting. "
        f"The {len(report['worst'])} worst, against doing nothing: {worst}."
    )
    write_whole(card, f"{head}{CARD_START}\n{table_markdown(report)}\n{failures}\n{CARD_END}{tail}")
