"""How long a picture takes on this machine, now: a look, not a benchmark to compare machines by."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import UInt8

from service.engine.colorizer import finish, prepare
from service.engine.options import Options
from service.engine.session import Session
from service.pictures.decode import decode
from service.pictures.encode import encode
from service.pictures.probe import probe

STAGES: Final = ("decode", "prepare", "infer", "merge", "encode")
"""Read a JPEG; find its lightness; run the network; put colors on at full size; write a PNG."""


@dataclass(frozen=True)
class Measured:
    """How long pictures of one size took.

    Attributes:
        megapixels: of each picture.
        seconds: of each run, all stages.
        stage_s: median of each stage, seconds.
    """

    megapixels: float
    seconds: tuple[float, ...]
    stage_s: dict[str, float]

    @property
    def median_s(self) -> float:
        """Half of the runs were faster, seconds."""
        return statistics.median(self.seconds)

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "megapixels": round(self.megapixels, 3),
            "median_s": round(self.median_s, 4),
            "fastest_s": round(min(self.seconds), 4),
            "slowest_s": round(max(self.seconds), 4),
            "runs": len(self.seconds),
            "stage_s": {stage: round(seconds, 4) for stage, seconds in self.stage_s.items()},
        }


def measure(
    session: Session, options: Options, megapixels: Sequence[float], repeats: int, *, done: Callable[[], None]
) -> list[Measured]:
    """Color made-up pictures, one after the other, and take the time.

    The sizes take turns, so that whatever else the machine does meanwhile falls on all of them.

    Args:
        session: the loaded model.
        options: how to color.
        megapixels: sizes, millions of pixels.
        repeats: runs of each size, at least 1; one more, the first, does not count.
        done: called after each run.

    Returns:
        One for each size.
    """
    files = [make_photograph(size) for size in megapixels]
    runs: list[list[dict[str, float]]] = [[] for _ in files]
    for repeat in range(repeats + 1):
        for data, taken in zip(files, runs, strict=True):
            stages = _time(data, options, session)
            if repeat:
                taken.append(stages)
            done()
    return [
        Measured(
            size,
            tuple(sum(stages.values()) for stages in taken),
            {stage: statistics.median(stages[stage] for stages in taken) for stage in STAGES},
        )
        for size, taken in zip(megapixels, runs, strict=True)
    ]


def _time(data: bytes, options: Options, session: Session) -> dict[str, float]:
    marks = [time.perf_counter()]
    picture = decode(data, probe(data, max_megapixels=float("inf")))
    marks.append(time.perf_counter())
    prepared = prepare(picture, options, session.stamp, workers=session.threads)
    marks.append(time.perf_counter())
    heads = session.run([prepared.query])[0]
    marks.append(time.perf_counter())
    colored = finish(prepared, heads, session.stamp, workers=session.threads)
    marks.append(time.perf_counter())
    encode(colored.rgb, None, "png", workers=session.threads)
    marks.append(time.perf_counter())
    return {stage: end - start for stage, start, end in zip(STAGES, marks[:-1], marks[1:], strict=True)}


def make_photograph(megapixels: float) -> bytes:
    """Return a gray 3:2 JPEG with large shapes, edges and grain; always the same one for the same size.

    Args:
        megapixels: millions of pixels.

    Returns:
        The file.
    """
    height = max(1, round((megapixels * 1e6 / 1.5) ** 0.5))
    width = max(1, round(megapixels * 1e6 / height))
    random = np.random.default_rng(0)
    shapes: UInt8[np.ndarray, "24 36"] = random.integers(30, 225, (24, 36), np.uint8)
    picture = cv2.resize(shapes, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = cv2.resize(random.integers(0, 25, (512, 768), np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return cv2.imencode(".jpg", cv2.add(picture, grain))[1].tobytes()


def caveats(cores: int) -> list[str]:
    """Return what to bear in mind when reading the times.

    Args:
        cores: usable by this process.

    Returns:
        Sentences.
    """
    said = [
        "One picture after the other, JPEG in, PNG out, without HTTP; the medians hold for this machine, now.",
        "Made-up pictures: real ones take about as long, but noisy scans take longer to write as PNG.",
    ]
    with suppress(OSError):
        load = os.getloadavg()[0]
        if load > 0.3 * cores:
            said.append(
                f"Load average {load:.1f} on {cores} usable cores when it began: something else was running, so the "
                "times are too long. Measure again on an idle machine."
            )
    return said
