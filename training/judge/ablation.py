"""The original recipe turned into ours, one group of options at a time, each row trained equally long.

What makes red noise, and what cures it? Each row trains the row before with one more group of options set as in
`default`; the last one *is* `default`, but for the length and the picture size that all rows share. Each trained
network is decoded in several ways, so that training and decoding can be told apart.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from chroma.bins import load_centers
from chroma.compose import compose_u8
from chroma.decoding import Knobs
from chroma.lab import rgb_u8_to_lab
from training.config import Recipe
from training.judge.evaluate import score, squashed_photographs
from training.judge.ways import Way
from training.network.losses import bin_weights
from training.recipes import load_recipe
from training.run.prediction import CURVE, ORIGINAL_DECODES, Decoder, predict_picture
from training.run.preview import write_png
from training.run.run_folder import METRICS, Run, open_run
from training.run.train import RunOptions, train
from training.whole_files import write_whole

log = logging.getLogger(__name__)

REPORT: Final = "ablation.json"

SCORES: Final = "scores.json"

STRIPS: Final = "strips"

SHEET: Final = "strips.png"

CURVES: Final = "convergence.png"

CELL_PX: Final = 160
"""Side of a picture in the sheet of strips, px."""

ORIGINAL: Final = "scene_context_unet"

OURS: Final = "default"

LAST_EVALUATIONS: Final = 5
"""Jitter is the standard deviation of top-1 over so many evaluations."""

UNCAPPED: Final = 1e6
"""A cap that no weight reaches."""

SHARED: Final = (
    "data.crop_px=96",
    "data.crop_sides=[]",
    "mixed_precision=false",
    "optimizer.cosine_share=1.0",
    "data.prior_pictures=6000",
    "data.repeat=[]",
    "data.scenes=scene_coarse",
    "size=160",
    "batch_size=32",
    "epochs=1",
    "steps=240",
    "evaluate_every=24",
    "data.validation_pictures=192",
)
"""What all rows have in common: a length and a picture size that a CPU can do. `--set` changes them."""

SMALL: Final = (
    "model.unet_channels=[16, 32, 64, 128, 256]",
    "model.decoder_channels=[128, 64]",
    "model.global_features=256",
)
"""The original's network, narrower; a few minutes do not train 31 million parameters."""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        name: short, also the run folder's.
        change: what is different from the row before, in words.
        options: what is set as in `default`: ``section.option``, or ``section`` for all of it.
    """

    name: str
    change: str
    options: tuple[str, ...]


ROWS: Final = (
    Row("original", "the original recipe, its network narrower", ()),
    Row("network", "pretrained encoder, scene fused into the decoder", ("model",)),
    Row("optimizer", "AdamW, cosine with warm-up, clipping, averaged weights", ("optimizer",)),
    Row("data", "target colors never altered, area mean, gray pictures masked", ("data",)),
    Row(
        "heads",
        "smooth L1, hard scene labels, balance of the heads",
        ("loss.regression", "loss.ab", "loss.scene_logits", "loss.label_smoothing"),
    ),
    Row("logits", "cross-entropy on logits instead of clipped probabilities", ("loss.probabilities",)),
    Row("neighbors", "10 neighbors, ties to the lowest index", ("loss.neighbors", "loss.ties", "loss.sigma")),
    Row("prior", "prior smoothed over ab instead of the bins' index", ("loss.prior_smoothing",)),
    Row("weights", "no rebalancing weights in the loss", ("loss",)),
)
"""From the original to `default`."""


def ablation_recipes(assignments: tuple[str, ...] = ()) -> tuple[Recipe, ...]:
    """Return the recipe of each row.

    Args:
        assignments: options that all rows share, as `Recipe.with_options` takes them; they come after `SHARED`.

    Raises:
        RecipeError: a wrong option.
    """
    shared = SHARED + assignments
    ours = json.loads(load_recipe(OURS).with_options(shared).to_json())
    fields = json.loads(load_recipe(ORIGINAL).with_options(shared + SMALL).to_json())
    recipes = []
    for row in ROWS:
        for path in row.options:
            section, _, option = path.partition(".")
            fields[section] |= {key: value for key, value in ours[section].items() if option in ("", key)}
        recipes.append(Recipe.from_json(json.dumps(fields | {"name": f"ablation_{row.name}"})))
    return tuple(recipes)


def ablate(
    data: Path,
    pictures: Path,
    out: Path,
    *,
    show: Path | None = None,
    assignments: tuple[str, ...] = (),
    workers: int = 2,
    tell: Callable[[str], None] = log.info,
) -> dict[str, Any]:
    """Train and score every row; rows already scored are kept, a killed one goes on.

    Args:
        data: folder of photographs to train on.
        pictures: folder of color photographs to score on.
        out: gets a run folder a row, ablation.json, and strips.
        show: folder of pictures to make strips of; None for none.
        assignments: options that all rows share.
        workers: threads that read photographs.
        tell: told what is going on.

    Returns:
        The report: ``{"rows": [{"name", "change", "validation", "pictures": {way: scores}}], ...}``.

    Raises:
        TrainingError: see `training`.
    """
    rows = []
    for place, (row, recipe) in enumerate(zip(ROWS, ablation_recipes(assignments), strict=True)):
        folder = out / f"{place}-{row.name}"
        if not (folder / SCORES).exists():
            tell(f"row {place}, {row.name}: {row.change}")
            train(recipe, RunOptions(data, folder, workers=workers))
            write_whole(folder / SCORES, json.dumps(_score_row(folder, pictures), indent=2) + "\n")
        if show is not None:
            _show(folder, show)
        rows.append({"name": row.name, "change": row.change} | json.loads((folder / SCORES).read_text("utf-8")))
        report = {"shared": list(SHARED + assignments), "small": list(SMALL), "rows": rows}
        write_whole(out / REPORT, json.dumps(report, indent=2) + "\n")
    plot_convergence(report, out / CURVES)
    if show is not None:
        _join_strips(out)
    return report


def ways_of(run: Run) -> tuple[Way, ...]:
    """Return the ways to decode a row: v0 and v1 of the original, regression, and those that its loss asks for.

    A network trained with weights answers a reweighted posterior: `divided` takes the weights out again. One trained
    without gives the posterior itself: `original` puts the original's weights in, `default` ours.
    """
    centers = load_centers()
    plain = Decoder(centers, np.zeros(len(centers), np.float32), guard=False)
    v0, v1 = ORIGINAL_DECODES["argmax"], ORIGINAL_DECODES["annealed"]
    ways = [
        Way("v0", "argmax", v0, plain),
        Way("v1", "annealed", v1, plain),
        Way("regression", "regression", v1, plain),
    ]
    weights = bin_weights(run.recipe.loss, run.prior)
    if weights is not None:
        inverse = Decoder(centers, -np.log(weights).astype(np.float32), guard=False)
        return (*ways, Way("divided", "annealed", Knobs(0.38, 1.0, UNCAPPED, 1.0), inverse))
    original = Decoder.original(run.prior, centers)
    return (
        *ways,
        Way("original", "annealed", Knobs(1e-3, 1.0, UNCAPPED, 1.0), original),
        Way("original v1", "annealed", Knobs(0.38, 1.0, UNCAPPED, 1.0), original),
        Way("default", "annealed", CURVE.at(0.5), run.decoder()),
        Way("calm", "annealed", CURVE.at(0.0), run.decoder()),
    )


def _score_row(folder: Path, pictures: Path) -> dict[str, Any]:
    run = open_run(folder)
    report = score(run.load_model(), run, pictures, size=run.recipe.size, ways=(), light=ways_of(run))
    evaluations = [json.loads(line) for line in (folder / METRICS).read_text("utf-8").splitlines()]
    last = [evaluation["top1"] for evaluation in evaluations[-LAST_EVALUATIONS:]]
    return {
        "validation": evaluations[-1],
        "top1_deviation": round(float(np.std(last)), 5),
        "evaluations": evaluations,
        "pictures": report["rows"],
    }


def _show(folder: Path, show: Path) -> None:
    """Colorize the pictures to show, one PNG a picture and way; those that are there stay."""
    run, model = open_run(folder), None
    for name, truth_u8 in squashed_photographs(show):
        for way in ways_of(run):
            path = folder / STRIPS / Path(name).stem / f"{way.name}.png"
            if path.exists():
                continue
            model = model or run.load_model()
            path.parent.mkdir(parents=True, exist_ok=True)
            L = np.ascontiguousarray(rgb_u8_to_lab(truth_u8)[..., :1])
            heads = predict_picture(model, L, run.recipe.size)
            write_png(path, compose_u8(L, way.decoder.ab(heads, way.mode, way.knobs)[0]))
            write_png(path.with_name("truth.png"), truth_u8)


def _join_strips(out: Path) -> None:
    """Write one picture, a row a photograph: gray, every row's v0, the last network by v1 and by default, the truth."""
    folders = [out / f"{place}-{row.name}" for place, row in enumerate(ROWS)]
    last = folders[-1]
    columns = [
        (f"{place} {row.name}", folder, "v0") for place, (row, folder) in enumerate(zip(ROWS, folders, strict=True))
    ]
    columns += [
        (f"{len(ROWS)} annealed", last, "v1"),
        (f"{len(ROWS) + 1} default", last, "default"),
        ("truth", last, "truth"),
    ]
    strips = [_labels([label for label, _, _ in columns])]
    for picture in sorted((last / STRIPS).iterdir()):
        cells = [cv2.imread(str(folder / STRIPS / picture.name / f"{way}.png")) for _, folder, way in columns]
        shrunk = [cv2.resize(cell, (CELL_PX, CELL_PX), interpolation=cv2.INTER_AREA) for cell in cells]
        strips.append(np.concatenate(shrunk, axis=1)[..., ::-1])
    write_png(out / SHEET, np.ascontiguousarray(np.concatenate(strips, axis=0)))


