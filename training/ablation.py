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
from training.evaluate import Way, score, squashed_photographs
from training.losses import bin_weights
from training.prediction import CURVE, ORIGINAL_DECODES, Decoder, predict_picture
from training.preview import write_png
from training.recipes import load_recipe
from training.run import METRICS, Run, open_run, write_whole
from training.train import Options, train

log = logging.getLogger(__name__)

REPORT: Final = "ablation.json"
SCORES: Final = "scores.json"
STRIPS: Final = "strips"
ORIGINAL: Final = "scene_context_unet"
OURS: Final = "default"
UNCAPPED: Final = 1e6
"""A cap that no weight reaches."""
SHARED: Final = (
    "data.crop_px=96",
    "data.prior_pictures=6000",
    "data.repeat=[]",
    "data.scenes=scene_coarse",
    "size=160",
    "batch_size=32",
    "epochs=1",
    "steps=320",
    "evaluate_every=80",
)
"""What all rows have in common: a length and a picture size that a CPU can do. `--set` changes them."""
SMALL: Final = (
    "model.unet_channels=[32, 64, 128, 256, 512]",
    "model.decoder_channels=[256, 128, 128]",
    "model.head_channels=64",
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
            train(recipe, Options(data, folder, workers=workers))
            write_whole(folder / SCORES, json.dumps(_score_row(folder, pictures), indent=2) + "\n")
        if show is not None:
            _show(folder, show)
        rows.append({"name": row.name, "change": row.change} | json.loads((folder / SCORES).read_text("utf-8")))
        report = {"shared": list(SHARED + assignments), "small": list(SMALL), "rows": rows}
        write_whole(out / REPORT, json.dumps(report, indent=2) + "\n")
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
        trained = Decoder(centers, np.log(weights).astype(np.float32), guard=False)
        return (*ways, Way("divided", "annealed", Knobs(0.38, -1.0, UNCAPPED, 1.0), trained))
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
    report = score(run.load_model(), run, pictures, size=run.recipe.size, ways=ways_of(run))
    evaluations = [json.loads(line) for line in (folder / METRICS).read_text("utf-8").splitlines()]
    return {"validation": evaluations[-1], "pictures": report["rows"]}


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
    """One PNG a picture: every row decoded by v0, then the last network by v1 and by default, then the truth."""
    folders = [out / f"{place}-{row.name}" for place, row in enumerate(ROWS)]
    for picture in sorted((folders[0] / STRIPS).iterdir()):
        last = folders[-1] / STRIPS / picture.name
        paths = [folder / STRIPS / picture.name / "v0.png" for folder in folders]
        paths += [last / "v1.png", last / "default.png", last / "truth.png"]
        strip = np.concatenate([cv2.imread(str(path)) for path in paths], axis=1)[..., ::-1]
        (out / STRIPS).mkdir(exist_ok=True)
        write_png(out / STRIPS / f"{picture.name}.png", np.ascontiguousarray(strip))


def table(report: dict[str, Any]) -> str:
    """Return a report as a Markdown table: one line a row, decoded by v0; then the last network, decoded otherwise."""
    lines = [
        "| | what changed | KL | top-1 (majority) | within 20 | PSNR dB | CFr | FRF % | worst | TVq |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for place, row in enumerate(report["rows"]):
        lines.append(f"| {place} | {row['change']} | {_validation(row)} | {_pictures(row, 'v0')} |")
    last = report["rows"][-1]
    for name, words in (("v1", "annealed mean, T = 0.38"), ("default", "capped prior correction and red guard")):
        place += 1
        lines.append(f"| {place} | decoded by: {words} | {_validation(last)} | {_pictures(last, name)} |")
    words = "network of the row before, decoded as the original was trained: weights by index, argmax"
    lines.append(f"| | {words} | {_validation(last)} | {_pictures(last, 'original')} |")
    return "\n".join(lines) + "\n"


def _validation(row: dict[str, Any]) -> str:
    scores = row["validation"]
    top1 = f"{scores['top1']:.3f} ({scores['top1_majority']:.3f})"
    return f"{scores['kl']:.3f} | {top1} | {scores['within20']:.3f}"


def _pictures(row: dict[str, Any], way: str) -> str:
    scores = row["pictures"][way]
    return (
        f"{scores['psnr']:.2f} | {scores['colorfulness_ratio']:.2f} | {scores['false_red']:.2f} | "
        f"{scores['worst_false_red']:.1f} | {scores['tvq']:.2f}"
    )
