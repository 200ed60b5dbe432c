"""Memory stays within what docs/operating.md promises, whatever comes at once."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import pytest

from service.settings import Settings
from tests import onnx_factory
from tests.e2e.server import PATIENCE_S, ROOT, Server
from tests.pictures import bomb_png, smooth_gray

pytestmark = pytest.mark.e2e

MARGIN_MB = 120
"""Uploads that wait, sockets, allocators."""


def peak_mb(server: Server, kind: str = "VmHWM") -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(rf"^{kind}:\s+(\d+) kB", status, re.MULTILINE)
    assert found
    return int(found.group(1)) / 1024


def tree_mb(process: int) -> float:
    """Return what a process and its children have in memory, MB; what they share counts once."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    assert found
    return int(found.group(1)) / 1024 + sum(tree_mb(int(child)) for child in children)


def published_mb_a_megapixel() -> float:
    document = (ROOT / "docs" / "operating.md").read_text()
    found = re.search(r"(\d+) MB \(gray, ordinary color\)", document)
    assert found
    return float(found.group(1))


def test_bombs_and_huge_pictures_at_once_stay_within_the_promise(tmp_path: Path) -> None:
    server = Server(onnx_factory.write_model(tmp_path / "tiny.onnx"), tmp_path / "log", deadline_s=600, max_queue=100)
    huge, bomb = cv2.imencode(".jpg", smooth_gray(6250, 8000))[1].tobytes(), bomb_png()
    try:
        server.post(cv2.imencode(".png", smooth_gray(64, 64))[1].tobytes())
        start_mb = peak_mb(server, "VmRSS")

        def send(data: bytes) -> int:
            status: int = server.client.post(
                "/colorize?format=jpeg", content=data, headers={"Content-Type": "image/jpeg"}, timeout=600
            ).status_code
            return status

        with ThreadPoolExecutor(20) as pool:
            statuses = list(pool.map(send, [huge, *[bomb] * 64, huge]))
        assert statuses.count(200) == 2
        assert statuses.count(413) == 64
        allowed_mb = published_mb_a_megapixel() * Settings().max_inflight_megapixels + MARGIN_MB
        assert peak_mb(server) - start_mb <= allowed_mb
        for gauge in ("photochrom_inflight_megapixels", "photochrom_waiting_requests", "photochrom_queue_depth"):
            server.until(gauge, 0)
    finally:
        server.stop()
    assert "Traceback" not in server.log.read_text()


def test_memory_comes_back_after_a_large_picture(tmp_path: Path) -> None:
    server = Server(onnx_factory.write_model(tmp_path / "tiny.onnx"), tmp_path / "log", deadline_s=600)
    try:
        server.post(cv2.imencode(".png", smooth_gray(1000, 1000))[1].tobytes())
        idle_mb = tree_mb(server.process.pid)
        answer = server.post(cv2.imencode(".png", smooth_gray(1500, 2000))[1].tobytes(), "?size=1024&variants=2")
        assert answer.status_code == 200
        # docs/operating.md: an inference at this size, the picture, and what its posterior counts as.
        assert peak_mb(server) - idle_mb <= 400 + published_mb_a_megapixel() * (3 + 34) + MARGIN_MB
        ends = time.monotonic() + PATIENCE_S
        while tree_mb(server.process.pid) > idle_mb + 60:
            assert time.monotonic() < ends, (idle_mb, tree_mb(server.process.pid))
            time.sleep(0.1)
    finally:
        server.stop()
