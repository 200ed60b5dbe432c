"""The real server process: real bytes, broken bytes, broken connections, signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx2
import numpy as np
import pytest
from PIL import Image

from chroma.lab import gray_to_lightness, rgb_u8_to_lightness
from tests import onnx_factory
from tests.e2e.server import PATIENCE_S, ROOT, Server
from tests.pictures import bomb_png, by_opencv, by_pillow, levels, smooth_gray, with_orientation

pytestmark = pytest.mark.e2e

GRAY = by_pillow(smooth_gray(48, 64), "PNG")
TWELVE_MEGAPIXELS = cv2.imencode(".jpg", smooth_gray(3000, 4000))[1].tobytes()


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def server(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(model_path, tmp_path_factory.mktemp("log") / "log", max_upload_bytes=20_000_000)
    yield running
    running.stop()


@pytest.fixture
def own_server(model_path: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that a test may stop."""
    running = Server(model_path, tmp_path / "log")
    yield running
    running.stop()


def pixels_of(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    return cv2.cvtColor(image, {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}[image.shape[2]])


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (by_pillow(smooth_gray(1, 1), "PNG"), (1, 1, 3)),
        (by_pillow(smooth_gray(17, 3000), "PNG"), (17, 3000, 3)),
        (TWELVE_MEGAPIXELS, (3000, 4000, 3)),
        (by_opencv(smooth_gray(70, 90, dtype=np.uint16), ".png"), (70, 90, 3)),
        (by_pillow(levels(70, 90, 4), "PNG"), (70, 90, 4)),
        (with_orientation(smooth_gray(70, 90), 6), (90, 70, 3)),
        (by_pillow(Image.fromarray(levels(70, 90, 3)).convert("CMYK"), "JPEG"), (70, 90, 3)),
        (by_pillow(Image.fromarray(levels(70, 90, 3)).quantize(9), "PNG"), (70, 90, 3)),
    ],
    ids=["1x1", "3000x17", "12MP", "16-bit", "rgba", "rotated", "cmyk", "palette"],
)
def test_raw_bodies_and_forms_come_back_at_their_own_size(
    server: Server, data: bytes, shape: tuple[int, int, int]
) -> None:
    raw = server.post(data)
    assert pixels_of(raw).shape == shape
    form = server.client.post("/colorize", files={"image": ("photo", data)})
    assert form.content == raw.content


def test_lightness_is_kept(server: Server) -> None:
    gray = smooth_gray(200, 300)
    change = np.abs(rgb_u8_to_lightness(pixels_of(server.post(by_pillow(gray, "PNG")))) - gray_to_lightness(gray))
    assert change.mean() <= 0.3
    assert np.percentile(change, 99) <= 1.0


