"""Score a run on color photographs: every decoder beside doing nothing, the majority color and the ceiling.

Protocol `photographs`: each photograph is squashed to 256x256 (area), its true L is the input, the network sees L at
the inference size, the answer is composed at 256x256 and rounded to 8 bits, and everything is measured on those bits:
what users would see. `training.judge.protocols` has the other terms, docs/evaluation.md every definition.

A picture goes through the network once; the decoders take turns on what it said. One picture is in memory at a time.
"""

import datetime
import json
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

from chroma.bins import Q
from chroma.lab import rgb_u8_to_lab
from training import DataError
from training.data.batches import BatchMaker, stream
from training.data.photographs import open_photographs
from training.judge import confidence
from training.judge.bench import REFERENCES, Bench, Watcher, color_scores
from training.judge.feature_networks import Networks, NetworkScores
from training.judge.gallery import EXTREME, Gallery
from training.judge.group_scores import score_groups
from training.judge.judging import CHROMA_EDGES, HUE_EDGES, LEAST_SHARE, mean_rows
from training.judge.model_card import CARD_END, CARD_START, Shots, run_facts, update_card
from training.judge.plate_scenes import SEEN
from training.judge.protocols import PROTOCOLS, Label, LeftOut, Protocol, Sample, picture_paths, read_labels, samples
from training.judge.scorecard import FALSE_COLORS, table_markdown
from training.judge.ways import (
    ARGMAX,
    CALM,
    DEFAULT,
    DO_NOTHING,
    REGRESSION,
    VIVID,
    Lineup,
    Way,
    line_up,
    plate_name,
    ways_to_decode,
)
from training.run.metrics import ColorScores, posterior_table
from training.run.prediction import predict_heads
from training.run.preview import write_png
from training.run.run_folder import BEST, EVALUATION, Run, open_run
from training.run.validation import evenly
from training.whole_files import write_whole

__all__ = [
    "CARD_END",
    "CARD_START",
    "Networks",
    "Shots",
    "Way",
    "evaluate_run",
    "score",
    "squashed_photographs",
    "table_markdown",
    "update_card",
    "ways_to_decode",
]

log = logging.getLogger(__name__)

SCHEMA: Final = 2
"""Version of the report's form."""

PAGE: Final = "evaluation.html"

TILES: Final = {"gray": DO_NOTHING, "regression": REGRESSION, "argmax": ARGMAX, "default": DEFAULT, "vivid": VIVID} | {
    plate: plate_name(DEFAULT, plate) for plate in SEEN
}
"""What is scored picture by picture, and shown on the page, besides the truth; plates only where they are the topic."""

PICTURE_SCORES: Final = ("psnr", "colorfulness", *FALSE_COLORS)
"""What the report holds of each picture."""

GAIN_EDGES: Final = np.arange(-10, 11, 1)
"""Of the histogram of gains over gray, dB; what is beyond counts in the outermost bars."""


