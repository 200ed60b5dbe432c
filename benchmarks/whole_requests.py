"""What a whole request takes over HTTP, beside a program of a few lines and beside another checkout of the project.

Contenders take turns, each a service of its own that has answered before: in the precision that is taken up by itself,
in float32, and, with `--before FOLDER`, that folder's service in float32. Requests are color JPEGs of several
proportions (a runtime may compile anew for each shape) that come back as PNGs: 0.25, 1 and 12 megapixels one at a time,
then one megapixel from eight callers at once. The program of a few lines is fast_path.py's, which decodes, asks the
network and encodes with OpenCV in a process that has loaded everything; no HTTP.

Then, once each a round, seconds to ready, and beside another checkout the first byte and the memory (PSS of the process
tree above idle) of 50 megapixels of color and 100 of 16-bit gray; large_answers.py judges those by themselves.

    python benchmarks/whole_requests.py [--rounds 5] [--before FOLDER] [--only requests large ready] [--output FILE]

Exit status 1 unless 0.25 megapixels take at most what the program of a few lines takes; and, beside `--before`, the
ratios of `MOST` and `LEAST_THROUGHPUT`. Wants a machine with nothing else to do.
"""

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from large_answers import memory_mb, spread, watching

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.fast_path import open_graph, photograph, straightforward  # noqa: E402 - the project need not be installed
from service.engine.session import Session, shipped_model  # noqa: E402
from service.machine import usable_cores  # noqa: E402

AUTO: Final = "automatic precision"
FLOAT32: Final = "float32"
BEFORE: Final = "before, float32"
PLAIN: Final = "OpenCV program, float32"

SIZES: Final = ("0.25", "1", "12")
"""Megapixels."""
SHARES: Final = (1.0, 0.86, 0.72, 0.6)
"""Of the photograph's width that are kept: as many proportions."""
CROWD: Final = 8
CROWD_REQUESTS: Final = 6
"""Of each of them, a round."""
PARTS: Final = ("requests", "large", "ready")
MOST: Final = {"0.25": 0.7, "12": 0.85, "first byte": 0.6, "ready": 0.9}
"""Times what the checkout before takes."""
LEAST_THROUGHPUT: Final = 1.4
TIMEOUT_S: Final = 300.0
SETTLED_S: Final = 3.0
"""After an answer, before idle memory is read."""


@dataclass(frozen=True)
class Answer:
    """One request's answer.

    Attributes:
        whole_s: until its last byte.
        first_s: until its first byte.
    """

    whole_s: float
    first_s: float


class Served:
    """A running service.

    Attributes:
        ready_s: seconds from its start until it was ready.
    """

    def __init__(self, root: Path, log: Path, precision: str) -> None:
        """Start it, and wait until it is ready."""
        settings = {
            "PORT": "0",
            "DEVICE": "cpu",
            "PRECISION": precision,
            "LOG_LEVEL": "info",
            "DEADLINE_S": "240",
            "MAX_MEGAPIXELS": "120",
            "MAX_INFLIGHT_MEGAPIXELS": "250",
            "MAX_UPLOAD_BYTES": str(400 << 20),
            "MAX_ANSWER_BYTES": str(1 << 30),
        }
        environment = os.environ | {f"PHOTOCHROM_{name}": value for name, value in settings.items()}
        self._log = log
        since = time.perf_counter()
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service", "serve"],
                cwd=root,
                env=environment | {"PYTHONPATH": str(root)},
                stdout=stream,
                stderr=stream,
            )
        self.port = int(self._await(r"http://127\.0\.0\.1:(\d+)").group(1))
        while self.get("/health/ready") != 200:
            time.sleep(0.005)
        self.ready_s = time.perf_counter() - since

    def _await(self, pattern: str) -> re.Match[str]:
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end and self.process.poll() is None:
            if found := re.search(pattern, self._log.read_text(errors="replace")):
                return found
            time.sleep(0.005)
        self.process.kill()
        raise SystemExit("the service does not start:\n" + self._log.read_text(errors="replace"))

    def await_precision(self) -> str:
        """Wait until it has found the precision to stay with; return what it says of it."""
        return self._await(r"the network is computed in (\w+)").group(1)

    def get(self, path: str) -> int:
        """Return the status of a GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def post(self, data: bytes, kind: str = "image/jpeg") -> Answer:
        """Color a picture.

        Raises:
            SystemExit: the service does not.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        since = time.perf_counter()
        connection.request("POST", "/colorize", data, {"Content-Type": kind})
        answer = connection.getresponse()
        answer.read(1)
        first = time.perf_counter()
        rest = answer.read()
        if answer.status != 200:
            raise SystemExit(f"HTTP {answer.status}: {rest[:300]!r}")
        return Answer(time.perf_counter() - since, first - since)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(TIMEOUT_S)


