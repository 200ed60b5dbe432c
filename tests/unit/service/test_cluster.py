"""service.archive.cluster without Ray: pictures outlive their workers, and what is wrong is said in a line."""

import asyncio
import errno
import importlib.util
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.archive import worker_pool
from service.archive.cluster import ColorizeActor, Instructions, check_reachable
from service.archive.run import ColoredFile, Outcome, Stopped, Work, color_there
from service.archive.worker_pool import FILES_AHEAD, FILES_EACH, MAX_TRIES, ClusterError, WorkerLost, WorkerPool
from service.commands.shared import app
from service.engine.options import ColorizeQuery
from service.errors import BrokenPicture, InternalError, ModelError
from service.pictures.size_limits import SizeLimits
from service.version import program_version
from tests.pictures import by_pillow, smooth_gray

ANSWER = by_pillow(smooth_gray(4, 5), "PNG")
NAMES = "abcdefghijkl"
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Colleague:
    """A worker of a test: does what it is told to."""

    def __init__(self, color: Callable[["Colleague", bytes], None], load: Callable[[], None] = lambda: None) -> None:
        self._color, self._load = color, load
        self.busy = self.ended = False
        self.colored: list[bytes] = []

    async def load(self) -> None:
        await asyncio.sleep(0)
        self._load()

    async def ping(self) -> None:
        await asyncio.sleep(0)

    async def color(self, data: bytes) -> ColoredFile:
        assert not self.busy
        assert not self.ended
        self.busy = True
        await asyncio.sleep(0)
        self.busy = False
        self._color(self, data)
        self.colored.append(data)
        return ColoredFile(ANSWER, data.decode())

    def stop(self) -> None:
        self.ended = True


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "AGAIN_S", 0)


def well(_: Colleague, __: bytes) -> None:
    pass


def run(tmp_path: Path, pool: Callable[[], WorkerPool], jobs: int = 6) -> list[Outcome]:
    for name in NAMES:
        (tmp_path / name).write_bytes(name.encode())
    work = Work({tmp_path / name: tmp_path / "out" / f"{name}.png" for name in NAMES}, "png")
    outcomes: list[Outcome] = []

    async def color() -> None:
        async with pool() as those:
            await color_there(work, those, outcomes.append, jobs=jobs)

    asyncio.run(color())
    return outcomes


def test_lost_workers_are_replaced_and_their_pictures_colored_once(tmp_path: Path) -> None:
    started: list[Colleague] = []

    def color(self: Colleague, _: bytes) -> None:
        # Two are lost: over three in a row a picture would be given up.
        if len(self.colored) == 2 and self in started[:2]:
            raise WorkerLost("killed")

    def start_worker() -> Colleague:
        started.append(Colleague(color))
        return started[-1]

    pools: list[WorkerPool] = []
    outcomes = run(tmp_path, lambda: pools.append(WorkerPool(start_worker, 3)) or pools[0])
    assert sorted(outcome.source.name for outcome in outcomes) == list(NAMES)
    assert {outcome.status for outcome in outcomes} == {"colored"}
    assert sorted(data for worker in started for data in worker.colored) == [name.encode() for name in NAMES]
    assert sorted(os.listdir(tmp_path / "out")) == [f"{name}.png" for name in NAMES]
    assert pools[0].lost == 2
    assert [worker.ended for worker in started] == [True, True, False, False, False]


