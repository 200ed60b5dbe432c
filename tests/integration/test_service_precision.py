"""The service changes over to what computes the network faster: nobody is turned away, and answers say by what."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chroma.bins import load_centers
from chroma.signature import AB_LOGITS
from service.engine import models
from service.engine.precision import Choice
from service.engine.session import Session
from service.http import reload
from tests import onnx_factory
from tests.integration.test_service_under_load import GRAY, Call, check_idle, hold, metric, run, running, until


class Brighter:
    """Stands for another precision: colors a little otherwise, so that it shows which of the two has answered."""

    name = "other 1.0"
    provider = "Other"

    def __init__(self, session: Session) -> None:
        self._runtime = session.runtime

    def run(self, names: Sequence[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        outputs = self._runtime.run(names, feeds)
        return [
            output + load_centers()[:, 1].astype(np.float32) / 25 if name == AB_LOGITS else output
            for name, output in zip(names, outputs, strict=True)
        ]

    def run_and_give_back(self, names: Sequence[str], feeds: dict[str, np.ndarray]) -> None:
        self._runtime.run_and_give_back(names, feeds)


def another(session: Session, **_: Any) -> Choice:
    return Choice(session.on(Brighter(session), "bfloat16"), "0.50 of the time")


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "find_faster", another)
    monkeypatch.setattr(reload, "ACCELERATE_AFTER_S", 3600.0)  # A test says when.


async def get(app: Any, path: str) -> Any:
    return json.loads((await Call(app, b"", method="GET", path=path).done()).body)


def test_answers_before_and_after_say_by_what(model_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with running(model_path, precision="auto") as (app, pipeline):
            before = await Call(app, GRAY).done()
            assert await pipeline.accelerate()
            after = await Call(app, GRAY).done()
            told = json.loads((await Call(app, GRAY, query="format=json").done()).body)
            assert [answer.headers["x-photochrom-precision"] for answer in (before, after)] == ["float32", "bfloat16"]
            assert before.headers["etag"] != after.headers["etag"]
            assert before.body != after.body
            assert told["computed_in"] == "bfloat16"
            for path in ("/health", "/model"):
                state = await get(app, path)
                assert (state["computed_in"], state["runtime"], state["provider"]) == ("bfloat16", "other 1.0", "Other")
            # Who has the answer of before asks whether it still holds: it does not.
            again = await Call(app, GRAY, headers={"if-none-match": before.headers["etag"]}).done()
            assert again.status == 200
            await check_idle(pipeline)

    caplog.set_level("INFO")
    run(scene)
    assert "the network is computed in bfloat16 by other 1.0: 0.50 of the time" in caplog.text


def test_a_kept_picture_stays_what_it_was(model_path: Path) -> None:
    async def scene() -> None:
        async with running(model_path, precision="auto") as (app, pipeline):
            kept = json.loads((await Call(app, GRAY, path="/pictures").done()).body)
            assert kept["computed_in"] == "float32"
            place = f"/pictures/{kept['id']}"
            before = await Call(app, b"", method="GET", path=place).done()
            await pipeline.accelerate()
            after = await Call(app, b"", method="GET", path=place).done()
            assert after.headers["x-photochrom-precision"] == "float32"
            assert (after.headers["etag"], after.body) == (before.headers["etag"], before.body)
            newer = json.loads((await Call(app, GRAY, path="/pictures").done()).body)
            assert newer["computed_in"] == "bfloat16"
            shown = await Call(app, b"", method="GET", path=f"/pictures/{newer['id']}").done()
            assert shown.headers["x-photochrom-precision"] == "bfloat16"
            assert shown.headers["etag"] != before.headers["etag"]

    run(scene)


def test_who_is_under_way_is_answered_by_what_began(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = hold(monkeypatch, "service.engine.pipeline.prepare_lightness")

    async def scene() -> None:
        async with running(model_path, precision="auto") as (app, pipeline):
            first = await Call(app, GRAY).done()
            before = pipeline.model
            gate.is_open.clear()
            passed = gate.passed
            under_way = Call(app, GRAY)
            await until(lambda: gate.passed == passed + 1)
            changing = asyncio.create_task(pipeline.accelerate())
            await until(lambda: pipeline.model is not before)
            gate.is_open.set()
            done = await under_way.done()
            assert await changing
            assert (done.headers["x-photochrom-precision"], done.body) == ("float32", first.body)
            assert not before.batcher.is_alive(60)
            await check_idle(pipeline)

    run(scene)


def test_it_changes_over_by_itself_and_again_after_a_reload(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "ACCELERATE_AFTER_S", 0.0)

    async def scene() -> None:
        async with running(model_path, precision="auto") as (app, pipeline):
            await until(lambda: 'precision="bfloat16"' in pipeline.metrics.exposition().decode())
            await app.state.reload()
            assert pipeline.session.precision == "bfloat16"
            assert metric(pipeline, 'photochrom_reloads_total{outcome="done",what="model"}') == 1
            assert pipeline.metrics.exposition().decode().count("photochrom_model_info{") == 1

    run(scene)


def test_what_an_operator_has_chosen_stays(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "ACCELERATE_AFTER_S", 0.0)

    async def scene() -> None:
        async with running(model_path, precision="float32") as (app, pipeline):
            await app.state.reload()
            assert pipeline.session.precision == "float32"
            assert (await get(app, "/health"))["computed_in"] == "float32"

    run(scene)


def test_nothing_better_changes_nothing(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(models, "find_faster", lambda session, **_: Choice(session, "this processor is an abacus"))

    async def scene() -> None:
        async with running(model_path, precision="auto") as (app, pipeline):
            before = pipeline.model
            assert not await pipeline.accelerate()
            assert pipeline.model is before
            assert (await Call(app, GRAY).done()).status == 200

    caplog.set_level("INFO")
    run(scene)
    assert caplog.text.count("this processor is an abacus") == 1


def test_a_failure_inside_is_told_and_float32_goes_on(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_room(_: Session, **__: Any) -> Choice:
        raise MemoryError

    monkeypatch.setattr(models, "find_faster", no_room)
    monkeypatch.setattr(reload, "ACCELERATE_AFTER_S", 0.0)

    async def scene() -> None:
        async with running(model_path, precision="auto") as (app, _):
            await until(lambda: "cannot be computed faster" in caplog.text)
            answer = await Call(app, GRAY).done()
            assert (answer.status, answer.headers["x-photochrom-precision"]) == (200, "float32")

    run(scene)


def test_a_service_that_ends_looks_no_further(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[bool] = []

    async def scene() -> None:
        async with running(model_path, precision="auto") as (_, pipeline):

            def look(session: Session, *, is_wanted: Callable[[], bool]) -> Choice:
                wanted.append(is_wanted())
                pipeline.draining = True
                wanted.append(is_wanted())
                return another(session)

            monkeypatch.setattr(models, "find_faster", look)
            await pipeline.accelerate()

    run(scene)
    assert wanted == [True, False]


def test_a_service_that_ends_takes_up_nothing(model_path: Path) -> None:
    async def scene() -> None:
        async with running(model_path, precision="auto") as (_, pipeline):
            before = pipeline.model
            pipeline.draining = True
            assert not await pipeline.accelerate()
            assert pipeline.model is before

    run(scene)