@contextmanager
def serving(root: Path, precision: str) -> Iterator[Served]:
    """Have a service for a while."""
    with tempfile.TemporaryDirectory() as folder:
        served = Served(root, Path(folder) / "log", precision)
        try:
            yield served
        finally:
            served.stop()


def proportions(megapixels: float) -> list[bytes]:
    """Return photographs of one size in several proportions, as JPEGs."""
    found = []
    for share in SHARES:
        whole = cv2.imdecode(np.frombuffer(photograph(megapixels / share, gray=False), np.uint8), cv2.IMREAD_COLOR)
        width = round(whole.shape[1] * share)
        found.append(cv2.imencode(".jpg", whole[:, :width], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
    return found


def gray_png(megapixels: float) -> bytes:
    """Return a picture of 16-bit gray as a PNG."""
    gray = cv2.imdecode(np.frombuffer(photograph(megapixels, gray=True), np.uint8), cv2.IMREAD_GRAYSCALE)
    return cv2.imencode(".png", gray.astype(np.uint16) * 257, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Return what ours is of theirs, round by round."""
    return spread([own / their for own, their in zip(ours, theirs, strict=True)], 3)


def crowd_rate(served: Served, pictures: Sequence[bytes], clients: int) -> float:
    """Return the pictures a second that a service colors for several callers at once."""

    def caller(number: int) -> None:
        for turn in range(CROWD_REQUESTS):
            served.post(pictures[(number + turn) % len(pictures)])

    since = time.perf_counter()
    with ThreadPoolExecutor(clients) as callers:
        for _ in callers.map(caller, range(clients)):
            pass
    return clients * CROWD_REQUESTS / (time.perf_counter() - since)


def measure_requests(
    services: Mapping[str, Served], rounds: int, sizes: Sequence[str] = SIZES, clients: int = CROWD
) -> dict[str, Any]:
    """Measure one request at a time, then many at once.

    Args:
        services: by contender.
        rounds: how often; each takes every proportion once.
        sizes: megapixels.
        clients: callers of the crowd.

    Returns:
        Milliseconds a request by size and contender, requests a second of the crowd, and what automatic precision is
        of each other contender.
    """
    session = Session(shipped_model(), device="cpu", threads=usable_cores())
    graph = open_graph(session)
    pictures, small = {size: proportions(float(size)) for size in sizes}, proportions(1)
    took: dict[str, dict[str, list[float]]] = {}
    crowd: dict[str, list[float]] = {name: [] for name in services}
    for turn in range(rounds + 1):
        for size in sizes:
            sums = dict.fromkeys([*services, PLAIN], 0.0)
            for data in pictures[size]:
                for name, served in services.items():
                    sums[name] += served.post(data).whole_s
                since = time.perf_counter()
                straightforward(data, session, graph)
                sums[PLAIN] += time.perf_counter() - since
            if turn:  # the first one meets each shape for the first time
                for name, seconds in sums.items():
                    took.setdefault(size, {}).setdefault(name, []).append(1000 * seconds / len(SHARES))
        if turn:
            for name, served in services.items():
                crowd[name].append(crowd_rate(served, small, clients))
    return {
        "ms": {size: {name: spread(values, 1) for name, values in by.items()} for size, by in took.items()},
        "requests_per_s": {name: spread(values, 2) for name, values in crowd.items()},
        "ratio": {
            size: {name: ratios(by[AUTO], values) for name, values in by.items() if name != AUTO}
            for size, by in took.items()
        },
        "throughput_ratio": {name: ratios(crowd[AUTO], values) for name, values in crowd.items() if name != AUTO},
    }


def measure_large(services: Mapping[str, Served], rounds: int) -> dict[str, Any]:
    """Measure large pictures: first byte, whole, memory.

    Args:
        services: by contender.
        rounds: how often.

    Returns:
        By picture and contender, and what automatic precision is of the others until the first byte.
    """
    pictures = {"50 MP color JPEG": photograph(50, gray=False), "100 MP gray PNG, 16 bits": gray_png(100)}
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    idle = {}
    for name, served in services.items():
        for _ in range(3):
            served.post(photograph(0.25, gray=False))
        time.sleep(SETTLED_S)
        idle[name] = memory_mb(served.process.pid)
    for _ in range(rounds):
        for title, data in pictures.items():
            for name, served in services.items():
                kind = "image/jpeg" if "JPEG" in title else "image/png"
                with watching(served.process.pid) as most:
                    answer = served.post(data, kind)
                into = found.setdefault(title, {}).setdefault(name, {"first_s": [], "whole_s": [], "peak_mb": []})
                into["first_s"].append(answer.first_s)
                into["whole_s"].append(answer.whole_s)
                into["peak_mb"].append(most() - idle[name])
                time.sleep(SETTLED_S)
    return {
        "pictures": {
            title: {name: {field: spread(values, 2) for field, values in fields.items()} for name, fields in by.items()}
            for title, by in found.items()
        },
        "first_byte_ratio": {
            title: {name: ratios(by[AUTO]["first_s"], by[name]["first_s"]) for name in by if name != AUTO}
            for title, by in found.items()
        },
    }


def measure_ready(roots: Mapping[str, tuple[Path, str]], rounds: int) -> dict[str, Any]:
    """Start and stop each service over and over; return seconds to ready, and ours over the others'."""
    took: dict[str, list[float]] = {name: [] for name in roots}
    for _ in range(rounds):
        for name, (root, precision) in roots.items():
            with serving(root, precision) as served:
                took[name].append(served.ready_s)
    return {
        "seconds": {name: spread(values, 3) for name, values in took.items()},
        "ratio": {name: ratios(took[AUTO], values) for name, values in took.items() if name != AUTO},
    }


def judge(result: Mapping[str, Any]) -> dict[str, bool]:
    """Say which promises are kept, of those that were measured."""
    kept = {}
    if requests := result.get("requests"):
        ratio = requests["ratio"]
        if "0.25" in ratio:
            kept["as fast as the OpenCV program"] = ratio["0.25"][PLAIN]["median"] <= 1
        if BEFORE in requests["throughput_ratio"]:
            kept |= {f"{size} MP": ratio[size][BEFORE]["median"] <= MOST[size] for size in ratio if size in MOST}
            kept["throughput"] = requests["throughput_ratio"][BEFORE]["median"] >= LEAST_THROUGHPUT
    if large := result.get("large"):
        kept["first byte"] = large["first_byte_ratio"]["50 MP color JPEG"][BEFORE]["median"] <= MOST["first byte"]
    if (ready := result.get("ready")) and BEFORE in ready["ratio"]:
        kept["ready"] = ready["ratio"][BEFORE]["median"] <= MOST["ready"]
    return kept


def main() -> int:
    """Measure, print JSON, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", type=Path, help="another checkout of this project")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="megapixels of single requests")
    parser.add_argument("--clients", type=int, default=CROWD, help="callers at once")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    roots = {AUTO: (ROOT, "auto"), FLOAT32: (ROOT, "float32")}
    parts = set(options.only) - (set() if options.before else {"large"})
    if options.before:
        roots[BEFORE] = (options.before.resolve(), "float32")
    result: dict[str, Any] = {"rounds": options.rounds}
    with ExitStack() as stack:
        if {"requests", "large"} & parts:
            services = {name: stack.enter_context(serving(*root)) for name, root in roots.items()}
            result["precision"] = services[AUTO].await_precision()
            if "requests" in parts:
                result["requests"] = measure_requests(services, options.rounds, options.sizes, options.clients)
            if "large" in parts:
                result["large"] = measure_large(services, options.rounds)
    if "ready" in parts:
        result["ready"] = measure_ready(roots, options.rounds)
    kept = judge(result)
    text = json.dumps(result | {"wanted": {**MOST, "throughput": LEAST_THROUGHPUT}, "kept": kept}, indent=2)
    sys.stdout.write(text + "\n")
    if options.output:
        options.output.write_text(text + "\n")
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
