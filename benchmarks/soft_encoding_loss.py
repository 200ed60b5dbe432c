"""The soft-encoding loss of one batch: our sparse form beside the original's dense one.

Dense, as published: labels of 313 values a pixel from scikit-learn's ball tree, then Keras' categorical cross-entropy
of probabilities, weighted by the label's largest entry. Sparse: a, b and a weight a pixel, looked up in a table inside
the loss. Both are compared in value and gradient before any clock starts. Each round times both one after the other,
from integer ab to the gradient of the logits; the ratio of medians is what counts. Target memory is that of what
travels from the data pipeline to the training step.

    python benchmarks/soft_encoding_loss.py [--rounds 20] [--output soft_encoding_loss.json]

Exit status 1 if the sparse targets are less than 30 times smaller, or the sparse way less than 1.5 times faster.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2  # noqa: E402 - the backend is chosen first, and the project need not be installed
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from chroma import signature  # noqa: E402
from chroma.bins import Q, load_centers  # noqa: E402
from chroma.lab import rgb_u8_to_lab  # noqa: E402
from chroma.prior import count_bins  # noqa: E402
from tests.original_loss import dense_labels, dense_loss, load_finder  # noqa: E402
from training.config import LossConfig  # noqa: E402
from training.network.losses import bin_weights, build_losses  # noqa: E402

BATCH = 8
SIDE_PX = 56
"""Of the heads, for a network input of 224 px."""
LEAST_MEMORY_RATIO = 30.0
LEAST_TIME_RATIO = 1.5
CONFIG = LossConfig(neighbors=5, ties="ball_tree", probabilities=True, rebalance=True, prior_smoothing="index")
"""The original's labels, weights and probabilities, in our sparse form."""


def load_ab() -> np.ndarray:
    """Return ab of crops of the test photograph, rounded to integers as the original does; int32 (8, 56, 56, 2)."""
    bgr = cv2.imread(str(ROOT / "tests" / "data" / "astronaut.jpg"))
    assert bgr is not None
    crops = []
    for place in range(BATCH):
        crop = bgr[20 * place : 20 * place + 256, 30 * place : 30 * place + 256]
        crops.append(cv2.resize(crop, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA))
    return np.rint(rgb_u8_to_lab(np.stack(crops)[..., ::-1])[..., 1:]).astype(np.int32)


def make_step(loss: Any) -> Any:
    """Return the compiled forward and backward pass: (targets, logits) -> (value, gradient of the logits)."""

    @tf.function
    def step(targets: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = tf.reduce_mean(loss(targets, logits))
        return value, tape.gradient(value, logits)

    return step


def time_ms(
    builders: Mapping[str, Callable[[], np.ndarray]], steps: Mapping[str, Any], logits: tf.Tensor, rounds: int
) -> dict[str, float]:
    """Return the median time of "NAME targets" and "NAME loss", milliseconds."""
    times_s: dict[str, list[float]] = {f"{name} {part}": [] for name in builders for part in ("targets", "loss")}
    for _ in range(rounds):
        for name, build in builders.items():
            started = time.perf_counter()
            built = build()
            halfway = time.perf_counter()
            steps[name](tf.constant(built), logits)[1].numpy()
            times_s[f"{name} targets"].append(halfway - started)
            times_s[f"{name} loss"].append(time.perf_counter() - halfway)
    return {name: 1000 * statistics.median(values) for name, values in times_s.items()}


def main() -> int:
    """Measure, print and write the result; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="how often each contender runs")
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    options = parser.parse_args()

    ab, centers = load_ab(), load_centers()
    prior = count_bins(ab.astype(np.float32), centers)
    finder, dense = load_finder(centers), dense_loss(bin_weights(CONFIG, prior))
    logits = tf.constant(np.random.default_rng(0).normal(0, 2, (*ab.shape[:-1], Q)).astype(np.float32))
    builders = {
        "dense": lambda: dense_labels(ab, finder, Q).astype(np.float32),
        "sparse": lambda: np.concatenate([ab, np.ones((*ab.shape[:-1], 1))], axis=-1).astype(np.float32),
    }
    steps = {
        "dense": make_step(lambda labels, x: dense(labels, tf.nn.softmax(x))),
        "sparse": make_step(build_losses(CONFIG, prior)[signature.AB_LOGITS]),
    }
    targets = {name: build() for name, build in builders.items()}
    results = {
        name: [np.asarray(part) for part in steps[name](tf.constant(targets[name]), logits)] for name in builders
    }
    (dense_value, dense_gradient), (value, gradient) = results["dense"], results["sparse"]
    assert abs(value / dense_value - 1) < 1e-5
    assert np.abs(gradient - dense_gradient).max() < 1e-5 * np.abs(dense_gradient).max()

    median_ms = time_ms(builders, steps, logits, options.rounds)
    memory_ratio = targets["dense"].nbytes / targets["sparse"].nbytes
    time_ratio = (median_ms["dense targets"] + median_ms["dense loss"]) / (
        median_ms["sparse targets"] + median_ms["sparse loss"]
    )
    result = {
        "batch": [BATCH, SIDE_PX, SIDE_PX],
        "rounds": options.rounds,
        "target_bytes": {name: target.nbytes for name, target in targets.items()},
        "ratio_memory": round(memory_ratio, 1),
        "ratio_memory_wanted": LEAST_MEMORY_RATIO,
        "median_ms": {name: round(value, 2) for name, value in median_ms.items()},
        "ratio_time": round(time_ratio, 2),
        "ratio_time_wanted": LEAST_TIME_RATIO,
        "largest_difference": {
            "value": float(abs(value / dense_value - 1)),
            "gradient": float(np.abs(gradient - dense_gradient).max() / np.abs(dense_gradient).max()),
        },
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "machine": platform.machine(),
        },
    }
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)
    return 0 if memory_ratio >= LEAST_MEMORY_RATIO and time_ratio >= LEAST_TIME_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
