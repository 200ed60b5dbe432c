"""What a picture costs the service, and how much more it does with more callers, cores and processes.

The real service is started, each process on cores of its own, and asked over HTTP:

* cost: one process on one core, one caller; wall and processor time of a picture, and the most memory, by size and by
  the format of the answer;
* growth: pictures of one megapixel from 1 to 8 callers, to one process on one core, one process on two, and two
  processes with one core each, which is what replicas are.

Promised: two processes on a core each do at least 1.5 times as much as one (the program that asks needs some of the
same two cores). The processor time is the service's own; what the program that asks takes is told beside it.

    python benchmarks/capacity.py [--seconds 6] [--output capacity.json]

`make bench BENCH=capacity` keeps the result; `python tools/site/make_capacity.py` writes docs/capacity.md anew from it.

Wants a machine with nothing else to do, for about three minutes. Exit status 1 if the promise is not kept.
"""

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

ROOT = Path(__file__).parents[1]

MEGAPIXELS: Final = (0.25, 1.0, 4.0, 12.0)
FORMATS: Final = ("png", "jpeg")
"""Of the answer; the first is the service's default, and that of the growth."""
GROWTH_MEGAPIXELS: Final = 1.0
LAYOUTS: Final = ((1, 1), (1, 2), (2, 1))
"""Processes, and cores of each."""
CALLERS: Final = (1, 2, 4, 8)
QUALITY: Final = 90
"""Of the JPEG that is sent."""
LEAST_GROWTH: Final = 1.5
TIMEOUT_S: Final = 300
LEAST_PICTURES: Final = 3


@dataclass(frozen=True)
class Usage:
    """What a process has used so far.

    Attributes:
        cpu_s: processor time, seconds.
        peak_mb: most memory since `Service.forget_peak`, megabytes; None where the system does not say.
    """

    cpu_s: float
    peak_mb: float | None


