"""Scores by kind of photograph on the validation split: by coarse scene, and by the data set a photograph comes from.

The terms are those of the protocol `photographs`: squashed to 256 x 256, true L, the network's inference size, the
default setting, judged on 8 bits. A photograph goes through the network once; what is kept of it is a few numbers.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import cv2
import keras
import numpy as np

from chroma import quality, signature
from chroma.compose import compose_u8
from chroma.framing import network_size, resize_lightness
from chroma.lab import rgb_u8_to_lab
from training import DataError
from training.data.photographs import Photograph, PhotographSet, open_photographs
from training.data.pictures import decode_photograph
from training.data.samples import is_gray
from training.judge.bench import color_scores
from training.judge.judging import SIDE_PX, squash
from training.judge.ways import DEFAULT, Way, ways_to_decode
from training.run.metrics import ColorScores
from training.run.prediction import predict_heads
from training.run.run_folder import Run
from training.run.validation import evenly

BATCH: Final = 16
"""Photographs that go through the network together."""

EVERYTHING: Final = "all"
"""Name of the group that holds every photograph."""

KINDS: Final = {"scene": "coarse scene", "dataset": "data set"}
"""What photographs are grouped by, and its name for people."""


def score_groups(
    model: keras.Model, run: Run, data: Path, *, size: int, pictures: int | None = None, workers: int = 2
) -> dict[str, Any]:
    """Score the default setting on validation photographs, kind by kind.

    Args:
        model: the network.
        run: what trained it.
        data: the photographs that it trained on.
        size: inference size, px.
        pictures: how many, spread over the whole split; None for as many as validated the run.
        workers: threads that read them.

    Returns:
        ``{"pictures": n, "size": px, "all": row, "scene": {name: row}, "dataset": {name: row}}``, the kinds sorted by
        name; a photograph whose kind is unknown counts in `all` alone.

    Raises:
        DataError: no such photographs, or none of them can be scored.
    """
    photographs = open_photographs(data, scenes="scene_coarse")
    chosen = evenly(photographs.split("val"), pictures or run.recipe.data.validation_pictures)
    default = next(way for way in ways_to_decode(run) if way.name == DEFAULT)
    empty = color_scores(run)
    groups: dict[str, dict[str, list[dict[str, float]]]] = {by: {} for by in KINDS}
    every = []
    for photo, rgb_u8, heads in _predictions(model, photographs, chosen, size, workers):
        lab = rgb_u8_to_lab(rgb_u8)
        every.append(_score(rgb_u8, lab, heads, default) | _divergence(empty, lab, heads))
        for by, name in (("scene", photo.scene), ("dataset", photo.dataset)):
            if name:
                groups[by].setdefault(name, []).append(every[-1])
    if not every:
        raise DataError(f"no color photographs in the val split of {data}")
    rows = {by: {name: _means(members) for name, members in sorted(found.items())} for by, found in groups.items()}
    return {"pictures": len(every), "size": size, EVERYTHING: _means(every)} | rows


def _predictions(
    model: keras.Model, photographs: PhotographSet, chosen: Sequence[Photograph], size: int, workers: int
) -> Iterator[tuple[Photograph, np.ndarray, dict[str, np.ndarray]]]:
    """Yield each photograph that can be scored with its pixels, squashed, and its heads, with a batch axis of 1."""
    shape = network_size(SIDE_PX, SIDE_PX, size)

    def read(photo: Photograph) -> np.ndarray | None:
        try:
            rgb_u8 = decode_photograph(photographs.read(photo))
        except DataError:  # what training could not read either; the run's refused.json names it
            return None
        return None if is_gray(rgb_u8) else squash(rgb_u8, SIDE_PX)

    with ThreadPoolExecutor(workers, thread_name_prefix="groups") as pool:
        for start in range(0, len(chosen), BATCH):
            batch = chosen[start : start + BATCH]
            read_pictures = zip(batch, pool.map(read, batch), strict=True)
            found = [(photo, rgb_u8) for photo, rgb_u8 in read_pictures if rgb_u8 is not None]
            if not found:
                continue
            inputs = [resize_lightness(rgb_u8_to_lab(rgb_u8)[..., :1], shape) for _, rgb_u8 in found]
            heads = predict_heads(model, np.stack(inputs))
            for place, (photo, rgb_u8) in enumerate(found):
                yield photo, rgb_u8, {name: head[place : place + 1] for name, head in heads.items()}


def _score(rgb_u8: np.ndarray, lab: np.ndarray, heads: dict[str, np.ndarray], way: Way) -> dict[str, float]:
    L = np.ascontiguousarray(lab[..., :1])
    answer, gray = compose_u8(L, way.ab(heads)[0]), compose_u8(L, np.zeros((1, 1, 2), np.float32))
    answer_lab = rgb_u8_to_lab(answer)
    false_hues = quality.false_hue_fractions(answer_lab, lab)
    return {
        "psnr": quality.psnr(answer, rgb_u8),
        "psnr_gray": quality.psnr(gray, rgb_u8),
        "colorfulness": quality.colorfulness(answer),
        "true_colorfulness": quality.colorfulness(rgb_u8),
        **{f"false_{sector}": 100 * share for sector, share in false_hues.items()},
        "false_deep_red": 100 * quality.false_deep_red_fraction(answer_lab, lab),
    }


def _divergence(empty: ColorScores, lab: np.ndarray, heads: dict[str, np.ndarray]) -> dict[str, float]:
    """Return KL of the posterior and of the prior, nats; truth is ab on the heads' grid, area mean."""
    height, width = heads[signature.AB_LOGITS].shape[1:3]
    ab = cv2.resize(np.ascontiguousarray(lab[..., 1:]), (width, height), interpolation=cv2.INTER_AREA)
    scores = ColorScores(empty.table, empty.centers, empty.prior)
    scores.add(heads, np.concatenate([ab, np.ones_like(ab[..., :1])], axis=-1)[None], np.zeros((1, 1), np.float32))
    return {name: value for name, value in scores.result().items() if name in ("kl", "kl_prior")}


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return means over photographs; CFr is a ratio of means. All grids are alike: so is the mean KL over pixels."""
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    true = mean.pop("true_colorfulness")
    mean["colorfulness_ratio"] = mean["colorfulness"] / true if true else 0.0
    return {"pictures": len(rows), **{name: round(value, 4) for name, value in mean.items()}}
