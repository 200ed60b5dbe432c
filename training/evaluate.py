"""Score a run on color photographs: every decoder beside doing nothing, the majority color and the ceiling.

Protocol `photographs`: each photograph is squashed to 256x256 (area), its true L is the input, the network sees L at
the inference size, the answer is composed at 256x256 and rounded to 8 bits, and everything is measured on those bits:
what users would see. `training.protocols` has the other terms, docs/evaluation.md every definition.

A picture goes through the network once; the decoders take turns on what it said. One picture is in memory at a time.
"""

import datetime
import json
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import cv2
import keras
import numpy as np

from chroma import signature
from chroma.bins import Q, load_centers
from chroma.compose import compose_u8
from chroma.prior import smooth_prior
from chroma.soft_encoding import build_table
from training import DataError
from training.data import BatchMaker, stream
from training.feature_networks import Networks, NetworkScores
from training.gallery import EXTREME, Gallery
from training.judging import CHROMA_EDGES, HUE_EDGES, LEAST_SHARE, Tally, Truth, TruthSums, mean_rows, rarity_table
from training.metrics import ColorScores, posterior_table
from training.photographs import open_photographs
from training.prediction import predict_heads, predict_picture
from training.preview import write_png
from training.protocols import PROTOCOLS, Label, LeftOut, Protocol, Sample, picture_paths, read_labels, samples
from training.run import BEST, EVALUATION, Run, open_run
from training.scorecard import CARD_END, CARD_START, table_markdown, update_card
from training.ways import (
    ARGMAX,
    CALM,
    CEILING,
    DEFAULT,
    DO_NOTHING,
    MAJORITY,
    REGRESSION,
    VIVID,
    Way,
    more_ways,
    vividness_ways,
    ways_to_decode,
)
from training.whole_files import write_whole

