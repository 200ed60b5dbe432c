"""The service against peers that host the same ONNX model, on the same two cores, in the same run.

Peers are a plain FastAPI handler, LitServe, BentoML and Ray Serve, each written the way its own documentation writes
such a thing (`benchmarks/peer_servers`). Those that have workers get one per core, with the number of threads that
suits the load: as many as there are cores for a single client, else one. All answer a JPEG of one megapixel with a PNG
of its full size, by the same network. Before anything is timed, each answer is decoded and compared with ours.

One server runs at a time, and they take turns. In each round a server is started, warmed up, and asked by 1, 8 and 64
clients (closed loop: each posts the next picture when the last is answered), by 8 clients with pictures of mixed sizes,
then at a rate that every contender bears (open loop: 0.8 of what the slowest did while all were checked). The program
that asks is a process of its own, on the same cores: what it takes, it takes from all of them alike.

All compute in float32, but for the service "as installed", which chooses its precision by itself and is given the time
to: it is what has to beat the others with mixed sizes.

    make bench-peers                                    # makes the environments of the peers first
    python benchmarks/peers.py [--rounds 3] [--seconds 6] [--output peers.json]

Promised: with 1, 8 and 64 clients our throughput is at least that of every peer (median of the rounds' ratios), with a
lower 99th percentile of the time to an answer (of all rounds together); with mixed sizes, as installed, at least 1.8
times that of every peer. Exit status 1 unless this is kept. A peer that is not installed is named under "skipped".
Wants a machine with nothing else to do.
"""

import argparse
import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.peer_servers.caller import BrokenAnswer, Order, post_once, request  # noqa: E402 - by its path alone

SERVERS: Final = ROOT / "benchmarks" / "peer_servers"
PHOTOGRAPHS: Final = ("astronaut.jpg", "chelsea.png", "coffee.jpg")
MODEL: Final = ROOT / "service" / "model" / "default.onnx"

OURS: Final = "photochrom"
AS_INSTALLED: Final = "photochrom, as installed"
CLIENTS: Final = (1, 8, 64)
MIXED: Final = "mixed"
MIXED_CLIENTS: Final = 8
MIXED_MEGAPIXELS: Final = (0.25, 1.0, 4.0)
LEAST_MIXED: Final = 1.8
"""Throughput with mixed sizes, as installed, as a multiple of the best peer's."""
CORES: Final = 2
BEARABLE: Final = 0.8
"""Rate of the open loop, as a share of the slowest contender's throughput with 8 clients."""
JPEG_QUALITY: Final = 92
GRAIN: Final = 3.0
"""Standard deviation of the grain that an enlarged photograph gets, levels of 255: a scan is never smooth."""
MOST_DIFFERENCE: Final = 2.0
"""Largest mean difference to our answer, levels of 255: OpenCV's Lab is not as exact as ours."""
TIMEOUT_S: Final = 120.0
SAMPLE_S: Final = 0.2
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Contender:
    """A server that takes part.

    Attributes:
        name: of it.
        command: what starts it, behind the Python; `{port}` stands for the port.
        ready: path that answers 200 once it serves.
        package: what must be installed; empty for what the development environment has.
        environment: folder where `make bench-peers` installs that.
        has_workers: whether it is told how many threads each of its workers uses.
        precision: that the service computes in.
        settled: what it logs once it computes as it will; empty where that is from the start.
    """

    name: str
    command: tuple[str, ...]
    ready: str = "/ready"
    package: str = ""
    environment: str = ""
    has_workers: bool = False
    precision: str = "float32"
    settled: str = ""


SERVE: Final = ("-m", "service", "serve")
CONTENDERS: Final = (
    Contender(OURS, SERVE, ready="/health/ready"),
    Contender(AS_INSTALLED, SERVE, ready="/health/ready", precision="auto", settled="the network is computed in"),
    Contender("fastapi", ("plain_fastapi.py",)),
    Contender("litserve", ("litserve_api.py",), package="litserve", environment=".venv-peers", has_workers=True),
    Contender(
        "bentoml",
        ("-m", "bentoml", "serve", "bentoml_service:Photochrom", "--host", "127.0.0.1", "--port", "{port}"),
        ready="/readyz",
        package="bentoml",
        environment=".venv-peers-bentoml",
        has_workers=True,
    ),
    Contender("ray", ("ray_deployment.py",), package="ray", environment=".venv-cluster", has_workers=True),
)
QUIET: Final = {"BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore"}


class NotServing(Exception):
    """A server does not start, or gives wrong answers."""