def evaluate_run(  # above 60 lines by its arguments, each with a line of its own
    folder: Path,
    pictures: Path,
    *,
    protocol: str = "photographs",
    data: Path | None = None,
    out: Path | None = None,
    size: int | None = None,
    weights: str = BEST,
    labels: Path | None = None,
    prior: Path | None = None,
    networks: Networks | None = None,
    watch: Watcher | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Score a run; write evaluation.json, evaluation.html and its pictures into the run folder.

    Another protocol than `photographs` has its name in theirs: evaluation-eccv16.json. Nothing is written before all is
    computed, so that a stopped evaluation leaves the former report whole.

    Args:
        folder: run folder.
        pictures: folder of color photographs.
        protocol: one of `training.judge.protocols.PROTOCOLS`.
        data: the photographs that the run trained on: its validation split is scored too; None for not.
        out: where to put each photograph as one PNG: gray, calm, default, vivid, truth; None for nowhere.
        size: inference size, px; None for the recipe's.
        weights: file in the run folder.
        labels: CSV of scenes and classes, see `training.judge.protocols.read_labels`; None for none.
        prior: .npy of shares that the rebalanced AuC divides by, (Q,); None for the run's.
        networks: ONNX networks for FID, LPIPS and a classifier's verdict.
        watch: told after each picture how far it is.
        workers: threads; None for as many as there are cores.

    Returns:
        The report: protocol, rows by way, worst pictures; `details` has all the rest of the page.

    Raises:
        TrainingError: no such run, protocol or photographs; a network or file that cannot be used; the disk refuses.
    """
    terms = _protocol(protocol)
    run = open_run(folder)
    paths = terms.paths(pictures)
    known_labels = read_labels(labels) if labels else {}
    rebalance = _read_prior(prior) if prior else None
    judges = NetworkScores(networks or Networks())
    exports = _Exports(out, paths)
    model = run.load_model(weights)
    lineup = line_up(run, terms.ways, plates=terms.has_plates)
    bench = Bench(
        run, model, size or run.recipe.size, lineup.first, light=lineup.light, prior=rebalance, workers=workers
    )
    names = (*REFERENCES, *(way.name for way in lineup.first))
    gallery, colors = Gallery(), []
    for sample, answers in bench.go_through(paths, terms, watch):
        label = known_labels.get(sample.name, Label()).index
        judges.add_truth(sample.rgb_u8, label)
        for name in names:
            judges.add(name, answers[name], sample.rgb_u8, label)
        gallery.add(len(bench.names) - 1, bench.gain(-1), _tiles(sample, answers, terms))
        colors.append({"truth": _mean_ab(sample.rgb_u8), "default": _mean_ab(answers[DEFAULT])})
        exports.write(sample, answers)

    stem = Path(EVALUATION).stem if terms.name == "photographs" else f"{Path(EVALUATION).stem}-{terms.name}"
    validation = score_validation(model, run, data, workers=workers or 2) if data else None
    groups = score_groups(model, run, data, size=bench.size, workers=workers or 2) if data else None
    report = _headline(bench, terms, names)
    report["details"] = {
        "title": terms.title,
        "columns": list(terms.columns),
        "weights": weights,
        "run": run_facts(run, model.count_params()),
        "posterior": {"photographs": _posterior(bench.posterior), "validation": validation},
        **_details(bench, lineup),
        "rebalanced_auc": {"prior": prior.name if prior else "the run's", "least_share": LEAST_SHARE},
        "per_picture": _per_picture(bench, gallery, known_labels, stem, colors),
        "scenes": _by_scene(bench, known_labels),
        "groups": groups,
        "networks": judges.result(),
    }
    _write(folder, stem, report, gallery)
    return report


def _tiles(sample: Sample, answers: Mapping[str, np.ndarray], terms: Protocol) -> dict[str, np.ndarray]:
    shown = {what: name for what, name in TILES.items() if terms.has_plates or what not in SEEN}
    return {what: answers[name] for what, name in shown.items() if name in answers} | {"truth": sample.rgb_u8}


def _details(bench: Bench, lineup: Lineup) -> dict[str, Any]:
    """Return what the page shows of every way to decode, and of confidence and extremes."""
    ways = {way.name: way for way in (*lineup.first, *lineup.others)}
    shown = {way.name for way in lineup.first}
    return {
        "confidence": {"photographs": confidence.report(*bench.confidence)},
        "decoders": {
            name: {"settings": ways[name].settings() if name in ways else {}, **row}
            for name, row in bench.rows([*REFERENCES, *ways]).items()
        },
        "vividness": [
            {"vividness": value, "settings": way.settings(), **bench.rows([way.name])[way.name]}
            for value, way in lineup.curve
        ],
        "histograms": _histograms(bench, [name for name in (CALM, DEFAULT, VIVID) if name in shown]),
        "best": _extremes(bench, descending=True),
        "left_out": [{"name": item.name, "reason": item.reason} for item in bench.left_out],
    }


def score(
    model: keras.Model,
    run: Run,
    pictures: Path,
    *,
    size: int,
    ways: Sequence[Way] | None = None,
    light: Sequence[Way] = (),
    watch: Watcher | None = None,
) -> dict[str, Any]:
    """Score a network on a folder of color photographs, and write nothing.

    Args:
        model: the network.
        run: what trained it.
        pictures: folder of color photographs.
        size: inference size, px.
        ways: how to decode; None for `ways_to_decode`.
        light: more ways, without SSIM and delta E, which take most of the time.
        watch: told after each picture how far it is.

    Returns:
        ``{"protocol", "pictures", "size", "date", "curve", "rows": {way: {score: value}}, "posterior", "left_out"}``.

    Raises:
        DataError: no such folder, or no color photograph in it.
    """
    chosen = ways_to_decode(run) if ways is None else tuple(ways)
    bench, terms = Bench(run, model, size, chosen, light=light), PROTOCOLS["photographs"]
    for _ in bench.go_through(picture_paths(pictures), terms, watch):
        pass
    report = _facts(bench, terms) | {"rows": bench.rows(list(bench.tallies))}
    report["posterior"] = _posterior(bench.posterior)["rows"]
    report["left_out"] = [{"name": item.name, "reason": item.reason} for item in bench.left_out]
    return report


def squashed_photographs(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, RGB uint8 (256, 256, 3)) of every color picture in a folder, by name; warn of the others.

    Raises:
        DataError: no such folder.
    """
    for item in samples(picture_paths(folder), PROTOCOLS["photographs"]):
        if isinstance(item, LeftOut):
            log.warning("%s is left out: %s", item.name, item.reason)
        else:
            yield item.name, item.rgb_u8


def score_validation(model: keras.Model, run: Run, data: Path, *, workers: int) -> dict[str, Any]:
    """Score the posterior on the pictures that validated the run: the same as its `metrics.jsonl`, and more.

    Args:
        model: the network.
        run: what trained it.
        data: the photographs that it trained on.
        workers: threads that read them.

    Returns:
        ``{"rows": ..., "reliability": ..., "pictures": n}``, see `training.run.metrics`.

    Raises:
        DataError: no such photographs, or not those of the run.
    """
    recipe = run.recipe
    photographs = open_photographs(data, scenes=recipe.data.scenes)
    if tuple(photographs.scenes) != run.scenes:
        raise DataError(f"{data} does not hold the photographs that {run.run_id} trained on: the scenes differ")
    chosen = evenly(photographs.split("val"), recipe.data.validation_pictures)
    maker = BatchMaker(photographs, chosen, recipe.data, batch_size=recipe.batch_size, seed=None)
    scores = color_scores(run)
    for batch in stream(maker, 0, maker.steps_per_epoch, workers=workers):
        scores.add(predict_heads(model, batch.lightness), batch.ab, batch.scene)
    return _posterior(scores) | {"pictures": len(chosen) - len(maker.refused)}


class _Exports:
    """Each photograph as one PNG in a folder that the user named; equal stems keep their suffixes apart."""

    def __init__(self, out: Path | None, paths: Sequence[Path]) -> None:
        self._out = out
        if out is not None and paths and out.resolve() == paths[0].parent.resolve():
            raise DataError(f"--out must not be the folder of the photographs: {out}")
        self._equal = {stem for stem, times in Counter(path.stem.lower() for path in paths).items() if times > 1}

    def write(self, sample: Sample, answers: Mapping[str, np.ndarray]) -> None:
        if self._out is None:
            return
        self._out.mkdir(parents=True, exist_ok=True)
        stem = Path(sample.name).stem
        name = sample.name if stem.lower() in self._equal else stem
        shown = [answers[way] for way in (DO_NOTHING, CALM, DEFAULT, VIVID) if way in answers]
        write_png(self._out / f"{name}.png", np.concatenate([*shown, sample.rgb_u8], axis=1))


def _facts(bench: Bench, terms: Protocol) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "run": bench.run.run_id,
        "recipe": bench.run.recipe.name,
        "terms": terms.name,
        "protocol": terms.describe(len(bench.names), bench.size),
        "pictures": len(bench.names),
        "size": bench.size,
        "date": datetime.date.today().isoformat(),
        "curve": bench.run.curve.to_rows(),
    }


