"""Our network against those that one would pick instead: ECCV16, SIGGRAPH17, DeOldify's artistic one, DDColor-tiny.

Ours is the model that ships, with all it computes: both heads, the scene, the decode and its spread, at its own size
and at 256 px. The others are built layer by layer from their authors' source (`architectures/`), at 256 px, with
random weights: what a network costs does not depend on its weights. All run in the same ONNX Runtime with the same
settings and threads, one picture at a time, taking turns; a ratio is the median of the rounds' ratios.

    python benchmarks/networks.py [--rounds 9] [--output networks.json]

GFLOPs count the multiplications and the additions of convolutions and matrix products. Memory is what a process of its
own takes at most while it loads and runs the network, above what ONNX Runtime alone takes. CUDA is measured, too, where
ONNX Runtime really runs on it.

Exit status 1 unless ours takes at most a fifth of ECCV16's time at 256 px on this CPU. Needs onnx, 1 GB of disk for a
while and 4 GB of memory; wants a machine with nothing else to do.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from chroma.signature import KNOB_NAMES, LIGHTNESS, STAMP_KEY, Stamp  # noqa: E402 - the project need not be installed
from service.engine.onnx_runtime import CPU, CUDA, CUDA_OPTIONS  # noqa: E402
from service.engine.session import shipped_model  # noqa: E402
from service.machine import usable_cores  # noqa: E402

OURS: Final = "photochrom"
SIZE_PX: Final = 256
"""Of the comparison: what ECCV16 and SIGGRAPH17 were made for, and the least that users of the others choose."""
MOST: Final = 0.2
"""Of ECCV16's time."""
WARM_UP: Final = 2


@dataclass(frozen=True)
class Contender:
    """A network at a size.

    Attributes:
        name: of the network, and the size.
        path: its ONNX file.
        size_px: side of the picture.
        gflops: for one picture.
        parameters: number of weights.
    """

    name: str
    path: Path
    size_px: int
    gflops: float
    parameters: int


def open_session(path: Path, device: str, threads: int) -> ort.InferenceSession:
    """Open a model as the service does.

    Args:
        path: an ONNX file.
        device: `cpu` or `cuda`.
        threads: of one inference.

    Returns:
        The session.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=[(CUDA, CUDA_OPTIONS), CPU] if device == "cuda" else [CPU])


def make_feeds(session: ort.InferenceSession, size_px: int) -> dict[str, np.ndarray]:
    """Return one picture of noise as the network wants it, and for ours the default knobs.

    Args:
        session: the network.
        size_px: side of the picture.

    Returns:
        Arrays by the names of the inputs, float32.
    """
    noise = np.random.default_rng(0).random((1, size_px, size_px, 1), np.float32)
    inputs = {node.name: node.shape for node in session.get_inputs()}
    if LIGHTNESS not in inputs:
        (name, shape) = next(iter(inputs.items()))
        picture = np.repeat(noise.transpose(0, 3, 1, 2), shape[1], axis=1)
        return {name: np.ascontiguousarray(picture) * np.float32(100 if shape[1] == 1 else 1)}
    knobs = Stamp.from_json(session.get_modelmeta().custom_metadata_map[STAMP_KEY]).vividness_curve.at(0.5)
    return {LIGHTNESS: 100 * noise} | {name: np.array([getattr(knobs, name)], np.float32) for name in KNOB_NAMES}


def has_cuda() -> bool:
    """Say whether a model really runs on CUDA here."""
    if CUDA not in ort.get_available_providers():
        return False
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # It prints what it does not find.
        ort.preload_dlls()
    return open_session(shipped_model(), "cuda", 1).get_providers()[0] == CUDA


def make_contenders(names: list[str], size_px: int, folder: Path) -> list[Contender]:
    """Write the others' networks, and count them and ours.

    Args:
        names: of the others.
        size_px: of the comparison.
        folder: for their files.

    Returns:
        Ours at its own size and at this one, then the others.
    """
    import onnx

    from benchmarks.architectures import PUBLISHED
    from benchmarks.architectures.graph import count_gflops

    model = onnx.load(shipped_model())
    stamp = Stamp.from_json(next(each.value for each in model.metadata_props if each.key == STAMP_KEY))
    found = []
    for side in dict.fromkeys((stamp.size, size_px)):
        shapes = {LIGHTNESS: [1, side, side, 1]} | {name: [1] for name in KNOB_NAMES}
        counted = count_gflops(model, shapes)
        found.append(Contender(f"{OURS} {side}", shipped_model(), side, counted, stamp.parameters))
    for name in names:
        graph, output = PUBLISHED[name].build(size_px)
        built = graph.to_onnx(output)
        path = folder / f"{name}.onnx"
        onnx.save(built, path)
        found.append(Contender(f"{name} {size_px}", path, size_px, count_gflops(built), graph.parameters))
    return found


def take_turns(contenders: list[Contender], device: str, threads: int, rounds: int) -> dict[str, list[float]]:
    """Run every network once a round.

    Args:
        contenders: the networks.
        device: `cpu` or `cuda`.
        threads: of one inference.
        rounds: that count.

    Returns:
        Milliseconds of each round by the names of the contenders.
    """
    sessions = [open_session(each.path, device, threads) for each in contenders]
    feeds = [make_feeds(session, each.size_px) for session, each in zip(sessions, contenders, strict=True)]
    took: dict[str, list[float]] = {each.name: [] for each in contenders}
    for turn in range(WARM_UP + rounds):
        for each, session, feed in zip(contenders, sessions, feeds, strict=True):
            since = time.perf_counter()
            session.run(None, feed)
            if turn >= WARM_UP:
                took[each.name].append(1000 * (time.perf_counter() - since))
    return took


def report_memory(path: Path, size_px: int, threads: int) -> dict[str, float]:
    """Load and run a network in this process, and return what memory that took above what was taken before.

    Args:
        path: an ONNX file.
        size_px: side of the picture.
        threads: of one inference.

    Returns:
        Megabytes: at most, and held after the runs.
    """
    idle = _memory_mb("VmRSS")
    session = open_session(path, "cpu", threads)
    feed = make_feeds(session, size_px)
    for _ in range(WARM_UP):
        session.run(None, feed)
    return {"peak_mb": round(_memory_mb("VmHWM") - idle), "held_mb": round(_memory_mb("VmRSS") - idle)}


def _memory_mb(field: str) -> float:
    """Return a figure of this process, NaN where the system does not say; `ru_maxrss` would be the parent's."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith(f"{field}:"))