def test_a_picture_that_ends_every_worker_is_given_up_and_the_others_are_not(tmp_path: Path) -> None:
    tries: list[bytes] = []

    def color(_: Colleague, data: bytes) -> None:
        if data == b"c":
            tries.append(data)
            raise WorkerLost("out of memory")
        if data == b"d":
            raise BrokenPicture("broken")

    outcomes = run(tmp_path, lambda: WorkerPool(lambda: Colleague(color), 2))
    failed = {outcome.source.name: (outcome.problem, outcome.reason) for outcome in outcomes if outcome.problem}
    assert failed == {
        "c": ("internal-error", f"{MAX_TRIES} workers in a row were lost over it"),
        "d": ("broken-picture", "broken"),
    }
    assert len(tries) == MAX_TRIES
    assert len(outcomes) == len(NAMES)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModelError("no such model"), "no such model"),
        (ModuleNotFoundError("No module named 'cv2'"), "a worker cannot start: ModuleNotFoundError: No module named"),
        (WorkerLost("killed"), "3 workers in a row were lost while they started: killed"),
        (FULL, r"3 workers in a row were lost while they started: OSError: \[Errno 28\] No space left on device"),
        (MemoryError(), "3 workers in a row were lost while they started: MemoryError"),
    ],
)
def test_workers_that_cannot_start_stop_the_work(tmp_path: Path, error: Exception, said: str) -> None:
    def load() -> None:
        raise error

    with pytest.raises(Stopped, match=said):
        run(tmp_path, lambda: WorkerPool(lambda: Colleague(well, load), 3))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Stopped("no way to the cluster"), "no way to the cluster"),
        (ValueError("odd"), "a worker cannot start: ValueError: odd"),
        (WorkerLost("no machine"), "3 workers in a row were lost while they started: no machine"),
    ],
)
def test_nobody_waits_for_workers_that_cannot_be_hired(error: Exception, said: str) -> None:
    def start_worker() -> Colleague:
        raise error

    async def color() -> None:
        async with WorkerPool(start_worker, 2) as pool, asyncio.timeout(10):
            await pool(b"a")

    with pytest.raises(Stopped, match=said):
        asyncio.run(color())


def test_nobody_waits_when_what_fills_places_fails_itself() -> None:
    def load() -> None:
        raise WorkerLost("killed")

    def say(_: str) -> None:
        raise BrokenPipeError("nobody reads")

    async def color() -> None:
        async with WorkerPool(lambda: Colleague(well, load), 1, say=say) as pool, asyncio.timeout(10):
            await pool(b"a")

    with pytest.raises(Stopped, match="nobody reads"):
        asyncio.run(color())


@pytest.mark.parametrize("error", [WorkerLost("no machine"), FULL, MemoryError()])
def test_a_place_that_cannot_be_filled_does_not_stop_the_others(tmp_path: Path, error: Exception) -> None:
    started: list[Colleague] = []

    def color(self: Colleague, _: bytes) -> None:
        if self in started[1:2]:
            raise WorkerLost("killed")

    def load() -> None:
        raise error

    def start_worker() -> Colleague:
        started.append(Colleague(color) if len(started) < 2 else Colleague(well, load))
        return started[-1]

    outcomes = run(tmp_path, lambda: WorkerPool(start_worker, 2))
    assert [outcome.status for outcome in outcomes] == ["colored"] * len(NAMES)
    assert len(started) == 2 + MAX_TRIES


class Late(Colleague):
    """A worker that takes long to start."""

    async def load(self) -> None:
        for _ in range(100):
            await asyncio.sleep(0)


class Never(Colleague):
    """A worker that there is no room for."""

    async def load(self) -> None:
        await asyncio.Event().wait()


def test_a_machine_where_nothing_works_does_not_end_it_before_the_others_are_there(tmp_path: Path) -> None:
    def load() -> None:
        raise FULL

    started: list[Colleague] = []

    def start_worker() -> Colleague:
        started.append(Late(well) if not started else Colleague(well, load))
        return started[-1]

    assert [outcome.status for outcome in run(tmp_path, lambda: WorkerPool(start_worker, 3))] == ["colored"] * len(
        NAMES
    )


def test_others_that_never_come_are_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "OTHERS_S", 0.01)

    def load() -> None:
        raise FULL

    started: list[Colleague] = []

    def start_worker() -> Colleague:
        started.append(Never(well) if not started else Colleague(well, load))
        return started[-1]

    with pytest.raises(Stopped, match="No space left on device"):
        run(tmp_path, lambda: WorkerPool(start_worker, 2))


class Machine:
    """A machine of a test, with places for workers."""

    def __init__(self, places: int) -> None:
        self.places, self.dead = places, False


