"""The input of training: photographs in shards -> batches. Does it scale with workers, and not with the data set?

Takes turns: batches with one worker (a thread) and with two (processes), then batches of a set of 1,000 photographs and
of one of 20,000, all through the very code that a run uses. A fresh process for each set then lists it, reads from all
over it, and says how much memory that took. Without --data the sets are a few generated photographs under many names.

    python benchmarks/input_pipeline.py [--rounds 20] [--data PHOTOS] [--output input_pipeline.json]

How much two workers can gain depends on what else the machine does: plain hashing, by one thread and by two, says so in
the same round. Exit status 1 where two workers gain less than 0.7 of that, where a photograph of the large set costs
more than 1.3 times one of the small, where a listed photograph takes more than 400 bytes, or where listing and reading
the large set takes more than 64 MB beyond what a single photograph takes.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from training.config import DataConfig  # noqa: E402 - the project need not be installed
from training.data.batches import BatchMaker, stream  # noqa: E402
from training.data.photographs import Photograph, PhotographSet, open_photographs  # noqa: E402
from training.data.sample_workers import shared_workers  # noqa: E402
from training.data.shards import ShardWriter  # noqa: E402

SIZES = (1_000, 20_000)
BATCH = 32
BATCHES = 16
"""Batches a turn."""
DISTINCT = 40
SHORT_SIDE_PX = 144
"""Like the photographs of a prepared set for crops of 128 px."""
LEAST_OF_IDEAL = 0.7
MOST_SLOWDOWN = 1.3
MOST_BYTES = 400
MOST_GROWTH_MB = 64


def generate(seed: int) -> bytes:
    """Return a photograph-like JPEG: smooth colors, edges and grain."""
    rng = np.random.default_rng(seed)
    width = int(rng.integers(SHORT_SIDE_PX, 3 * SHORT_SIDE_PX // 2))
    coarse = rng.integers(0, 256, (5, 6, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (width, SHORT_SIDE_PX), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    for _ in range(12):
        center = tuple(int(v) for v in rng.integers(0, SHORT_SIDE_PX, 2))
        cv2.circle(picture, center, int(rng.integers(4, 30)), tuple(float(v) for v in rng.integers(0, 256, 3)), -1)
    picture += rng.normal(0, 8, (SHORT_SIDE_PX, width, 1))
    _, data = cv2.imencode(".jpg", np.clip(picture, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return data.tobytes()


def write_set(folder: Path, count: int) -> Path:
    """Write shards of `count` photographs and their labels.csv; every one is in the train split but the last."""
    folder.mkdir()
    pictures = [generate(seed) for seed in range(DISTINCT)]
    rows = ["key,shard,split,scene,dataset"]
    for start in range(0, count, 1_000):
        name = f"train-{start // 1_000:05}.zip"
        with ShardWriter(folder / name) as writer:
            for place in range(start, min(start + 1_000, count)):
                key = f"photograph_{place:08}"
                writer.add(f"{key}.jpg", pictures[place % DISTINCT])
                rows.append(f"{key},{name},{'train' if place < count - 1 else 'val'},scene {place % 10},generated")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


class Reader:
    """Takes batches of a set, further on each time."""

    def __init__(self, folder: Path, count: int) -> None:
        photographs = open_photographs(folder, scenes="scene")
        chosen = photographs.split("train")[:count]
        self.maker = BatchMaker(photographs, chosen, DataConfig(), batch_size=BATCH, seed=0)
        self.step = 0

    def images_per_s(self, *, workers: int) -> float:
        """Take some batches; return the pace."""
        started = time.perf_counter()
        for batch in stream(self.maker, self.step, self.step + BATCHES, workers=workers):
            assert len(batch.lightness) == BATCH
        self.step += BATCHES
        assert not self.maker.refused
        return BATCH * BATCHES / (time.perf_counter() - started)


def machine_speedup() -> float:
    """Return how much faster two threads are here and now than one, at work that nothing but the machine holds up."""
    data = bytes(64_000_000)

    def digest(_: int) -> None:
        hashlib.sha256(data).digest()

    started = time.perf_counter()
    for turn in range(2):
        digest(turn)
    one_s, started = time.perf_counter() - started, time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(digest, range(2)))
    return one_s / (time.perf_counter() - started)


def peak_bytes() -> int:
    """Return the most memory this process has held, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


