"""Large answers leave while they are made: their first bytes, callers who leave or wait, and what breaks off."""

import asyncio
import json
import logging
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import uvicorn

from chroma.compose import ComposedRows
from service.archive.there import There
from service.client import AsyncClient, ClientError, Unreachable
from service.engine import byte_budget, outlet
from service.engine.pipeline import Pipeline
from service.engine.spool import Spool
from service.errors import OutOfDisk
from service.http.app import create_app
from service.http.connection import Connection
from service.http.waiting import Deadline
from service.settings import Settings
from tests import onnx_factory
from tests.integration.test_service_under_load import Call, check_idle, metric, until
from tests.pictures import by_pillow, levels

HEIGHT, WIDTH = 240, 320
NOISE = by_pillow(levels(HEIGHT, WIDTH), "PNG")
"""Its answers take as many bytes as they have pixels: more than connections hold here."""
PIXELS = HEIGHT * WIDTH * 3
HELD, SPOOLED = "photochrom_held_bytes", "photochrom_spooled_bytes"


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(autouse=True)
def _scaled_down(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("service.engine.colorizer", "service.engine.memory_cost"):
        monkeypatch.setattr(f"{place}.LARGE_PIXELS", 1000)
    monkeypatch.setattr("service.pictures.png.STRIP_BYTES", 16 * WIDTH * 3)
    monkeypatch.setattr("service.pictures.jpeg.STRIP_PIXELS", 16 * WIDTH)
    monkeypatch.setattr(outlet, "WAITING_BYTES", 60_000)


class LastRows:
    """Holds whoever composes the last rows of a picture until it is opened, or has them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_open = threading.Event()
        self.passed = 0
        self.error: Exception | None = None
        compose = ComposedRows.__getitem__

        def gated(rows: ComposedRows, asked: slice) -> np.ndarray:
            if asked.stop == rows.shape[0]:
                self.passed += 1
                assert self.is_open.wait(60)
                if self.error:
                    raise self.error
            return compose(rows, asked)

        monkeypatch.setattr(ComposedRows, "__getitem__", gated)


@pytest.fixture
def last_rows(monkeypatch: pytest.MonkeyPatch) -> LastRows:
    return LastRows(monkeypatch)


class Running:
    """A service at a port, as `photochrom serve` has it."""

    def __init__(self, server: uvicorn.Server, port: int, pipeline: Pipeline, *, is_narrow: bool) -> None:
        self.server, self.port, self.pipeline, self.is_narrow = server, port, pipeline, is_narrow
        self.address = f"http://127.0.0.1:{port}"
        self.writers: list[asyncio.StreamWriter] = []

    def metric(self, line: str) -> float:
        return metric(self.pipeline, line)

    def counted(self, code: int, route: str = "/colorize") -> Callable[[], bool]:
        return lambda: self.metric(f'photochrom_requests_total{{code="{code}",route="{route}"}}') == 1


@asynccontextmanager
async def serving(model_path: Path, *, is_narrow: bool = False, **changes: Any) -> AsyncIterator[Running]:
    """Serve; where it is narrow, connections hold little, so that what is sent and not taken stays with the service."""
    app = create_app(Settings(model=model_path, device="cpu", threads=1, **changes))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if is_narrow:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        config = uvicorn.Config(app, http=Connection, ws="none", lifespan="on", log_config=None)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server._serve([listener]))
        try:
            await until(lambda: server.started)
            running = Running(server, listener.getsockname()[1], app.state.services.pipeline, is_narrow=is_narrow)
            yield running
        finally:
            for writer in running.writers:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
            server.should_exit = True
            await task


class Caller:
    """One request, of which as much of the answer is taken as asked for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.status = 0
        self.headers: dict[str, str] = {}

    @classmethod
    async def of(
        cls,
        running: Running,
        data: bytes = NOISE,
        *,
        path: str = "/colorize",
        method: str = "POST",
        version: str = "1.1",
    ) -> "Caller":
        sock = socket.create_connection(("127.0.0.1", running.port))
        if running.is_narrow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        limit = {"limit": 4096} if running.is_narrow else {}
        caller = cls(*await asyncio.open_connection(sock=sock, **limit))
        running.writers.append(caller.writer)
        headers = f"Host: x\r\nContent-Type: image/png\r\nContent-Length: {len(data)}"
        caller.writer.write(f"{method} {path} HTTP/{version}\r\n{headers}\r\n\r\n".encode() + data)
        return caller

    async def head(self) -> "Caller":
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}
        return self

    @property
    def is_chunked(self) -> bool:
        return self.headers.get("transfer-encoding") == "chunked" and "content-length" not in self.headers

    async def chunk(self) -> bytes:
        size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def rest(self) -> bytes:
        if not self.is_chunked:
            return await self.reader.readexactly(int(self.headers["content-length"]))
        parts = []
        while part := await self.chunk():
            parts.append(part)
        return b"".join(parts)

    async def leave(self) -> None:
        self.writer.transport.abort()


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 300))  # type: ignore[arg-type]


