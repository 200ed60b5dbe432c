"""Colors pictures of many sizes for a long time and watches the memory: `python -m tests.soak --seconds 600`.

A real `photochrom serve` gets pictures of mixed sizes, formats and options, broken ones and callers who leave, from a
few connections at once. After a warm-up its resident memory is sampled; the slope of a line through the samples, in MB
per 1000 requests, says whether it leaks. Ends with 1 when the slope is above the promise or anything but the expected
status came back.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import numpy as np

from service.engine.session import shipped_model
from tests.e2e.server import Server
from tests.pictures import by_opencv, by_pillow, smooth_gray

MAX_SLOPE_MB: Final = 1.0
"""Growth per 1000 requests."""
WARM_UP_SHARE: Final = 0.3
"""Allocators reach their plateau first."""
LOOK_S: Final = 0.5
"""Between two samples of the memory, seconds."""
GAUGES: Final = ("photochrom_inflight_megapixels", "photochrom_waiting_requests", "photochrom_queue_depth")


@dataclass(frozen=True)
class Question:
    """A request and the status that it must get."""

    data: bytes
    query: str
    status: int


@dataclass
class Soak:
    """What is going on, for all threads.

    Attributes:
        requests: sent so far.
        wrong: answers with another status than expected, by what they were.
        left: requests whose caller left.
    """

    requests: int = 0
    left: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


def questions(largest_px: int) -> list[Question]:
    """Return requests of many kinds, with no side longer than that."""
    made = []
    for height, width in ((1, 1), (17, 270), (90, 64), (200, 300), (480, 640), (700, 500), (1000, 1500)):
        if max(height, width) > largest_px:
            continue
        gray = smooth_gray(height, width)
        made += [Question(by_pillow(gray, "PNG"), "", 200), Question(by_pillow(gray, "JPEG"), "?format=jpeg", 200)]
    made.append(Question(by_opencv(smooth_gray(150, 200, dtype=np.uint16), ".png"), "?vividness=1", 200))
    made.append(Question(by_pillow(smooth_gray(150, 200), "WEBP"), "?mode=fused&size=96&format=webp", 200))
    made.append(Question(made[2].data[:-40], "", 422))
    made.append(Question(b"no picture", "", 415))
    made.append(Question(made[2].data, "?vividness=2", 422))
    return made


def send(server: Server, soak: Soak, stop: threading.Event, seed: int, largest_px: int) -> None:
    """Send requests until told to stop; one in fifty is cut off."""
    chance, choices = random.Random(seed), questions(largest_px)
    with httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
        while not stop.is_set():
            question = chance.choice(choices)
            leaves = chance.random() < 0.02
            try:
                answer = client.post(
                    f"/colorize{question.query}",
                    content=question.data,
                    headers={"Content-Type": "image/png"},
                    timeout=0.01 if leaves else 60,
                )
                status = answer.status_code
            except httpx2.TimeoutException:
                status = question.status if leaves else -1
            with soak.lock:
                soak.requests += 1
                soak.left += leaves
                if status != question.status:
                    soak.wrong[f"{question.query or 'plain'}: {status} instead of {question.status}"] += 1


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:"))) / 1024


def grown_mb(samples: list[tuple[int, float]], requests: int) -> list[float]:
    """Return by how much memory grew with each so many requests, as (requests, MB) were sampled."""
    grown, (begun, before) = [], samples[0] if samples else (0, 0.0)
    for count, resident in samples:
        if count - begun >= requests:
            grown.append(round(resident - before, 1))
            begun, before = count, resident
    return grown


def run(
    model: Path,
    *,
    seconds: float,
    connections: int,
    log: Path,
    largest_px: int = 1500,
    requests: int = sys.maxsize,
    warm_up: float = WARM_UP_SHARE,
    flat: tuple[int, float] | None = None,
) -> dict[str, Any]:
    """Soak a server.

    Args:
        model: ONNX file.
        seconds: how long at most.
        connections: requests at once.
        log: of the server.
        largest_px: longest side of a picture.
        requests: after so many it ends.
        warm_up: share of either that is not watched.
        flat: a number of requests, and MB: it ends before its time with the first so many in which memory grew by less.

    Returns:
        The result, for JSON.
    """
    server, soak, stop = Server(model, log), Soak(), threading.Event()
    senders = [
        threading.Thread(target=send, args=(server, soak, stop, seed, largest_px)) for seed in range(connections)
    ]
    samples: list[tuple[int, float]] = []
    growth_mb: list[float] = []
    try:
        for sender in senders:
            sender.start()
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < seconds and soak.requests < requests:
            if elapsed > warm_up * seconds or soak.requests > warm_up * requests:
                samples.append((soak.requests, resident_mb(server.process.pid)))
            if flat and (grown := grown_mb(samples, flat[0])):
                growth_mb = grown
                if grown[-1] < flat[1]:
                    break
            time.sleep(LOOK_S)
        stop.set()
        for sender in senders:
            sender.join()
        for gauge in GAUGES:
            server.until(gauge, 0)
        descriptors = server.metric("process_open_fds")
    finally:
        stop.set()
        server.stop()
    counts, sizes = zip(*samples, strict=True)
    slope = statistics.linear_regression(counts, sizes).slope if len(set(counts)) > 1 else float("nan")
    return {
        "seconds": round(elapsed, 1),
        "connections": connections,
        "requests": soak.requests,
        "left": soak.left,
        "wrong": dict(soak.wrong),
        "resident_mb": {"first": round(sizes[0], 1), "last": round(sizes[-1], 1), "highest": round(max(sizes), 1)},
        "growth_mb": growth_mb,
        "slope_mb_per_1000_requests": round(1000 * slope, 3),
        "slope_wanted": MAX_SLOPE_MB,
        "open_files": descriptors,
    }


def main() -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--model", type=Path, default=None, help="ONNX file, default the shipped one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(
            options.model or shipped_model(),
            seconds=options.seconds,
            connections=options.connections,
            log=Path(folder) / "log",
        )
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0 if result["slope_mb_per_1000_requests"] < MAX_SLOPE_MB and not result["wrong"] else 1


if __name__ == "__main__":
    sys.exit(main())
