"""The network in each precision that works here: how fast, and how far its pictures are from those of float32.

float32 in ONNX Runtime, bfloat16 in OpenVINO and the int8 file beside the model are loaded as the service loads them,
and take turns: first at the network's own size, a square, then with pictures of mixed proportions one after the other.
Before that each has met every shape once, and the first time is told apart: OpenVINO compiles for a new shape. Then
each colors photographs, those of the page and those of `--pictures`, and is compared with float32, and with the truth
where the pictures are in color.

    python benchmarks/precision.py [--pictures FOLDER] [--rounds 30] [--output precision.json]

What does not work here (no OpenVINO, no such units, no int8 file) is left out and named. Wall time depends on what else
the machine does, processor time hardly: both are told, the second is judged. Exit status 1 where bfloat16 takes more
than 0.6 of float32's processor time or differs by a mean CIEDE2000 of more than 0.15, or int8 more than 0.5 of each.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from chroma import quality  # noqa: E402 - the project need not be installed
from chroma.framing import network_size  # noqa: E402
from chroma.lab import rgb_u8_to_lab  # noqa: E402
from service.engine.colorizer import as_kept, finish, prepare  # noqa: E402
from service.engine.kept import KEPT_OUTPUTS  # noqa: E402
from service.engine.options import Options  # noqa: E402
from service.engine.precision import (  # noqa: E402
    MOST_DELTA_E,
    PHOTOGRAPHS,
    PROPORTIONS,
    UNITS,
    open_session,
)
from service.engine.session import Query, Session, shipped_model  # noqa: E402
from service.errors import PrecisionError  # noqa: E402
from service.machine import processor_features, usable_cores  # noqa: E402
from service.pictures.decode import Picture  # noqa: E402
from service.settings import Precision  # noqa: E402

REFERENCE: Final[Precision] = "float32"
MOST_TIME: Final[dict[Precision, float]] = {"bfloat16": 0.6, "int8": 0.5}
"""Of float32's, at most, on processors with the units."""
SUFFIXES: Final = (".jpg", ".jpeg", ".png")


def read_pictures(folder: Path) -> Iterator[np.ndarray]:
    """Yield the pictures of a folder by name; RGB uint8, (H, W, 3)."""
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES):
        if (bgr := cv2.imread(str(path), cv2.IMREAD_COLOR)) is not None:
            yield np.ascontiguousarray(bgr[..., ::-1])


def shapes(size: int) -> list[tuple[int, int]]:
    """Return the network's input sizes for pictures of the usual proportions, height and width in px."""
    return [network_size(round(1000 / proportion), 1000, size) for proportion in PROPORTIONS]


def question(shape: tuple[int, int]) -> Query:
    """Return a smooth picture of a shape, as the service would ask about it."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    lightness = 50 + 40 * np.sin(rows / 17) * np.cos(columns / 23)
    return Query(lightness[..., None].astype(np.float32), KEPT_OUTPUTS)


def timed(session: Session, query: Query) -> tuple[float, float]:
    """Return how long one inference takes: by the clock, and of all threads together, seconds."""
    started, processor = time.perf_counter(), time.process_time()
    session.run([query])
    return time.perf_counter() - started, time.process_time() - processor


def take_turns(sessions: dict[Precision, Session], asked: Sequence[Query], rounds: int) -> dict[str, Any]:
    """Return medians, and ratios to the reference of the same round and picture, by precision."""
    seconds: dict[Precision, list[tuple[float, float]]] = {name: [] for name in sessions}
    for turn in range(rounds * len(asked)):
        for name, session in sessions.items():
            seconds[name].append(timed(session, asked[turn % len(asked)]))
    told: dict[str, Any] = {name: {} for name in sessions}
    for place, kind in enumerate(("wall", "processor")):
        expected = [pair[place] for pair in seconds[REFERENCE]]
        for name, pairs in seconds.items():
            values = [pair[place] for pair in pairs]
            ratios = np.percentile(np.divide(values, expected), (25, 50, 75))
            told[name] |= {
                f"{kind}_ms": round(1000 * statistics.median(values), 2),
                f"{kind}_ms_least": round(1000 * min(values), 2),
                f"{kind}_ratio_quartiles": [round(float(ratio), 3) for ratio in ratios],
            }
    return told


def measure_first_times(sessions: dict[Precision, Session], asked: Sequence[Query]) -> dict[str, Any]:
    """Return how long a shape takes that a session has not met, over the second time: median and most."""
    told = {}
    for name, session in sessions.items():
        ratios = [timed(session, query)[0] / timed(session, query)[0] for query in asked]
        told[name] = {"median": round(statistics.median(ratios), 2), "most": round(max(ratios), 2)}
    return told


def color(session: Session, rgb_u8: np.ndarray) -> np.ndarray:
    """Return a picture as the service colors it, at its own size; RGB uint8, (H, W, 3)."""
    prepared = prepare(Picture(rgb_u8), Options(), session.stamp)
    return finish(prepared, as_kept(session.run([prepared.query])[0]), session.stamp).rgb


def compare(sessions: dict[Precision, Session], pictures: Sequence[np.ndarray]) -> dict[str, dict[str, float]]:
    """Return how far each precision's pictures are from those of float32, and from the truth where there is one."""
    apart: dict[Precision, list[np.ndarray]] = {name: [] for name in sessions}
    scores: dict[Precision, list[tuple[float, float, float]]] = {name: [] for name in sessions}
    truths = []
    for picture in pictures:
        truth = rgb_u8_to_lab(picture)
        answers = {name: color(session, picture) for name, session in sessions.items()}
        expected = rgb_u8_to_lab(answers[REFERENCE])
        has_color = quality.colorfulness(picture) > 1
        truths += [quality.colorfulness(picture)] if has_color else []
        for name, answer in answers.items():
            lab = rgb_u8_to_lab(answer)
            apart[name].append(quality.delta_e_2000(lab, expected).astype(np.float32))
            if has_color:
                red = 100 * quality.false_red_fraction(lab, truth)
                scores[name].append((quality.psnr(answer, picture), quality.colorfulness(answer), red))
    told = {}
    for name, maps in apart.items():
        means = [float(each.mean()) for each in maps]
        told[name] = {
            "delta_e_mean": round(statistics.fmean(means), 4),
            "delta_e_worst_picture": round(max(means), 4),
            "delta_e_p99": round(float(np.percentile(np.concatenate([each.ravel() for each in maps]), 99)), 3),
        }
        if truths:
            psnr, colorfulness, red = np.mean(scores[name], axis=0)
            told[name] |= {
                "psnr_db": round(float(psnr), 4),
                "colorfulness_ratio": round(float(colorfulness / np.mean(truths)), 5),
                "false_red_percent": round(float(red), 5),
            }
    return told


