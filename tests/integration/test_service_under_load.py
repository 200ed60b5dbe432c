"""The application when things go wrong: callers leave, time runs out, too much comes at once, many come together."""

import asyncio
import json
import os
import pkgutil
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi import FastAPI

from chroma.compose import ComposedRows
from service.engine.admission import Admission
from service.engine.colorizer import Prepared, prepare_lightness
from service.engine.job import Caller
from service.engine.memory_cost import POSTERIOR_WEIGHT
from service.engine.pipeline import Pipeline
from service.engine.session import Heads, Query, Session, shipped_model
from service.http.app import create_app
from service.http.waiting import Deadline, cancel_on_disconnect
from service.machine import NICENESS
from service.settings import Settings
from service.telemetry import STAGES
from tests import onnx_factory
from tests.pictures import by_opencv, by_pillow, smooth_gray

GRAY = by_pillow(smooth_gray(48, 64), "PNG")
DATA = Path(__file__).parents[1] / "data"
MEGAPIXEL = by_pillow(smooth_gray(1000, 1000), "PNG")
GAUGES = ("queue_depth", "waiting_requests", "inflight_megapixels", "held_bytes", "spooled_bytes")
SLIVER_S = 0.001
"""By which two readings of a clock, or a sum of floats, may differ."""
POSTERIOR_MEGAPIXELS = POSTERIOR_WEIGHT * 64 * 64 / 1e6


class Gate:
    """Holds whoever passes until it is opened, and counts them."""

    def __init__(self) -> None:
        self.passed = 0
        self.is_open = threading.Event()

    def wait(self) -> None:
        self.passed += 1
        assert self.is_open.wait(60)


