"""The service under three times the load it can bear: what it still gets done, and how it says no.

First the capacity is measured: a few callers who each send the next picture when the last one is answered. Then, in the
same run, pictures arrive at three times that rate whether or not anything was answered (an open loop: a caller who
waits does not lower the rate, as real ones do not). Promised: at least 90 % of the capacity is still answered, what is
accepted is answered within the deadline, every refusal is a 503 with `Retry-After` in less than 50 ms (its 99th
percentile, on the service's own clock), and afterwards every gauge is back at zero.

    python benchmarks/overload.py --rounds 20

A round is a second of either phase. Exit status 1 if a promise is not kept.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import httpx2

ROOT = Path(__file__).parents[1]

CALLERS: Final = 6
"""Enough to keep every stage busy."""
OVERLOAD: Final = 3.0
DEADLINE_S: Final = 10.0
QUEUE: Final = 16
SIDE_PX: Final = 700
TIMEOUT_S: Final = 120
LEAST_GOODPUT: Final = 0.9
MOST_REFUSAL_S: Final = 0.05
GAUGES: Final = ("photochrom_inflight_megapixels", "photochrom_waiting_requests", "photochrom_queue_depth")


@dataclass
class Tally:
    """What came back.

    Attributes:
        statuses: how often each.
        accepted_s: how long accepted requests took, for the caller.
        refused_s: how long refusals took, for the caller.
        without_retry_after: refusals that do not say when to come back.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    accepted_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    without_retry_after: int = 0


def picture() -> bytes:
    """Return the photograph that everyone sends, a gray JPEG."""
    gray = cv2.imread(str(ROOT / "tests" / "data" / "astronaut.jpg"), cv2.IMREAD_GRAYSCALE)
    return bytes(cv2.imencode(".jpg", cv2.resize(gray, (SIDE_PX, SIDE_PX)))[1])


@contextmanager
def serving(changes: Mapping[str, object], prelude: str = "") -> Iterator[tuple[str, Path]]:
    """Start the service with settings, after a line of Python; give its address and its log."""
    settings = {"port": 0, "device": "cpu", "log_format": "json", **changes}
    command = f"import sys; sys.argv[1:] = ['serve']; {prelude}from service.commands import main; main()"
    environment = os.environ | {f"PHOTOCHROM_{name.upper()}": str(value) for name, value in settings.items()}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-c", command], cwd=ROOT, env=environment, stdout=stream, stderr=stream
            )
        try:
            for _ in range(20 * TIMEOUT_S):
                found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
                if found or process.poll() is not None:
                    break
                time.sleep(0.05)
            if not found:
                raise SystemExit("the service does not start:\n" + log.read_text())
            yield found.group(), log
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)


async def ask(client: httpx2.AsyncClient, data: bytes, tally: Tally) -> None:
    """Send one picture and note what came back."""
    started = time.perf_counter()
    try:
        answer = await client.post("/colorize?format=jpeg", content=data, headers={"Content-Type": "image/jpeg"})
    except httpx2.HTTPError as error:
        tally.statuses[type(error).__name__] += 1
        return
    took = time.perf_counter() - started
    tally.statuses[str(answer.status_code)] += 1
    if answer.status_code == 200:
        tally.accepted_s.append(took)
    elif answer.status_code == 503:
        tally.refused_s.append(took)
        tally.without_retry_after += not answer.headers.get("retry-after", "").isdecimal()


async def closed_loop(client: httpx2.AsyncClient, data: bytes, seconds: float) -> float:
    """Return the capacity, pictures a second."""
    until, tally = time.perf_counter() + seconds, Tally()

    async def call() -> None:
        while time.perf_counter() < until:
            await ask(client, data, tally)

    started = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(CALLERS)))
    return tally.statuses["200"] / (time.perf_counter() - started)


async def open_loop(client: httpx2.AsyncClient, data: bytes, seconds: float, rate: float) -> tuple[Tally, float]:
    """Send at a constant rate; return what came back, and the pictures answered a second until the last one."""
    tally, pending = Tally(), set()
    started = time.perf_counter()
    for number in range(max(round(seconds * rate), 1)):
        await asyncio.sleep(max(started + number / rate - time.perf_counter(), 0))
        task = asyncio.create_task(ask(client, data, tally))
        pending.add(task)
        task.add_done_callback(pending.discard)
    await asyncio.gather(*pending)
    return tally, tally.statuses["200"] / (time.perf_counter() - started)


async def measure(address: str, rounds: int) -> dict[str, Any]:
    """Run both phases."""
    data = picture()
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=100)
    async with httpx2.AsyncClient(base_url=address, timeout=TIMEOUT_S, limits=limits) as client:
        await closed_loop(client, data, 1)
        before = await closed_loop(client, data, rounds)
        tally, goodput = await open_loop(client, data, rounds, OVERLOAD * before)
        # The machine may have become faster or slower meanwhile.
        capacity = (before + await closed_loop(client, data, rounds)) / 2
        gauges = {}
        text = (await client.get("/metrics")).text
        for name in GAUGES:
            found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
            gauges[name] = float(found.group(1)) if found else -1.0
    return {
        "capacity_per_s": round(capacity, 2),
        "rate_per_s": round(OVERLOAD * before, 2),
        "goodput_per_s": round(goodput, 2),
        "ratio_goodput_to_capacity": round(goodput / capacity, 3),
        "statuses": dict(sorted(tally.statuses.items())),
        "accepted_s": {"median": quantile(tally.accepted_s, 0.5), "p99": quantile(tally.accepted_s, 0.99)},
        "refused_for_the_caller_s": {
            "median": quantile(tally.refused_s, 0.5),
            "p99": quantile(tally.refused_s, 0.99),
        },
        "without_retry_after": tally.without_retry_after,
        "gauges": gauges,
    }


def refusals_s(log: Path) -> list[float]:
    """Return how long the refusals took by the service's own log."""
    found = []
    for line in log.read_text().splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("problem") == "overloaded":
            found.append(float(entry["seconds"]))
    return found


def quantile(values: list[float], share: float) -> float | None:
    """Return the value that so many are below, rounded; None where there are none."""
    if not values:
        return None
    return round(sorted(values)[min(int(share * len(values)), len(values) - 1)], 4)


def main() -> int:
    """Measure, print and write the result; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="seconds of each phase")
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    options = parser.parse_args()
    with serving({"deadline_s": DEADLINE_S, "max_queue": QUEUE}) as (address, log):
        result = asyncio.run(measure(address, options.rounds))
        refused = refusals_s(log)
    result["refused_in_the_service_s"] = {
        "median": round(statistics.median(refused), 4) if refused else None,
        "p99": quantile(refused, 0.99),
        "longest": quantile(refused, 1.0),
    }
    result["wanted"] = {
        "ratio_goodput_to_capacity": LEAST_GOODPUT,
        "accepted_p99_s": DEADLINE_S,
        "refused_p99_s": MOST_REFUSAL_S,
    }
    p99 = result["accepted_s"]["p99"]
    result["kept"] = {
        "goodput": result["ratio_goodput_to_capacity"] >= LEAST_GOODPUT,
        "deadline": p99 is not None and p99 <= DEADLINE_S and set(result["statuses"]) <= {"200", "503"},
        "refusals": bool(refused)
        and (quantile(refused, 0.99) or 0) < MOST_REFUSAL_S
        and not result["without_retry_after"],
        "gauges": not any(result["gauges"].values()),
    }
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)
    return 0 if all(result["kept"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
