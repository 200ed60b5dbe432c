"""Soft encoding of one 256 x 256 picture: our look-up table beside the original recipe's ball tree.

Both turn the same integer ab picture into the 5 nearest bins and their Gaussian weights, and the results are compared
bit for bit before any clock starts. Each round times all contenders one after the other, so that a busy machine slows
them alike; the ratio of medians is what counts.

    python benchmarks/soft_encoding.py [--rounds 20] [--output soft_encoding.json]

Exit status 1 if the table is less than 30 times faster.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import sklearn
from sklearn.neighbors import NearestNeighbors

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from chroma.bins import Q, load_centers  # noqa: E402 - the project need not be installed
from chroma.lab import rgb_u8_to_lab  # noqa: E402
from chroma.soft_encoding import SIGMA, build_table, densify, soft_encode  # noqa: E402

SIDE_PX = 256
K = 5
LEAST_RATIO = 30.0
"""What the table must reach against the ball tree."""

EXACT_ROUNDS = 3
"""The brute-force encoding is there for orientation and takes long."""

Encoder = Callable[[], tuple[np.ndarray, np.ndarray]]


def load_ab() -> np.ndarray:
    """Return the ab of the test photograph, rounded to integers as in the original recipe; int32 (256, 256, 2)."""
    bgr = cv2.imread(str(ROOT / "tests" / "data" / "astronaut.jpg"))
    assert bgr is not None
    small = cv2.resize(bgr, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.rint(rgb_u8_to_lab(small[..., ::-1])[..., 1:]).astype(np.int32)


def ball_tree_encode(finder: NearestNeighbors, ab: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encode as the original recipe does, up to its dense array."""
    distances, index = finder.kneighbors(ab.reshape(-1, 2))
    weights = np.exp(-(distances**2) / (2 * SIGMA**2))
    weights = weights / np.sum(weights, axis=1)[:, np.newaxis]
    return index.reshape(*ab.shape[:2], K), weights.reshape(*ab.shape[:2], K)


def time_s(work: Callable[[], object]) -> float:
    """Return how long one call takes, s."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> int:
    """Measure, print and write the result; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="how often each contender runs")
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    options = parser.parse_args()

    ab, centers = load_ab(), load_centers()
    finder = NearestNeighbors(n_neighbors=K, algorithm="ball_tree").fit(centers)
    build_s = time_s(lambda: build_table(centers, k=K, ties="ball_tree"))
    table = build_table(centers, k=K, ties="ball_tree")
    contenders: dict[str, Encoder] = {
        "ball_tree": lambda: ball_tree_encode(finder, ab),
        "table": lambda: table.encode(ab),
        "exact": lambda: soft_encode(ab, centers, k=K),
    }
    expected, ours = contenders["ball_tree"](), contenders["table"]()
    assert np.array_equal(expected[0], ours[0])
    assert np.array_equal(expected[1], ours[1])

    times_s: dict[str, list[float]] = {name: [] for name in (*contenders, "densify")}
    for turn in range(options.rounds):
        for name, encode in contenders.items():
            if name != "exact" or turn < EXACT_ROUNDS:
                times_s[name].append(time_s(encode))
        times_s["densify"].append(time_s(lambda: densify(*ours, Q)))
    median_ms = {name: 1000 * statistics.median(values) for name, values in times_s.items()}
    ratio = median_ms["ball_tree"] / median_ms["table"]
    result = {
        "picture_px": [SIDE_PX, SIDE_PX],
        "k": K,
        "rounds": options.rounds,
        "median_ms": {name: round(value, 3) for name, value in median_ms.items()},
        "table_build_ms": round(1000 * build_s, 1),
        "ratio_ball_tree_to_table": round(ratio, 1),
        "ratio_wanted": LEAST_RATIO,
        "bit_equal": True,
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
            "machine": platform.machine(),
        },
    }
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)
    return 0 if ratio >= LEAST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