def python_for(contender: Contender) -> tuple[Path, dict[str, str]] | None:
    """Return the Python that runs a contender, and the versions it has; None where something is not installed."""
    python = ROOT / contender.environment / "bin" / "python" if contender.environment else Path(sys.executable)
    for base in (python, Path(sys.executable)):
        versions = {}
        for folder in base.parent.parent.glob("lib/python3*/site-packages/*.dist-info"):
            name, _, version = folder.name.removesuffix(".dist-info").partition("-")
            versions[name.lower()] = version
        wanted = ("fastapi", "onnxruntime", "opencv_python_headless", "uvicorn", "starlette", contender.package)
        if not contender.package or contender.package in versions:
            return base, {name: versions[name] for name in wanted if name in versions}
    return None


def photographs(megapixels: float, folder: Path, *, gray: bool) -> list[Path]:
    """Write the pictures that are posted: the test photographs at one size, with grain, as JPEG."""
    paths = []
    for place, name in enumerate(PHOTOGRAPHS):
        flag = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR
        pixels = cv2.imread(str(ROOT / "tests" / "data" / name), flag)
        factor = (megapixels * 1e6 / (pixels.shape[0] * pixels.shape[1])) ** 0.5
        large = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        grain = np.random.default_rng(place).normal(0, GRAIN, large.shape[:2]).astype(np.float32)
        noisy = np.clip(large + (grain if gray else grain[..., None]), 0, 255).astype(np.uint8)
        paths.append((folder / name).with_suffix(".jpg"))
        paths[-1].write_bytes(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
    return paths


def mixed_photographs(folder: Path, *, gray: bool) -> list[Path]:
    """Write the pictures of mixed sizes; return them as they are to be posted, no two of a size in a row."""
    by_size = []
    for megapixels in MIXED_MEGAPIXELS:
        place = folder / f"{megapixels:g}"
        place.mkdir()
        by_size.append(photographs(megapixels, place, gray=gray))
    return [path for of_each in zip(*by_size, strict=True) for path in of_each]


def descendants(pid: int) -> list[int]:
    """Return a process and all that it has started, directly or not."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
    return found


def resident_bytes(pids: Sequence[int]) -> int:
    """Return what processes have in memory; a page that several share counts for each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    return total


def proportional_bytes(pids: Sequence[int]) -> int:
    """Return what processes have in memory together; a page that several share counts once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def processor_s(pids: Sequence[int]) -> float:
    """Return the processor time that processes have used, seconds."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")


class Server:
    """A contender that runs.

    Attributes:
        port: it listens on.
        peak_bytes: most memory of all its processes, shared pages counted for each.
        start_s: from the start of the process until it was ready, seconds.
    """

    def __init__(self, contender: Contender, python: Path, model: Path, folder: Path, threads: int) -> None:
        """Start it, and wait until it is ready.

        Raises:
            NotServing: it ended, or is not ready in time.
        """
        self.peak_bytes = 0
        self._name = contender.name
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        environment = os.environ | QUIET | {"PHOTOCHROM_PRECISION": contender.precision}
        environment |= {"PEER_PORT": str(self.port), "PEER_MODEL": str(model)}
        environment["PEER_THREADS"] = str(threads)
        environment |= {"PHOTOCHROM_PORT": str(self.port), "PHOTOCHROM_MODEL": str(model), "PHOTOCHROM_DEVICE": "cpu"}
        environment["BENTOML_HOME"] = str(folder / "bentoml")
        command = [str(python), *(part.format(port=self.port) for part in contender.command)]
        self._log = folder / f"{contender.name}.log"
        before = self._log.stat().st_size if self._log.exists() else 0
        started = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT if contender.command == SERVE else SERVERS,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._sample)
        self._watch.start()
        try:
            self._wait(contender.ready, started + TIMEOUT_S)
            self.start_s = time.perf_counter() - started
            while contender.settled.encode() not in self._log.read_bytes()[before:]:
                if time.perf_counter() > started + TIMEOUT_S:
                    raise NotServing(f"{self._name} has not logged {contender.settled!r}")
                time.sleep(0.05)
        except BaseException:
            self.stop()
            raise

    def _wait(self, path: str, until: float) -> None:
        while time.perf_counter() < until:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", path)
                if connection.getresponse().status == 200:
                    return
            time.sleep(0.05)
        raise NotServing(f"{self._name} does not start: {self._log.read_text(errors='replace')[-2000:]}")

    def _sample(self) -> None:
        while not self._stopping.wait(SAMPLE_S):
            self.peak_bytes = max(self.peak_bytes, resident_bytes(descendants(self._process.pid)))

    def together_bytes(self) -> int:
        """Return the memory of all its processes now, shared pages counted once."""
        return proportional_bytes(descendants(self._process.pid))

    def processor_s(self) -> float:
        """Return the processor time that all its processes have used, seconds."""
        return processor_s(descendants(self._process.pid))

    def stop(self) -> None:
        """Stop it, and whatever it started and left behind."""
        self._stopping.set()
        self._watch.join()
        processes = {pid: _born(pid) for pid in descendants(self._process.pid)}
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT if self._name == "ray" else signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        for pid, born in processes.items():
            if born and _born(pid) == born:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()


