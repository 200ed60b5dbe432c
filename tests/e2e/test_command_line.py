"""The command line and the client as real processes, against a real server: remote work, interrupts, resuming."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from service.client import AsyncClient, Client
from service.client.errors import InvalidRequest, RefusedPicture, TooLarge, Unauthorized, Unreachable
from tests import onnx_factory
from tests.e2e.server import PATIENCE_S, ROOT, Server
from tests.pictures import by_pillow, smooth_gray

pytestmark = pytest.mark.e2e

KEY = "an-api-key-of-the-tests"
SMALL = by_pillow(smooth_gray(48, 64), "PNG")
LARGE = by_pillow(smooth_gray(900, 1200), "PNG")


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def server(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("log") / "log"
    running = Server(model_path, log, api_keys=KEY, max_upload_bytes=5_000_000, max_megapixels=2)
    yield running
    running.stop()


class Command:
    """A `photochrom` process in a folder of its own."""

    def __init__(self, folder: Path, model: Path, *arguments: str, **variables: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PHOTOCHROM_")}
        environment |= {"PYTHONPATH": str(ROOT), "PHOTOCHROM_MODEL": str(model), **variables}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err


def fill(folder: Path, count: int, data: bytes) -> list[str]:
    folder.mkdir()
    names = [f"{number:02}.png" for number in range(count)]
    for name in names:
        (folder / name).write_bytes(data)
    return names


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def await_answers(folder: Path, count: int) -> None:
    for _ in range(100 * PATIENCE_S):
        if folder.is_dir() and len(list(folder.glob("*.png"))) >= count:
            return
        time.sleep(0.01)
    raise AssertionError(f"{count} answers never came")


def test_a_service_gives_the_same_answers_as_this_machine(server: Server, model_path: Path, tmp_path: Path) -> None:
    fill(tmp_path / "in", 5, SMALL)
    (tmp_path / "in/05.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (tmp_path / "in/06.png").write_bytes(by_pillow(smooth_gray(1500, 1500), "PNG"))
    options = ("--vividness", "1", "--json")
    local = Command(tmp_path, model_path, "colorize", "in", "--out", "here", *options, PHOTOCHROM_MAX_MEGAPIXELS="2")
    local_end = local.end()
    remote = Command(
        *(tmp_path, model_path, "colorize", "in", "--out", "there", "--remote", address(server), *options),
        PHOTOCHROM_API_KEY=KEY,
    )
    for code, out, _ in (local_end, remote.end()):
        assert code == 1
        lines = {Path(line["source"]).name: line for line in map(json.loads, out.splitlines()[:-1])}
        assert [lines[f"{number:02}.png"]["status"] for number in range(5)] == ["colored"] * 5
        assert (lines["05.jpg"]["problem"], lines["06.png"]["problem"]) == ("broken-picture", "picture-too-large")
        assert json.loads(out.splitlines()[-1])["summary"] == {"colored": 5, "skipped": 0, "failed": 2, "left": 0}
    for number in range(5):
        here, there = ((tmp_path / folder / f"{number:02}.png").read_bytes() for folder in ("here", "there"))
        assert here == there


@pytest.mark.parametrize("key", ["", "wrong"])
def test_without_the_key_it_ends_before_it_begins(server: Server, model_path: Path, tmp_path: Path, key: str) -> None:
    fill(tmp_path / "in", 3, SMALL)
    code, out, err = Command(
        *(tmp_path, model_path, "colorize", "in", "--remote", address(server)), PHOTOCHROM_API_KEY=key
    ).end()
    assert code == 1
    assert "3 left" in out
    assert "API key" in err
    assert not (tmp_path / "colorized").exists()


def test_a_busy_service_is_waited_for(model_path: Path, tmp_path: Path) -> None:
    fill(tmp_path / "in", 24, SMALL)
    busy = Server(model_path, tmp_path / "log", max_queue=0, threads=1, max_inflight_megapixels=0.004)
    try:
        code, out, err = Command(
            *(tmp_path, model_path, "colorize", "in", "--remote", address(busy), "--jobs", "8")
        ).end()
        refused = busy.metric('photochrom_requests_total{code="503",route="/colorize"}')
    finally:
        busy.stop()
    assert (code, "24 colored, 0 already there, 0 failed" in out) == (0, True), err
    assert refused > 0, "or nothing was tried here"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("place", ["here", "there"])
def test_interrupts_leave_whole_answers_and_the_rest_for_later(
    server: Server, model_path: Path, tmp_path: Path, place: str, number: signal.Signals
) -> None:
    names = fill(tmp_path / "in", 40, LARGE)
    options = ("--remote", address(server), "--jobs", "2") if place == "there" else ()
    arguments = ("colorize", "in", "--out", "out", *options)
    command = Command(tmp_path, model_path, *arguments, PHOTOCHROM_API_KEY=KEY)
    await_answers(tmp_path / "out", 2)
    command.process.send_signal(number)
    code, out, err = command.end()
    assert code == 128 + number, err
    assert "Traceback" not in err
    assert "interrupted; " in err
    answers = sorted(os.listdir(tmp_path / "out"))
    assert 2 <= len(answers) < 40
    assert set(answers) <= set(names), "nothing unfinished is left"
    assert all(cv2.imread(str(tmp_path / "out" / name)).shape == (900, 1200, 3) for name in answers)
    code, out, _ = Command(tmp_path, model_path, *arguments, PHOTOCHROM_API_KEY=KEY).end()
    assert code == 0
    assert f"{40 - len(answers)} colored, {len(answers)} already there, 0 failed" in out
    assert sorted(os.listdir(tmp_path / "out")) == names


def test_a_service_that_dies_is_noticed_and_another_takes_over(model_path: Path, tmp_path: Path) -> None:
    fill(tmp_path / "in", 30, LARGE)
    first = Server(model_path, tmp_path / "log1")
    arguments = ("colorize", "in", "--out", "out", "--jobs", "2", "--remote")
    command = Command(tmp_path, model_path, *arguments, address(first))
    await_answers(tmp_path / "out", 2)
    first.process.kill()
    first.process.wait()
    second = Server(model_path, tmp_path / "log2", port=first.port)  # Back within the client's patience.
    try:
        code, out, err = command.end()
        assert (code, "30 colored" in out) == (0, True), err
    finally:
        first.client.close()
        second.stop()


def test_the_client_meets_the_real_service(server: Server) -> None:
    with Client(address(server), api_key=KEY) as client:
        assert client.ready() is True
        assert client.health()["status"] == "ok"
        assert client.model()["run_id"] == "tiny-0001"
        answer = client.colorize(SMALL, vividness=1, format="webp", size=96)
        assert (answer.media_type, answer.model) == ("image/webp", "tiny-0001")
        assert answer.scene in onnx_factory.SCENES
        assert answer.timing_ms["infer"] > 0
        assert answer.request_id
        assert client.colorize(SMALL, vividness=1, format="webp", size=96, etag=answer.etag).unchanged
        assert not client.colorize(SMALL, vividness=0, format="webp", size=96, etag=answer.etag).unchanged
        with pytest.raises(RefusedPicture) as refused:
            client.colorize(SMALL[:-50])
        assert (refused.value.status, refused.value.type) == (422, "broken-picture")
        with pytest.raises(RefusedPicture):
            client.colorize(b"")
        with pytest.raises(TooLarge) as large:
            client.colorize(by_pillow(smooth_gray(1500, 1500), "PNG"))
        both = {"max_megapixels": 2, "max_bytes": 5_000_000}
        assert large.value.facts == {"limit": 2, "unit": "megapixels", **both}
        with pytest.raises(InvalidRequest) as invalid:
            client.colorize(SMALL, vividness=2)
        assert invalid.value.facts["errors"]
        assert client.colorize(SMALL).media_type == "image/png", "the connection still works"
    with Client(address(server)) as client, pytest.raises(Unauthorized):
        client.colorize(SMALL)


def test_an_upload_that_is_refused_at_its_head_is_a_typed_error(server: Server) -> None:
    with Client(address(server), api_key=KEY, retries=0) as client:
        for size in (5_000_001, 30_000_000):
            with pytest.raises(TooLarge) as caught:
                client.colorize(bytes(size))
            assert caught.value.type == "upload-too-large"


def test_a_canceled_task_lets_the_service_go(server: Server) -> None:
    async def leave() -> None:
        async with AsyncClient(address(server), api_key=KEY) as client:
            tasks = [asyncio.create_task(client.colorize(LARGE)) for _ in range(12)]
            await asyncio.sleep(0.2)
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert any(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
            assert (await client.colorize(SMALL)).media_type == "image/png"

    asyncio.run(leave())
    server.until("photochrom_waiting_requests", 0)


def test_a_stopping_service_is_overloaded_to_its_callers(model_path: Path, tmp_path: Path) -> None:
    stopping = Server(model_path, tmp_path / "log", drain_notice_s=30)
    try:
        with Client(address(stopping), retries=0) as client:
            stopping.process.terminate()
            for _ in range(20 * PATIENCE_S):
                if not client.ready():
                    break
                time.sleep(0.05)
            assert not client.ready()
            assert client.colorize(SMALL).data, "it still takes pictures for a while"
            stopping.process.send_signal(signal.SIGINT)
    finally:
        stopping.stop()
    with Client(address(stopping), retries=0) as client:
        assert client.ready() is False
        with pytest.raises(Unreachable, match="no connection"):
            client.colorize(SMALL)
