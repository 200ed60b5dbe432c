"""A running service: start one, post pictures to it, read its answers."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np

ROOT = Path(__file__).parents[2]
TIMEOUT_S: Final = 60


@contextmanager
def service(model: Path | None, precision: str = "float32") -> Iterator[str]:
    """Run the service on a free port, with a model or the shipped one, computed in one precision; its address.

    Raises:
        RuntimeError: it does not start.
    """
    given = {"PHOTOCHROM_PORT": "0", "PHOTOCHROM_LOG_FORMAT": "text", "PHOTOCHROM_DEVICE": "cpu"}
    given["PHOTOCHROM_PRECISION"] = precision
    if model is not None:
        given["PHOTOCHROM_MODEL"] = str(model.resolve())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PHOTOCHROM_")} | given
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as stream:
            command = [sys.executable, "-m", "service", "serve"]
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream)
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(20 * TIMEOUT_S):
        said = log.read_text(errors="replace")
        if found := re.search(r"http://127\.0\.0\.1:\d+", said):
            return found.group()
        if process.poll() is not None:
            raise RuntimeError(f"the service did not start: {said.strip()}")
        time.sleep(0.05)
    raise RuntimeError(f"the service did not start in {TIMEOUT_S} s")


@dataclass
class Asked:
    """A running service and what is known of it by asking.

    Attributes:
        url: its address, without a slash at the end.
        rounds: how often each question is put.
        run: that its model comes from.
        times_s: of each answer.
        is_steady: whether all rounds of a question got the same bytes.
    """

    url: str
    rounds: int = 1
    run: str = ""
    times_s: list[float] = field(default_factory=list)
    is_steady: bool = True

    def colorize(self, query: str, gray: np.ndarray) -> np.ndarray:
        """Post a gray picture, uint8, (H, W); return the answer, sRGB, uint8, (H, W, 3).

        Raises:
            OSError: no answer, or a refusal.
            RuntimeError: the answer is no picture of the same size.
        """
        answers, data = set(), b""
        for _ in range(self.rounds):
            started = time.perf_counter()
            data = self._answer(f"colorize?{query}", to_png(gray))
            self.times_s.append(time.perf_counter() - started)
            answers.add(data)
        self.is_steady &= len(answers) == 1
        return _picture(data, gray, query)

    def versions(self, queries: Iterable[str], gray: np.ndarray) -> list[np.ndarray]:
        """Do what `colorize` does for several queries with one inference: the service keeps the picture meanwhile.

        Raises:
            OSError: no answer, or a refusal.
            RuntimeError: an answer is no picture of the same size.
        """
        kept = json.loads(self._answer("pictures", to_png(gray)))["id"]
        return [_picture(self._answer(f"pictures/{kept}?{query}"), gray, query) for query in queries]

    def _answer(self, path: str, png: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self.url}/{path}", data=png, headers={"Content-Type": "image/png"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            self.run = answer.headers.get("X-Photochrom-Model", self.run)
            return bytes(answer.read())


def to_png(gray: np.ndarray) -> bytes:
    """Encode a gray picture, uint8, (H, W)."""
    return cv2.imencode(".png", gray)[1].tobytes()


def _picture(data: bytes, gray: np.ndarray, query: str) -> np.ndarray:
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None or bgr.shape[:2] != gray.shape:
        raise RuntimeError(f"the answer to {query} is no picture of {gray.shape[1]} x {gray.shape[0]} px")
    return np.ascontiguousarray(bgr[..., ::-1])
