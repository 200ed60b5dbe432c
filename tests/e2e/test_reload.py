"""SIGHUP, and a new key file: keys and model change while the service serves, and nobody is turned away."""

import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import onnx_factory
from tests.e2e.server import PATIENCE_S, Server
from tests.pictures import by_pillow, smooth_gray

pytestmark = pytest.mark.e2e

GRAY = by_pillow(smooth_gray(48, 64), "PNG")
KEYS = [f"key-number-{number:08}" for number in range(9)]
SWAPS = 8
LEAST = 1000


def put(path: Path, content: bytes) -> None:
    """Write a file in one piece, as a mounted secret is renewed."""
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    beside.replace(path)


def put_keys(path: Path, *numbers: int) -> None:
    put(path, "\n".join(KEYS[number] for number in numbers).encode())


def post(server: Server, key: str) -> Any:
    headers = {"Content-Type": "image/png", "X-API-Key": key}
    return server.client.post("/colorize", content=GRAY, headers=headers)


def until(condition: Any) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.02)


def reloads(server: Server, what: str, outcome: str = "done") -> float:
    # A page of its own each: the client's connections are busy.
    return server.metric(f'photochrom_reloads_total{{outcome="{outcome}",what="{what}"}}')


def test_models_and_keys_change_under_load_and_no_request_fails(tmp_path: Path) -> None:
    models = [onnx_factory.write_model(tmp_path / f"{run}.onnx", run_id=run).read_bytes() for run in ("one", "two")]
    model, keys = tmp_path / "model.onnx", tmp_path / "keys"
    put(model, models[0])
    put_keys(keys, 0)
    server = Server(model, tmp_path / "log", api_keys_file=keys)
    answers: Counter[tuple[int, str]] = Counter()
    current, is_over = [KEYS[0]], threading.Event()
    lock = threading.Lock()

    def call() -> None:
        while not is_over.is_set():
            answer = post(server, current[0])
            with lock:
                answers[answer.status_code, answer.headers.get("x-photochrom-model", "")] += 1

    callers = [threading.Thread(target=call) for _ in range(4)]
    try:
        for caller in callers:
            caller.start()
        for swap in range(1, SWAPS + 1):
            put(model, models[swap % 2])
            put_keys(keys, swap - 1, swap)  # Callers change theirs while both are good.
            server.process.send_signal(signal.SIGHUP)
            until(lambda swap=swap: reloads(server, "model") == swap)
            current[0] = KEYS[swap]
            seen = answers.total()
            until(lambda seen=seen: answers.total() > seen + 8)
        until(lambda: answers.total() > LEAST)
    finally:
        is_over.set()
        for caller in callers:
            caller.join(PATIENCE_S)
    try:
        assert {status for status, _ in answers} == {200}, answers
        assert min(answers[200, run] for run in ("one", "two")) > 50
        assert post(server, KEYS[0]).status_code == 401
        # The model of before has gone, and the metrics name one.
        assert server.client.get("/metrics").text.count("photochrom_model_info{") == 1
    finally:
        server.stop()
    assert "Traceback" not in server.log.read_text()


def test_what_is_malformed_changes_nothing(tmp_path: Path) -> None:
    model, keys = tmp_path / "model.onnx", tmp_path / "keys"
    onnx_factory.write_model(model, run_id="one")
    put_keys(keys, 0)
    server = Server(model, tmp_path / "log", api_keys_file=keys)
    try:
        put(model, b"no model")
        put(keys, b"# all keys are gone\n")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: reloads(server, "model", "refused") == 1)
        assert reloads(server, "keys", "refused") >= 1
        answer = post(server, KEYS[0])
        assert (answer.status_code, answer.headers["x-photochrom-model"]) == (200, "one")
        assert post(server, "").status_code == 401
        put(model, onnx_factory.write_model(tmp_path / "two.onnx", run_id="two").read_bytes())
        server.process.send_signal(signal.SIGHUP)
        until(lambda: reloads(server, "model") == 1)
        assert post(server, KEYS[0]).headers["x-photochrom-model"] == "two"
    finally:
        server.stop()
    log = server.log.read_text()
    assert "the model of before stays" in log
    assert "the keys of before stay" in log
    assert KEYS[0] not in log


def test_a_key_file_that_changes_needs_no_signal(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    put_keys(keys, 0)
    model = onnx_factory.write_model(tmp_path / "model.onnx")
    often = "import service.http.reload as it; it.LOOK_S = 0.5"
    server = Server(model, tmp_path / "log", before=often, api_keys_file=keys)
    try:
        assert post(server, KEYS[1]).status_code == 401
        put_keys(keys, 1)
        until(lambda: post(server, KEYS[1]).status_code == 200)
        assert post(server, KEYS[0]).status_code == 401
        assert reloads(server, "model") == 0
    finally:
        server.stop()