class Service:
    """A process of the service.

    Attributes:
        port: it listens on.
    """

    def __init__(self, cores: Sequence[int], log: Path) -> None:
        """Start it on some cores, and wait until it is ready."""
        settings = {"host": "127.0.0.1", "port": 0, "device": "cpu", "log_format": "text", "deadline_s": TIMEOUT_S}
        settings |= {"precision": os.environ.get("PHOTOCHROM_PRECISION", "float32")}
        environment = os.environ | {f"PHOTOCHROM_{name.upper()}": str(value) for name, value in settings.items()}
        with log.open("wb") as stream, on_cores(cores):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service", "serve"], cwd=ROOT, env=environment, stdout=stream, stderr=stream
            )
        self.port = self._find_port(log)

    def _find_port(self, log: Path) -> int:
        for _ in range(20 * TIMEOUT_S):
            found = re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())
            if found:
                return int(found.group(1))
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        self.stop()
        raise SystemExit("the service does not start:\n" + log.read_text())

    def forget_peak(self) -> None:
        """Let the most memory be counted from here on; Linux alone can."""
        try:
            Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")
        except OSError:
            return

    def usage(self) -> Usage:
        """Return what it has used so far."""
        text = get(self.port, "/metrics").decode()
        found = re.search(r"^process_cpu_seconds_total (\S+)$", text, re.MULTILINE)
        cpu_s = float(found.group(1)) if found else float("nan")
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return Usage(cpu_s, None)
        peak = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        return Usage(cpu_s, int(peak.group(1)) * 1024 / 1e6 if peak else None)

    def stop(self) -> None:
        """Stop it."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait(TIMEOUT_S)


@contextmanager
def on_cores(cores: Sequence[int]) -> Iterator[None]:
    """Let what is started inside have these cores alone, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def usable_cores() -> list[int]:
    """Return the cores that this program may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def busy_s() -> float | None:
    """Return how long the machine's cores have worked so far, or were taken by others; None where nobody says."""
    try:
        names, *values = Path("/proc/stat").read_text().partition("\n")[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = (int(value) for value in values[:8])
    return (user + nice + system + sum(interrupts_and_stolen)) / os.sysconf("SC_CLK_TCK") if names == "cpu" else None


def get(port: int, path: str) -> bytes:
    """Ask a service."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def picture(megapixels: float) -> bytes:
    """Return a gray JPEG, 4:3, put together from photographs at their own size: as much detail at any size."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(megapixels * 1e6 / height)
    rows: list[np.ndarray] = []
    parts = [
        cv2.resize(cv2.imread(str(ROOT / "tests" / "data" / name), cv2.IMREAD_GRAYSCALE)[:300, :450], (450, 300))
        for name in ("astronaut.jpg", "coffee.jpg", "chelsea.png")
    ]
    for row in range(-(-height // 300)):
        count = -(-width // 450)
        rows.append(np.hstack([parts[(row + column) % len(parts)] for column in range(count)]))
    gray = np.vstack(rows)[:height, :width]
    return bytes(cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


class Caller(threading.Thread):
    """Sends the next picture when the last one is answered.

    Attributes:
        took_s: wall time of each picture.
        failed: what went wrong, or an empty string.
    """

    def __init__(self, port: int, data: bytes, answer: str, until: float, least: int) -> None:
        """Prepare, without starting."""
        super().__init__(daemon=True)
        self.took_s: list[float] = []
        self.failed = ""
        self._port, self._data, self._answer, self._until, self._least = port, data, answer, until, least

    def run(self) -> None:
        """Send pictures until the time is up."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        try:
            while time.perf_counter() < self._until or len(self.took_s) < self._least:
                started = time.perf_counter()
                connection.request(
                    "POST", f"/colorize?format={self._answer}", self._data, {"Content-Type": "image/jpeg"}
                )
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    self.failed = f"{answer.status}: {body[:200]!r}"
                    return
                self.took_s.append(time.perf_counter() - started)
        except OSError as error:
            self.failed = f"{type(error).__name__}: {error}"
        finally:
            connection.close()


def drive(
    services: Sequence[Service], data: bytes, answer: str, callers: int, seconds: float, least: int
) -> dict[str, Any]:
    """Let callers ask for a while; tell what came back and what it cost."""
    for service in services:
        service.forget_peak()
    before = [service.usage() for service in services]
    own, busy, started = time.process_time(), busy_s(), time.perf_counter()
    threads = [
        Caller(services[number % len(services)].port, data, answer, started + seconds, least)
        for number in range(callers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, own, busy_after = time.perf_counter() - started, time.process_time() - own, busy_s()
    after = [service.usage() for service in services]
    for thread in threads:
        if thread.failed:
            raise SystemExit(f"the service does not answer: {thread.failed}")
    walls = sorted(wall for thread in threads for wall in thread.took_s)
    cpu_s = sum(one.cpu_s - other.cpu_s for one, other in zip(after, before, strict=True))
    others = None if busy is None or busy_after is None else max(busy_after - busy - own - cpu_s, 0.0)
    peaks = [usage.peak_mb for usage in after if usage.peak_mb is not None]
    return {
        "pictures": len(walls),
        "pictures_per_s": round(len(walls) / took, 3),
        "wall_s": round(statistics.median(walls), 4),
        "p95_s": round(walls[min(int(0.95 * len(walls)), len(walls) - 1)], 4),
        "cpu_s": round(cpu_s / len(walls), 4),
        "cores_used": round(cpu_s / took, 3),
        "caller_cores_used": round(own / took, 3),
        "other_cores_used": None if others is None else round(others / took, 3),
        "peak_memory_mb": round(max(peaks), 1) if peaks else None,
    }


@contextmanager
def serving(processes: int, cores_each: int) -> Iterator[list[Service]]:
    """Start processes of the service, each on cores of its own."""
    cores = usable_cores()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        services = []
        for number in range(processes):
            mine = cores[number * cores_each : (number + 1) * cores_each]
            service = Service(mine, Path(folder) / f"log-{number}")
            stack.callback(service.stop)
            services.append(service)
        yield services


def measure_cost(megapixels: Sequence[float], seconds: float) -> dict[str, Any]:
    """Return what a picture costs, by size and format, and of which service that is."""
    rows = []
    with serving(1, 1) as services:
        model = loaded_model(services[0].port)
        services[0].forget_peak()
        idle = services[0].usage().peak_mb
        for size in megapixels:
            data = picture(size)
            for answer in FORMATS:
                drive(services, data, answer, 1, 0, 1)
                row = drive(services, data, answer, 1, seconds, LEAST_PICTURES)
                rows.append({"megapixels": size, "sent_bytes": len(data), "format": answer} | row)
    return {"model": model, "idle_memory_mb": None if idle is None else round(idle, 1), "cost": rows}


def measure_growth(layouts: Sequence[tuple[int, int]], seconds: float) -> list[dict[str, Any]]:
    """Return how much is done, by layout and number of callers."""
    rows, data = [], picture(GROWTH_MEGAPIXELS)
    for processes, cores_each in layouts:
        with serving(processes, cores_each) as services:
            drive(services, data, FORMATS[0], 2 * processes, 0, 2)
            for callers in CALLERS:
                row = drive(services, data, FORMATS[0], callers, seconds, 1)
                rows.append({"processes": processes, "cores_each": cores_each, "callers": callers} | row)
    return rows


def most_per_s(growth: Sequence[dict[str, Any]], processes: int, cores_each: int) -> float | None:
    """Return the most pictures a second of a layout, whatever the number of callers; None when it was not measured."""
    found = [
        row["pictures_per_s"] for row in growth if (row["processes"], row["cores_each"]) == (processes, cores_each)
    ]
    return max(found, default=None)


def loaded_model(port: int) -> str:
    """Return which model a service has: its run, and the first digits of the file's sha256."""
    health = json.loads(get(port, "/health"))
    return f"{health['model']} ({health['model_sha256'][:12]})"


def main() -> int:
    """Measure, print and write the result; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--megapixels", type=float, nargs="+", default=MEGAPIXELS, help="sizes to tell the cost of")
    parser.add_argument("--cores", type=int, default=len(usable_cores()), help="most cores to use at once")
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "sent": f"gray JPEG, quality {QUALITY}",
    }
    result |= measure_cost(options.megapixels, options.seconds)
    layouts = [(many, each) for many, each in LAYOUTS if many * each <= options.cores]
    growth = measure_growth(layouts, options.seconds)
    result |= {"growth_megapixels": GROWTH_MEGAPIXELS, "growth": growth}
    one, two = most_per_s(growth, 1, 1), most_per_s(growth, 2, 1)
    result["ratio_two_processes"] = round(two / one, 3) if one and two else None
    result["wanted"] = {"ratio_two_processes": LEAST_GROWTH}
    result["kept"] = {} if not (one and two) else {"growth": two / one >= LEAST_GROWTH}
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)
    return 0 if all(result["kept"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