def _born(pid: int) -> str:
    """Return when a process began, in ticks: together with its number, that names it; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def load(server: Server, pictures: Sequence[Path], seconds: float, *, clients: int = 0, rate: float = 0.0) -> Any:
    """Let the program that asks do so; return what it found."""
    order = {
        "port": server.port,
        "path": "/colorize",
        "pictures": [str(path) for path in pictures],
        "seconds": seconds,
        "clients": clients,
        "rate": rate,
    }
    command = [sys.executable, str(SERVERS / "caller.py"), json.dumps(order)]
    before = server.processor_s()
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found | {"processor_s": server.processor_s() - before}


def answer(server: Server, picture: Path) -> np.ndarray:
    """Return the pixels that a server answers a picture with.

    Raises:
        NotServing: no PNG of the picture's size.
    """
    order = Order(server.port, "/colorize", [], 0)
    try:
        status, content = asyncio.run(post_once(request(picture.read_bytes(), order), order))
    except (OSError, TimeoutError, BrokenAnswer) as error:
        raise NotServing(f"no answer: {error}") from error
    if status != 200 or not content.startswith(b"\x89PNG"):
        raise NotServing(f"no PNG but {status}: {content[:300]!r}")
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    expected = cv2.imread(str(picture), cv2.IMREAD_COLOR)
    if pixels is None or pixels.shape != expected.shape or pixels.dtype != np.uint8:
        raise NotServing(f"a PNG of {None if pixels is None else pixels.shape}, not of {expected.shape}")
    return pixels


def quantile_ms(took_s: Sequence[float], share: float) -> float | None:
    """Return a quantile, milliseconds."""
    if not took_s:
        return None
    return round(1000 * sorted(took_s)[min(int(share * len(took_s)), len(took_s) - 1)], 1)


def summary(found: Sequence[Any]) -> dict[str, Any]:
    """Return what the rounds of one contender under one load say together."""
    took_s = [took for each in found for took in each["took_s"]]
    outcomes = sum((Counter(each["outcomes"]) for each in found), Counter())
    rates = [len(each["took_s"]) / each["seconds"] for each in found]
    return {
        "throughput_per_s": round(statistics.median(rates), 3),
        "throughput_spread": [round(min(rates), 3), round(max(rates), 3)],
        "p50_ms": quantile_ms(took_s, 0.5),
        "p99_ms": quantile_ms(took_s, 0.99),
        "answers": len(took_s),
        "errors": outcomes.total() - len(took_s),
        "outcomes": dict(sorted(outcomes.items())),
        "processor_ms_per_answer": round(1000 * sum(each["processor_s"] for each in found) / max(len(took_s), 1), 1),
        "bytes_per_answer": round(sum(each["bytes"] for each in found) / max(len(took_s), 1)),
    }


def compare(ours: Sequence[Any], theirs: Sequence[Any]) -> dict[str, Any]:
    """Return our figures as multiples of a peer's: of each round, and the 99th percentile of all of them."""
    throughput, p99 = [], []
    for mine, other in zip(ours, theirs, strict=True):
        if mine["took_s"] and other["took_s"]:
            mine_rate, other_rate = len(mine["took_s"]) / mine["seconds"], len(other["took_s"]) / other["seconds"]
            throughput.append(mine_rate / other_rate)
            p99.append((quantile_ms(mine["took_s"], 0.99) or 0) / (quantile_ms(other["took_s"], 0.99) or 1))
    if not throughput:
        return {}
    pooled = [quantile_ms([took for each in side for took in each["took_s"]], 0.99) or 0 for side in (ours, theirs)]
    processor_s = [
        sum(each["processor_s"] for each in side) / sum(len(each["took_s"]) for each in side) for side in (ours, theirs)
    ]
    return {
        "processor_ratio": round(processor_s[0] / max(processor_s[1], 1e-9), 3),
        "throughput_ratio": round(statistics.median(throughput), 3),
        "throughput_ratio_spread": [round(min(throughput), 3), round(max(throughput), 3)],
        "p99_ratio": round(pooled[0] / pooled[1], 3),
        "p99_ratio_spread": [round(min(p99), 3), round(max(p99), 3)],
    }


