"""Versions, hints and references: how different are the versions, how false their reds, how exact the hints?

Every photograph is reduced to its lightness and goes through the model once, at the defaults. From the one posterior
come eight versions. Judged are: the mean CIEDE2000 of pairs of versions (at 64 px), the false reds of each version (at
256 x 256 px, against the photograph), the color at the pixel of random hints, how much of a hint crosses an edge, and
what four versions cost over one: their colors (network and decode), and the pictures from pixels to pixels.

    python benchmarks/variants_and_hints.py PICTURES [--model FILE] [--rounds 20] [--output versions.json]

Exit status 1 if something wanted is not kept: two of the first four versions less than 3 apart on average; a version
with more than 1 % false red; a hint more than 5 off; an edge of 20 L that lets more than 2 Lab units pass; or four
versions, as colors or as pictures, that cost twice as much as one.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from time import process_time
from typing import Any, Final

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the service has it; read when NumPy is imported

import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from chroma.compose import compose_u8, enlarge_ab  # noqa: E402 - the project need not be installed
from chroma.framing import head_lightness  # noqa: E402
from chroma.gamut import fit_gamut  # noqa: E402 - the project need not be installed
from chroma.hints import Hint, apply_hints  # noqa: E402
from chroma.lab import rgb_u8_to_lab  # noqa: E402
from chroma.quality import delta_e_2000, false_red_fraction  # noqa: E402
from chroma.variants import MOST_VARIANTS  # noqa: E402
from service.engine.colorizer import as_kept, decode_logits, finish, prepare  # noqa: E402
from service.engine.colorizer import versions_of as make_versions  # noqa: E402
from service.engine.options import Options  # noqa: E402
from service.engine.session import Session, shipped_model  # noqa: E402
from service.pictures.decode import Picture  # noqa: E402

FEW: Final = 4
"""Versions that are compared pair by pair, and whose cost is measured."""
LEAST_DELTA_E: Final = 3.0
MOST_FALSE_RED: Final = 0.01
MOST_HINT_DELTA_E: Final = 5.0
MOST_LEAK_AB: Final = 2.0
MOST_COST: Final = 2.0
JUDGED_PX: Final = 256
COMPARED_PX: Final = 64
HINTS: Final = 8
"""Random hints a photograph."""


@dataclass(frozen=True, eq=False)
class PhotoVersions:
    """The versions of one photograph.

    Attributes:
        lab: the photograph in CIE Lab, full size, shape (H, W, 3).
        ab: of each version at a quarter of the network's size, Lab units, shape (h, w, 2).
        inference_s: processor time of the network and what prepares its input, s.
        decode_s: processor time of making one more version's ab, s.
        finish_s: processor time from the heads to pixels at full size, of the first `FEW` versions, s.
    """

    lab: np.ndarray
    ab: list[np.ndarray]
    inference_s: float
    decode_s: float
    finish_s: list[float]


def versions_of(bgr: np.ndarray, session: Session) -> PhotoVersions:
    """Return the versions of a photograph, uint8, shape (H, W, 3), with the service's own functions."""
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    times = [process_time()]
    prepared = prepare(Picture(rgb), Options(), session.stamp)
    heads = as_kept(session.run([prepared.query])[0])
    times.append(process_time())
    lightness = head_lightness(prepared.query.lightness)
    ab = []
    all_versions = make_versions(heads)
    for variant in range(1, MOST_VARIANTS + 1):
        logits = all_versions.logits(variant)
        ab.append(decode_logits(logits, lightness, prepared.knobs, session.stamp))
    times.append(process_time())
    finish_s = []
    versions = None
    for variant in range(1, FEW + 1):
        start = process_time()
        if variant == 2:
            versions = make_versions(heads)
        finish(prepared, heads, session.stamp, variant=variant, versions=versions)
        finish_s.append(process_time() - start)
    return PhotoVersions(rgb_u8_to_lab(rgb), ab, times[1] - times[0], (times[2] - times[1]) / MOST_VARIANTS, finish_s)


