"""What Ray Serve costs a request: through its HTTP server and a replica, against plain `photochrom serve`.

Both run on this machine with the same model and as many threads. The same request goes to one and to the other in
turn, and each pair gives one ratio, so that a busy machine changes the milliseconds and hardly the ratio. The answers
must have the same bytes. Nothing else is promised.

    python benchmarks/ray_overhead.py --rounds 40

Needs the environment that `make test-ray` makes; without it nothing is measured, and the exit status is 0.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import cv2
import httpx2
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.server import Server  # noqa: E402
from tests.ray.nodes import COMMANDS, PATIENCE_S, free_port, running, until  # noqa: E402

SIDES_PX: Final = (300, 1000, 3464)
"""0.09, 1, and 12 megapixels."""
WARM_UP: Final = 5


def requests() -> dict[str, bytes]:
    """Return what is posted, by name: nothing, then gray JPEGs of several sizes."""
    gray = cv2.imread(str(ROOT / "tests" / "data" / "astronaut.jpg"), cv2.IMREAD_GRAYSCALE)
    bodies = {"health": b""}
    for side in SIDES_PX:
        picture = cv2.resize(gray, (side, side), interpolation=cv2.INTER_CUBIC)
        bodies[f"{side * side / 1e6:.2g} megapixels"] = bytes(cv2.imencode(".jpg", picture)[1])
    return bodies


def ask(client: httpx2.Client, data: bytes) -> tuple[float, bytes]:
    """Return how long one request took, seconds, and its answer."""
    started = time.perf_counter()
    answer = client.post("/colorize", content=data) if data else client.get("/health/live")
    took = time.perf_counter() - started
    answer.raise_for_status()
    return took, answer.content


def compare(plain: httpx2.Client, ray: httpx2.Client, data: bytes, rounds: int) -> dict[str, Any]:
    """Ask both in turn, the first one changing, and compare."""
    pairs = []
    for number in range(-WARM_UP, rounds):
        order = (plain, ray) if number % 2 else (ray, plain)
        took = {client: ask(client, data) for client in order}
        assert took[plain][1] == took[ray][1], "the answers differ"
        if number >= 0:
            pairs.append((took[plain][0], took[ray][0]))
    ratios = statistics.quantiles([through / straight for straight, through in pairs], n=4)
    extra = statistics.quantiles([1000 * (through - straight) for straight, through in pairs], n=4)
    return {
        "upload_bytes": len(data),
        "plain_ms": round(1000 * statistics.median(straight for straight, _ in pairs), 2),
        "ray_ms": round(1000 * statistics.median(through for _, through in pairs), 2),
        "ratio": round(ratios[1], 3),
        "ratio_quartiles": [round(ratios[0], 3), round(ratios[2], 3)],
        "extra_ms": round(extra[1], 2),
        "extra_ms_quartiles": [round(extra[0], 2), round(extra[2], 2)],
    }


def memory_mb(processes: list[int]) -> float:
    """Return what processes take together, shared pages counted once: the sum of their proportional set sizes."""
    total = 0
    for process in processes:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            total += int(line.split()[1]) if line.startswith("Pss:") else 0
    return round(total * 1024 / 1e6, 1)


def measure(rounds: int, threads: int) -> dict[str, Any]:
    """Start both, measure, end both."""
    config = yaml.safe_load((ROOT / "docker" / "ray-serve.yaml").read_text())
    config["http_options"]["port"] = port = free_port()
    (application,) = config["applications"]
    application["runtime_env"]["env_vars"]["PHOTOCHROM_DEVICE"] = "cpu"
    (deployment,) = application["deployments"]
    deployment["ray_actor_options"]["num_cpus"] = threads
    deployment["autoscaling_config"]["max_replicas"] = 1
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as name, running() as nodes:
        folder = Path(name)
        (folder / "serve.yaml").write_text(yaml.safe_dump(config))
        started = time.perf_counter()
        node = nodes.add(cpus=threads)
        cluster_s = time.perf_counter() - started
        with (folder / "log").open("wb") as stream:
            command = [COMMANDS / "serve", "run", "--address", nodes.address, folder / "serve.yaml"]
            deployed = subprocess.Popen(command, cwd=ROOT, env=nodes.environment, stdout=stream, stderr=stream)
        try:
            until(lambda: deployed.poll() is not None or is_ready(address), "serve run")
            assert deployed.poll() is None, (folder / "log").read_text()
            ready_s = time.perf_counter() - started
            server = Server(
                ROOT / "service" / "model" / "default.onnx", folder / "plain", threads=threads, kept_bytes=0
            )
            try:
                with httpx2.Client(base_url=address, timeout=PATIENCE_S) as ray:
                    found = {kind: compare(server.client, ray, data, rounds) for kind, data in requests().items()}
                memory = {
                    "plain": memory_mb([server.process.pid]),
                    "ray": memory_mb(node.processes()),
                    "ray_replica": memory_mb(node.processes("ray::ServeReplica")),
                }
            finally:
                server.stop()
        finally:
            deployed.kill()
            deployed.wait()
    return {
        "kept": {},
        "rounds": rounds,
        "threads": threads,
        "requests": found,
        "memory_mb": memory,
        "start_s": {"cluster": round(cluster_s, 1), "cluster_and_application": round(ready_s, 1)},
    }


def is_ready(address: str) -> bool:
    """Say whether the application answers."""
    try:
        return httpx2.get(f"{address}/health/ready", timeout=PATIENCE_S).status_code == 200
    except httpx2.TransportError:
        return False


def main() -> int:
    """Measure, print and write the result; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=40, help="pairs of requests of each kind")
    parser.add_argument("--output", type=Path, help="write the result to this file, too")
    options = parser.parse_args()
    if (COMMANDS / "ray").exists():
        result = measure(max(options.rounds, 2), len(os.sched_getaffinity(0)))
    else:
        result = {"skipped": "Ray is not installed: `make test-ray` makes the environment that has it"}
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