def _labels(words: list[str]) -> np.ndarray:
    """Return a white line with one label a cell, RGB, uint8."""
    line = np.full((24, CELL_PX * len(words), 3), 255, np.uint8)
    for place, word in enumerate(words):
        cv2.putText(line, word, (place * CELL_PX + 4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return line


def plot_convergence(report: dict[str, Any], path: Path, *, rows: tuple[str, ...] = ()) -> None:
    """Draw KL and top-1 of each evaluation over the images seen, with the rows that learn nothing.

    Args:
        report: from `ablate`.
        path: PNG or SVG to write.
        rows: names of the rows to draw; all if empty.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axes, score_name, baseline, title in zip(
        figure.subplots(1, 2),
        ("kl", "top1"),
        ("kl_prior", "top1_majority"),
        ("KL, nats", "top-1 accuracy"),
        strict=True,
    ):
        for row in report["rows"]:
            if not rows or row["name"] in rows:
                series = row["evaluations"]
                axes.plot([e["images"] for e in series], [e[score_name] for e in series], marker=".", label=row["name"])
        axes.axhline(report["rows"][-1]["validation"][baseline], color="gray", linestyle="--", label="majority")
        axes.set(title=title, xlabel="training images")
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def table(report: dict[str, Any]) -> str:
    """Return a report as a Markdown table: one line a row, decoded by v0; then the last network, decoded otherwise."""
    lines = [
        "| | what changed | KL | top-1 (majority) | its sd | within 20 | PSNR dB | CFr | FRF % | worst | TVq |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for place, row in enumerate(report["rows"]):
        lines.append(f"| {place} | {row['change']} | {_validation(row)} | {_pictures(row, 'v0')} |")
    last = report["rows"][-1]
    for name, words in (("v1", "annealed mean, T = 0.38"), ("default", "capped prior correction and hue guard")):
        place += 1
        lines.append(f"| {place} | decoded by: {words} | {_validation(last)} | {_pictures(last, name)} |")
    words = "network of the row before, decoded as the original was trained: weights by index, argmax"
    lines.append(f"| | {words} | {_validation(last)} | {_pictures(last, 'original')} |")
    return "\n".join(lines) + "\n"


def _validation(row: dict[str, Any]) -> str:
    scores = row["validation"]
    top1 = f"{scores['top1']:.3f} ({scores['top1_majority']:.3f})"
    return f"{scores['kl']:.3f} | {top1} | {row['top1_deviation']:.4f} | {scores['within20']:.3f}"


def _pictures(row: dict[str, Any], way: str) -> str:
    scores = row["pictures"][way]
    return (
        f"{scores['psnr']:.2f} | {scores['colorfulness_ratio']:.2f} | {scores['false_red']:.2f} | "
        f"{scores['worst_false_red']:.1f} | {scores['tvq']:.2f}"
    )