async def keep(running: Running) -> str:
    caller = await (await Caller.of(running, path="/pictures")).head()
    return str(json.loads(await caller.rest())["id"])


def test_the_first_byte_leaves_before_the_last_row_is_composed(model_path: Path, last_rows: LastRows) -> None:
    async def scene() -> None:
        async with serving(model_path) as running:
            caller = await (await Caller.of(running)).head()
            assert caller.status == 200
            assert caller.is_chunked
            assert caller.headers["content-type"] == "image/png"
            assert caller.headers["x-photochrom-scene"]
            assert "merge;dur=" in caller.headers["server-timing"]
            first = await caller.chunk()
            assert first.startswith(b"\x89PNG")
            assert b"IDAT" in first
            assert not last_rows.is_open.is_set()
            last_rows.is_open.set()
            color = cv2.imdecode(np.frombuffer(first + await caller.rest(), np.uint8), cv2.IMREAD_UNCHANGED)
            assert color.shape == (HEIGHT, WIDTH, 3)
            await until(running.counted(200))
            await check_idle(running.pipeline)
            assert running.metric("photochrom_output_bytes_count") == 1

    play(scene)


def test_the_bytes_are_those_of_a_whole_answer(model_path: Path) -> None:
    async def compare(running: Running, query: str) -> None:
        early = await (await Caller.of(running, path=f"/colorize{query}")).head()
        # Who speaks HTTP/1.0 knows no chunks, and could not tell where such an answer broke off.
        whole = await (await Caller.of(running, path=f"/colorize{query}", version="1.0")).head()
        assert early.is_chunked
        assert "transfer-encoding" not in whole.headers
        data = await whole.rest()
        assert await early.rest() == data
        assert len(data) == int(whole.headers["content-length"])
        assert early.headers["etag"] == whole.headers["etag"]
        kept = f"/pictures/{await keep(running)}{query}"
        again = await (await Caller.of(running, b"", method="GET", path=kept)).head()
        assert again.is_chunked
        assert await again.rest() == data

    async def scene() -> None:
        async with serving(model_path) as running:
            for query in ("", "?depth=16", "?look=warm", "?format=jpeg"):
                await compare(running, query)

    play(scene)


def test_what_is_not_written_from_the_top_stays_whole(model_path: Path) -> None:
    async def scene() -> None:
        async with serving(model_path) as running:
            for query in ("?format=webp", "?format=tiff", "?format=json", "?variants=2"):
                caller = await (await Caller.of(running, path=f"/colorize{query}")).head()
                assert caller.status == 200, query
                assert not caller.is_chunked, query
                assert len(await caller.rest()) == int(caller.headers["content-length"])
                await check_idle(running.pipeline)

    play(scene)


