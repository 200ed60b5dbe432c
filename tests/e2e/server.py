"""A real `photochrom serve` in a process of its own, for tests to talk to."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60
"""The machine may be busy with other things."""


class Server:
    """A running `photochrom serve`.

    Args:
        model: ONNX file.
        log: file for what it writes.
        variables: more of its environment.
        before: code that its process runs first.
        settings: of the service.
    """

    def __init__(
        self, model: Path, log: Path, *, variables: dict[str, str] | None = None, before: str = "", **settings: object
    ) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PHOTOCHROM_")}
        given = {"model": model, "port": 0, "device": "cpu", "log_format": "json", **settings}
        environment["PHOTOCHROM_PRECISION"] = "float32"  # As in tests/conftest.py.
        environment |= variables or {}
        environment |= {f"PHOTOCHROM_{name.upper()}": str(value) for name, value in given.items()}
        self.log = log
        program = ["-m", "service"]
        if before:
            program = [
                "-c",
                f"{before}; import runpy; runpy.run_module('service', run_name='__main__', alter_sys=True)",
            ]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, *program, "serve"], cwd=ROOT, env=environment, stdout=stream, stderr=stream
            )
        self.port = self._await_port()
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE_S)

    def _await_port(self) -> int:
        for _ in range(20 * PATIENCE_S):
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", self.log.read_text()):
                return int(found.group(1))
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        self.process.kill()
        self.process.wait()
        raise AssertionError("the server did not start: " + self.log.read_text())

    def post(self, data: bytes, query: str = "") -> Any:
        return self.client.post(f"/colorize{query}", content=data, headers={"Content-Type": "image/png"})

    def metric(self, line: str) -> float:
        found = re.search(rf"^{re.escape(line)} (\S+)$", self.client.get("/metrics").text, re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    def until(self, line: str, value: float, *, at_least: bool = False) -> None:
        for _ in range(20 * PATIENCE_S):
            found = self.metric(line)
            if found == value or (at_least and found > value):
                return
            time.sleep(0.05)
        raise AssertionError(f"{line} never became {value}")

    def stop(self) -> int:
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(PATIENCE_S)
