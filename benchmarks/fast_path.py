"""A 12-megapixel JPEG to a full-size PNG: our path against the straightforward one with OpenCV and the same network.

Straightforward is what one writes first: `imdecode`, the whole picture as float Lab (`cvtColor`), L resized for the
network, ab resized back, `cvtColor` to BGR, rounded, `imencode` with its default settings. Ours is what the service
does with a request: probe, decode, strips of rows, PNG by `service.pictures.png`. Both take turns, on one core and on
two, with a color JPEG and with a gray one; a ratio is the median of the rounds' ratios.

    python benchmarks/fast_path.py [--rounds 9] [--megapixels 12] [--output fast_path.json]

Exit status 1 unless ours takes at most 0.40 of the time on two cores and 0.60 on one for color, 0.30 for gray (two
cores), and the PNG is lossless and no larger. Wants a machine with nothing else to do.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnxruntime as ort

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from chroma.framing import network_size, resize_lightness  # noqa: E402 - the project need not be installed
from chroma.signature import AB_DECODED, LIGHTNESS  # noqa: E402
from service.engine.colorizer import as_kept, finish, knobs_of, prepare  # noqa: E402
from service.engine.options import Options  # noqa: E402
from service.engine.session import Session, shipped_model  # noqa: E402
from service.pictures import png  # noqa: E402
from service.pictures.decode import decode  # noqa: E402
from service.pictures.encode import encode  # noqa: E402
from service.pictures.probe import probe  # noqa: E402

PHOTOGRAPH = ROOT / "tests" / "data" / "coffee.jpg"
JPEG_QUALITY: Final = 92
GRAIN: Final = 3.0
"""Standard deviation of the grain that an enlarged photograph gets, levels of 255: a scan is never smooth."""
MOST: Final = {("color", 2): 0.40, ("color", 1): 0.60, ("gray", 2): 0.30}
STAGES: Final = ("decode", "prepare", "infer", "merge", "encode")


def photograph(megapixels: float, *, gray: bool) -> bytes:
    """Return a test photograph enlarged to so many megapixels, with grain, as a JPEG."""
    bgr = cv2.imread(str(PHOTOGRAPH), cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR)
    factor = (megapixels * 1e6 / (bgr.shape[0] * bgr.shape[1])) ** 0.5
    large = cv2.resize(bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(0).normal(0, GRAIN, large.shape[:2]).astype(np.float32)
    noisy = np.clip(large + (grain if gray else grain[..., None]), 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def open_graph(session: Session) -> ort.InferenceSession:
    """Return the model's whole graph, which decodes too, with the threads of its session."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = session.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(session.path, options, providers=["CPUExecutionProvider"])


def straightforward(data: bytes, session: Session, graph: ort.InferenceSession) -> bytes:
    """Color a JPEG as one would write it first."""
    lab = cv2.cvtColor(
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) / np.float32(255), cv2.COLOR_BGR2LAB
    )
    height, width = lab.shape[:2]
    L = lab[..., :1]
    small = resize_lightness(L, network_size(height, width, session.stamp.size))
    knobs = {name: np.full(1, value, np.float32) for name, value in asdict(knobs_of(Options(), session.stamp)).items()}
    (decoded,) = graph.run([AB_DECODED], {LIGHTNESS: small[None]} | knobs)
    ab = cv2.resize(decoded[0], (width, height), interpolation=cv2.INTER_LINEAR)
    bgr = cv2.cvtColor(np.concatenate([L, ab], axis=-1), cv2.COLOR_LAB2BGR)
    return cv2.imencode(".png", np.clip(np.rint(bgr * 255), 0, 255).astype(np.uint8))[1].tobytes()


def ours(data: bytes, session: Session) -> tuple[bytes, np.ndarray, list[float]]:
    """Color a JPEG as the service does; return the PNG, its pixels, and the seconds of each stage."""
    marks = [time.perf_counter()]
    picture = decode(data, probe(data, max_megapixels=float("inf")))
    marks.append(time.perf_counter())
    prepared = prepare(picture, Options(), session.stamp, workers=session.threads)
    marks.append(time.perf_counter())
    heads = as_kept(session.run([prepared.query])[0])
    marks.append(time.perf_counter())
    # Large pictures are composed while they are encoded.
    colored = finish(prepared, heads, session.stamp, workers=session.threads)
    rows = colored.pixels_for("png")
    marks.append(time.perf_counter())
    encoded = encode(rows, None, "png", workers=session.threads)
    marks.append(time.perf_counter())
    return encoded, colored.rgb, [1000 * (end - start) for start, end in pairwise(marks)]


def measure(cores: int, rounds: int, megapixels: float) -> dict[str, Any]:
    """Measure in this process, which keeps to so many cores from now on."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    cv2.setNumThreads(cores)
    session = Session(shipped_model(), device="cpu", threads=cores)
    graph = open_graph(session)
    found: dict[str, Any] = {}
    for kind in ("color", "gray"):
        data = photograph(megapixels, gray=kind == "gray")
        plain_ms, ours_ms, stages = [], [], []
        for _ in range(rounds + 1):
            since = time.perf_counter()
            plain = straightforward(data, session, graph)
            plain_ms.append(1000 * (time.perf_counter() - since))
            encoded, rgb, took = ours(data, session)
            ours_ms.append(sum(took))
            stages.append(took)
        decoded = cv2.cvtColor(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        ratios = [mine / theirs for mine, theirs in zip(ours_ms[1:], plain_ms[1:], strict=True)]
        by_stage = zip(STAGES, zip(*stages[1:], strict=True), strict=True)
        default = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].size
        found[kind] = {
            "straightforward_ms": round(statistics.median(plain_ms[1:]), 1),
            "ours_ms": round(statistics.median(ours_ms[1:]), 1),
            "stages_ms": {name: round(statistics.median(each), 1) for name, each in by_stage},
            "ratio": round(statistics.median(ratios), 3),
            "ratio_spread": [round(min(ratios), 3), round(max(ratios), 3)],
            "lossless": bool(np.array_equal(decoded, rgb)),
            "png_bytes": len(encoded),
            "png_bytes_of_opencv": default,
            "png_bytes_straightforward": len(plain),
        }
    return found


def main() -> int:
    """Measure, print JSON, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cores:
        sys.stdout.write(json.dumps(measure(arguments.cores, arguments.rounds, arguments.megapixels)))
        return 0
    by_cores = {}
    for cores in (1, 2):
        if cores > len(os.sched_getaffinity(0)):
            continue
        sizes = ["--rounds", str(arguments.rounds), "--megapixels", str(arguments.megapixels)]
        command = [sys.executable, __file__, "--cores", str(cores), *sizes]
        by_cores[cores] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    kept = {
        f"{kind}_{cores}": by_cores[cores][kind]["ratio"] <= most
        for (kind, cores), most in MOST.items()
        if cores in by_cores
    }
    rows = [row for each in by_cores.values() for row in each.values()]
    kept["lossless"] = all(row["lossless"] for row in rows)
    kept["size"] = all(row["png_bytes"] <= row["png_bytes_of_opencv"] for row in rows)
    result = {
        "megapixels": arguments.megapixels,
        "by_cores": {str(cores): row for cores, row in by_cores.items()},
        "strip_bytes": png.STRIP_BYTES,
        "versions": {"opencv": cv2.__version__, "numpy": np.__version__},
        "kept": kept,
    }
    text = json.dumps(result, indent=2)
    sys.stdout.write(text + "\n")
    if arguments.output:
        arguments.output.write_text(text)
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
