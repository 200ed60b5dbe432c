"""How soon the service is there: importing it, `photochrom --help`, the first answer, and what it takes on disk.

Each is a fresh process, in turns: Python that does nothing, Python that imports the service, the command's help, and
the service with the shipped model until its readiness probe says yes and until it has colored a photograph. Files are
in the system's cache by then, as they are when a process is restarted. The size is that of the files of the packages
that requirements/service.txt locks, as they lie in this environment, and of the project's own.

    python benchmarks/startup.py [--rounds 9] [--output startup.json]

Exit status 1 unless the service is ready within 5 seconds in every round.
"""

import argparse
import json
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.restart import MOST_S, ask, await_ready, start  # noqa: E402 - the project need not be installed

LOCKED: Final = ROOT / "requirements" / "service.txt"
OWN: Final = ("chroma", "service")
"""Folders of the project that the service needs."""
LARGEST: Final = 8
"""Packages that are told one by one."""


def run(*command: str) -> float:
    """Run a command to its end; return the seconds."""
    since = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - since


def start_service() -> tuple[float, float]:
    """Start the service; return the seconds until it is ready, and until it has colored its first photograph."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    since = time.perf_counter()
    process = start(port)
    try:
        await_ready(process, port)
        ready_s = time.perf_counter() - since
        if ask(port, "POST", "/colorize", (ROOT / "tests" / "data" / "coffee.jpg").read_bytes()) != 200:
            raise SystemExit("the service is ready, but colors nothing")
        return ready_s, time.perf_counter() - since
    finally:
        process.kill()
        process.wait()


def locked_packages(requirements: Path) -> list[str]:
    """Return the names of the packages that a requirements file locks for a machine like this one."""
    found = []
    for line in requirements.read_text(encoding="utf-8").splitlines():
        if re.match(r"[A-Za-z0-9]", line):
            requirement = Requirement(line.removesuffix("\\").strip())
            if requirement.marker is None or requirement.marker.evaluate():
                found.append(requirement.name)
    return found


def installed_bytes(name: str) -> int:
    """Return the bytes of a package's files, without what Python compiles of them when they first run."""
    files = metadata.distribution(name).files or []
    places = [Path(str(file.locate())) for file in files if file.suffix != ".pyc"]
    return sum(place.stat().st_size for place in places if place.is_file())


def measure_size() -> dict[str, Any]:
    """Return what the service takes on disk, megabytes."""
    sizes, absent = dict[str, int](), []
    for name in locked_packages(LOCKED):
        try:
            sizes[name] = installed_bytes(name)
        except metadata.PackageNotFoundError:
            absent.append(name)
    files = [path for folder in OWN for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    sizes["photochrom, its model included"] = sum(path.stat().st_size for path in files)
    ordered = sorted(sizes, key=lambda name: -sizes[name])
    largest = {name: round(sizes[name] / 1e6, 1) for name in ordered[:LARGEST]}
    return {
        "mb": round(sum(sizes.values()) / 1e6, 1),
        "packages": len(sizes) - 1,
        "not_installed_here": absent,
        "largest_mb": largest | {"the others": round(sum(sizes[name] for name in ordered[LARGEST:]) / 1e6, 1)},
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return the median and the extremes of seconds, as milliseconds."""
    low, middle, high = (round(1000 * f(values)) for f in (min, statistics.median, max))
    return {"median_ms": middle, "spread_ms": [low, high]}


def main() -> int:
    """Measure, print JSON, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    commands: dict[str, Callable[[], float]] = {
        "Python alone": lambda: run(sys.executable, "-c", "pass"),
        "import service.http.app": lambda: run(sys.executable, "-c", "import service.http.app"),
        "photochrom --help": lambda: run(sys.executable, "-m", "service", "--help"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in (*commands, "ready", "first picture")}
    warm_up = int(arguments.rounds > 1)
    for turn in range(warm_up + arguments.rounds):
        took = {name: command() for name, command in commands.items()}
        took["ready"], took["first picture"] = start_service()
        # The first one reads all files from the disk.
        if turn >= warm_up:
            for name, value in took.items():
                seconds[name].append(value)
    result = {
        "rounds": arguments.rounds,
        "times": {name: spread(values) for name, values in seconds.items()},
        "installed": measure_size(),
        "wanted": {"ready_s": MOST_S},
        "kept": {"ready": max(seconds["ready"]) < MOST_S},
    }
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.output:
        arguments.output.write_text(text)
    return 0 if all(result["kept"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