def measure_memory(folder: Path, count: int) -> dict[str, float]:
    """List a set and read from all over it; return what that took. Runs in a process of its own."""
    cv2.setNumThreads(1)
    # What decoding and batches need is there in any case: it is paid for first.
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / "a.jpg").write_bytes(generate(0))
        few = (Photograph("a", Path(temporary), "a.jpg", "train", "", ""),)
        warm = BatchMaker(PhotographSet(few), few, DataConfig(), batch_size=BATCH, seed=0)
        for _ in stream(warm, 0, BATCHES, workers=1):
            pass
    before, started = peak_bytes(), time.perf_counter()
    reader = Reader(folder, count)
    listing_s = time.perf_counter() - started
    for _ in range(4):
        reader.images_per_s(workers=1)
    growth = peak_bytes() - before
    tracemalloc.start()
    listed = open_photographs(folder, scenes="scene")
    held = tracemalloc.get_traced_memory()[0]
    return {"listing_s": listing_s, "growth_mb": growth / 1e6, "bytes_each": held / len(listed.photographs)}


def main() -> int:
    """Measure, print and write the result; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="how often each contender runs")
    parser.add_argument("--data", type=Path, help="a data folder instead of generated photographs")
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        result = measure(Path(temporary), options.data, options.rounds)
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)
    return 0 if all(result["kept"].values()) else 1


def measure(temporary: Path, data: Path | None, rounds: int) -> dict[str, object]:
    """Return the result as JSON has it."""
    folders = [data or write_set(temporary / str(count), count) for count in SIZES]
    readers = [Reader(folder, count) for folder, count in zip(folders, SIZES, strict=True)]
    pace: dict[str, list[float]] = {"one worker": [], "two workers": [], "small set": [], "large set": []}
    shared_workers(2)
    for reader in readers:
        reader.images_per_s(workers=1)
        reader.images_per_s(workers=2)
    ideals = []
    for _ in range(rounds):
        ideals.append(machine_speedup())
        pace["one worker"].append(readers[1].images_per_s(workers=1))
        pace["two workers"].append(readers[1].images_per_s(workers=2))
        pace["small set"].append(readers[0].images_per_s(workers=1))
        pace["large set"].append(readers[1].images_per_s(workers=1))
    median = {name: statistics.median(values) for name, values in pace.items()}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        memory = [pool.apply(measure_memory, pair) for pair in zip(folders, SIZES, strict=True)]
    sizes = [len(reader.maker._chosen) for reader in readers]
    each = memory[1]["bytes_each"]
    speedup, slowdown = median["two workers"] / median["one worker"], median["small set"] / median["large set"]
    ideal = statistics.median(ideals)
    return {
        "photographs": sizes,
        "rounds": rounds,
        "cores": len(os.sched_getaffinity(0)),
        "images_per_s": {name: round(value, 1) for name, value in median.items()},
        "ratio_two_workers_to_one": round(speedup, 2),
        "ratio_the_machine_allows": round(ideal, 2),
        "ratio_small_set_to_large": round(slowdown, 3),
        "listing_s": [round(row["listing_s"], 3) for row in memory],
        "growth_mb": [round(row["growth_mb"], 1) for row in memory],
        "bytes_a_photograph": round(each),
        "wanted": {
            "ratio_two_workers_to_one": round(LEAST_OF_IDEAL * ideal, 2),
            "ratio_small_set_to_large": MOST_SLOWDOWN,
            "bytes_a_photograph": MOST_BYTES,
            "growth_mb": MOST_GROWTH_MB,
        },
        "kept": {
            "two workers": speedup >= LEAST_OF_IDEAL * ideal,
            "large set": slowdown <= MOST_SLOWDOWN,
            "memory": each <= MOST_BYTES and memory[1]["growth_mb"] <= MOST_GROWTH_MB,
        },
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "machine": platform.machine(),
        },
    }


if __name__ == "__main__":
    sys.exit(main())