def _headline(bench: Bench, terms: Protocol, names: Sequence[str]) -> dict[str, Any]:
    return _facts(bench, terms) | {
        "rows": bench.rows(names),
        "worse_than_gray": round(float(np.mean(bench.gains() < 0)), 4),
        "worst": _extremes(bench),
    }


def _extremes(bench: Bench, *, descending: bool = False) -> list[dict[str, Any]]:
    gains = bench.gains()
    order = np.argsort(-gains if descending else gains, kind="stable")[:EXTREME]
    return [{"name": bench.names[i], "place": int(i), "gain_db": round(float(gains[i]), 2)} for i in order]


def _posterior(scores: ColorScores) -> dict[str, Any]:
    rows = posterior_table(scores.result())
    return {
        "rows": {who: {name: _number(value) for name, value in row.items()} for who, row in rows.items()},
        "reliability": [{name: _number(value) for name, value in row.items()} for row in scores.reliability()],
    }


def _histograms(bench: Bench, names: Sequence[str]) -> dict[str, Any]:
    tallies = {name: bench.tallies[name] for name in names} | {"truth": bench.true_colors}
    gains = np.clip(bench.gains(), GAIN_EDGES[0], GAIN_EDGES[-1])

    def shares(counts: np.ndarray) -> list[float]:
        return [round(float(share), 5) for share in counts / max(counts.sum(), 1)]

    return {
        "gain_db": {"edges": GAIN_EDGES.tolist(), "counts": np.histogram(gains, GAIN_EDGES)[0].tolist()},
        "chroma": {
            "edges": CHROMA_EDGES.tolist(),
            "shares": {name: shares(tally.chroma_counts) for name, tally in tallies.items()},
        },
        "hue": {
            "edges": HUE_EDGES.tolist(),
            "shares": {name: shares(tally.hue_counts) for name, tally in tallies.items()},
        },
    }