class Field:
    """The contenders that are here, and what they are asked.

    Attributes:
        skipped: contenders that do not take part, with the reason.
        versions: of each contender's packages.
        checked: mean difference of each contender's answers to ours, levels of 255.
    """

    def __init__(
        self, names: Sequence[str], model: Path, pictures: Sequence[Path], mixed: Sequence[Path], folder: Path
    ) -> None:
        """Find out who is here."""
        self._model, self._pictures, self._mixed, self._folder = model, pictures, mixed, folder
        self._pythons: dict[str, Path] = {}
        self._by_name = {contender.name: contender for contender in CONTENDERS}
        self._expected: list[np.ndarray] = []
        self.skipped: dict[str, str] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.checked: dict[str, float] = {}
        for name in names:
            found = python_for(self._by_name[name])
            if found is None:
                place = self._by_name[name].environment
                self.skipped[name] = f"{self._by_name[name].package} is not installed in {place}: make bench-peers"
            else:
                self._pythons[name], self.versions[name] = found

    @property
    def names(self) -> list[str]:
        """Those who take part."""
        return [name for name in self._pythons if name not in self.skipped]

    @contextmanager
    def serving(self, name: str, threads: int = 1) -> Iterator[Server]:
        """Run one of them, with so many threads in each worker if it has workers.

        Raises:
            NotServing: it did not start twice; a cluster gives up when the machine is busy.
        """
        what = self._by_name[name], self._pythons[name], self._model, self._folder, threads
        try:
            server = Server(*what)
        except NotServing:
            server = Server(*what)
        try:
            yield server
        finally:
            server.stop()

    def check(self, server: Server, name: str) -> None:
        """Compare a contender's answers with ours, which come first.

        Raises:
            NotServing: an answer is no PNG of full size, or has other colors.
        """
        answers = [answer(server, picture) for picture in self._pictures]
        self._expected = self._expected or answers
        differences = [
            float(np.abs(mine.astype(np.int16) - other).mean())
            for mine, other in zip(self._expected, answers, strict=True)
        ]
        self.checked[name] = round(max(differences), 3)
        if self.checked[name] > MOST_DIFFERENCE:
            raise NotServing(f"answers differ from ours by {self.checked[name]} levels on average")

    def find_rates(self, seconds: float) -> dict[str, float]:
        """Start each once, check it, and return its throughput with 8 clients."""
        rates = {}
        for name in self.names:
            try:
                with self.serving(name) as server:
                    self.check(server, name)
                    found = load(server, self._pictures, seconds, clients=8)
                    rates[name] = len(found["took_s"]) / found["seconds"]
            except NotServing as error:
                self.skipped[name] = str(error)
        return rates

    def measure(self, name: str, seconds: float, clients: Sequence[int], rate: float) -> dict[str, Any]:
        """Start one, warm it up, and let it be asked in every way.

        Where there are workers, what is asked by a single client is asked of a server of its own.
        """
        alone = [count for count in clients if count == 1] if self._by_name[name].has_workers else []
        found: dict[str, Any] = {}
        if alone:
            with self.serving(name, len(os.sched_getaffinity(0))) as server:
                self._warm_up(server, seconds)
                found["clients_1"] = load(server, self._pictures, seconds, clients=1)
        with self.serving(name) as server:
            self._warm_up(server, seconds)
            found["idle_together_bytes"] = server.together_bytes()
            for count in clients:
                if count not in alone:
                    found[f"clients_{count}"] = load(server, self._pictures, seconds, clients=count)
            found[MIXED] = load(server, self._mixed, seconds, clients=MIXED_CLIENTS)
            found["open_loop"] = load(server, self._pictures, seconds, rate=rate)
            found["start_s"], found["peak_bytes"] = server.start_s, server.peak_bytes
            found["together_bytes"] = server.together_bytes()
        return found

    def _warm_up(self, server: Server, seconds: float) -> None:
        load(server, self._pictures, min(seconds, 2.0), clients=CORES)