def ask_memory(contender: Contender, threads: int) -> dict[str, float]:
    """Return the memory of a network in a process of its own."""
    how = ["--memory", str(contender.path), "--size", str(contender.size_px), "--threads", str(threads)]
    child = subprocess.run([sys.executable, __file__, *how], check=True, stdout=subprocess.PIPE)
    answer: dict[str, float] = json.loads(child.stdout)
    return answer


def summarize(took: dict[str, list[float]], own: str, same: str) -> dict[str, dict[str, Any]]:
    """Return figures by contender.

    Args:
        took: milliseconds of each round by contender.
        own: name of our network at its own size.
        same: name of our network at the size of the others.

    Returns:
        Median, least and most milliseconds, and how many times as long as ours each takes, paired by round.
    """

    def over(name: str, base: str) -> dict[str, Any]:
        ratios = [theirs / mine for theirs, mine in zip(took[name], took[base], strict=True)]
        return {"ratio": round(statistics.median(ratios), 3), "spread": [round(min(ratios), 3), round(max(ratios), 3)]}

    return {
        name: {
            "ms": round(statistics.median(each), 2),
            "ms_spread": [round(min(each), 2), round(max(each), 2)],
            "times_ours": over(name, same),
            "times_ours_at_its_own_size": over(name, own),
        }
        for name, each in took.items()
    }


def measure(names: list[str], size_px: int, threads: int, rounds: int) -> dict[str, Any]:
    """Measure on every device there is.

    Args:
        names: of the others.
        size_px: of the comparison.
        threads: of one inference.
        rounds: that count.

    Returns:
        The result.
    """
    from benchmarks.architectures import PUBLISHED
    from benchmarks.architectures.graph import count_gflops

    with tempfile.TemporaryDirectory() as folder:
        contenders = make_contenders(names, size_px, Path(folder))
        memory = {each.name: ask_memory(each, threads) for each in contenders}
        devices = ["cpu", "cuda"] if has_cuda() else ["cpu"]
        taken = {device: take_turns(contenders, device, threads, rounds) for device in devices}
    same = f"{OURS} {size_px}"
    networks = {
        each.name: {"size_px": each.size_px, "gflops": round(each.gflops, 2), "parameters": each.parameters}
        | {"memory": memory[each.name]}
        for each in contenders
    }
    for name in names:
        graph, output = PUBLISHED[name].build(PUBLISHED[name].own_px)
        own = {"px": PUBLISHED[name].own_px, "gflops": round(count_gflops(graph.to_onnx(output, weights=False)), 1)}
        networks[f"{name} {size_px}"] |= {
            "title": PUBLISHED[name].title,
            "at_its_own_size": own,
            "published": {
                "parameters_million": PUBLISHED[name].parameters,
                "gflops_at_256_px": PUBLISHED[name].gflops,
                "counted_by": PUBLISHED[name].counted_by,
                "layers_from": PUBLISHED[name].source,
            },
        }
    result: dict[str, Any] = {
        "size_px": size_px,
        "rounds": rounds,
        "threads": threads,
        "weights": "random, but for ours; what a network costs does not depend on its weights",
        "networks": networks,
        "devices": {device: summarize(took, contenders[0].name, same) for device, took in taken.items()},
        "versions": {"onnxruntime": ort.__version__, "numpy": np.__version__},
    }
    if "eccv16" in names:
        took = taken["cpu"]
        shares = [mine / theirs for mine, theirs in zip(took[same], took[f"eccv16 {size_px}"], strict=True)]
        share = statistics.median(shares)
        result |= {
            "share_of_eccv16": round(share, 3),
            "share_of_eccv16_spread": [round(min(shares), 3), round(max(shares), 3)],
            "kept": {"share_of_eccv16": share <= MOST},
        }
    return result


def main() -> int:
    """Measure, print JSON, judge."""
    everyone = ["eccv16", "siggraph17", "deoldify_artistic", "ddcolor_tiny"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--networks", nargs="+", choices=everyone, default=everyone, metavar="NAME")
    parser.add_argument("--size", type=int, default=SIZE_PX, help="px, a multiple of 32; promised for %(default)s")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="default: all cores")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        sys.stdout.write(json.dumps(report_memory(arguments.memory, arguments.size, arguments.threads)))
        return 0
    result = measure(arguments.networks, arguments.size, arguments.threads, arguments.rounds)
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.output:
        arguments.output.write_text(text)
    return 0 if all(result.get("kept", {}).values()) else 1


if __name__ == "__main__":
    sys.exit(main())