def _per_picture(
    bench: Bench,
    gallery: Gallery,
    labels: Mapping[str, Label],
    stem: str,
    colors: Sequence[dict[str, list[float]]],
) -> list[dict[str, Any]]:
    ways = {what: way for what, way in TILES.items() if way in bench.tallies}
    gains = bench.gains()
    return [
        {
            "name": name,
            "scene": labels.get(name, Label()).scene,
            "gain_db": round(float(gains[place]), 2),
            "scores": {
                what: {key: round(bench.tallies[way].scores[place][key], 3) for key in PICTURE_SCORES}
                for what, way in ways.items()
            },
            "true_colorfulness": round(bench.truths.colorfulness[place], 3),
            "mean_ab": colors[place],
            "tiles": {what: f"{stem}/{file}" for what, file in gallery.names(place).items()},
        }
        for place, name in enumerate(bench.names)
    ]


def _mean_ab(rgb_u8: np.ndarray) -> list[float]:
    return [round(float(value), 1) for value in rgb_u8_to_lab(rgb_u8)[..., 1:].mean(axis=(0, 1))]


def _by_scene(bench: Bench, labels: Mapping[str, Label]) -> dict[str, dict[str, float]]:
    """Return the default setting's means by scene, where scenes are known."""
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(bench.names):
        if scene := labels.get(name, Label()).scene:
            groups.setdefault(scene, []).append(place)
    default, gray = bench.tallies[DEFAULT].scores, bench.tallies[DO_NOTHING].scores
    return {
        scene: {
            "pictures": len(places),
            **mean_rows([default[place] for place in places], PICTURE_SCORES),
            "psnr_gray": mean_rows([gray[place] for place in places], ("psnr",))["psnr"],
            "true_colorfulness": round(float(np.mean([bench.truths.colorfulness[place] for place in places])), 4),
        }
        for scene, places in sorted(groups.items())
    }


def _write(folder: Path, stem: str, report: dict[str, Any], gallery: Gallery) -> None:
    """Pictures first, then the report, then the page; the pictures of the former page go last."""
    from training.judge.evaluation_page import render_page

    page = render_page(report)
    gallery.write(folder / stem)
    write_whole(folder / f"{stem}.json", json.dumps(report, indent=2, allow_nan=False) + "\n")
    write_whole(folder / f"{stem}.html", page)
    gallery.sweep(folder / stem)


def _protocol(name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise DataError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _read_prior(path: Path) -> np.ndarray:
    try:
        prior = np.asarray(np.load(path), np.float64)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} must hold {Q} shares: {error}") from error
    if prior.shape != (Q,) or not np.isfinite(prior).all() or (prior < 0).any() or not prior.any():
        raise DataError(f"{path} must hold {Q} shares, each at least 0 and not all 0")
    return prior


def _number(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None