__all__ = [
    "CARD_END",
    "CARD_START",
    "Networks",
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
REFERENCES: Final = (DO_NOTHING, MAJORITY, CEILING)
"""Rows that no network has a part in, but for the size of the grid."""
TILES: Final = {"gray": DO_NOTHING, "regression": REGRESSION, "argmax": ARGMAX, "default": DEFAULT, "vivid": VIVID}
"""What the page shows of a photograph, besides the truth."""
PICTURE_SCORES: Final = ("psnr", "colorfulness", "false_red")
"""What the report holds of each picture."""
GAIN_EDGES: Final = np.arange(-10, 11, 1)
"""Of the histogram of gains over gray, dB; what is beyond counts in the outermost bars."""

THREADED_PIXELS: Final = 8_000_000
"""So many pixels are judged at a time; larger pictures get fewer threads, and memory stays bounded."""

Watcher = Callable[[int, int, str], None]


class Bench:
    """Colorizes pictures in several ways; keeps a few numbers of each, and none of the pictures.

    Attributes:
        tallies: scores by way, the reference rows first.
        truths: what ratios divide by.
        posterior: scores of the distributions themselves.
        left_out: files that could not be scored.
    """

    def __init__(
        self,
        run: Run,
        model: keras.Model,
        size: int,
        ways: Sequence[Way],
        *,
        light: Sequence[Way] = (),
        prior: np.ndarray | None = None,
        workers: int | None = None,
    ) -> None:
        """Prepare.

        Args:
            run: what trained the network.
            model: the network.
            size: inference size, px.
            ways: how to decode, scored in full.
            light: more ways, without SSIM and delta E.
            prior: of the rebalanced AuC, (Q,); None for the run's.
            workers: threads that decode and score; None for as many as there are cores, 8 at most.
        """
        self.run, self.model, self.size = run, model, size
        self.ways = {way.name: way for way in (*ways, *light)}
        full = (*REFERENCES, *(way.name for way in ways))
        self.tallies = {name: Tally(full=True) for name in full}
        self.tallies |= {way.name: Tally(full=False) for way in light if way.name not in full}
        self.truths, self.true_colors = TruthSums(), Tally()
        self.posterior = color_scores(run)
        self.left_out: list[LeftOut] = []
        self.names: list[str] = []
        self._rarity = rarity_table(run.prior if prior is None else prior)
        self._majority = load_centers()[int(run.prior.argmax())][None, None]
        self._workers = workers or min(os.cpu_count() or 1, 8)

    def add(self, sample: Sample) -> dict[str, np.ndarray]:
        """Score a photograph; return every way's answer, sRGB, uint8, (H, W, 3)."""
        truth = Truth.of(sample.rgb_u8, self._rarity)
        L = np.ascontiguousarray(truth.lab[..., :1])
        heads = predict_picture(self.model, L, self.size)
        true_ab = _on_grid(truth.lab, heads[signature.AB_LOGITS].shape[1:3])
        target = np.concatenate([true_ab, np.ones_like(true_ab[..., :1])], axis=-1)
        self.posterior.add(heads, target[None], np.zeros((1, heads[signature.SCENE_LOGITS].shape[1]), np.float32))
        known = {DO_NOTHING: np.zeros((1, 1, 2), np.float32), MAJORITY: self._majority, CEILING: true_ab}

        def answer(name: str) -> np.ndarray:
            rgb_u8 = compose_u8(L, known[name] if name in known else self.ways[name].ab(heads)[0])
            self.tallies[name].add(rgb_u8, truth)
            return rgb_u8

        threads = min(self._workers, max(THREADED_PIXELS // sample.rgb_u8[..., 0].size, 1))
        with ThreadPoolExecutor(threads, thread_name_prefix="ways") as pool:
            answers = dict(zip(self.tallies, pool.map(answer, self.tallies), strict=True))
        self.truths.add(truth)
        self.true_colors.count_colors(truth.lab)
        self.names.append(sample.name)
        return answers

    def go_through(
        self, paths: Sequence[Path], protocol: Protocol, watch: Watcher | None = None
    ) -> Iterator[tuple[Sample, dict[str, np.ndarray]]]:
        """Score pictures one by one; what cannot be scored is noted.

        Args:
            paths: of the pictures.
            protocol: how they are looked at.
            watch: told how many are done, how many there are, and the name of the next one.

        Yields:
            Each photograph with every way's answer.

        Raises:
            DataError: none of them can be scored.
        """
        for place, item in enumerate(samples(paths, protocol)):
            if watch is not None:
                watch(place, len(paths), item.name)
            if isinstance(item, LeftOut):
                log.warning("%s is left out: %s", item.name, item.reason)
                self.left_out.append(item)
            else:
                yield item, self.add(item)
        if watch is not None:
            watch(len(paths), len(paths), "")
        if not self.names:
            folder = paths[0].parent if paths else "the folder"
            raise DataError(f"no color photographs in {folder}")

    def rows(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return the rows of some ways."""
        return {name: self.tallies[name].result(self.truths) for name in names}

    def gain(self, place: int) -> float:
        """Return how much PSNR a picture gains over gray at the default setting, dB."""
        default, gray = (self.tallies[name].scores[place]["psnr"] for name in (DEFAULT, DO_NOTHING))
        return default - gray

    def gains(self) -> np.ndarray:
        """Return the gain of every picture, dB."""
        return np.array([self.gain(place) for place in range(len(self.names))])


def evaluate_run(
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
        protocol: one of `training.protocols.PROTOCOLS`.
        data: the photographs that the run trained on: its validation split is scored too; None for not.
        out: where to put each photograph as one PNG: gray, calm, default, vivid, truth; None for nowhere.
        size: inference size, px; None for the recipe's.
        weights: file in the run folder.
        labels: CSV of scenes and classes, see `training.protocols.read_labels`; None for none.
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
    paths = picture_paths(pictures)
    known_labels = read_labels(labels) if labels else {}
    rebalance = _read_prior(prior) if prior else None
    judges = NetworkScores(networks or Networks())
    exports = _Exports(out, paths)
    model = run.load_model(weights)

    everything = {way.name: way for way in (*ways_to_decode(run), *more_ways(run))}
    first = tuple(way.name for way in ways_to_decode(run)) if terms.ways is None else terms.ways
    curve = vividness_ways(run) if terms.ways is None else ()
    others = [way for name, way in everything.items() if name not in first] if terms.ways is None else []
    bench = Bench(
        run,
        model,
        size or run.recipe.size,
        [everything[name] for name in first],
        light=[*others, *(way for _, way in curve)],
        prior=rebalance,
        workers=workers,
    )
    gallery = Gallery()
    for sample, answers in bench.go_through(paths, terms, watch):
        label = known_labels.get(sample.name, Label()).index
        judges.add_truth(sample.rgb_u8, label)
        for name in (*REFERENCES, *first):
            judges.add(name, answers[name], sample.rgb_u8, label)
        tiles = {what: answers[name] for what, name in TILES.items() if name in answers}
        gallery.add(len(bench.names) - 1, bench.gain(-1), tiles | {"truth": sample.rgb_u8})
        exports.write(sample, answers)
    validation = score_validation(model, run, data, workers=workers or 2) if data else None
    stem = Path(EVALUATION).stem if terms.name == "photographs" else f"{Path(EVALUATION).stem}-{terms.name}"
    report = _headline(bench, terms, (*REFERENCES, *first))
    report["details"] = {
        "title": terms.title,
        "columns": list(terms.columns),
        "weights": weights,
        "posterior": {"photographs": _posterior(bench.posterior), "validation": validation},
        "decoders": {
            name: {"settings": everything[name].settings() if name in everything else {}, **row}
            for name, row in bench.rows([*REFERENCES, *(everything if terms.ways is None else first)]).items()
        },
        "vividness": [
            {"vividness": value, "settings": way.settings(), **bench.rows([way.name])[way.name]} for value, way in curve
        ],
        "rebalanced_auc": {"prior": prior.name if prior else "the run's", "least_share": LEAST_SHARE},
        "histograms": _histograms(bench, [name for name in (CALM, DEFAULT, VIVID) if name in first]),
        "per_picture": _per_picture(bench, gallery, known_labels, stem),
        "best": _extremes(bench, descending=True),
        "scenes": _by_scene(bench, known_labels),
        "networks": judges.result(),
        "left_out": [{"name": item.name, "reason": item.reason} for item in bench.left_out],
    }
    _write(folder, stem, report, gallery)
    return report


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


def color_scores(run: Run) -> ColorScores:
    """Make the sums of a run's posterior scores, with the soft labels that it trains on."""
    centers, loss = load_centers(), run.recipe.loss
    table = build_table(centers, k=loss.neighbors, sigma=loss.sigma, ties=loss.ties)
    return ColorScores(table, centers, smooth_prior(run.prior, centers))


def score_validation(model: keras.Model, run: Run, data: Path, *, workers: int) -> dict[str, Any]:
    """Score the posterior on the pictures that validated the run: the same as its `metrics.jsonl`, and more.

    Args:
        model: the network.
        run: what trained it.
        data: the photographs that it trained on.
        workers: threads that read them.

    Returns:
        ``{"rows": ..., "reliability": ..., "pictures": n}``, see `training.metrics`.

    Raises:
        DataError: no such photographs, or not those of the run.
    """
    recipe = run.recipe
    photographs = open_photographs(data, scenes=recipe.data.scenes)
    if tuple(photographs.scenes) != run.scenes:
        raise DataError(f"{data} does not hold the photographs that {run.run_id} trained on: the scenes differ")
    chosen = photographs.split("val")
    count = min(recipe.data.validation_pictures, len(chosen))
    places = np.linspace(0, len(chosen) - 1, count).round().astype(int)
    chosen = tuple(chosen[place] for place in places)
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


def _per_picture(bench: Bench, gallery: Gallery, labels: Mapping[str, Label], stem: str) -> list[dict[str, Any]]:
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
            "tiles": {what: f"{stem}/{file}" for what, file in gallery.names(place).items()},
        }
        for place, name in enumerate(bench.names)
    ]


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
            **mean_rows([default[place] for place in places], ("psnr", "colorfulness", "false_red")),
            "psnr_gray": mean_rows([gray[place] for place in places], ("psnr",))["psnr"],
            "true_colorfulness": round(float(np.mean([bench.truths.colorfulness[place] for place in places])), 4),
        }
        for scene, places in sorted(groups.items())
    }


def _write(folder: Path, stem: str, report: dict[str, Any], gallery: Gallery) -> None:
    """Pictures first, then the report, then the page; the pictures of the former page go last."""
    from training.evaluation_page import render_page

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


def _on_grid(lab: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return the ab of a picture on the heads' grid, area mean, (h, w, 2)."""
    return cv2.resize(np.ascontiguousarray(lab[..., 1:]), (grid[1], grid[0]), interpolation=cv2.INTER_AREA)


def _number(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None
