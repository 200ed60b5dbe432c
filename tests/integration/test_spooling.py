"""Large uploads over HTTP go to a disk: the answers are the same, the memory stays free, and nothing is left behind."""

import asyncio
import errno
import json
import os
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from service.engine import spool as spools
from service.errors import SettingsError
from service.http.app import create_app
from service.pictures.probe import probe
from service.settings import Settings
from tests import onnx_factory
from tests.integration.test_service_under_load import Call, check_idle, hold, metric, run, running, until
from tests.pictures import by_opencv, by_pillow, levels, smooth_gray

DEEP = by_opencv(levels(60, 80, dtype="uint16"), ".tiff")  # type: ignore[arg-type]
SMALL = by_pillow(smooth_gray(8, 8), "PNG")
COLOR = by_pillow(levels(50, 70, 3), "PNG")
HELD, SPOOLED = "photochrom_held_bytes", "photochrom_spooled_bytes"


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(autouse=True)
def _scaled_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "SPOOL_FROM_BYTES", 2000)
    monkeypatch.setattr(spools, "WRITE_BYTES", 500)


def spooled_in(directory: Path) -> int:
    """Return how many files without a name this process has open in a directory."""
    links = (Path("/proc/self/fd") / each for each in os.listdir("/proc/self/fd"))
    return sum(os.readlink(link).startswith(str(directory)) for link in links if os.path.lexists(link))


async def send(app: FastAPI, path: str, **sent: Any) -> httpx2.Response:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.post(path, **sent)


def test_the_answer_is_the_same_wherever_the_upload_lies(model_path: Path, tmp_path: Path) -> None:
    form = {"image": ("a.tif", DEEP), "reference": ("b.png", COLOR)}
    answers: list[list[bytes]] = []

    async def scene() -> None:
        for most in (0, 1 << 20):
            async with running(model_path, spool_dir=tmp_path, max_spooled_bytes=most) as (app, pipeline):
                raw = await send(app, "/colorize", content=DEEP, headers={"Content-Type": "image/tiff"})
                both = await send(app, "/colorize", files=form)
                assert raw.status_code == both.status_code == 200, (raw.text, both.text)
                assert raw.headers["etag"] != both.headers["etag"]
                answers.append([raw.content, both.content])
                await check_idle(pipeline)
                assert spooled_in(tmp_path) == 0

    run(scene)
    assert answers[0] == answers[1]


