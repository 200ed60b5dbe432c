"""What a photograph costs in time and memory from 0.25 to 50 megapixels, stage by stage, and how that grows.

A color JPEG goes to a full-size PNG through the service's own functions, as a request does, and through the
straightforward OpenCV program of fast_path.py with the same network; PNG encoders, and the soft encoding that training
does, stand beside them. Each size lives in a process of its own, and the sizes take turns. Memory is the most that the
process held, above what it held idle: with the model loaded and a small photograph colored. How a stage grows is the
slope of log time over log megapixels between 4 and 50 megapixels, of each round.

What no program could go below is measured in the same rounds: how fast this machine copies memory, and how fast it
multiplies two large matrices.

    python benchmarks/growth.py [--rounds 5] [--megapixels 0.25 1 4 12 50] [--output growth.json]

Exit status 1 unless the exponent of the whole is at most 1.05 and 50 megapixels take at most 600 MB above idle. Wants
a machine with nothing else to do.
"""

import argparse
import ctypes
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.fast_path import open_graph, photograph, straightforward  # noqa: E402 - the project need not be installed
from chroma.bins import load_centers  # noqa: E402
from chroma.framing import head_lightness  # noqa: E402
from chroma.signature import AB_LOGITS  # noqa: E402
from chroma.soft_encoding import SoftEncodingTable, build_table  # noqa: E402
from service.engine.colorizer import as_kept, decode_logits, finish, prepare  # noqa: E402
from service.engine.options import Options  # noqa: E402
from service.engine.session import Session, shipped_model  # noqa: E402
from service.machine import usable_cores  # noqa: E402
from service.pictures.decode import decode  # noqa: E402
from service.pictures.encode import encode  # noqa: E402
from service.pictures.probe import probe  # noqa: E402

MEGAPIXELS: Final = (0.25, 1.0, 4.0, 12.0, 50.0)
FROM_MEGAPIXELS: Final = 4.0
"""Where growth is counted from: below it, what does not depend on the size weighs too much."""
LARGEST: Final = 50.0
MOST_EXPONENT: Final = 1.05
MOST_PEAK_MB: Final = 600.0
SLOW_UP_TO: Final = 12.0
"""Megapixels up to which the slowest contender, OpenCV's level 6, takes part."""
ENCODED_AT_ONCE: Final = 1 << 20
"""Pixels that are soft-encoded at a time, as batches of training do; the values of 50 megapixels would take 3 GB."""
MATRIX_SIDE: Final = 2048
COPIED_BYTES: Final = 1 << 28
"""More than a core's own caches hold."""

STAGES: Final = ("decode", "prepare", "infer", "merge", "encode")
"""Of a request, in the service's words."""


def memory_mb(field: str) -> float:
    """Return `VmRSS` or `VmHWM` of this process; NaN where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith(f"{field}:"))


def settle() -> None:
    """Give back what is free, and count the most memory from here on."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