class Call:
    """One request, spoken in ASGI itself, so that the caller can leave at any moment."""

    def __init__(
        self,
        app: FastAPI,
        data: bytes,
        *,
        query: str = "",
        ends: bool = True,
        headers: dict[str, str] | None = None,
        method: str = "POST",
        path: str = "/colorize",
    ) -> None:
        self.takes = asyncio.Event()
        self.takes.set()
        self.pieces = 0
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._incoming.put_nowait({"type": "http.request", "body": data, "more_body": not ends})
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [
                (name.encode(), value.encode())
                for name, value in ({"content-type": "image/png"} | (headers or {})).items()
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        self.task = asyncio.create_task(app(scope, self._incoming.get, self._send))  # type: ignore[arg-type]

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.pieces += 1
            await self.takes.wait()
            self.body += message.get("body", b"")

    def more(self, data: bytes, *, ends: bool = True) -> None:
        self._incoming.put_nowait({"type": "http.request", "body": data, "more_body": not ends})

    def leave(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def done(self) -> "Call":
        await asyncio.wait_for(self.task, 60)
        return self


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Holds the network; open while the service starts."""
    gate = Gate()
    gate.is_open.set()
    run = Session.run

    def gated(self: Session, queries: Sequence[Query]) -> list[Heads]:
        gate.wait()
        return run(self, queries)

    monkeypatch.setattr(Session, "run", gated)
    return gate


@asynccontextmanager
async def running(model_path: Path, **changes: Any) -> AsyncIterator[tuple[FastAPI, Pipeline]]:
    app = create_app(Settings(model=model_path, device="cpu", threads=2, **changes))
    async with app.router.lifespan_context(app):
        yield app, app.state.services.pipeline


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(12_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to that")


def metric(pipeline: Pipeline, line: str) -> float:
    found = [text for text in pipeline.metrics.exposition().decode().splitlines() if text.startswith(line + " ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


async def check_idle(pipeline: Pipeline) -> None:
    """Assert that every gauge comes back to zero; the last of an answer is counted after its caller has it."""
    gauges = [f"photochrom_{name}" for name in GAUGES]
    with suppress(AssertionError):
        await until(lambda: pipeline.admission.admitted == 0 and not any(metric(pipeline, line) for line in gauges))
    assert {line: metric(pipeline, line) for line in gauges} == dict.fromkeys(gauges, 0)
    assert pipeline.admission.admitted == 0


def run(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 300))  # type: ignore[arg-type]


def test_who_leaves_while_waiting_never_reaches_the_model(model_path: Path, engine: Gate) -> None:
    async def scene() -> None:
        async with running(model_path) as (app, pipeline):
            engine.is_open.clear()
            before = engine.passed
            first = Call(app, GRAY)
            await until(lambda: engine.passed == before + 1)
            second = Call(app, GRAY)
            await until(lambda: pipeline.batcher.depth == 1)
            second.leave()
            assert (await second.done()).status == 0
            assert metric(pipeline, 'photochrom_cancelled_total{where="queue"}') == 1
            assert metric(pipeline, 'photochrom_requests_total{code="499",route="/colorize"}') == 1
            engine.is_open.set()
            assert (await first.done()).status == 200
            third = await Call(app, GRAY).done()
            assert third.status == 200
            assert engine.passed == before + 2
            await check_idle(pipeline)

    run(scene)


def hold(monkeypatch: pytest.MonkeyPatch, place: str) -> Gate:
    """Put a gate in front of a function, named by where it is looked up; open at first."""
    gate = Gate()
    gate.is_open.set()
    owner, _, name = place.rpartition(".")
    work = pkgutil.resolve_name(owner.replace(".Session", ":Session")).__dict__[name]

    def gated(*args: Any, **kwargs: Any) -> Any:
        gate.wait()
        return work(*args, **kwargs)

    monkeypatch.setattr(place, gated)
    return gate


def inferences(pipeline: Pipeline) -> float:
    return metric(pipeline, "photochrom_batch_size_sum")


GATES = {
    "read": "service.engine.pipeline.probe",
    "probe": "service.engine.pipeline.probe",
    "admit": "service.pictures.worker.wire.pack_task",
    "decode": "service.pictures.worker.wire.pack_task",
    "queue": "service.engine.session.Session.run",
    "infer": "service.engine.session.Session.run",
    "merge": "service.engine.making.finish",
    "encode": "service.engine.making.make_file",
}
"""Where a request is held while it is at a stage; `admit` and `queue` wait for another one that is held further on."""


@pytest.mark.parametrize("stage", STAGES)
def test_who_leaves_at_any_stage_uses_no_model_from_then_on(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    gate = hold(monkeypatch, GATES[stage])

    async def scene() -> None:
        settings = {"max_inflight_megapixels": 0.001} if stage == "admit" else {}
        async with running(model_path, **settings) as (app, pipeline):
            gate.is_open.clear()
            passed = gate.passed
            other = Call(app, GRAY) if stage in ("admit", "queue") else None
            if other:
                await until(lambda: gate.passed == passed + 1)
            call = Call(app, GRAY[:100], ends=False) if stage == "read" else Call(app, GRAY)
            arrived = {
                "read": lambda: metric(pipeline, "photochrom_held_bytes") == 100,
                "admit": lambda: pipeline.admission.waiting == 1,
                "queue": lambda: pipeline.batcher.depth == 1,
            }.get(stage, lambda: gate.passed == passed + 1)
            await until(arrived)
            used = inferences(pipeline)
            call.leave()
            assert (await call.done()).status == 0
            assert metric(pipeline, f'photochrom_cancelled_total{{where="{stage}"}}') == 1
            assert metric(pipeline, 'photochrom_requests_total{code="499",route="/colorize"}') == 1
            gate.is_open.set()
            if other:
                assert (await other.done()).status == 200
            await until(lambda: pipeline.admission.admitted == 0)
            # Who was held at the admission's door still has its own inference to come.
            assert inferences(pipeline) - used == (stage == "admit")
            assert (await Call(app, GRAY).done()).status == 200
            assert inferences(pipeline) - used == (stage == "admit") + 1
            await check_idle(pipeline)

    run(scene)


def test_who_leaves_while_the_answer_is_sent_leaves_nothing_behind(model_path: Path) -> None:
    async def scene() -> None:
        async with running(model_path) as (app, pipeline):
            call = Call(app, MEGAPIXEL)
            call.takes.clear()
            await until(lambda: call.pieces == 1)
            assert call.status == 200
            assert pipeline.admission.admitted == 0
            assert metric(pipeline, "photochrom_held_bytes") > len(MEGAPIXEL) + 300_000
            used = inferences(pipeline)
            call.leave()
            call.takes.set()  # From now on the server drops what it is given.
            await call.done()
            assert call.pieces > 1
            assert inferences(pipeline) == used == 1
            await check_idle(pipeline)

    run(scene)


def test_who_leaves_during_the_upload_is_no_error(model_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with running(model_path) as (app, pipeline):
            call = Call(app, GRAY[:100], ends=False)
            call.leave()
            assert (await call.done()).status == 0
            assert metric(pipeline, 'photochrom_cancelled_total{where="read"}') == 1
            await check_idle(pipeline)

    run(scene)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_pixels_stay_admitted_until_their_thread_has_stopped(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()

    def gated(L: np.ndarray, *given: Any, **named: Any) -> Prepared:
        gate.wait()
        return prepare_lightness(L, *given, **named)

    monkeypatch.setattr("service.engine.pipeline.prepare_lightness", gated)

    async def scene() -> None:
        async with running(model_path) as (app, pipeline):
            call = Call(app, MEGAPIXEL)
            await until(lambda: gate.passed == 1)
            call.leave()
            await call.done()
            assert metric(pipeline, 'photochrom_cancelled_total{where="decode"}') == 1
            assert pipeline.admission.admitted_megapixels == pytest.approx(1 + POSTERIOR_MEGAPIXELS)
            gate.is_open.set()
            await until(lambda: pipeline.admission.admitted == 0)
            await check_idle(pipeline)

    run(scene)


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> list[Deadline]:
    """Those that began to count, in order: they run out when told to, however long the machine takes."""
    begun: list[Deadline] = []

    def noted(seconds: float) -> Deadline:
        begun.append(Deadline(seconds))
        return begun[-1]

    monkeypatch.setattr("service.http.waiting.Deadline", noted)
    return begun


def run_out(deadline: Deadline) -> None:
    deadline.timeout.reschedule(asyncio.get_running_loop().time())


def ends(deadline: Deadline) -> float:
    """Return when it runs out, `time.monotonic` seconds."""
    when = deadline.timeout.when()
    assert when is not None
    return when - asyncio.get_running_loop().time() + time.monotonic()


def test_time_runs_out(model_path: Path, engine: Gate, deadlines: list[Deadline]) -> None:
    async def scene() -> None:
        async with running(model_path, deadline_s=50) as (app, pipeline):
            engine.is_open.clear()
            passed, began = engine.passed, time.monotonic()
            call = Call(app, GRAY)
            await until(lambda: engine.passed == passed + 1)
            assert began + 50 - SLIVER_S <= ends(deadlines[-1]) <= time.monotonic() + 50 + SLIVER_S
            run_out(deadlines[-1])
            await call.done()
            assert call.status == 504
            assert b"deadline-exceeded" in call.body
            assert b'"stage":"infer"' in call.body
            assert json.loads(call.body)["limit"] == 50
            engine.is_open.set()
            await until(lambda: pipeline.admission.admitted == 0)
            assert (await Call(app, GRAY).done()).status == 200
            await check_idle(pipeline)

    run(scene)


@pytest.mark.parametrize("path", ["/colorize", "/pictures", "/pictures/{id}"])
def test_a_large_picture_has_more_time(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, deadlines: list[Deadline], path: str
) -> None:
    """Here every picture is large: GRAY has a minute more than the deadline that all have, then half of one."""
    place = "service.engine.making.finish" if "id" in path else "service.engine.session.Session.run"
    gate = hold(monkeypatch, place)
    admitted: list[tuple[float, float]] = []
    admit = Admission.admit

    def noting(self: Admission, weight: float, caller: Caller) -> AbstractAsyncContextManager[None]:
        admitted.append((time.monotonic(), caller.deadline))
        return admit(self, weight, caller)

    async def scene() -> None:
        async with running(model_path, deadline_s=50) as (app, pipeline):
            id = await kept_id(app)
            monkeypatch.setattr(Admission, "admit", noting)
            for more_s, status in ((60.0, (200, 201)), (30.0, (504,))):
                monkeypatch.setattr("service.engine.fair_queue.ORDINARY_MEGAPIXELS", 0.0)
                monkeypatch.setattr("service.engine.fair_queue.AGING_MEGAPIXELS_A_S", 48 * 64 / 1e6 / more_s)
                gate.is_open.clear()
                passed, began = gate.passed, time.monotonic()
                call = get(app, id) if "id" in path else Call(app, GRAY, path=path)
                await until(lambda passed=passed: gate.passed == passed + 1)
                earliest = began + 50 + more_s - SLIVER_S
                (at, latest_start) = admitted.pop()
                assert earliest <= latest_start <= at + 50 + more_s + SLIVER_S
                assert earliest <= ends(deadlines[-1]) <= time.monotonic() + 50 + more_s + SLIVER_S
                if status == (504,):
                    run_out(deadlines[-1])
                else:
                    gate.is_open.set()
                answer = await call.done()
                assert answer.status in status, answer.body
            assert json.loads(answer.body)["limit"] == pytest.approx(80)
            gate.is_open.set()
            await until(lambda: pipeline.admission.admitted == 0)
            await check_idle(pipeline)

    run(scene)


@pytest.mark.parametrize("path", ["/colorize", "/pictures"])
def test_the_deadline_counts_from_the_last_byte(model_path: Path, deadlines: list[Deadline], path: str) -> None:
    """How long a caller takes to send is its own affair, down to the least rate."""

    async def scene() -> None:
        async with running(model_path, deadline_s=50) as (app, pipeline):
            call = Call(app, GRAY[:50], ends=False, path=path)
            await until(lambda: metric(pipeline, "photochrom_held_bytes") == 50)
            assert not deadlines
            sent = time.monotonic()
            call.more(GRAY[50:])
            assert (await call.done()).status in (200, 201)
            (deadline,) = deadlines
            assert ends(deadline) >= sent + 50 - SLIVER_S
            assert metric(pipeline, 'photochrom_late_total{where="read"}') == 0
            await check_idle(pipeline)

    run(scene)


def test_who_pauses_within_an_upload_is_left_however_much_has_come(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a few bytes would keep hundreds of megabytes taken for hours."""
    monkeypatch.setattr("service.http.exchange.GRACE_S", 0.2)

    async def scene() -> None:
        async with running(model_path, least_rate=10) as (app, pipeline):
            call = Call(app, bytes(100_000), ends=False)
            slow = await call.done()
            assert slow.status == 408
            assert b"upload-too-slow" in slow.body
            assert metric(pipeline, "photochrom_slow_total") == 1
            await check_idle(pipeline)

    run(scene)


def test_too_much_at_once_is_told_when_to_come_back(model_path: Path, engine: Gate) -> None:
    async def scene() -> None:
        async with running(model_path, max_inflight_megapixels=1.5, max_queue=1) as (app, pipeline):
            engine.is_open.clear()
            before = engine.passed
            first = Call(app, MEGAPIXEL)
            await until(lambda: engine.passed == before + 1)
            second = Call(app, MEGAPIXEL)
            await until(lambda: pipeline.admission.waiting == 1)
            assert metric(pipeline, "photochrom_inflight_megapixels") == pytest.approx(1 + POSTERIOR_MEGAPIXELS)
            assert metric(pipeline, "photochrom_waiting_requests") == 1
            # Refused although its upload has not even come.
            third = await Call(app, b"", ends=False).done()
            assert third.status == 503
            assert int(third.headers["retry-after"]) >= 1
            assert b"overloaded" in third.body
            engine.is_open.set()
            assert (await first.done()).status == (await second.done()).status == 200
            assert metric(pipeline, 'photochrom_rejected_total{reason="overloaded"}') == 1
            await check_idle(pipeline)

    run(scene)


def test_who_cannot_have_a_place_is_refused_before_the_header_is_judged(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those whose headers are being judged count: otherwise all of a burst would get in, to be refused late."""
    gate = hold(monkeypatch, "service.engine.pipeline.probe")

    async def scene() -> None:
        async with running(model_path, max_queue=1) as (app, pipeline):
            gate.is_open.clear()
            places = pipeline.session.threads + 2 + 1
            burst = [Call(app, GRAY) for _ in range(places)]
            await until(lambda: gate.passed == places)
            late = [await Call(app, GRAY).done(), await Call(app, b"", ends=False).done()]
            assert [(call.status, int(call.headers["retry-after"]) >= 1) for call in late] == [(503, True)] * 2
            gate.is_open.set()
            assert [(await call.done()).status for call in burst] == [200] * places
            assert gate.passed == places
            await check_idle(pipeline)

    run(scene)


def test_the_bytes_in_memory_are_bounded_whatever_callers_do(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.http.exchange.LINGER_S", 0.01)

    async def scene() -> None:
        async with running(model_path, max_upload_bytes=1000, max_held_bytes=1500) as (app, pipeline):
            first = Call(app, bytes(900), ends=False)
            await until(lambda: metric(pipeline, "photochrom_held_bytes") == 900)
            announced = await Call(app, b"", ends=False, headers={"content-length": "700"}).done()
            second = await Call(app, bytes(700), ends=False, headers={"transfer-encoding": "chunked"}).done()
            for call in (announced, second):
                assert (call.status, call.headers["retry-after"]) == (503, "1")
                assert b'"limit":1500' in call.body
            small = await Call(app, bytes(500)).done()
            assert small.status == 415
            first.leave()
            await first.done()
            again = Call(app, bytes(700), ends=False)
            await until(lambda: metric(pipeline, "photochrom_held_bytes") == 700)
            again.more(bytes(100))
            assert (await again.done()).status == 415
            await check_idle(pipeline)

    run(scene)


@pytest.mark.parametrize(("length", "closes"), [("50000", False), ("5000000", True)])
def test_a_refused_upload_is_dropped_or_the_connection_ends_well(model_path: Path, length: str, closes: bool) -> None:
    async def scene() -> None:
        async with running(model_path) as (app, pipeline):
            call = Call(app, bytes(100), ends=False, headers={"accept": "text/html", "content-length": length})
            await until(lambda: bool(call.body))
            # The answer is complete: nobody has to send anything more to read it.
            assert call.status == 406
            assert int(call.headers["content-length"]) == len(call.body)
            assert (call.headers.get("connection") == "close") == closes
            assert call.task.done() != closes
            if closes:
                call.more(bytes(100), ends=False)
                call.leave()
            await call.done()
            assert int(call.headers["content-length"]) == len(call.body)
            await check_idle(pipeline)

    run(scene)


def test_company_changes_no_byte_of_the_shipped_models_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photographs of several sizes, each with several knobs, alone and in batches of up to four."""
    photographs = [(DATA / name).read_bytes() for name in ("astronaut.jpg", "chelsea.png", "coffee.jpg")]
    queries = ["", "vividness=1&temperature=0.5", "mode=annealed&saturation=0.4&format=webp", "mode=fused&vividness=0"]
    wanted = [(photograph, query) for photograph in photographs for query in queries]
    gate = hold(monkeypatch, "service.engine.session.Session.run")

    async def scene() -> None:
        async with running(shipped_model(), max_batch=4) as (app, pipeline):
            alone = [(await Call(app, photograph, query=query).done()).body for photograph, query in wanted]
            batches = metric(pipeline, "photochrom_batch_size_count")
            assert batches == inferences(pipeline) == len(wanted)
            gate.is_open.clear()
            together = [Call(app, photograph, query=query) for photograph, query in wanted]
            await until(lambda: pipeline.batcher.depth >= 8)
            gate.is_open.set()
            for call, body in zip(together, alone, strict=True):
                assert (await call.done()).status == 200
                assert call.body == body
            assert metric(pipeline, "photochrom_batch_size_count") - batches < len(wanted)
            await check_idle(pipeline)

    run(scene)


def test_company_changes_no_byte(model_path: Path) -> None:
    pictures = [by_pillow(smooth_gray(40 + 8 * n, 200 - 8 * n), "PNG") for n in range(6)]
    pictures += [by_opencv(smooth_gray(64, 64, dtype="uint16"), ".png")] * 2  # type: ignore[arg-type]
    queries = ["", "vividness=1", "mode=argmax&vividness=0.2"]

    async def scene() -> None:
        async with running(model_path, max_batch=4) as (app, pipeline):
            wanted = [(picture, query) for picture in pictures for query in queries]
            alone = [(await Call(app, picture, query=query).done()).body for picture, query in wanted]
            together = [Call(app, picture, query=query) for picture, query in wanted]
            for call, body in zip(together, alone, strict=True):
                assert (await call.done()).status == 200
                assert call.body == body
            assert metric(pipeline, "photochrom_batch_size_sum") == 2 * len(wanted)
            await check_idle(pipeline)

    run(scene)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no niceness of their own")
def test_threads_that_work_give_way_to_the_one_that_answers(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, int] = {}

    def note(place: str) -> None:
        work = pkgutil.resolve_name(place)
        owner, _, name = place.replace(":", ".").rpartition(".")

        def noting(*args: Any, **kwargs: Any) -> Any:
            found[name] = os.getpriority(os.PRIO_PROCESS, 0)
            return work(*args, **kwargs)

        monkeypatch.setattr(f"{owner}.{name}", noting)

    for place in (
        "service.engine.pipeline:probe",
        "service.engine.pipeline:prepare_lightness",
        "service.pictures.worker.pool:store_lightness",
        "service.engine.session:Session.run",
    ):
        note(place)
    before = set(os.listdir("/proc/self/task"))

    async def scene() -> None:
        async with running(model_path) as (app, _):
            assert (await Call(app, GRAY).done()).status == 200
            started = set(os.listdir("/proc/self/task")) - before
            found["inside"] = sum(os.getpriority(os.PRIO_PROCESS, int(thread)) == low for thread in started)

    own = os.getpriority(os.PRIO_PROCESS, 0)
    low = min(own + NICENESS, 19)
    run(scene)
    assert os.getpriority(os.PRIO_PROCESS, 0) == own
    assert (found["probe"], found["store_lightness"], found["prepare_lightness"], found["run"]) == (own, low, low, low)
    assert found["inside"] >= 3  # Of the codecs, of the network, inside one inside ONNX Runtime.


@pytest.mark.parametrize(
    ("query", "accept", "composed"),
    [("", "*/*", 1), ("format=jpeg", "*/*", 1), ("variants=3", "*/*", 3), ("", "application/json", 1)],
    ids=["png", "jpeg", "variants", "json"],
)
@pytest.mark.parametrize("is_large", [False, True], ids=["small", "large"])
def test_the_event_loop_composes_nothing(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, accept: str, composed: int, *, is_large: bool
) -> None:
    """Nobody would be answered meanwhile. OpenCV has no threads of its own beside those that each picture is given."""
    threads: list[str] = []
    fill = ComposedRows._fill

    def noting(self: ComposedRows, *given: Any) -> None:
        threads.append(threading.current_thread().name)
        fill(self, *given)

    monkeypatch.setattr(ComposedRows, "_fill", noting)
    if is_large:
        monkeypatch.setattr("service.engine.colorizer.LARGE_PIXELS", 0)

    async def scene() -> None:
        async with running(model_path) as (app, pipeline):
            threads.clear()
            call = await Call(app, GRAY, query=query, headers={"accept": accept}).done()
            assert call.status == 200
            await check_idle(pipeline)
            assert cv2.getNumThreads() == 1

    before = cv2.getNumThreads()
    try:
        run(scene)
    finally:
        cv2.setNumThreads(before)
    assert len(threads) == composed  # Each picture once, in one strip.
    assert all(name.startswith(("codec", "strips")) for name in threads)


def test_stopping_finishes_what_is_under_way(model_path: Path, engine: Gate) -> None:
    async def scene() -> None:
        async with running(model_path) as (app, pipeline):
            engine.is_open.clear()
            calls = [Call(app, GRAY) for _ in range(3)]
            await until(lambda: pipeline.batcher.depth == 2)
            engine.is_open.set()
            assert [(await call.done()).status for call in calls] == [200] * 3
        assert not pipeline.batcher.is_alive(60)
        assert pipeline.draining

    run(scene)


# -------------------------------------------------------------------------------------------------------- kept pictures


async def kept_id(app: FastAPI) -> str:
    answer = await Call(app, GRAY, path="/pictures").done()
    assert answer.status == 201, answer.body
    return str(json.loads(answer.body)["id"])


def get(app: FastAPI, id: str, query: str = "") -> Call:
    return Call(app, b"", method="GET", path=f"/pictures/{id}", query=query)


def test_a_kept_picture_never_waits_for_the_network(model_path: Path, engine: Gate) -> None:
    async def scene() -> None:
        async with running(model_path) as (app, pipeline):
            id = await kept_id(app)
            engine.is_open.clear()
            passed, used = engine.passed, inferences(pipeline)
            stuck = Call(app, GRAY)
            await until(lambda: engine.passed == passed + 1)
            for query in ("", "vividness=1", "mode=fused&variant=2", "format=json"):
                assert (await get(app, id, query).done()).status == 200
            assert inferences(pipeline) == used + 1  # The one that is stuck.
            engine.is_open.set()
            assert (await stuck.done()).status == 200
            await check_idle(pipeline)

    run(scene)


@pytest.mark.parametrize(
    ("stage", "place"),
    [("decode", "pipeline.prepare_kept"), ("merge", "making.finish"), ("encode", "making.make_file")],
)
def test_who_leaves_a_kept_picture_leaves_nothing_behind(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, place: str
) -> None:
    gate = hold(monkeypatch, f"service.engine.{place}")

    async def scene() -> None:
        async with running(model_path) as (app, pipeline):
            id = await kept_id(app)
            gate.is_open.clear()
            passed = gate.passed
            call = get(app, id)
            await until(lambda: gate.passed == passed + 1)
            assert pipeline.admission.admitted == 1
            call.leave()
            assert (await call.done()).status == 0
            assert metric(pipeline, f'photochrom_cancelled_total{{where="{stage}"}}') == 1
            assert metric(pipeline, 'photochrom_requests_total{code="499",route="/pictures/{id}"}') == 1
            gate.is_open.set()
            await until(lambda: pipeline.admission.admitted == 0)
            await check_idle(pipeline)
            assert (await get(app, id).done()).status == 200

    run(scene)


def test_kept_pictures_wait_their_turn_and_are_turned_away(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = hold(monkeypatch, "service.engine.making.finish")

    async def scene() -> None:
        async with running(model_path, max_inflight_megapixels=0.001, max_queue=1) as (app, pipeline):
            id = await kept_id(app)
            gate.is_open.clear()
            passed = gate.passed
            first = get(app, id)
            await until(lambda: gate.passed == passed + 1)
            second = get(app, id)
            await until(lambda: pipeline.admission.waiting == 1)
            third = await get(app, id).done()
            assert third.status == 503
            assert int(third.headers["retry-after"]) >= 1
            drawn = await Call(app, b"", method="GET", path=f"/pictures/{id}/confidence").done()
            assert drawn.status == 503
            # Let go meanwhile: who works on it ends that.
            assert (await Call(app, b"", method="DELETE", path=f"/pictures/{id}").done()).status == 204
            gate.is_open.set()
            assert ((await first.done()).status, (await second.done()).status) == (200, 200)
            assert (await get(app, id).done()).status == 404
            await check_idle(pipeline)

    run(scene)


def test_a_kept_picture_has_a_deadline(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = hold(monkeypatch, "service.engine.making.finish")

    async def scene() -> None:
        async with running(model_path) as (app, pipeline):
            id = await kept_id(app)
            services = app.state.services
            app.state.services = replace(services, settings=services.settings.model_copy(update={"deadline_s": 0.2}))
            gate.is_open.clear()
            answer = await get(app, id).done()
            assert (answer.status, json.loads(answer.body)["limit"]) == (504, 0.2)
            gate.is_open.set()
            await until(lambda: pipeline.admission.admitted == 0)
            await check_idle(pipeline)

    run(scene)


@pytest.mark.parametrize("is_small", [False, True], ids=["large", "small"])
def test_variants_are_made_a_few_at_a_time(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_small: bool
) -> None:
    """So that they need hardly more memory than one, and small ones every core."""
    steps: list[str] = []
    meeting = threading.Barrier(2)
    monkeypatch.setattr("service.engine.making.SIDE_BY_SIDE_PIXELS", 4_000_000 if is_small else 0)
    for place in ("service.engine.making.finish", "service.engine.making.make_file"):
        owner, _, name = place.rpartition(".")
        work = pkgutil.resolve_name(owner).__dict__[name]

        def noted(*args: Any, _work: Any = work, _name: str = name, **kwargs: Any) -> Any:
            steps.append(_name)
            if is_small and _name == "finish":
                meeting.wait(60)  # Nobody comes unless another is at work at the same time.
            return _work(*args, **kwargs)

        monkeypatch.setattr(place, noted)

    async def scene() -> None:
        async with running(model_path) as (app, pipeline):
            pipeline.session.threads = 2
            used = inferences(pipeline)
            assert (await Call(app, GRAY, query="variants=4").done()).status == 200
            assert inferences(pipeline) == used + 1
            await check_idle(pipeline)

    run(scene)
    if is_small:
        assert sorted(steps) == ["finish"] * 4 + ["make_file"] * 4
        merging = [steps[:i].count("finish") - steps[:i].count("make_file") for i in range(len(steps))]
        assert max(merging) == 2
    else:
        assert steps == ["finish", "make_file"] * 4


def test_a_kept_picture_goes_when_nobody_asks(model_path: Path) -> None:
    async def scene() -> None:
        async with running(model_path, kept_s=0.05) as (app, pipeline):
            await kept_id(app)
            await until(lambda: metric(pipeline, "photochrom_kept_pictures") == 0)
            assert metric(pipeline, "photochrom_kept_bytes") == 0
            assert metric(pipeline, 'photochrom_kept_evictions_total{reason="age"}') == 1

    run(scene)


def test_what_was_kept_goes_with_the_model_that_said_it(model_path: Path) -> None:
    async def scene() -> None:
        async with running(model_path) as (app, pipeline):
            before = pipeline.model
            kept = await Call(app, GRAY, path="/pictures").done()
            place = json.loads(kept.body)["id"]
            shown = await Call(app, b"", method="GET", path=f"/pictures/{place}").done()
            await pipeline.reload()
            assert pipeline.model is not before
            assert not before.batcher.is_alive(60)
            gone = await Call(app, b"", method="GET", path=f"/pictures/{place}").done()
            assert (shown.status, gone.status) == (200, 404)
            assert (await Call(app, GRAY).done()).status == 200
            await check_idle(pipeline)

    run(scene)


def test_what_is_told_of_a_kept_picture_is_what_its_model_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx_factory.write_model(tmp_path / "model.onnx")
    expected = onnx_factory.make_stamp()

    async def scene() -> None:
        async with running(model) as (app, pipeline):

            async def reload_behind(receive: Any, work: Any) -> Any:
                done = await cancel_on_disconnect(receive, work)
                onnx_factory.write_model(model, run_id="another", scenes=expected.scenes[:1])
                await pipeline.reload()
                return done

            monkeypatch.setattr("service.http.pictures.cancel_on_disconnect", reload_behind)
            kept = await Call(app, GRAY, path="/pictures").done()
            told = json.loads(kept.body)
            assert (kept.status, told["model"], len(told["scene"])) == (201, expected.run_id, len(expected.scenes))
            assert pipeline.session.stamp.run_id == "another"

    run(scene)


def test_who_is_under_way_keeps_its_model(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = hold(monkeypatch, "service.engine.pipeline.prepare_lightness")

    async def scene() -> None:
        async with running(model_path) as (app, pipeline):
            before = pipeline.model
            gate.is_open.clear()
            passed = gate.passed
            calls = [Call(app, GRAY), Call(app, GRAY, path="/pictures")]
            await until(lambda: gate.passed == passed + 2)
            assert before.users == 2
            reloading = asyncio.create_task(pipeline.reload())
            await until(lambda: pipeline.model is not before)
            assert before.batcher.is_alive(60)
            gate.is_open.set()
            assert [(await call.done()).status for call in calls] == [200, 201]
            await reloading
            assert before.users == pipeline.model.users == 0
            assert not before.batcher.is_alive(60)
            # What is kept was said by the model of now.
            place = json.loads(calls[1].body)["id"]
            assert (await Call(app, b"", method="GET", path=f"/pictures/{place}").done()).status == 200

    run(scene)


def test_a_large_answer_that_has_no_room_is_a_problem(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The framework has seen the head of the answer by then; the caller has not."""
    monkeypatch.setattr("service.engine.memory_cost.most_bytes", lambda *_, **__: 1)

    async def scene() -> None:
        async with running(model_path, max_upload_bytes=1_100_000, max_held_bytes=1_200_000) as (app, pipeline):
            other = Call(app, bytes(900_000), ends=False)
            await until(lambda: metric(pipeline, "photochrom_held_bytes") == 900_000)
            refused = await Call(app, MEGAPIXEL).done()
            assert refused.status == 503
            assert b"overloaded" in refused.body
            other.leave()
            await other.done()
            await check_idle(pipeline)

    run(scene)


def test_a_body_that_nobody_wants_may_be_refused(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = hold(monkeypatch, "service.engine.pipeline.prepare_kept")

    async def scene() -> None:
        async with running(model_path, max_upload_bytes=10_000) as (app, pipeline):
            kept = await Call(app, GRAY, path="/pictures").done()
            gate.is_open.clear()
            chunked = {"transfer-encoding": "chunked"}
            place = f"/pictures/{json.loads(kept.body)['id']}"
            refused = await Call(app, bytes(20_000), method="GET", path=place, headers=chunked).done()
            assert refused.status == 413
            gate.is_open.set()
            await until(lambda: pipeline.admission.admitted == 0)

    run(scene)


def test_a_reload_that_fails_for_any_reason_is_told(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        async with running(model_path) as (app, pipeline):

            def no_room() -> None:
                raise MemoryError

            monkeypatch.setattr(pipeline.models, "_load", no_room)
            await app.state.reload()
            assert metric(pipeline, 'photochrom_reloads_total{outcome="refused",what="model"}') == 1
            assert (await Call(app, GRAY).done()).status == 200

    run(scene)
    assert "the model of before stays" in caplog.text