def open_all(model: Path, threads: int) -> tuple[dict[Precision, Session], dict[str, str], dict[str, float]]:
    """Return the sessions that work here, why the others do not, and the seconds that opening each took."""
    sessions: dict[Precision, Session] = {}
    missing, took = {}, {}
    for precision in (REFERENCE, *MOST_TIME):
        started = time.perf_counter()
        try:
            sessions[precision] = open_session(model, device="cpu", threads=threads, precision=precision)
        except PrecisionError as error:
            missing[precision] = str(error)
            continue
        took[precision] = round(time.perf_counter() - started, 2)
    return sessions, missing, took


def main() -> int:
    """Measure, print JSON, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", type=Path, default=ROOT / "tests" / "data", help="folder of color photographs")
    parser.add_argument(
        "--model", type=Path, default=shipped_model(), help="the float32 model; default: the shipped one"
    )
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    sessions, missing, took = open_all(options.model, options.threads)
    reference = sessions[REFERENCE]
    mixed = [question(shape) for shape in shapes(reference.stamp.size)]
    unmet = [question((rows + 32, columns)) for rows, columns in shapes(reference.stamp.size)]
    own = [question((reference.stamp.size, reference.stamp.size))]
    first = measure_first_times(sessions, unmet)
    for query in (*mixed, *own):
        for session in sessions.values():
            session.run([query])
    times = {
        "own size": take_turns(sessions, own, options.rounds * len(mixed)),
        "mixed proportions": take_turns(sessions, mixed, options.rounds),
    }
    pictures = [*read_pictures(options.pictures), *_of_the_page()]
    compared = compare(sessions, pictures)
    units = processor_features()
    kept = {}
    for name, most in MOST_TIME.items():
        if name not in sessions:
            continue
        kept[f"{name}: colors alike"] = compared[name]["delta_e_mean"] <= MOST_DELTA_E[name]
        if units & UNITS[name]:
            kept[f"{name}: time"] = all(told[name]["processor_ratio_quartiles"][1] <= most for told in times.values())
    result = {
        "rounds": options.rounds,
        "threads": options.threads,
        "size_px": reference.stamp.size,
        "shapes": sorted({query.lightness.shape[:2] for query in mixed}),
        "runtimes": {name: session.runtime.name for name, session in sessions.items()},
        "missing": missing,
        "seconds_to_open_and_check": took,
        "first_time_of_a_shape_over_the_second": first,
        "times": times,
        "pictures": len(pictures),
        "compared": compared,
        "wanted": {"time": MOST_TIME, "delta_e": MOST_DELTA_E},
        "kept": kept,
    }
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)
    return 0 if all(kept.values()) else 1


def _of_the_page() -> Iterator[np.ndarray]:
    folder = ROOT / "service" / "page"
    for name in PHOTOGRAPHS:
        yield np.ascontiguousarray(cv2.imread(str(folder / name), cv2.IMREAD_COLOR)[..., ::-1])


if __name__ == "__main__":
    sys.exit(main())