def report(rounds: dict[str, list[Any]], clients: Sequence[int]) -> dict[str, Any]:
    """Return what the rounds say: of each contender, and of ours against each peer."""
    loads = [*(f"clients_{count}" for count in clients), MIXED, "open_loop"]
    contenders = {}
    for name, each in rounds.items():
        contenders[name] = {key: summary([one[key] for one in each]) for key in loads} | {
            "start_s": round(statistics.median(one["start_s"] for one in each), 2),
            "peak_rss_mb": round(max(one["peak_bytes"] for one in each) / 1e6, 1),
            "pss_warm_mb": round(statistics.median(one["idle_together_bytes"] for one in each) / 1e6, 1),
            "pss_after_load_mb": round(max(one["together_bytes"] for one in each) / 1e6, 1),
        }
    against = {
        name: {key: compare([one[key] for one in rounds[OURS]], [one[key] for one in each]) for key in loads}
        for name, each in rounds.items()
        if name not in (OURS, AS_INSTALLED) and OURS in rounds
    }
    for name, each in against.items():
        for key in ("throughput_ratio", "throughput_ratio_spread"):
            each["open_loop"].pop(key, None)  # Of an open loop the throughput is its rate.
        if AS_INSTALLED in rounds:
            each[f"{MIXED}_as_installed"] = compare(
                *([one[MIXED] for one in rounds[way]] for way in (AS_INSTALLED, name))
            )
    return {"contenders": contenders, "ours_as_a_multiple_of": against}


def judge(against: dict[str, Any], clients: Sequence[int]) -> dict[str, bool]:
    """Return which promises are kept: throughput and 99th percentile for each number of clients, and mixed sizes."""
    mixed = [each.get(f"{MIXED}_as_installed", {}).get("throughput_ratio") for each in against.values()]
    kept = {f"throughput_{MIXED}": min(mixed) >= LEAST_MIXED} if mixed and None not in mixed else {}
    for count in clients:
        rows = [each[f"clients_{count}"] for each in against.values()]
        if rows:
            kept[f"throughput_{count}"] = all(row and row["throughput_ratio"] >= 1 for row in rows)
            kept[f"p99_{count}"] = all(row and row["p99_ratio"] < 1 for row in rows)
    return kept


def machine(cores: Sequence[int]) -> dict[str, Any]:
    """Return what this was measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(cores),
        "load_average_before": round(os.getloadavg()[0], 2),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def main() -> int:
    """Measure, print JSON, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each load in each round")
    parser.add_argument("--megapixels", type=float, default=1.0)
    parser.add_argument("--gray", action="store_true", help="post gray JPEGs instead of color ones")
    parser.add_argument("--clients", type=int, nargs="*", default=list(CLIENTS))
    parser.add_argument("--contenders", nargs="+", choices=[each.name for each in CONTENDERS])
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    chosen = [each.name for each in CONTENDERS if not arguments.contenders or each.name in arguments.contenders]
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    os.sched_setaffinity(0, cores)
    result: dict[str, Any] = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(cores),
        "megapixels": arguments.megapixels,
        "gray": arguments.gray,
        "rounds": arguments.rounds,
        "seconds_per_load": arguments.seconds,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = photographs(arguments.megapixels, folder, gray=arguments.gray)
        mixed = mixed_photographs(folder, gray=arguments.gray)
        # All host one file, even if somebody puts another model in place meanwhile.
        model = Path(shutil.copy(arguments.model, folder / "model.onnx"))
        result["model_sha256"] = hashlib.sha256(model.read_bytes()).hexdigest()
        field = Field(chosen, model, pictures, mixed, folder)
        rates = field.find_rates(min(arguments.seconds, 3.0))
        rate = max(BEARABLE * min(rates.values(), default=1.0), 0.1)
        rounds: dict[str, list[Any]] = {name: [] for name in field.names}
        for turn in range(arguments.rounds):
            order = field.names if turn % 2 == 0 else field.names[::-1]
            for name in order:
                try:
                    rounds[name].append(field.measure(name, arguments.seconds, arguments.clients, rate))
                except NotServing as error:
                    if name == OURS:
                        raise
                    field.skipped[name] = f"dropped out in round {turn + 1}: {error}"
                    del rounds[name]
    result |= {
        "open_loop_rate_per_s": round(rate, 3),
        "mean_difference_to_ours_levels": field.checked,
        "versions": field.versions,
        "skipped": field.skipped,
        **report(rounds, arguments.clients),
    }
    result["kept"] = judge(result["ours_as_a_multiple_of"], arguments.clients)
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.output:
        arguments.output.write_text(text)
    return 0 if all(result["kept"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
