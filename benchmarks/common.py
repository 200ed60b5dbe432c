"""Runs the benchmarks one after the other and keeps what each measured, with the machine and the versions around it.

Every other program in this folder measures one thing and prints JSON. Here each is run in a process of its own, and its
JSON goes into `results/NAME.json`, from which tools/site/make_benchmarks.py makes docs/benchmarks.md. A program that
fails does not stop the others.

    python benchmarks/common.py [NAME ...] [--rounds N] [--results FOLDER]      # make bench BENCH="NAME ..."

Exit status 1 if a promise is not kept or a program failed.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results"
PACKAGES: Final = (
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "openvino",
    "isal",
    "pillow",
    "fastapi",
    "uvicorn",
    "keras",
    "tensorflow-cpu",
    "tensorflow",
    "torch",
    "scikit-learn",
)
"""Those whose version says something about a time."""
INSTRUCTION_SETS: Final = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd")
"""Those that the kernels of ONNX Runtime, TensorFlow and OpenBLAS choose by."""
JUDGED: Final = (0, 1)
"""Exit statuses of a program that has measured: promise kept, promise not kept."""


def machine_facts() -> dict[str, Any]:
    """Return what a time depends on: processor, cores, memory, GPU; nothing that names the machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    facts: dict[str, Any] = {
        "cpu": fields.get("model name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "system": f"{platform.system()} {platform.machine()}",
    }
    gpus = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return facts | ({"gpu": gpus.splitlines()} if gpus else {})


def version_facts() -> dict[str, str]:
    """Return the versions of Python, of what does the work where it is installed, and the commit of this project."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    commit = _output("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD")
    return versions | ({"commit": commit} if commit else {})


def _output(*command: str) -> str:
    """Return what a command prints; nothing where it is not there or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def programs() -> dict[str, Path]:
    """Return the benchmarks by name."""
    return {path.stem: path for path in sorted((ROOT / "benchmarks").glob("*.py")) if path != Path(__file__).resolve()}


def run_program(program: Path, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Run a benchmark.

    Args:
        program: prints and writes JSON, as all in this folder do.
        arguments: of it, beside `--output`.

    Returns:
        What is kept of it, as JSON has it: `result` is the program's own, None where it ended without one; `kept` is
        None where nothing was judged.
    """
    begun, started = datetime.now(UTC), time.perf_counter()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        command = [sys.executable, str(program), *arguments, "--output", str(output)]
        status = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False).returncode
        result = json.loads(output.read_text()) if output.exists() and status in JUDGED else None
    # A program that can measure nothing here says why; one whose contenders are partly missing names those.
    was_judged = bool(result) and not isinstance(result.get("skipped"), str) and result.get("kept") != {}
    return {
        "program": program.name,
        "arguments": list(arguments),
        "begun": begun.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "took_s": round(time.perf_counter() - started, 1),
        "load_before": round(load, 2),
        "status": status,
        "kept": status == 0 if was_judged else None,
        "machine": machine_facts(),
        "versions": version_facts(),
        "result": result,
    }


def describe(record: Mapping[str, Any]) -> str:
    """Return in a few words what became of a program, as kept in its file."""
    if record["result"] is None:
        return "failed"
    skipped = record["result"].get("skipped")
    if isinstance(skipped, str):
        return f"skipped: {skipped}"
    return {True: "kept", False: "NOT kept", None: "measured, not judged"}[record["kept"]]


def write_whole(path: Path, value: Any) -> None:
    """Write JSON so that the file is never half there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run benchmarks and keep their results; return the exit status."""
    known = programs()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which; all without one. {', '.join(known)}")
    parser.add_argument("--rounds", type=int, help="instead of each program's own number")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    bad = []
    for name in options.names or known:
        sys.stdout.write(f"{name}: ")
        sys.stdout.flush()
        has_rounds = options.rounds is not None and '"--rounds"' in known[name].read_text(encoding="utf-8")
        record = run_program(known[name], ["--rounds", str(options.rounds)] if has_rounds else [])
        write_whole(options.results / f"{name}.json", record)
        sys.stdout.write(f"{describe(record)} (status {record['status']}, {record['took_s']} s)\n")
        if record["result"] is None or record["kept"] is False:
            bad.append(name)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