class Tenant(Colleague):
    """A worker on one of some machines, and on none as long as they are full; gone when its machine is, unheard."""

    def __init__(self, machines: list[Machine], chance: random.Random, deadly: bytes = b"") -> None:
        super().__init__(well)
        self._machines, self._chance, self._deadly = machines, chance, deadly
        self._machine: Machine | None = None

    async def load(self) -> None:
        while self._machine is None:
            await asyncio.sleep(0)
            self._machine = next((m for m in self._machines if m.places and not m.dead), None)
        self._machine.places -= 1

    async def _work(self, most: int) -> None:
        assert self._machine is not None
        for _ in range(self._chance.randint(1, most)):
            await asyncio.sleep(0)
            if self._machine.dead or self.ended:
                raise WorkerLost("its machine is gone")

    async def ping(self) -> None:
        await self._work(2)

    async def color(self, data: bytes) -> ColoredFile:
        await self._work(20)
        if data == self._deadly:
            raise WorkerLost("out of memory")
        return ColoredFile(ANSWER, data.decode())

    def stop(self) -> None:
        if not self.ended and self._machine is not None:
            self._machine.places += 1
        self.ended = True


@pytest.mark.parametrize("files", [12, 40])
@pytest.mark.parametrize("deadly", [b"", b"7"])
def test_a_machine_that_dies_costs_no_good_picture(files: int, deadly: bytes) -> None:
    async def run(seed: int) -> dict[str, str]:
        chance = random.Random(seed)
        machines = [Machine(8), Machine(8)]
        ends_at = chance.randint(files // 2, files - 1)
        became: dict[str, str] = {}
        waiting = iter(range(files))

        async def work_through(pool: WorkerPool) -> None:
            for number in waiting:
                try:
                    became[str(number)] = (await pool(str(number).encode())).scene
                except InternalError as error:
                    became[str(number)] = error.detail
                machines[0].dead |= len(became) >= ends_at

        async with WorkerPool(lambda: Tenant(machines, chance, deadly), 16) as pool, asyncio.timeout(10):
            await asyncio.gather(*(work_through(pool) for _ in range(32)))
        return became

    right = {str(number): str(number) for number in range(files)}
    if deadly:
        right[deadly.decode()] = f"{MAX_TRIES} workers in a row were lost over it"
    for seed in range(60):
        assert asyncio.run(run(seed)) == right, f"seed {seed}"


@pytest.mark.parametrize("silent", [False, True])
def test_workers_that_were_gone_before_do_not_count(monkeypatch: pytest.MonkeyPatch, silent: bool) -> None:
    monkeypatch.setattr(worker_pool, "ANSWER_S", 0.01)
    started: list[Colleague] = []
    tried: list[Colleague] = []

    class Gone(Colleague):
        async def ping(self) -> None:
            if self in started[:5]:
                if silent:
                    await asyncio.Event().wait()
                raise WorkerLost("no machine")

        async def color(self, data: bytes) -> ColoredFile:
            assert data == b"a"
            tried.append(self)
            await self.ping()
            raise WorkerLost("out of memory")

    def start_worker() -> Colleague:
        started.append(Gone(well))
        return started[-1]

    async def color() -> None:
        async with WorkerPool(start_worker, 5) as pool:
            while pool._free.qsize() < 5:  # All have nothing to do, and then go.
                await asyncio.sleep(0)
            await pool(b"a")

    with pytest.raises(InternalError, match=f"{MAX_TRIES} workers in a row were lost over it"):
        asyncio.run(color())
    assert len(tried) == MAX_TRIES
    assert not set(tried) & set(started[:5])
    assert all(worker.ended for worker in started[:5])


def test_workers_that_always_go_before_they_get_anything_end_the_work() -> None:
    class Gone(Colleague):
        async def load(self) -> None:
            pass

        async def ping(self) -> None:
            await asyncio.sleep(0)
            raise WorkerLost("gone")

    async def color() -> None:
        async with WorkerPool(lambda: Gone(well), 4) as pool:
            await asyncio.sleep(0)
            await pool(b"a")

    with pytest.raises(Stopped, match="see whether its machines stay up"):
        asyncio.run(color())


def test_a_cluster_without_room_is_talked_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "NOTICE_S", 0.01)
    said: list[str] = []
    enough = asyncio.Event()

    class Patient(Colleague):
        async def load(self) -> None:
            await enough.wait()

    def say(text: str) -> None:
        said.append(text)
        enough.set()

    async def color() -> ColoredFile:
        async with WorkerPool(lambda: Patient(well), 1, say=say) as pool:
            return await pool(b"a")

    assert asyncio.run(color()).scene == "a"
    assert said[0].startswith("waiting for the cluster")


