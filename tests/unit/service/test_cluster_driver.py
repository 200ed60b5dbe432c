"""service.archive.cluster at Ray's side of it, on a Ray that is made up: what it raises comes out as what it means."""

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.archive import worker_pool
from service.archive.cluster import Instructions, color_on_cluster
from service.archive.run import Outcome, Stopped, Work
from service.archive.worker_pool import FILES_AHEAD, FILES_EACH
from service.engine.options import ColorizeQuery
from service.pictures.size_limits import SizeLimits
from tests.fake_ray import FakeRay, RayError, RayTaskError
from tests.pictures import by_pillow, smooth_gray

ANSWER = by_pillow(smooth_gray(4, 5), "PNG")
BROKEN = ConnectionError("Failed to reconnect within the reconnection grace period (30s)")
"""As `ray.util.client.dataclient` raises it: an OSError without a number."""
FILES = 20


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "AGAIN_S", 0)


async def color(_: int, data: bytes) -> tuple[bytes, str]:
    await asyncio.sleep(0)
    return ANSWER, data.decode()


def run(
    ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, jobs: int | None = None, files: int = FILES
) -> tuple[list[Outcome], str]:
    """Color made-up files; return what came of them, and why the run ended early if it did."""
    monkeypatch.setitem(sys.modules, "ray", ray)
    names = [f"{number:03}" for number in range(files)]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "model.onnx").write_bytes(b"model")
    work = Work({tmp_path / name: tmp_path / "out" / f"{name}.png" for name in names}, "png")
    order = Instructions(ColorizeQuery(), "cpu", tmp_path / "model.onnx", SizeLimits(50, 1 << 24))
    outcomes: list[Outcome] = []
    stopped = ""
    try:
        color_on_cluster("auto", order, work, outcomes.append, jobs=jobs)
    except Stopped as stop:
        stopped = str(stop)
    assert ray.is_shut_down
    return outcomes, stopped


def test_all_files_are_colored_by_all_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by: set[int] = set()

    async def told(number: int, data: bytes) -> tuple[bytes, str]:
        by.add(number)
        return await color(number, data)

    outcomes, _ = run(FakeRay(3, {"color": told}), tmp_path, monkeypatch)
    assert sorted((outcome.scene, outcome.status) for outcome in outcomes) == [
        (f"{number:03}", "colored") for number in range(FILES)
    ]
    assert by == {1, 2, 3}


def failing_when_awaited() -> FakeRay:
    done: list[bytes] = []

    async def answer(number: int, data: bytes) -> tuple[bytes, str]:
        done.append(data)
        if len(done) > 5:
            raise BROKEN
        return await color(number, data)

    return FakeRay(2, {"color": answer})


def failing_when_asked(method: str, error: Exception, *, after: int) -> FakeRay:
    asked: list[str] = []

    def at_remote(name: str) -> None:
        asked.append(name)
        if asked.count(method) > after:
            raise error

    return FakeRay(2, {"color": color}, at_remote)


def failing_when_a_lost_worker_is_replaced() -> FakeRay:
    ray = failing_when_asked("start_worker", BROKEN, after=2)

    async def lost(_: int, __: bytes) -> tuple[bytes, str]:
        raise RayError("The actor died unexpectedly before finishing this task.")

    ray.answers["color"] = lost
    return ray


def failing_at_the_start(method: str) -> FakeRay:
    ray = FakeRay(2, {"color": color})

    def fail(*_: object) -> object:
        raise BROKEN

    setattr(ray, method, fail)
    return ray


