"""Large answers that leave while they are made: when their first byte comes, and what they take in memory.

Each picture is sent to a running service twice a round, in turns: once over HTTP/1.1, which gets the answer while it is
made, once over HTTP/1.0, which knows no answer of unknown length and gets it whole. Both have to be the same bytes; the
first one of the picture of 50 megapixels has to come within .6 of the other's time. Memory is the most that all
processes of the service hold, each page shared out among who has it (PSS), above what they hold idle: 50 megapixels of
color may take at most 250 MB, 100 megapixels of 16-bit gray 500.

    python benchmarks/large_answers.py [--rounds 3] [--scale 1] [--output large_answers.json]

Exit status 1 if a promise is not kept. Wants a machine with nothing else to do.
"""

import argparse
import hashlib
import json
import os
import re
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import cv2
import httpx2
import numpy as np
from overload import serving

MOST_FIRST_BYTE: Final = 0.6
"""Of the time that a whole answer takes to begin."""
SAMPLE_S: Final = 0.02
SETTLE_S: Final = 3.0
"""After which a large picture's memory has been given back."""
TIMEOUT_S: Final = 300
SETTINGS: Final = {"deadline_s": 120, "max_inflight_megapixels": 120}


@dataclass(frozen=True)
class Case:
    """A picture, and what is promised of its answer.

    Attributes:
        megapixels: of it.
        is_color: else it is gray.
        is_deep: whether it has 16 bits a channel.
        suffix: of its format.
        most_peak_mb: most memory that its answer may take.
        has_most_first_byte: whether its first byte is judged.
    """

    megapixels: float
    is_color: bool
    is_deep: bool
    suffix: str
    most_peak_mb: float
    has_most_first_byte: bool = False

    def picture(self) -> bytes:
        """Return the file, the same at each call: soft blots, which cost what a photograph does."""
        side = round((self.megapixels * 1e6) ** 0.5)
        shape = (side // 16, side // 16, 3) if self.is_color else (side // 16, side // 16)
        small = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
        levels = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
        return bytes(cv2.imencode(self.suffix, levels.astype(np.uint16) * 257 if self.is_deep else levels)[1])


CASES: Final = {
    "50 megapixels, color JPEG": Case(50, True, False, ".jpg", 250, has_most_first_byte=True),
    "100 megapixels, 16-bit gray PNG": Case(100, False, True, ".png", 500),
}
WAYS: Final = {"while it is made": "1.1", "whole": "1.0"}
"""Version of HTTP by how the answer comes."""


def ask(address: str, data: bytes, version: str) -> dict[str, Any]:
    """Send a picture for a PNG; return when the first byte of the answer came, when the last, and what they are.

    Args:
        address: of the service.
        data: the file.
        version: of HTTP.

    Raises:
        RuntimeError: the answer is none, or ends too early.
    """
    place = urlsplit(address)
    assert place.hostname
    assert place.port
    head = f"POST /colorize HTTP/{version}\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
    digest, size, first_s = hashlib.sha256(), 0, 0.0
    with socket.create_connection((place.hostname, place.port), TIMEOUT_S) as link, link.makefile("rb") as answer:
        began = time.perf_counter()
        link.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode())
        link.sendall(data)
        status, headers = answer.readline().split()[1], dict[str, str]()
        while line := answer.readline().strip().decode():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        if status != b"200":
            raise RuntimeError(f"the service answers {status.decode()}: {answer.read1(2000).decode()}")
        for part in _content(answer, headers):
            first_s = first_s or time.perf_counter() - began
            digest.update(part)
            size += len(part)
        took_s = time.perf_counter() - began
    return {"first_byte_s": first_s, "all_s": took_s, "bytes": size, "sha256": digest.hexdigest()}


def _content(answer: Any, headers: dict[str, str]) -> Iterator[bytes]:
    def some(size: int) -> Iterator[bytes]:
        while size:
            part = answer.read1(min(size, 1 << 18))
            if not part:
                raise RuntimeError("the answer ends too early")
            size -= len(part)
            yield part

    if "content-length" in headers:
        yield from some(int(headers["content-length"]))
        return
    while size := int(answer.readline(), 16):
        yield from some(size)
        answer.readline()


