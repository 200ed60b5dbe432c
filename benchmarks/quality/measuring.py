"""One function a set: asks every model about every picture, and returns the tables of each model."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.quality.asking import Asked
from benchmarks.quality.mounts import COUNT, mounts
from benchmarks.quality.scores import (
    CALM,
    DEFAULT,
    GRAY,
    OVER_BASELINE,
    VIVID,
    Curve,
    Scores,
    at_equal_colorfulness,
)
from benchmarks.quality.sets import (
    KODAK,
    Photo,
    kodak_photographs,
    photographs,
    pictures,
    plates,
    to_gray,
)
from chroma.compose import compose_u8
from chroma.lab import rgb_u8_to_lab, rgb_u8_to_lightness
from chroma.sectors import fullest_sector_share, mean_chroma
from training.judge.plate_scenes import PLATES

Tables = dict[str, dict[str, Any]]

VIVIDNESS: Final = {CALM: "vividness=0", DEFAULT: "vividness=0.5", VIVID: "vividness=1"}
QUERIES: Final = VIVIDNESS | {"fused": "mode=fused", "regression": "mode=regression"}
"""What is asked of the service, by row."""
CURVE: Final = tuple(f"vividness={vividness}" for vividness in (0, 0.25, 0.5, 0.75, 1))
"""The points between which two models are compared at equal colorfulness; the middle one is the default."""
ONE_TINT: Final = 0.9
"""A picture with more of its chroma than this within 60 degrees of hue is of one tint."""


def measure_pictures(folder: Path, models: Sequence[Asked]) -> list[Tables]:
    """Score a folder of color photographs, and those of Kodak's that are in it in their own size.

    Raises:
        OSError: no answer.
        RuntimeError: no photographs, or an answer that is no picture of the same size.
    """
    tables = measure_photographs("pictures", photographs(folder), models)
    if any(folder.glob(KODAK)):
        alone = measure_photographs("kodak", kodak_photographs(folder), models, tuple(VIVIDNESS))
        tables = [all_of_them | kodak for all_of_them, kodak in zip(tables, alone, strict=True)]
    return tables


def measure_photographs(
    name: str, photos: Iterable[Photo], models: Sequence[Asked], rows: Sequence[str] = tuple(QUERIES)
) -> list[Tables]:
    """Score color photographs, and compare the first model with the second at equal colorfulness, if there is one.

    Args:
        name: of the set.
        photos: what to ask about.
        models: ours, and the baseline.
        rows: keys of `QUERIES`.

    Raises:
        OSError: no answer.
        RuntimeError: no photographs, or an answer that is no picture of the same size.
    """
    scores, curves = [Scores(rows) for _ in models], [Curve() for _ in models]
    for photo in photos:
        gray = to_gray(photo.rgb_u8)
        for asked, score, curve in zip(models, scores, curves, strict=True):
            answers = {row: asked.colorize(QUERIES[row], gray) for row in rows}
            score.add(photo, {GRAY: _three(gray)} | answers)
            if len(models) > 1:
                curve.add(photo.rgb_u8, asked.versions(CURVE, gray))
    tables = [score.tables(name) for score in scores]
    if not tables[0]:
        raise RuntimeError(f"no color photographs in the set {name}")
    if len(models) > 1:
        for key, table in tables[0].items():
            own = key.removeprefix(name).removeprefix("/")
            places = [place for place, group in enumerate(scores[0].groups) if own in ("", group)]
            _compare(table, *(curve.points(places) for curve in curves))
    return tables


def _compare(
    table: dict[str, Any], ours: tuple[np.ndarray, np.ndarray], baseline: tuple[np.ndarray, np.ndarray]
) -> None:
    """Put both curves and their comparison, at the CFr of our default, into our table."""
    equal = at_equal_colorfulness(ours, baseline, float(ours[0][len(CURVE) // 2]))
    table["rows"][DEFAULT][OVER_BASELINE] = equal[OVER_BASELINE]
    table["equal_colorfulness"] = equal | {
        "ours": np.round(np.transpose(ours), 4).tolist(),
        "baseline": np.round(np.transpose(baseline), 4).tolist(),
    }


def measure_plates(folder: Path, models: Sequence[Asked]) -> list[Tables]:
    """Score what each plate saw against the scene's true color, with the truth's L put back.

    Raises:
        OSError: no answer, or a file is missing.
        RuntimeError: no scenes, a broken file, or an answer that is no picture of the same size.
    """
    scores = {plate: [Scores(tuple(VIVIDNESS)) for _ in models] for plate in PLATES}
    for photo, seen in plates(folder):
        L = rgb_u8_to_lightness(photo.rgb_u8)
        for plate, gray in seen.items():
            for asked, score in zip(models, scores[plate], strict=True):
                answers = {row: with_lightness(asked.colorize(query, gray), L) for row, query in VIVIDNESS.items()}
                score.add(photo, {GRAY: _three(to_gray(photo.rgb_u8))} | answers)
    if not scores[PLATES[0]][0].names:
        raise RuntimeError(f"no scenes in {folder}")
    return [
        {key: table for plate in PLATES for key, table in scores[plate][place].tables(f"plates/{plate}").items()}
        for place in range(len(models))
    ]


def with_lightness(rgb_u8: np.ndarray, L: np.ndarray) -> np.ndarray:
    """Return a picture, sRGB, uint8, (H, W, 3), with another L, (H, W, 1): its ab, shrunk where the gamut ends."""
    return compose_u8(L, rgb_u8_to_lab(rgb_u8)[..., 1:])


def measure_historical(folder: Path, models: Sequence[Asked]) -> list[Tables]:
    """Tell how colorful photographs without a truth become, in their own size, and how many of them turn one tint.

    Raises:
        OSError: no answer.
        RuntimeError: no pictures, or an answer that is no picture of the same size.
    """
    each: list[dict[str, tuple[float, float]]] = [{} for _ in models]
    for name, rgb_u8 in pictures(folder):
        gray = to_gray(rgb_u8)
        for asked, own in zip(models, each, strict=True):
            lab = rgb_u8_to_lab(asked.colorize(QUERIES[DEFAULT], gray))
            own[name] = round(mean_chroma(lab), 3), round(fullest_sector_share(lab), 4)
    if not each[0]:
        raise RuntimeError(f"no pictures in {folder}")
    return [{"historical": _historical(own)} for own in each]


def _historical(each: dict[str, tuple[float, float]]) -> dict[str, Any]:
    chroma, shares = zip(*each.values(), strict=True)
    row = {
        "median_chroma": round(float(np.median(chroma)), 3),
        "one_tint": round(100 * float(np.mean(np.array(shares) > ONE_TINT)), 2),
    }
    return {"pictures": len(each), "rows": {DEFAULT: row}, "chroma_and_fullest_sector": each}


def measure_mounts(folder: Path, models: Sequence[Asked]) -> list[Tables]:
    """Tell how colorful the paper round mounted photographs becomes.

    Raises:
        OSError: no answer.
        RuntimeError: no photographs, or an answer that is no picture of the same size.
    """
    mounted = [photo.rgb_u8 for photo in photographs(folder)]
    if not mounted:
        raise RuntimeError(f"no color photographs in {folder}")
    each: list[dict[str, float]] = [{} for _ in models]
    for name, gray, is_paper in mounts(mounted[:: max(len(mounted) // COUNT, 1)]):
        for asked, own in zip(models, each, strict=True):
            lab = rgb_u8_to_lab(asked.colorize(QUERIES[DEFAULT], gray))
            own[name] = round(mean_chroma(lab[is_paper][None]), 3)
    return [{"mounts": _mounts(own)} for own in each]


def _mounts(each: dict[str, float]) -> dict[str, Any]:
    chroma = list(each.values())
    row = {"border_chroma": round(float(np.mean(chroma)), 3), "worst_border_chroma": max(chroma)}
    return {"pictures": len(each), "rows": {DEFAULT: row}, "border_chroma": each}


def _three(gray: np.ndarray) -> np.ndarray:
    """Return gray, (H, W), as sRGB, (H, W, 3)."""
    return np.repeat(gray[..., None], 3, axis=2)