class Meter:
    """Times stages, and what they take in memory above what was held before.

    Attributes:
        found: by name: `ms`, `peak_mb`, and what else `note` was told.
    """

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what happens inside."""
        settle()
        before, since = memory_mb("VmRSS"), time.perf_counter()
        yield
        took = time.perf_counter() - since
        self.found[name] = {"ms": 1000 * took, "peak_mb": memory_mb("VmHWM") - before}

    def note(self, name: str, **values: float) -> None:
        """Add what else is known of a stage."""
        self.found[name] |= values


def color(path: Path, session: Session, stages: dict[str, float]) -> bytes:
    """Color a file as a request does: the same functions, and at no time more in memory.

    Args:
        path: a JPEG.
        session: the model.
        stages: seconds of each stage are added here.

    Returns:
        A PNG.
    """
    marks = [time.perf_counter()]

    def lap() -> None:
        marks.append(time.perf_counter())

    def begin() -> Any:
        # The decoded picture ends with this call, as it does in the service.
        picture = decode(data, probe(data, max_megapixels=float("inf")))
        lap()
        return prepare(picture, Options(), session.stamp, workers=session.threads)

    data = path.read_bytes()
    prepared = begin()
    lap()
    heads = as_kept(session.run([prepared.query])[0])
    lap()
    # Large pictures are composed while they are encoded.
    rows = finish(prepared, heads, session.stamp, workers=session.threads).pixels_for("png")
    lap()
    encoded = encode(rows, None, "png", workers=session.threads)
    lap()
    stages |= {name: end - start for name, (start, end) in zip(STAGES, pairwise(marks), strict=True)}
    return encoded


class Child:
    """Measures one size, a round at a time; lives in a process of its own."""

    def __init__(self, path: Path) -> None:
        """Load everything and color a small photograph, so that what follows is the picture's own."""
        self.path = path
        self.session = Session(shipped_model(), device="cpu", threads=usable_cores())
        self.graph = open_graph(self.session)
        cv2.setNumThreads(self.session.threads)
        with tempfile.NamedTemporaryFile(suffix=".jpg") as small:
            small.write(photograph(0.25, gray=False))
            small.flush()
            for _ in range(2):
                color(Path(small.name), self.session, {})
        self.table: SoftEncodingTable = build_table(load_centers(), k=10)
        settle()
        self.idle_mb = memory_mb("VmRSS")

    def measure(self) -> dict[str, Any]:
        """Measure everything once."""
        meter, stages = Meter(), dict[str, float]()
        settle()
        since = time.perf_counter()
        png_bytes = len(color(self.path, self.session, stages))
        whole_s, peak_mb = time.perf_counter() - since, memory_mb("VmHWM") - self.idle_mb
        settle()
        since = time.perf_counter()
        straightforward(self.path.read_bytes(), self.session, self.graph)
        plain_s, plain_mb = time.perf_counter() - since, memory_mb("VmHWM") - self.idle_mb
        self._measure_parts(meter)
        return {
            "ours": {"ms": 1000 * whole_s, "peak_mb": peak_mb, "png_bytes": png_bytes},
            "straightforward": {"ms": 1000 * plain_s, "peak_mb": plain_mb},
            "stages_ms": {name: 1000 * value for name, value in stages.items()},
            "parts": meter.found,
        }

    def _measure_parts(self, meter: Meter) -> None:
        """Measure each part alone; what one gives, the next takes."""
        session, workers = self.session, self.session.threads
        data = self.path.read_bytes()
        with meter.stage("decode JPEG"):
            picture = decode(data, probe(data, max_megapixels=float("inf")))
        megapixels = picture.width * picture.height / 1e6
        with meter.stage("L and network input"):
            prepared = prepare(picture, Options(), session.stamp, workers=workers)
        del picture
        heads = as_kept(session.run([prepared.query])[0])
        with meter.stage("decode colors in NumPy"):
            seen = head_lightness(prepared.query.lightness)
            decoded = decode_logits(heads[AB_LOGITS], seen, prepared.knobs, session.stamp)
        with meter.stage("compose"):
            rgb = finish(prepared, heads, session.stamp, workers=workers).rgb
        del prepared
        for name, encoder in _encoders(rgb, workers, megapixels).items():
            with meter.stage(name):
                encoded = encoder()
            meter.note(name, bytes=len(encoded))
        ab = cv2.resize(decoded, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        del rgb
        flat = ab.reshape(-1, 2)
        with meter.stage("soft encoding"):
            for start in range(0, len(flat), ENCODED_AT_ONCE):
                self.table.encode(flat[start : start + ENCODED_AT_ONCE])


def _encoders(rgb: np.ndarray, workers: int, megapixels: float) -> dict[str, Callable[[], bytes]]:
    """Return the encoders that take turns with one picture, (H, W, 3), uint8."""

    def opencv(*settings: int) -> bytes:
        # Ours takes RGB, OpenCV BGR: turning it is part of what one would have to do.
        return cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), settings)[1].tobytes()

    levels = (1, 6) if megapixels <= 1.01 * SLOW_UP_TO else (1,)
    found: dict[str, Callable[[], bytes]] = {
        "PNG, ours": lambda: encode(rgb, None, "png", workers=workers),
        "PNG, ours, one thread": lambda: encode(rgb, None, "png"),
        "PNG, OpenCV default": opencv,
    }
    for level in levels:
        found[f"PNG, OpenCV level {level}"] = lambda level=level: opencv(cv2.IMWRITE_PNG_COMPRESSION, level)
    return found | {"JPEG": lambda: encode(rgb, None, "jpeg")}