def test_a_large_upload_lies_in_a_file_without_a_name_while_it_comes(model_path: Path, tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(model_path, spool_dir=tmp_path, max_upload_bytes=10_000) as (app, pipeline):
            small, large = Call(app, bytes(1900), ends=False), Call(app, bytes(3000), ends=False)
            await until(lambda: metric(pipeline, HELD) == 1900)
            assert metric(pipeline, SPOOLED) == 3000
            assert list(tmp_path.iterdir()) == []
            assert spooled_in(tmp_path) == 2  # Open to write and to read.
            for call in (small, large):
                call.leave()
                await call.done()
            await check_idle(pipeline)
            assert spooled_in(tmp_path) == 0

    run(scene)


def test_it_stays_there_while_it_is_worked_on_and_no_longer(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = hold(monkeypatch, "service.engine.pipeline.prepare_lightness")

    async def scene() -> None:
        async with running(model_path, spool_dir=tmp_path) as (app, pipeline):
            gate.is_open.clear()
            call = Call(app, DEEP)
            await until(lambda: gate.passed == 1)
            assert (metric(pipeline, HELD), metric(pipeline, SPOOLED)) == (0, len(DEEP))
            gate.is_open.set()
            assert (await call.done()).status == 200
            await check_idle(pipeline)
            assert spooled_in(tmp_path) == 0

    run(scene)


@pytest.mark.parametrize(
    ("data", "status"), [(bytes(5000), 415), (DEEP[:-1500], 422), (DEEP[:4] + bytes(4000), 422)], ids=str
)
def test_what_is_refused_is_gone_at_once(model_path: Path, tmp_path: Path, data: bytes, status: int) -> None:
    """An error holds on to whatever its functions had, until somebody collects the garbage."""

    async def scene() -> None:
        async with running(model_path, spool_dir=tmp_path) as (app, pipeline):
            for _ in range(3):
                assert (await Call(app, data).done()).status == status
                await check_idle(pipeline)
                assert spooled_in(tmp_path) == 0

    run(scene)


def test_who_leaves_while_it_is_worked_on_leaves_nothing(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = hold(monkeypatch, "service.engine.pipeline.probe")

    async def scene() -> None:
        async with running(model_path, spool_dir=tmp_path) as (app, pipeline):
            gate.is_open.clear()
            call = Call(app, DEEP)
            await until(lambda: gate.passed == 1)
            call.leave()
            await call.done()
            gate.is_open.set()
            await until(lambda: metric(pipeline, SPOOLED) == 0 and spooled_in(tmp_path) == 0)
            await check_idle(pipeline)

    run(scene)


@pytest.mark.parametrize("is_form", [False, True])
def test_a_full_disk_is_a_problem_that_passes(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_form: bool
) -> None:
    sent = {"files": {"image": DEEP}} if is_form else {"content": DEEP, "headers": {"Content-Type": "image/tiff"}}

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scene() -> None:
        async with running(model_path, spool_dir=tmp_path) as (app, pipeline):
            with monkeypatch.context() as patch:
                patch.setattr("service.engine.spool.os.write", full)
                refused = await send(app, "/colorize", **sent)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            assert refused.json()["type"] == "urn:photochrom:problem:out-of-disk"
            assert str(tmp_path) not in refused.text
            assert metric(pipeline, 'photochrom_rejected_total{reason="out-of-disk"}') == 1
            await check_idle(pipeline)
            assert (await send(app, "/colorize", **sent)).status_code == 200

    run(scene)


def test_the_bytes_on_the_disk_are_bounded(model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.http.exchange.LINGER_S", 0.01)

    async def scene() -> None:
        limits = {"max_upload_bytes": 5000, "max_spooled_bytes": 6000, "spool_dir": tmp_path}
        async with running(model_path, **limits) as (app, pipeline):
            first = Call(app, bytes(4000), ends=False)
            await until(lambda: metric(pipeline, SPOOLED) == 4000)
            announced = await Call(app, b"", ends=False, headers={"content-length": "3000"}).done()
            chunked = await Call(app, bytes(3000), ends=False, headers={"transfer-encoding": "chunked"}).done()
            for call in (announced, chunked):
                assert (call.status, call.headers["retry-after"]) == (503, "1")
                assert b'"limit":6000' in call.body
            assert (await Call(app, SMALL).done()).status == 200
            too_large = await Call(app, bytes(5001), ends=False).done()
            assert too_large.status == 413
            told = json.loads(too_large.body)
            assert (told["limit"], told["unit"]) == (5000, "bytes")
            assert (told["max_bytes"], told["max_megapixels"]) == (5000, 100)
            first.leave()
            await first.done()
            await check_idle(pipeline)

    run(scene)


def test_too_many_pixels_are_refused_with_both_limits(model_path: Path) -> None:
    async def scene() -> None:
        async with running(model_path, max_megapixels=0.001, max_upload_bytes=2_000_000) as (app, _):
            told = json.loads((await Call(app, DEEP).done()).body)
            assert told["type"].endswith("picture-too-large")
            assert (told["limit"], told["max_megapixels"], told["max_bytes"]) == (0.001, 0.001, 2_000_000)
            assert "0.001 megapixels and 2 MB" in told["detail"]

    run(scene)


def test_whoever_runs_the_application_is_told_of_a_place_that_takes_nothing(model_path: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="PHOTOCHROM_SPOOL_DIR"):
        create_app(Settings(model=model_path, spool_dir=tmp_path / "gone"))


def test_a_kept_picture_stays_on_the_disk(model_path: Path, tmp_path: Path) -> None:
    async def scene() -> None:
        # Too little memory for its pixels beside what the network says: they are decoded anew.
        async with running(model_path, spool_dir=tmp_path, kept_bytes=500_000) as (app, pipeline):
            places = []
            for data in (DEEP, SMALL):
                kept = await Call(app, data, path="/pictures").done()
                assert kept.status == 201, kept.body
                places.append(f"/{kept.headers['location']}")
            assert metric(pipeline, SPOOLED) == len(DEEP)
            assert metric(pipeline, HELD) == 0
            drawn = await Call(app, b"", method="GET", path=places[0]).done()
            assert drawn.status == 200
            assert probe(drawn.body, max_megapixels=1).upright_size == (80, 60)
            assert (await Call(app, b"", method="DELETE", path=places[0]).done()).status == 204
            assert metric(pipeline, SPOOLED) == spooled_in(tmp_path) == 0
            again = await Call(app, DEEP, path="/pictures").done()
            assert again.status == 201
        assert spooled_in(tmp_path) == 0

    run(scene)


def test_kept_pictures_leave_half_of_the_disk_to_others(model_path: Path, tmp_path: Path) -> None:
    async def scene() -> None:
        limits = {"max_upload_bytes": 2 * len(DEEP), "max_spooled_bytes": 3 * len(DEEP), "spool_dir": tmp_path}
        async with running(model_path, **limits) as (app, pipeline):
            for _ in range(3):
                assert (await Call(app, DEEP, path="/pictures").done()).status == 201
                assert metric(pipeline, SPOOLED) == len(DEEP)
            assert metric(pipeline, 'photochrom_kept_evictions_total{reason="room"}') == 2
        async with running(model_path, **limits | {"max_spooled_bytes": 2 * len(DEEP) - 2}) as (app, pipeline):
            refused = await Call(app, DEEP, path="/pictures").done()
            assert refused.status == 413
            assert b"too-large-to-keep" in refused.body
            await check_idle(pipeline)

    run(scene)


def test_a_picture_that_is_let_go_while_it_is_drawn_is_drawn(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = hold(monkeypatch, "service.pictures.worker.wire.pack_task")

    async def scene() -> None:
        async with running(model_path, spool_dir=tmp_path, kept_bytes=500_000) as (app, pipeline):
            kept = await Call(app, DEEP, path="/pictures").done()
            place = f"/{kept.headers['location']}"
            gate.is_open.clear()
            drawn = Call(app, b"", method="GET", path=place)
            await until(lambda: gate.passed == 2)
            assert (await Call(app, b"", method="DELETE", path=place).done()).status == 204
            gate.is_open.set()
            assert (await drawn.done()).status == 200
            await asyncio.sleep(0)
            assert metric(pipeline, SPOOLED) == spooled_in(tmp_path) == 0

    run(scene)