def processes(root: int) -> list[int]:
    """Return a process and all that it has started, and those."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        children.setdefault(int(text[text.rindex(")") + 2 :].split()[1]), []).append(int(path.parent.name))
    found, todo = [], [root]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def memory_mb(root: int) -> float:
    """Return what a process and all that it has started hold, each shared page divided by who shares it; megabytes."""
    total = 0
    for process in processes(root):
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int((re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE) or [0, 0])[1])
    return total * 1024 / 1e6


@contextmanager
def watching(root: int) -> Iterator[Callable[[], float]]:
    """Watch the memory of a process and all that it has started; give a function that tells the most so far."""
    most, ends = [memory_mb(root)], threading.Event()

    def watch() -> None:
        while not ends.wait(SAMPLE_S):
            most[0] = max(most[0], memory_mb(root))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: most[0]
    finally:
        ends.set()
        thread.join()


def spread(values: list[float], digits: int = 3) -> dict[str, Any]:
    """Return the median and the extremes."""
    return {
        "median": round(statistics.median(values), digits),
        "spread": [round(f(values), digits) for f in (min, max)],
    }


def measure(address: str, root: int, rounds: int, scale: float) -> dict[str, Any]:
    """Send all pictures in turns.

    Args:
        address: of the service.
        root: its process.
        rounds: how often.
        scale: factor on their pixels, and on the time that memory takes to settle.
    """
    settle_s = SETTLE_S * scale
    with httpx2.Client(base_url=address, timeout=TIMEOUT_S) as client:
        small = Case(0.25, False, False, ".jpg", 0).picture()
        for _ in range(3):
            client.post("/colorize", content=small, headers={"Content-Type": "image/jpeg"}).raise_for_status()
    time.sleep(settle_s)
    idle_mb = memory_mb(root)
    pictures = {name: replace(case, megapixels=scale * case.megapixels).picture() for name, case in CASES.items()}
    found: dict[str, dict[str, list[dict[str, Any]]]] = {name: {way: [] for way in WAYS} for name in CASES}
    for number in range(rounds):
        for name, data in pictures.items():
            for way in (list(WAYS), list(WAYS)[::-1])[number % 2]:
                with watching(root) as most:
                    asked = ask(address, data, WAYS[way])
                found[name][way].append(asked | {"peak_mb": most() - idle_mb})
                time.sleep(settle_s)
    return {"idle_mb": round(idle_mb, 1), "pictures": {name: _summarize(each) for name, each in found.items()}}


def _summarize(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    early, whole = (found[way] for way in WAYS)
    rows: dict[str, Any] = {
        way: {
            "first_byte_s": spread([one["first_byte_s"] for one in each]),
            "all_s": spread([one["all_s"] for one in each]),
            "peak_mb": spread([one["peak_mb"] for one in each], 1),
        }
        for way, each in found.items()
    }
    pairs = list(zip(early, whole, strict=True))
    return rows | {
        "bytes": early[0]["bytes"],
        "is_same": len({one["sha256"] for each in found.values() for one in each}) == 1,
        "first_byte_ratio": spread([one["first_byte_s"] / other["first_byte_s"] for one, other in pairs]),
        "all_ratio": spread([one["all_s"] / other["all_s"] for one, other in pairs]),
    }


def judge(result: dict[str, Any]) -> dict[str, bool]:
    """Return which promises are kept."""
    kept: dict[str, bool] = {}
    for name, case in CASES.items():
        found = result["pictures"][name]
        kept[f"{name}: the same bytes"] = found["is_same"]
        kept[f"{name}: memory"] = found["while it is made"]["peak_mb"]["spread"][1] <= case.most_peak_mb
        if case.has_most_first_byte:
            kept[f"{name}: first byte"] = found["first_byte_ratio"]["median"] <= MOST_FIRST_BYTE
    return kept


def main() -> int:
    """Measure, print and write the result; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each picture is sent, either way")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the pictures' pixels, to try the program")
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    options = parser.parse_args()
    with serving(SETTINGS) as (address, _):
        root = next(process for process in processes(os.getpid()) if process != os.getpid())
        result = measure(address, root, options.rounds, options.scale)
    result["wanted"] = {
        "first_byte_ratio": MOST_FIRST_BYTE,
        "peak_mb": {name: case.most_peak_mb for name, case in CASES.items()},
    }
    result["kept"] = judge(result)
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)
    return 0 if all(result["kept"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