@pytest.mark.parametrize(
    "ray",
    [
        pytest.param(failing_when_awaited, id="an answer is awaited"),
        pytest.param(lambda: failing_when_asked("color", BROKEN, after=5), id="a picture is sent"),
        pytest.param(
            lambda: failing_when_asked("color", Exception("Ray Client is not connected."), after=5), id="all is closed"
        ),
        pytest.param(lambda: failing_when_asked("load", BROKEN, after=0), id="workers are told"),
        pytest.param(lambda: failing_when_asked("start_worker", BROKEN, after=0), id="workers are started"),
        pytest.param(failing_when_a_lost_worker_is_replaced, id="a lost worker is replaced"),
        pytest.param(lambda: failing_at_the_start("cluster_resources"), id="the cluster is looked at"),
        pytest.param(lambda: failing_at_the_start("put"), id="the model is sent"),
    ],
)
def test_a_lost_head_ends_the_run_and_fails_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray: Callable[[], FakeRay]
) -> None:
    outcomes, stopped = run(ray(), tmp_path, monkeypatch)
    assert re.fullmatch(r"the connection to the cluster broke \(.*\): see whether its head node runs and .*", stopped)
    assert {outcome.status for outcome in outcomes} <= {"colored"}


def test_a_connection_that_cannot_even_be_closed_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = failing_when_awaited()

    def shutdown() -> None:
        ray.is_shut_down = True
        raise ConnectionError

    monkeypatch.setattr(ray, "shutdown", shutdown)
    assert "see whether its head node runs" in run(ray, tmp_path, monkeypatch)[1]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (RayTaskError(MemoryError()), "no-memory"),
        (RayTaskError(ValueError("odd")), "internal-error"),
        (MemoryError(), "no-memory"),
    ],
)
def test_what_fails_over_one_picture_fails_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, problem: str
) -> None:
    async def answer(number: int, data: bytes) -> tuple[bytes, str]:
        if data == b"007":
            raise error
        return await color(number, data)

    outcomes, _ = run(FakeRay(2, {"color": answer}), tmp_path, monkeypatch)
    assert {outcome.source.name: outcome.problem for outcome in outcomes if outcome.problem} == {"007": problem}


class TaskAndMemoryError(RayTaskError, MemoryError):
    """What Ray makes of a worker's MemoryError: its text is the worker's traceback."""


def test_too_little_memory_there_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = TaskAndMemoryError(MemoryError("of 5 GB"))

    async def load(*_: object) -> None:
        raise error

    monkeypatch.setattr(TaskAndMemoryError, "__str__", lambda _: "ray::ColorizeActor.load() (pid=1)\n  File ...")
    outcomes, stopped = run(FakeRay(2, {"load": load}), tmp_path, monkeypatch)
    assert outcomes == []
    assert stopped == "3 workers in a row were lost while they started: MemoryError: of 5 GB"


def test_lost_workers_are_ended_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(number: int, data: bytes) -> tuple[bytes, str]:
        if number == 1:
            raise RayError("The actor died")
        return await color(number, data)

    ray = FakeRay(2, {"color": answer})
    outcomes, _ = run(ray, tmp_path, monkeypatch)
    assert {outcome.status for outcome in outcomes} == {"colored"}
    assert (ray.workers, ray.killed) == (3, [1])


def test_no_more_files_are_read_than_ready_workers_can_take_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, most_at_work, read, most_held = 0, 0, 0, 0
    answered: list[bytes] = []
    really_read = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        nonlocal read, most_held
        if not path.suffix:
            read += 1
            most_held = max(most_held, read - len(answered))
        return really_read(path)

    async def load(number: int, *_: object) -> None:
        if number > 3:  # There is no room for more.
            await asyncio.Event().wait()

    async def answer(_: int, data: bytes) -> tuple[bytes, str]:
        nonlocal at_work, most_at_work
        at_work += 1
        most_at_work = max(most_at_work, at_work)
        await asyncio.sleep(0.002)
        at_work -= 1
        answered.append(data)
        return ANSWER, ""

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    outcomes, _ = run(FakeRay(3, {"load": load, "color": answer}), tmp_path, monkeypatch, jobs=1024, files=60)
    assert len(outcomes) == 60
    assert most_at_work == 3
    assert most_held <= FILES_AHEAD + FILES_EACH * 3