def at_size(lab: np.ndarray, ab: np.ndarray, side_px: int) -> np.ndarray:
    """Return L of a picture with another ab, in the gamut, as a square of a side; CIE Lab."""
    L = cv2.resize(lab, (side_px, side_px), interpolation=cv2.INTER_AREA)[..., :1]
    return np.concatenate([L, fit_gamut(L, enlarge_ab(ab, (side_px, side_px)))], axis=-1)


def hint_errors(lab: np.ndarray, ab: np.ndarray, rng: np.random.Generator) -> list[float]:
    """Return the CIEDE2000 at the pixel of each of a few random hints, all given at once."""
    hints = [Hint(*rng.random(2).tolist(), tuple(rng.uniform(-40, 40, 2).tolist())) for _ in range(HINTS)]
    rgb = compose_u8(lab[..., :1], apply_hints(lab[..., :1], ab, hints))
    errors = []
    for hint in hints:
        row, column = hint.pixel(*rgb.shape[:2])
        L = lab[row, column, :1]
        wanted = np.concatenate([L, fit_gamut(L, np.asarray(hint.ab, np.float32))])
        errors.append(float(delta_e_2000(rgb_u8_to_lab(rgb[row, column]), wanted)))
    return errors


def edge_leak() -> float:
    """Return how far a hint moves ab across an edge of 20 L, beside it, at the worst of several sizes, Lab units."""
    worst = 0.0
    for height, width in ((160, 200), (600, 800), (1500, 2000)):
        L = np.full((height, width, 1), 40, np.float32)
        L[:, width // 2 :] = 60
        ab = np.full((28, 36, 2), 6, np.float32)
        after = enlarge_ab(apply_hints(L, ab, [Hint(0.48, 0.5, (50, -40)), Hint(0.1, 0.9, (-40, 50))]), (height, width))
        beyond = width // 2 + 1 + width // 256
        worst = max(worst, float(np.abs(after - 6)[:, beyond:].max()))
    return worst


@dataclass(frozen=True, eq=False)
class Survey:
    """What was found on all photographs.

    Attributes:
        distance: mean CIEDE2000 of each pair of versions, shape (photographs, versions, versions).
        false_red: false-red fraction of each version, shape (photographs, versions).
        hint_errors: CIEDE2000 at every hint.
        times_ms: means: the network, one more version's colors, one picture, four pictures; processor time.
        leak_ab: see `edge_leak`.
    """

    distance: np.ndarray
    false_red: np.ndarray
    hint_errors: list[float]
    times_ms: tuple[float, float, float, float]
    leak_ab: float

    def of_pairs(self, count: int) -> list[float]:
        """Return the distances between the first so many versions, means over the photographs."""
        mean = self.distance.mean(axis=0)
        return [float(mean[a, b]) for a, b in combinations(range(count), 2)]


def measure(paths: Sequence[Path], session: Session) -> Survey:
    """Color photographs in all versions and with hints."""
    rng = np.random.default_rng(6)
    distance = np.zeros((len(paths), MOST_VARIANTS, MOST_VARIANTS))
    false_red = np.zeros((len(paths), MOST_VARIANTS))
    errors: list[float] = []
    seconds: list[tuple[float, float, float, float]] = []
    for index, path in enumerate(paths):
        versions = versions_of(cv2.imread(str(path)), session)
        small = [at_size(versions.lab, ab, COMPARED_PX) for ab in versions.ab]
        for a, b in combinations(range(MOST_VARIANTS), 2):
            distance[index, a, b] = distance[index, b, a] = delta_e_2000(small[a], small[b]).mean()
        truth = cv2.resize(versions.lab, (JUDGED_PX, JUDGED_PX), interpolation=cv2.INTER_AREA)
        false_red[index] = [false_red_fraction(at_size(versions.lab, ab, JUDGED_PX), truth) for ab in versions.ab]
        errors += hint_errors(versions.lab, versions.ab[0], rng)
        inference_s = versions.inference_s
        one_s, four_s = inference_s + versions.finish_s[0], inference_s + sum(versions.finish_s)
        seconds.append((inference_s, versions.decode_s, one_s, four_s))
    inference_ms, decode_ms, one_ms, four_ms = (1000 * float(value) for value in np.mean(seconds, axis=0))
    return Survey(distance, false_red, errors, (inference_ms, decode_ms, one_ms, four_ms), edge_leak())


def judge(found: Survey) -> dict[str, bool]:
    """Return which promises are kept."""
    inference_ms, decode_ms, one_ms, four_ms = found.times_ms
    kept = {
        "versions_differ": min(found.of_pairs(FEW)) > LEAST_DELTA_E,
        "no_red_noise": found.false_red.mean(axis=0).max() <= MOST_FALSE_RED,
        "hints_are_obeyed": max(found.hint_errors) <= MOST_HINT_DELTA_E,
        "hints_stop_at_edges": found.leak_ab <= MOST_LEAK_AB,
        "four_colors_cost_less_than_two": (FEW - 1) * decode_ms < (MOST_COST - 1) * inference_ms,
        "four_pictures_cost_less_than_two": four_ms < MOST_COST * one_ms,
    }
    return {name: bool(value) for name, value in kept.items()}


def summary(found: Survey) -> dict[str, Any]:
    """Return the result, as JSON has it."""
    distance, errors = found.distance, found.hint_errors
    inference_ms, decode_ms, one_ms, four_ms = found.times_ms
    pairs_of = {count: found.of_pairs(count) for count in (FEW, MOST_VARIANTS)}
    return {
        "delta_e_of_pairs": {
            f"{few} versions": {"mean": round(float(np.mean(pairs)), 2), "nearest_pair": round(min(pairs), 2)}
            for few, pairs in pairs_of.items()
        },
        "delta_e_to_the_first": [round(float(value), 2) for value in distance.mean(axis=0)[0, 1:]],
        "least_of_a_photograph": {
            "to_the_first": round(float(distance[:, 0, 1:FEW].mean(axis=1).min()), 2),
            "nearest_pair_of_four": round(
                float(min(distance[:, a, b].min() for a, b in combinations(range(FEW), 2))), 2
            ),
        },
        "false_red_percent": [round(100 * float(value), 3) for value in found.false_red.mean(axis=0)],
        "hint_delta_e": {"mean": round(float(np.mean(errors)), 2), "worst": round(max(errors), 2)},
        "edge_leak_ab": round(found.leak_ab, 3),
        "processor_ms": {
            "network": round(inference_ms, 1),
            "colors_of_one_more_version": round(decode_ms, 1),
            "one_picture": round(one_ms, 1),
            "four_pictures": round(four_ms, 1),
        },
        "four_over_one": {
            "colors": round(1 + (FEW - 1) * decode_ms / inference_ms, 2),
            "pictures": round(four_ms / one_ms, 2),
        },
    }


def main() -> int:
    """Measure, print and write the result; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pictures", type=Path, nargs="?", default=ROOT / "tests" / "data", help="folder")
    parser.add_argument("--model", type=Path, help="ONNX file; default the shipped one")
    parser.add_argument("--rounds", type=int, help="look at so many photographs, spread over the folder; default all")
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    options = parser.parse_args()

    paths = [path for path in sorted(options.pictures.iterdir()) if cv2.haveImageReader(str(path))]
    if not paths:
        parser.error(f"no photographs in {options.pictures}")
    if options.rounds:
        paths = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, options.rounds).round().astype(int))]
    session = Session(options.model or shipped_model(), device="cpu")
    session.warm_up()
    found = measure(paths, session)
    kept = judge(found)
    result = {"pictures": len(paths), "model": session.stamp.run_id, **summary(found), "kept": kept}
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