@pytest.mark.parametrize("query", ["?format=tiff", ""])
def test_what_is_large_and_whole_waits_on_the_disk(model_path: Path, tmp_path: Path, query: str) -> None:
    async def scene() -> None:
        asked = {"path": f"/colorize{query}", "version": "1.0"}
        async with serving(model_path, max_spooled_bytes=0) as running:
            in_memory = await (await (await Caller.of(running, **asked)).head()).rest()
        async with serving(model_path, is_narrow=True, spool_dir=tmp_path) as running:
            caller = await (await Caller.of(running, **asked)).head()
            assert running.metric(SPOOLED) == len(in_memory) == int(caller.headers["content-length"])
            assert running.metric(HELD) == len(NOISE)
            assert running.pipeline.admission.admitted == 0
            assert await caller.rest() == in_memory
            await until(lambda: running.metric(SPOOLED) == 0)
            leaves = await (await Caller.of(running, **asked)).head()
            assert running.metric(SPOOLED) == len(in_memory)
            await leaves.leave()
            await until(lambda: running.metric(SPOOLED) == 0)
            await check_idle(running.pipeline)

    play(scene)


def test_a_disk_that_fails_before_the_answer_is_named_in_words(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OutOfDisk

    monkeypatch.setattr(Spool, "append", fail)

    async def scene() -> None:
        async with serving(model_path) as running:
            caller = await (await Caller.of(running, path="/colorize?format=tiff")).head()
            assert caller.status == 503
            assert b"out-of-disk" in await caller.rest()
            await check_idle(running.pipeline)

    play(scene)


def test_other_servers_get_it_whole(model_path: Path) -> None:
    """Of theirs nobody here can break a connection."""

    async def scene() -> None:
        app = create_app(Settings(model=model_path, device="cpu", threads=1))
        async with app.router.lifespan_context(app):
            call = await Call(app, NOISE).done()
            assert call.status == 200
            assert call.headers["content-length"] == str(len(call.body))
            await check_idle(app.state.services.pipeline)
            left = Call(app, NOISE)
            left.takes.clear()
            await until(lambda: left.pieces == 1)
            left.leave()
            await left.done()
            await check_idle(app.state.services.pipeline)

    play(scene)


def test_head_and_if_none_match(model_path: Path) -> None:
    async def scene() -> None:
        async with serving(model_path) as running:
            kept = f"/pictures/{await keep(running)}"
            head = await (await Caller.of(running, b"", method="HEAD", path=kept)).head()
            assert head.status == 200
            assert head.headers["etag"]
            await until(running.counted(200, "/pictures/{id}"))
            # Nothing of the content follows: what comes next is the next answer.
            head.writer.write(
                f"GET {kept} HTTP/1.1\r\nHost: x\r\nIf-None-Match: {head.headers['etag']}\r\n\r\n".encode()
            )
            assert (await head.head()).status == 304

    play(scene)


def test_who_leaves_in_the_middle_frees_all_that_was_held(model_path: Path, last_rows: LastRows) -> None:
    async def scene() -> None:
        async with serving(model_path, is_narrow=True) as running:
            caller = await (await Caller.of(running)).head()
            await caller.chunk()
            await until(lambda: last_rows.passed == 1)
            assert running.metric(HELD) > 60_000
            assert running.metric(SPOOLED) > PIXELS
            await caller.leave()
            await until(running.counted(499))
            assert running.metric('photochrom_cancelled_total{where="encode"}') == 1
            assert running.metric(HELD) == running.metric(SPOOLED) == 0
            assert running.pipeline.admission.admitted == 1  # Its thread still has the pixels.
            last_rows.is_open.set()
            await until(lambda: running.pipeline.admission.admitted == 0)
            await check_idle(running.pipeline)
            assert (await (await Caller.of(running)).head()).status == 200

    play(scene)


def test_a_slow_reader_holds_no_thread_and_the_rest_waits_on_the_disk(model_path: Path, tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(model_path, is_narrow=True, spool_dir=tmp_path) as running:
            caller = await (await Caller.of(running)).head()
            await until(lambda: running.pipeline.admission.admitted == 0)
            assert 0 < running.metric(HELD) <= 60_000 + len(NOISE)
            await until(lambda: running.metric(SPOOLED) < PIXELS)
            assert running.metric(SPOOLED) > PIXELS // 8
            other = await (await Caller.of(running, version="1.0")).head()  # The one thread is free.
            whole = await other.rest()
            assert await caller.rest() == whole
            await until(lambda: running.metric(SPOOLED) == 0)
            await check_idle(running.pipeline)
            assert list(tmp_path.iterdir()) == []

    play(scene)


def test_without_a_disk_the_rest_waits_in_memory_and_is_counted(model_path: Path) -> None:
    async def scene() -> None:
        async with serving(model_path, is_narrow=True, max_spooled_bytes=0) as running:
            caller = await (await Caller.of(running)).head()
            await until(lambda: running.pipeline.admission.admitted == 0)
            # What the file might have taken is given back when its thread has been seen to end.
            await until(lambda: running.metric(HELD) < PIXELS + len(NOISE))
            assert running.metric(HELD) > PIXELS // 2
            whole = await (await (await Caller.of(running, version="1.0")).head()).rest()
            assert await caller.rest() == whole
            await until(lambda: running.metric(HELD) == 0)
            await check_idle(running.pipeline)

    play(scene)


def test_without_any_room_it_is_refused_before_it_begins(model_path: Path) -> None:
    async def scene() -> None:
        changes = {
            "is_narrow": True,
            "max_spooled_bytes": 0,
            "max_held_bytes": 2 * PIXELS,
            "max_upload_bytes": len(NOISE),
        }
        async with serving(model_path, **changes) as running:
            slow = await (await Caller.of(running)).head()
            await until(lambda: running.pipeline.admission.admitted == 0)
            refused = await (await Caller.of(running)).head()
            assert refused.status == 503
            assert b"overloaded" in await refused.rest()
            assert slow.is_chunked
            assert len(await slow.rest()) > PIXELS // 2
            await until(lambda: running.metric(HELD) == 0)
            await check_idle(running.pipeline)

    play(scene)


def test_where_bytes_run_short_the_slow_one_goes(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_budget, "HURRY_S", 0.0)

    async def scene() -> None:
        changes = {
            "is_narrow": True,
            "max_spooled_bytes": 0,
            "max_held_bytes": 500_000,
            "max_upload_bytes": len(NOISE),
        }
        async with serving(model_path, **changes) as running:
            slow = await (await Caller.of(running)).head()
            await until(lambda: running.pipeline.admission.admitted == 0)
            other = await (await Caller.of(running)).head()
            while other.status == 503:  # As long as the first one may still be a fast one.
                other = await (await Caller.of(running)).head()
            assert other.status == 200
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await slow.rest()
            assert (await other.rest()).startswith(b"\x89PNG")
            await until(lambda: running.metric(HELD) == 0)
            assert running.metric("photochrom_slow_total") == 1
            await check_idle(running.pipeline)

    play(scene)


def test_who_takes_too_little_is_cut_off(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_budget, "GRACE_S", 0.1)

    async def scene() -> None:
        async with serving(model_path, is_narrow=True, least_rate=1 << 30) as running:
            caller = await (await Caller.of(running)).head()
            await until(lambda: running.metric("photochrom_slow_total") == 1)
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await caller.rest()
            await until(lambda: running.pipeline.admission.admitted == 0)
            await check_idle(running.pipeline)

    play(scene)


FAILURES = {
    "internal-error": (500, RuntimeError("as an encoder might")),
    "out-of-memory": (503, MemoryError()),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_fails_in_the_middle_is_seen_to_be_cut_off(
    model_path: Path, last_rows: LastRows, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    status, last_rows.error = FAILURES[name]
    caplog.set_level(logging.INFO)

    async def scene() -> None:
        async with serving(model_path) as running:
            caller = await (await Caller.of(running)).head()
            assert caller.status == 200
            await caller.chunk()
            last_rows.is_open.set()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await caller.rest()
            await until(running.counted(status))
            assert running.metric(f'photochrom_rejected_total{{reason="{name}"}}') == 1
            await check_idle(running.pipeline)

    play(scene)
    (line,) = [record.facts for record in caplog.records if record.message == "request"]  # type: ignore[attr-defined]
    assert (line["problem"], line["status"]) == (name, status)
    assert [record.name for record in caplog.records if record.message == "an answer broke off"] == [
        "service.http.guard"
    ]
    assert not [
        record for record in caplog.records if record.name.startswith("uvicorn") and record.levelname == "ERROR"
    ]


def test_a_disk_that_fails_in_the_middle_is_named(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OutOfDisk

    monkeypatch.setattr(Spool, "append", fail)

    async def scene() -> None:
        async with serving(model_path, is_narrow=True) as running:
            caller = await (await Caller.of(running)).head()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await caller.rest()
            await until(running.counted(503))
            assert running.metric('photochrom_rejected_total{reason="out-of-disk"}') == 1
            await check_idle(running.pipeline)

    play(scene)


def test_what_fails_before_the_first_byte_is_said_in_words(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("as an encoder might")

    monkeypatch.setattr(ComposedRows, "__getitem__", fail)

    async def scene() -> None:
        async with serving(model_path) as running:
            caller = await (await Caller.of(running)).head()
            assert caller.status == 500
            assert b"internal-error" in await caller.rest()
            await check_idle(running.pipeline)

    play(scene)


def test_time_runs_out_in_the_middle(model_path: Path, last_rows: LastRows, monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines: list[Deadline] = []

    def noted(seconds: float) -> Deadline:
        deadlines.append(Deadline(seconds))
        return deadlines[-1]

    monkeypatch.setattr("service.http.waiting.Deadline", noted)

    async def scene() -> None:
        async with serving(model_path) as running:
            caller = await (await Caller.of(running)).head()
            assert caller.status == 200
            deadlines[-1].timeout.reschedule(asyncio.get_running_loop().time())
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await caller.rest()
            await until(running.counted(504))
            assert running.metric('photochrom_late_total{where="encode"}') == 1
            last_rows.is_open.set()
            await until(lambda: running.pipeline.admission.admitted == 0)
            await check_idle(running.pipeline)

    play(scene)


def test_the_client_takes_no_part_for_the_whole(model_path: Path, last_rows: LastRows) -> None:
    last_rows.is_open.set()

    async def scene() -> None:
        async with serving(model_path) as running, AsyncClient(running.address, retries=0) as client:
            whole = await (await (await Caller.of(running, version="1.0")).head()).rest()
            assert (await client.colorize(NOISE)).data == whole
            last_rows.error = RuntimeError("as an encoder might")
            with pytest.raises(Unreachable) as caught:
                await client.colorize(NOISE)
            assert caught.value.broke
            there = There(client, {}, "png")
            with pytest.raises(ClientError) as refused:
                await there(NOISE)
            assert refused.value.type == "connection-lost"
            last_rows.error = None
            assert (await there(NOISE)).data == whole

    play(scene)


def test_who_stops_waits_for_the_answers_under_way(model_path: Path, last_rows: LastRows) -> None:
    async def scene() -> None:
        async with serving(model_path) as running:
            caller = await (await Caller.of(running)).head()
            await caller.chunk()
            running.server.should_exit = True
            await until(lambda: running.server.servers[0].sockets == ())
            last_rows.is_open.set()
            rest = await caller.rest()
            assert rest.endswith(b"IEND\xaeB`\x82")

    play(scene)