def test_there_is_room_for_the_files_of_those_who_are_ready() -> None:
    async def get_in(pool: WorkerPool) -> int:
        """Return how many of many files get in."""
        inside = 0

        async def enter() -> None:
            nonlocal inside
            async with pool.room():
                inside += 1
                await asyncio.Event().wait()

        tasks = [asyncio.create_task(enter()) for _ in range(50)]
        for _ in range(20):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return inside

    def color(self: Colleague, _: bytes) -> None:
        if self is started[0]:
            raise WorkerLost("killed")

    started: list[Colleague] = []

    def start_worker() -> Colleague:
        started.append(Colleague(color) if len(started) < 5 else Never(color))
        return started[-1]

    async def watch() -> list[int]:
        async with WorkerPool(start_worker, 5) as pool:
            seen = [await get_in(pool)]
            await pool(b"a")
            return [*seen, await get_in(pool)]

    assert asyncio.run(watch()) == [FILES_AHEAD + FILES_EACH * 5, FILES_AHEAD + FILES_EACH * 4]


def order(model: Path) -> Instructions:
    return Instructions(ColorizeQuery(), "cpu", model, SizeLimits(50, 1 << 24))


def test_a_painter_colors_as_the_command_line(tmp_path: Path, model_path: Path) -> None:
    picture = tmp_path / "gray.png"
    picture.write_bytes(by_pillow(smooth_gray(40, 60), "PNG"))
    actor_type = ColorizeActor()
    actor_type.load(model_path.read_bytes(), program_version(), order(model_path))
    options = ["--out", str(tmp_path / "out"), "--no-metadata", "--model", str(model_path), "--device", "cpu"]
    assert CliRunner().invoke(app, ["colorize", str(picture), *options]).exit_code == 0
    assert actor_type.color(picture.read_bytes()).data == (tmp_path / "out/gray.png").read_bytes()


def test_a_painter_of_another_version_does_not_start(model_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"has Photochrom .*, this machine 99: install the same"):
        ColorizeActor().load(model_path.read_bytes(), "99", order(model_path))


@pytest.mark.parametrize(
    "address",
    [
        *("", "nonsense", "http://here:6379", "ray://here", "here:port", "a b:1", "[zz]:1"),
        *("a" * 70 + ".com:1", f"ray://{'a' * 70}:1", "head..example:1", "\udcff:1"),
    ],
)
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(ClusterError, match=r"is no address of a Ray cluster: give HOST:PORT"):
        check_reachable(address)


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_whether_anyone_is_there_is_known_soon(form: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = form.format(server.getsockname()[1])
        check_reachable(address)
    with pytest.raises(ClusterError, match=r"nobody answers at .*is the cluster up"):
        check_reachable(address)


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed here")
def test_no_ray_is_one_line(tmp_path: Path, model_path: Path) -> None:
    picture = tmp_path / "gray.png"
    picture.write_bytes(by_pillow(smooth_gray(40, 60), "PNG"))
    options = ["--cluster", "auto", "--out", str(tmp_path / "out"), "--model", str(model_path)]
    called = CliRunner().invoke(app, ["colorize", str(picture), *options])
    assert called.exit_code == 1
    assert called.stderr.splitlines() == [
        "photochrom: --cluster needs Ray, which is not installed here: install photochrom[cluster]"
    ]
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    picture = tmp_path / "gray.png"
    picture.write_bytes(by_pillow(smooth_gray(40, 60), "PNG"))
    called = CliRunner().invoke(
        app, ["colorize", str(picture), "--cluster", "auto", "--model", str(tmp_path / "none.onnx")]
    )
    assert called.exit_code == 1
    assert called.stderr.splitlines() == [f"photochrom: {tmp_path / 'none.onnx'}: No such file or directory"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--remote", "http://127.0.0.1:1"], "exclude each other"),
        (["--reference", __file__], "--reference"),
    ],
)
def test_what_contradicts_is_misuse(tmp_path: Path, options: list[str], named: str) -> None:
    picture = tmp_path / "gray.png"
    picture.write_bytes(by_pillow(smooth_gray(40, 60), "PNG"))
    called = CliRunner().invoke(app, ["colorize", str(picture), "--cluster", "auto", *options])
    assert called.exit_code == 2
    assert named in called.stderr