@pytest.mark.parametrize(
    ("method", "path", "data", "status"),
    [
        ("POST", "/colorize", b"", 422),
        ("POST", "/colorize", b"not a picture", 415),
        ("POST", "/colorize", TWELVE_MEGAPIXELS[:5000], 422),
        ("POST", "/colorize", bomb_png(), 413),
        ("POST", "/colorize", bytes(20_000_001), 413),
        ("POST", "/colorize?mode=nonsense", GRAY, 422),
        ("PUT", "/colorize", GRAY, 405),
        ("GET", "/nowhere", b"", 404),
    ],
    ids=["empty", "garbage", "truncated", "bomb", "too-large", "option", "method", "route"],
)
def test_bad_requests_are_problems_and_the_service_goes_on(
    server: Server, method: str, path: str, data: bytes, status: int
) -> None:
    answer = server.client.request(method, path, content=data, headers={"Content-Type": "image/jpeg"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert server.post(GRAY).status_code == 200


def test_cut_connections_leave_nothing_behind(server: Server) -> None:
    head = b"POST /colorize HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
    before = server.metric('photochrom_cancelled_total{where="read"}')
    for sent in (b"", b"GARBAGE\r\n\r\n", head % len(GRAY), head % len(GRAY) + GRAY[:50]):
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
            connection.sendall(sent)
            time.sleep(0.1)
    server.until('photochrom_cancelled_total{where="read"}', before + 2)
    server.until("photochrom_inflight_megapixels", 0)
    assert server.post(GRAY).status_code == 200


def test_a_caller_who_leaves_stops_the_work(server: Server) -> None:
    head = b"POST /colorize HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
    encoded = server.metric('photochrom_stage_duration_seconds_count{stage="encode"}')
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        connection.sendall(head % len(TWELVE_MEGAPIXELS) + TWELVE_MEGAPIXELS)
        server.until("photochrom_inflight_megapixels", 12, at_least=True)
    server.until("photochrom_inflight_megapixels", 0)
    assert server.metric('photochrom_stage_duration_seconds_count{stage="encode"}') == encoded


@pytest.mark.parametrize("megabytes", [0.5, 6])
def test_a_refused_upload_gets_its_answer_however_large_it_is(server: Server, megabytes: float) -> None:
    """Up to a megabyte is dropped and the connection goes on; of more the connection ends, with its answer."""
    length = int(megabytes * 2**20)
    head = (
        b"POST /colorize HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nContent-Type: image/png\r\nContent-Length: %d\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        # Here the caller waits for permission to send, and gets the answer instead.
        connection.sendall(head % length + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 406")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        connection.sendall(head % length + b"\r\n" + bytes(length))
        if megabytes < 1:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answers.startswith(b"HTTP/1.1 406")
    assert b'"type":"urn:photochrom:problem:not-acceptable"' in answers
    assert (b'{"status":"ok"}' in answers) == (megabytes < 1)


def written_by(process: int) -> int:
    """Return how many bytes a process has given to disks."""
    lines = Path(f"/proc/{process}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))


def test_a_full_disk_hinders_nobody(own_server: Server) -> None:
    """Nothing of photographs, pixels and answers goes to the disk, which has room for the log alone."""
    before = written_by(own_server.process.pid)
    picture = by_pillow(levels(1100, 1200), "PNG")
    assert len(picture) > 1_200_000
    for _ in range(3):
        form = own_server.client.post("/colorize", files={"image": ("photo", picture)})
        assert pixels_of(form).shape == (1100, 1200, 3)
    assert written_by(own_server.process.pid) - before < 1 << 16


def test_framing_that_contradicts_itself_ends_the_connection(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        head = b"POST /colorize HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        connection.sendall(head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        answer = b""
        while part := connection.recv(1 << 16):  # until the other side has closed
            answer += part
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"malformed-request" in answer
    assert answer.count(b"HTTP/1.1") == 1


def test_logs_are_json_lines_with_request_ids(server: Server) -> None:
    server.client.get("/model", headers={"X-Request-ID": "find-me"})
    found: list[dict[str, object]] = []
    ends = time.monotonic() + PATIENCE_S
    while not found and time.monotonic() < ends:  # The line is written once the answer has left.
        lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.endswith("}")]
        found = [line for line in lines if line["request_id"] == "find-me"]
    assert [(line["message"], line["path"], line["status"]) for line in found] == [("request", "/model", 200)]


def test_sigterm_finishes_what_is_under_way(own_server: Server) -> None:
    answers: list[Any] = []
    worker = threading.Thread(target=lambda: answers.append(own_server.post(TWELVE_MEGAPIXELS)))
    worker.start()
    own_server.until("photochrom_inflight_megapixels", 12, at_least=True)
    own_server.process.send_signal(signal.SIGTERM)
    worker.join(PATIENCE_S)
    assert pixels_of(answers[0]).shape == (3000, 4000, 3)
    assert own_server.process.wait(PATIENCE_S) in (0, -signal.SIGTERM)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", own_server.port), timeout=1)
    assert "Traceback" not in own_server.log.read_text()


def test_sigterm_first_says_not_ready_and_goes_on_serving(model_path: Path, tmp_path: Path) -> None:
    server = Server(model_path, tmp_path / "log", drain_notice_s=4)
    assert server.client.get("/health/ready").status_code == 200
    server.process.send_signal(signal.SIGTERM)
    while (ready := server.client.get("/health/ready").status_code) == 200:
        time.sleep(0.01)
    assert ready == 503
    assert server.client.get("/health/live").status_code == 200
    assert server.post(GRAY).status_code == 200
    assert server.process.wait(PATIENCE_S) in (0, -signal.SIGTERM)
    server.stop()


def test_a_deployment_under_load_fails_no_request(model_path: Path, tmp_path: Path) -> None:
    """Callers who honor readiness, as a load balancer does, see no failure when the process is told to stop."""
    server = Server(model_path, tmp_path / "log", drain_notice_s=PATIENCE_S)
    statuses: list[int | str] = []

    def call() -> None:
        with httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=PATIENCE_S) as client:
            while client.get("/health/ready").status_code == 200:
                try:
                    statuses.append(
                        client.post("/colorize", content=GRAY, headers={"Content-Type": "image/png"}).status_code
                    )
                except httpx2.HTTPError as error:
                    statuses.append(repr(error))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    while len(statuses) < 20 and any(caller.is_alive() for caller in callers):
        time.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    for caller in callers:
        caller.join(PATIENCE_S)
    assert set(statuses) == {200}
    server.process.send_signal(signal.SIGINT)  # Nobody needs the rest of the notice.
    assert server.process.wait(PATIENCE_S) in (0, -signal.SIGINT, -signal.SIGTERM)
    server.stop()


def test_a_killed_process_leaves_nothing_that_hinders_the_next(model_path: Path, tmp_path: Path) -> None:
    first = Server(model_path, tmp_path / "first")
    first.process.kill()
    first.process.wait(PATIENCE_S)
    second = Server(model_path, tmp_path / "second", port=first.port)
    assert second.port == first.port
    assert second.client.get("/health/ready").status_code == 200
    assert second.post(GRAY).status_code == 200
    first.stop()
    second.stop()


GRACE_S = 4.0
"""How long callers may send nothing; ten seconds otherwise."""


def test_slow_callers_keep_nobody_out(model_path: Path, tmp_path: Path) -> None:
    """Two hundred who send a byte and wait: in the head of a request, in its body, and after it."""
    server = Server(model_path, tmp_path / "log", before=f"import service.http.exchange as it; it.GRACE_S = {GRACE_S}")
    head = b"POST /colorize HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n"
    slow = []
    try:
        for number in range(200):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
            connection.sendall((b"POST /colo", head, head + GRAY[:9])[number % 3])
            slow.append(connection)
        for _ in range(3):
            assert server.post(GRAY).status_code == 200
            assert server.client.get("/health/live").status_code == 200
        # Whoever sends no body in time is told so, and its connection can go.
        answer = b""
        while not answer.endswith(b"}") and (more := slow[1].recv(65536)):
            answer += more
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"upload-too-slow" in answer
        server.until("photochrom_inflight_megapixels", 0)
    finally:
        for connection in slow:
            connection.close()
        server.stop()


def test_ctrl_c_ends_at_once_and_quietly(model_path: Path, tmp_path: Path) -> None:
    server = Server(model_path, tmp_path / "log", drain_notice_s=100)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(PATIENCE_S) == 0
    assert "Traceback" not in server.log.read_text()
    server.stop()


def serve_and_fail(**settings: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {f"PHOTOCHROM_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "service", "serve"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)


def test_a_start_that_cannot_work_says_why(tmp_path: Path, model_path: Path) -> None:
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(b"not a model")
    for settings, reason in (
        ({"model": tmp_path / "gone.onnx"}, "cannot read the model"),
        ({"model": foreign}, "not an ONNX model"),
        ({"model": model_path, "device": "cuda"}, "PHOTOCHROM_DEVICE=cuda"),
        ({"model": model_path, "port": "many"}, "PHOTOCHROM_PORT"),
        ({"model": model_path, "api_keys": "short"}, "API key number 1 is not"),
    ):
        result = serve_and_fail(**settings)
        assert result.returncode in (1, 2)
        assert reason in result.stderr
        assert "Traceback" not in result.stderr


def test_a_taken_port_fails_the_start(server: Server, model_path: Path) -> None:
    result = serve_and_fail(model=model_path, port=server.port)
    assert result.returncode != 0
    assert "address already in use" in result.stderr


def test_a_large_upload_lies_on_the_disk_and_is_gone_after_a_kill(model_path: Path, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    own = Server(model_path, tmp_path / "log", spool_dir=spool)
    try:
        with socket.create_connection(("127.0.0.1", own.port)) as connection:
            head = b"POST /colorize HTTP/1.1\r\nHost: x\r\nContent-Type: image/tiff\r\nContent-Length: %d\r\n\r\n"
            connection.sendall(head % (20 << 20) + bytes(3 << 20))
            for _ in range(200):
                if own.metric("photochrom_spooled_bytes") >= 2 << 20:
                    break
                time.sleep(0.05)
            assert own.metric("photochrom_held_bytes") < 2 << 20
            opened = [os.readlink(link) for link in Path(f"/proc/{own.process.pid}/fd").iterdir()]
            assert [name for name in opened if name.startswith(str(spool)) and name.endswith("(deleted)")]
            assert list(spool.iterdir()) == []
            own.process.kill()
            own.process.wait()
        assert list(spool.iterdir()) == []
    finally:
        own.stop()


def test_a_directory_that_takes_no_uploads_stops_the_start(model_path: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"nowhere takes no uploads .*set PHOTOCHROM_SPOOL_DIR"):
        Server(model_path, tmp_path / "log", spool_dir=tmp_path / "nowhere")