def measure_limits(threads: int) -> dict[str, float]:
    """Measure what the machine can do at most.

    Args:
        threads: how many may work.

    Returns:
        `matmul_gflops`: a product of two large float32 matrices by NumPy's library, on all its threads, billions of
        operations a second. `copy_gb_s`: a copy of memory by so many threads, billions of bytes a second, read and
        written.
    """
    rng = np.random.default_rng(0)
    left, right = rng.random((2, MATRIX_SIDE, MATRIX_SIDE), np.float32)
    out = np.empty_like(left)
    source, target = np.ones((2, COPIED_BYTES), np.uint8)
    halves = [slice(part * COPIED_BYTES // threads, (part + 1) * COPIED_BYTES // threads) for part in range(threads)]
    np.matmul(left, right, out=out)

    def best(work: Callable[[], object]) -> float:
        took = []
        for _ in range(3):
            since = time.perf_counter()
            work()
            took.append(time.perf_counter() - since)
        return min(took)

    with ThreadPoolExecutor(threads) as pool:
        copy_s = best(lambda: list(pool.map(lambda part: np.copyto(target[part], source[part]), halves)))
    matmul_s = best(lambda: np.matmul(left, right, out=out))
    return {"matmul_gflops": 2 * MATRIX_SIDE**3 / matmul_s / 1e9, "copy_gb_s": 2 * COPIED_BYTES / copy_s / 1e9}


def slope(megapixels: Sequence[float], values: Sequence[float]) -> float:
    """Return the exponent of a power law through points, by least squares on the logarithms."""
    return float(np.polyfit(np.log(megapixels), np.log(values), 1)[0])


def spread(values: Sequence[float], digits: int = 3) -> dict[str, Any]:
    """Return the median and the extremes."""
    return {
        "median": round(statistics.median(values), digits),
        "spread": [round(f(values), digits) for f in (min, max)],
    }


def summarize(megapixels: Sequence[float], rounds: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Return the figures.

    Args:
        megapixels: the sizes.
        rounds: what each child has measured, by round and size.

    Returns:
        By size, and how it grows.
    """
    rows = []
    for place, size in enumerate(megapixels):
        each = [one[place] for one in rounds]
        ratios = [found["ours"]["ms"] / found["straightforward"]["ms"] for found in each]
        row: dict[str, Any] = {"megapixels": size, "jpeg_bytes": each[0]["jpeg_bytes"], "pixels": each[0]["pixels"]}
        for who in ("ours", "straightforward"):
            row[who] = {
                "ms": spread([found[who]["ms"] for found in each], 1),
                "peak_mb": round(max(found[who]["peak_mb"] for found in each), 1),
            }
        row["ours"]["png_bytes"] = each[0]["ours"]["png_bytes"]
        row["ratio"] = spread(ratios)
        row["stages_ms"] = {
            name: round(statistics.median(found["stages_ms"][name] for found in each), 2) for name in STAGES
        }
        row["parts"] = {}
        for name in each[0]["parts"]:
            found = [one["parts"][name] for one in each]
            row["parts"][name] = {"ms": spread([one["ms"] for one in found], 2)}
            row["parts"][name]["peak_mb"] = round(max(one["peak_mb"] for one in found), 1)
            if "bytes" in found[0]:
                row["parts"][name]["bytes"] = found[0]["bytes"]
            if name.startswith("PNG, OpenCV"):
                pairs = [one["parts"]["PNG, ours"]["ms"] / one["parts"][name]["ms"] for one in each]
                row["parts"][name]["ours_takes"] = spread(pairs)
        rows.append(row)
    return {"sizes": rows, "exponents": _exponents(megapixels, rounds)}


def _exponents(megapixels: Sequence[float], rounds: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Return how the time of each stage grows from `FROM_MEGAPIXELS` on; empty where fewer than two sizes are left."""
    chosen = [place for place, size in enumerate(megapixels) if size >= FROM_MEGAPIXELS]
    if len(chosen) < 2:
        return {}
    sizes = [megapixels[place] for place in chosen]
    ways: dict[str, Callable[[dict[str, Any]], float]] = {
        "ours": lambda found: found["ours"]["ms"],
        "straightforward": lambda found: found["straightforward"]["ms"],
    }
    parts = [set(rounds[0][place]["parts"]) for place in chosen]
    for name in rounds[0][0]["parts"]:
        if all(name in each for each in parts):
            ways[name] = lambda found, name=name: found["parts"][name]["ms"]
    return {
        name: spread([slope(sizes, [way(one[place]) for place in chosen]) for one in rounds])
        for name, way in ways.items()
    }


def take_turns(megapixels: Sequence[float], rounds: int, folder: Path) -> tuple[list[Any], list[float], list[Any]]:
    """Measure all sizes.

    Args:
        megapixels: the sizes.
        rounds: how often.
        folder: for the photographs.

    Returns:
        (found, idle, limits): what each child has found, by round and size; megabytes it holds idle, by size; and what
        the machine can do, by round.
    """
    found: list[Any] = []
    idle, limits, about = [], [], []
    with ExitStack() as stack:
        children = []
        for size in megapixels:
            path = folder / f"{size:g}.jpg"
            path.write_bytes(photograph(size, gray=False))
            header = probe(path.read_bytes(), max_megapixels=float("inf"))
            about.append({"jpeg_bytes": path.stat().st_size, "pixels": [header.width, header.height]})
            command = [sys.executable, __file__, "--child", str(path)]
            child = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            )
            idle.append(float(_answer(child)))
            children.append(child)
        for _ in range(rounds):
            limits.append(measure_limits(usable_cores()))
            row = []
            for child, facts in zip(children, about, strict=True):
                assert child.stdin
                child.stdin.write("go\n")
                child.stdin.flush()
                row.append(facts | json.loads(_answer(child)))
            found.append(row)
        for child in children:
            assert child.stdin
            child.stdin.close()
    return found, idle, limits


def _answer(child: "subprocess.Popen[str]") -> str:
    assert child.stdout
    line = child.stdout.readline()
    if not line:
        raise SystemExit(f"a process that measures ended with status {child.wait()}, perhaps for want of memory")
    return line


def serve(path: Path) -> None:
    """Measure once for each line on the standard input; what a child does."""
    child = Child(path)
    sys.stdout.write(f"{child.idle_mb}\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        sys.stdout.write(json.dumps(child.measure()) + "\n")
        sys.stdout.flush()


def main() -> int:
    """Measure, print JSON, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megapixels", type=float, nargs="+", default=list(MEGAPIXELS))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        serve(arguments.child)
        return 0
    sizes = sorted(arguments.megapixels)
    with tempfile.TemporaryDirectory() as folder:
        found, idle, limits = take_turns(sizes, arguments.rounds, Path(folder))
    result: dict[str, Any] = {
        "rounds": arguments.rounds,
        "threads": usable_cores(),
        "idle_mb": spread(idle, 1),
        "limits": {name: spread([each[name] for each in limits], 1) for name in limits[0]},
    }
    result |= summarize(sizes, found)
    kept = {}
    if result["exponents"]:
        kept["exponent"] = result["exponents"]["ours"]["median"] <= MOST_EXPONENT
    if sizes[-1] >= LARGEST:
        kept["memory_of_the_largest"] = result["sizes"][-1]["ours"]["peak_mb"] <= MOST_PEAK_MB
    result |= {"wanted": {"exponent": MOST_EXPONENT, "peak_mb": MOST_PEAK_MB}, "kept": kept}
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.output:
        arguments.output.write_text(text)
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
