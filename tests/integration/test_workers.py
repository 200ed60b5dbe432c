"""service.pictures.worker: pictures decoded in processes that are ended when they take too much, and replaced."""

import asyncio
import dataclasses
import errno
import mmap
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from service.errors import BrokenPicture, CostlyPicture, InternalError, OutOfDisk, OutOfMemory
from service.pictures import lightness
from service.pictures.decode import decode, prepare_codecs
from service.pictures.header import Header
from service.pictures.lightness import STRIP_PIXELS, store_lightness
from service.pictures.probe import probe
from service.pictures.spooled import Descriptor, SpooledFile
from service.pictures.worker import allowance, memory, processes, sandbox, wire
from service.pictures.worker import pool as pools
from service.pictures.worker.memory import read_memory
from service.pictures.worker.pool import DecodePool
from tests.pictures import by_opencv, by_pillow, smooth_gray

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are processes of Linux")

GRAY = by_pillow(smooth_gray(48, 64), "PNG")
LARGE = by_opencv(smooth_gray(2000, 2000), ".png")


def header_of(data: bytes) -> Header:
    prepare_codecs()
    return probe(data, max_megapixels=100)


def run(scene: Callable[[DecodePool], Awaitable[None]], workers: int = 2, **options: Any) -> None:
    async def play() -> None:
        pool = DecodePool(workers, **{"cpu_s": 60, **options})
        try:
            await asyncio.wait_for(scene(pool), 300)  # type: ignore[arg-type]
        finally:
            pool.close()

    asyncio.run(play())


async def check_works(pool: DecodePool) -> None:
    assert_array_equal((await pool.decode(GRAY, header_of(GRAY))).pixels, smooth_gray(48, 64))


def processes_of(pool: DecodePool) -> list[int]:
    return [worker._process for worker in pool._idle[False]]


def status_of(process: int, name: str) -> str:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith(f"{name}:"))


def await_end(process: int) -> None:
    """Wait until a worker has ended, and before anybody has asked how."""
    while status_of(process, "State")[0] != "Z":
        time.sleep(0.001)


@pytest.fixture
def strike(monkeypatch: pytest.MonkeyPatch) -> Callable[[signal.Signals, int], None]:
    """Returns a function: end so many workers by a signal just before they get their picture."""
    left: list[signal.Signals] = []
    start_worker = processes.ForkServer.start_worker

    def start_and_strike(server: processes.ForkServer) -> Any:
        process, *others = start_worker(server)
        if left:
            os.kill(process, left.pop())
            await_end(process)
        return process, *others

    monkeypatch.setattr(processes.ForkServer, "start_worker", start_and_strike)
    return lambda kind, times: left.extend([kind] * times)


RGB = np.dstack([smooth_gray(40, 50), smooth_gray(40, 50)[::-1], smooth_gray(40, 50)[:, ::-1]])


@pytest.mark.parametrize(
    "data",
    [
        by_pillow(RGB, "JPEG"),
        by_pillow(RGB, "PNG"),
        by_opencv(RGB.astype(np.uint16) * 257, ".png"),
        by_opencv(np.dstack([RGB, RGB[..., 0]]).astype(np.uint16) * 257, ".png"),
        by_pillow(np.dstack([RGB, RGB[..., 1]]), "WEBP"),
        by_opencv(RGB.astype(np.uint16) * 100, ".tiff"),
        by_pillow(RGB, "TIFF"),
        by_pillow(smooth_gray(7, 1), "BMP"),
    ],
    ids=["jpeg", "png", "png16", "rgba16", "webp", "tiff16", "tiff", "bmp"],
)
def test_a_worker_decodes_what_decode_does(data: bytes) -> None:
    expected = decode(data, header_of(data))

    async def scene(pool: DecodePool) -> None:
        found = await pool.decode(data, header_of(data))
        assert found.pixels.dtype == expected.pixels.dtype
        assert_array_equal(found.pixels, expected.pixels)
        assert (found.alpha is None) == (expected.alpha is None)
        if expected.alpha is not None:
            assert_array_equal(found.alpha, expected.alpha)
        assert not found.pixels.flags.writeable

    run(scene)


@pytest.mark.parametrize(
    "data",
    [
        by_pillow(np.tile(RGB, (20, 30, 1)), "JPEG"),
        LARGE,
        by_opencv(np.dstack([RGB, RGB[..., 0]]).astype(np.uint16) * 257, ".png"),
        by_opencv(np.tile(smooth_gray(30, 40), (20, 30)).astype(np.uint16) * 257, ".png"),
    ],
    ids=["jpeg", "gray", "rgba16", "gray16"],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_lightness_comes_strip_by_strip(data: bytes, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, most = decode(data, header_of(data)), 0

    def read(process: int, address: int, into: np.ndarray) -> None:
        nonlocal most
        most = max(most, into.nbytes)
        read_memory(process, address, into)

    monkeypatch.setattr(memory, "read_memory", read)

    async def scene(pool: DecodePool) -> None:
        found = await pool.decode_lightness(data, header_of(data), threads=threads)
        assert_array_equal(found.L.levels, store_lightness(expected.pixels).levels)
        assert found.is_deep == expected.is_deep
        assert (found.alpha is None) == (expected.alpha is None)
        if expected.alpha is not None:
            assert_array_equal(found.alpha, expected.alpha)
        assert 0 < most <= STRIP_PIXELS * 3 * expected.pixels.itemsize
        await check_works(pool)

    run(scene)


@pytest.mark.parametrize("color", [False, True])
def test_memory_of_pixels_goes_back_while_they_are_read(monkeypatch: pytest.MonkeyPatch, color: bool) -> None:
    pixels = smooth_gray(1000, 900)
    pixels = np.dstack([pixels, pixels[::-1], 255 - pixels]) if color else pixels
    data, dropped = by_opencv(pixels, ".png"), list[int]()
    pack = wire.pack_drop
    monkeypatch.setattr(lightness, "DROPPED_PIXELS", 200 * 900)
    monkeypatch.setattr(lightness, "STRIP_PIXELS", 50 * 900)
    monkeypatch.setattr(wire, "pack_drop", lambda nbytes: dropped.append(nbytes) or pack(nbytes))
    start, page = list[int](), np.ones(mmap.PAGESIZE, np.uint8)

    def read(process: int, address: int, into: np.ndarray) -> None:
        read_memory(process, address, into)
        start.append(address)
        ends = time.monotonic() + 10
        while dropped and page.any() and time.monotonic() < ends:  # What went back is read as zeros.
            read_memory(process, min(start) + mmap.PAGESIZE, page)

    monkeypatch.setattr(memory, "read_memory", read)

    async def scene(pool: DecodePool) -> None:
        found = await pool.decode_lightness(data, header_of(data))
        assert_array_equal(found.L.levels, store_lightness(decode(data, header_of(data)).pixels).levels)
        row_bytes = 900 * (3 if color else 1)
        assert dropped == [rows * row_bytes for rows in (200, 400, 600, 800)]
        assert not page.any()
        await check_works(pool)

    run(scene)


def test_pages_that_hold_more_than_what_goes_back_stay() -> None:
    page = mmap.PAGESIZE
    with mmap.mmap(-1, 4 * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory_of_all:
        levels = np.frombuffer(memory_of_all, np.uint8)
        levels[:] = 7
        memory.drop_memory(levels.ctypes.data + 1, 3 * page)
        assert levels.reshape(4, page).any(axis=1).tolist() == [True, False, False, True]
        assert (levels[:page] == 7).all()
        memory.drop_memory(levels.ctypes.data + 1, page)
        assert (levels[:page] == 7).all()
        del levels


def test_a_worker_that_ends_while_its_pixels_are_read_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, losses = list[int](), list[str]()

    def read_and_strike(process: int, address: int, into: np.ndarray) -> None:
        reads.append(process)
        if len(reads) == 3:
            os.kill(process, signal.SIGKILL)
            await_end(process)
        read_memory(process, address, into)

    monkeypatch.setattr(memory, "read_memory", read_and_strike)

    async def scene(pool: DecodePool) -> None:
        found = await pool.decode_lightness(LARGE, header_of(LARGE))
        assert_array_equal(found.L.levels, smooth_gray(2000, 2000))
        assert losses == ["killed"]
        assert len(set(reads)) == 2

    run(scene, on_loss=losses.append)


def on_disk(path: Path, data: bytes) -> SpooledFile:
    path.write_bytes(data)
    return SpooledFile(Descriptor(os.open(path, os.O_RDONLY)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_a_file_on_the_disk_is_decoded_as_it_is(tmp_path: Path, kind: str) -> None:
    data = by_pillow(RGB, kind)
    file = on_disk(tmp_path / "file", data)

    async def scene(pool: DecodePool) -> None:
        found = await pool.decode(file, header_of(data))
        assert_array_equal(found.pixels, decode(data, header_of(data)).pixels)
        (process,) = processes_of(pool)
        opened = [os.readlink(f"/proc/{process}/fd/{each}") for each in os.listdir(f"/proc/{process}/fd")]
        assert str(tmp_path / "file") not in opened

    run(scene)


def test_a_disk_that_fails_says_nothing_of_the_picture(
    strike: Callable[[signal.Signals, int], None], tmp_path: Path
) -> None:
    """What cannot be read of a mapped file ends whoever reads it."""
    file = on_disk(tmp_path / "file", GRAY)

    async def scene(pool: DecodePool) -> None:
        strike(signal.SIGBUS, 2)
        with pytest.raises(OutOfDisk, match="cannot be read"):
            await pool.decode(file, header_of(GRAY))
        await check_works(pool)

    run(scene)


def test_what_is_wrong_with_a_picture_is_said_as_by_decode() -> None:
    data = by_pillow(smooth_gray(300, 300), "BMP")[:-2000]
    with pytest.raises(BrokenPicture) as expected:
        decode(data, header_of(data))

    async def scene(pool: DecodePool) -> None:
        with pytest.raises(BrokenPicture) as caught:
            await pool.decode(data, header_of(data))
        assert caught.value.detail == expected.value.detail
        workers = processes_of(pool)
        await check_works(pool)
        assert processes_of(pool) == workers  # Nobody had to end for it.

    run(scene)


def test_a_picture_that_takes_too_long_ends_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "CPU_S_A_MEGAPIXEL", 0.001)
    losses: list[str] = []

    async def scene(pool: DecodePool) -> None:
        began = time.monotonic()
        with pytest.raises(CostlyPicture, match="longer than") as caught:
            await pool.decode(LARGE, header_of(LARGE))
        assert time.monotonic() - began < 5
        assert caught.value.facts == {"limit": 0.005, "unit": "s"}
        assert losses == ["time"]
        monkeypatch.undo()
        pool._cpu_s = 60
        await check_works(pool)

    run(scene, cpu_s=0.001, on_loss=losses.append)


def test_a_picture_that_takes_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "memory_for", lambda *_: 1 << 20)

    async def scene(pool: DecodePool) -> None:
        with pytest.raises(CostlyPicture, match="more than 1 MB"):
            await pool.decode(by_pillow(smooth_gray(2000, 2000), "TIFF"), header_of(LARGE))
        workers = processes_of(pool)
        await check_works(pool)
        assert processes_of(pool) == workers

    run(scene)


def test_a_lost_worker_costs_nobody_anything(strike: Callable[[signal.Signals, int], None]) -> None:
    losses: list[str] = []

    async def scene(pool: DecodePool) -> None:
        strike(signal.SIGKILL, 1)
        await check_works(pool)
        assert losses == ["killed"]

    run(scene, on_loss=losses.append)


@pytest.mark.parametrize(
    ("kind", "loss", "error"),
    [(signal.SIGSEGV, "crash", BrokenPicture), (signal.SIGKILL, "killed", OutOfMemory)],
    ids=lambda each: getattr(each, "name", ""),
)
def test_a_picture_that_ends_two_workers(
    strike: Callable[[signal.Signals, int], None], kind: signal.Signals, loss: str, error: type[Exception]
) -> None:
    losses: list[str] = []

    async def scene(pool: DecodePool) -> None:
        strike(kind, 2)
        with pytest.raises(error):
            await pool.decode(GRAY, header_of(GRAY))
        assert losses == [loss, loss]
        await check_works(pool)

    run(scene, on_loss=losses.append)


@pytest.mark.parametrize("are_suspects", [True, False])
def test_callers_of_costly_pictures_share_one_worker_half_of_the_time(
    monkeypatch: pytest.MonkeyPatch, are_suspects: bool
) -> None:
    running, most, rests = 0, 0, list[float]()

    async def decode_nothing(*_: object) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        raise CostlyPicture("It takes too long.", limit=1, unit="s")

    async def scene(pool: DecodePool) -> None:
        loop = asyncio.get_running_loop()
        later = loop.call_later

        def rest(seconds: float, release: Callable[[], None]) -> asyncio.TimerHandle:
            assert release == pool._last.release
            rests.append(seconds)
            return later(0, release)

        monkeypatch.setattr(loop, "call_later", rest)
        pool._suspects = dict.fromkeys("ab", time.monotonic() + 60) if are_suspects else {}
        asked = [pool.decode(GRAY, header_of(GRAY), caller) for caller in "ab" for _ in range(3)]
        assert all(isinstance(each, CostlyPicture) for each in await asyncio.gather(*asked, return_exceptions=True))

    monkeypatch.setattr(DecodePool, "_run", decode_nothing)
    run(scene, workers=4)
    assert (most == 1, len(rests)) == ((True, 6) if are_suspects else (False, 0))
    assert all(seconds >= 0 for seconds in rests)


def test_who_is_refused_does_not_wait_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    async def decode_for_an_hour(*_: object) -> None:
        clock.now += 3600
        raise CostlyPicture("It takes too long.", limit=1, unit="s")

    async def scene(pool: DecodePool) -> None:
        pool._suspects = {"a": 1e9}
        with pytest.raises(CostlyPicture):
            await pool.decode(GRAY, header_of(GRAY), "a")
        assert pool._last.locked()
        assert not pool._turns

    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(pools, "time", clock)
    monkeypatch.setattr(DecodePool, "_run", decode_for_an_hour)
    run(scene)


def test_who_sends_costly_pictures_goes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "CPU_S_A_MEGAPIXEL", 0.001)

    async def scene(pool: DecodePool) -> None:
        with pytest.raises(CostlyPicture):
            await pool.decode(LARGE, header_of(LARGE), "costly")
        pool._cpu_s = 60
        await pool.decode(GRAY, header_of(GRAY), "costly")
        await pool.decode(GRAY, header_of(GRAY), "ordinary")
        (last,), (other,) = pool._idle[True], pool._idle[False]
        assert os.getpriority(os.PRIO_PROCESS, last._process) == pools.LEAST_PRIORITY
        assert os.getpriority(os.PRIO_PROCESS, other._process) < pools.LEAST_PRIORITY
        assert os.sched_getscheduler(last._process) == os.SCHED_IDLE
        assert os.sched_getscheduler(other._process) == os.SCHED_OTHER
        assert pool._suspects["costly"] > time.monotonic() + pools.SUSPECT_S - 10
        pool._suspects["costly"] = time.monotonic()
        await pool.decode(GRAY, header_of(GRAY), "costly")
        assert not pool._suspects

    run(scene, cpu_s=0.001)


def test_two_hundred_kills_lose_nothing() -> None:
    losses: list[str] = []

    async def scene(pool: DecodePool) -> None:
        rng = np.random.default_rng(1)
        is_over = False

        async def ask() -> None:
            while not is_over:
                with suppress(OutOfMemory):  # Two workers in a row: said, not lost.
                    await check_works(pool)

        async def kill() -> None:
            nonlocal is_over
            deaths = 0
            while deaths < 200:
                await asyncio.sleep(rng.uniform(0, 0.004))
                server = processes.fork_server()._process
                assert server is not None
                children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
                with suppress(ProcessLookupError, ValueError):  # Just reaped; or none there.
                    os.kill(int(rng.choice(children)), signal.SIGKILL)
                    deaths += 1
            is_over = True

        await asyncio.gather(kill(), *(ask() for _ in range(4)))
        await check_works(pool)
        assert len(losses) > 20

    run(scene, workers=3, on_loss=losses.append)


def test_who_gives_up_ends_the_worker() -> None:
    async def scene(pool: DecodePool) -> None:
        await check_works(pool)
        (process,) = processes_of(pool)
        os.kill(process, signal.SIGSTOP)
        task = asyncio.create_task(pool.decode(LARGE, header_of(LARGE)))
        await asyncio.sleep(0.1)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not Path(f"/proc/{process}").exists()
        await check_works(pool)

    run(scene)


def test_one_caller_leaves_a_worker_to_the_next() -> None:
    async def scene(pool: DecodePool) -> None:
        await check_works(pool)
        (process,) = processes_of(pool)
        os.kill(process, signal.SIGSTOP)
        header = header_of(GRAY)
        greedy = [asyncio.create_task(pool.decode(GRAY, header, "greedy")) for _ in range(4)]
        await asyncio.sleep(0.05)
        await asyncio.wait_for(pool.decode(GRAY, header, "modest"), 60)
        assert not any(task.done() for task in greedy)
        os.kill(process, signal.SIGCONT)
        await asyncio.gather(*greedy)
        assert not pool._turns
        assert not pool._callers

    run(scene, share=1)


def has_large_pages() -> bool:
    """Whether glibc asks the kernel for them, and the kernel gives them to who asks."""
    library, version = platform.libc_ver()
    with suppress(OSError):
        given = "[madvise]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
        return given and library == "glibc" and tuple(map(int, version.split("."))) >= (2, 35)
    return False


@pytest.mark.skipif(not has_large_pages(), reason="glibc 2.35, and a kernel with large pages for who asks")
def test_workers_take_memory_in_large_pages() -> None:
    async def scene(pool: DecodePool) -> None:
        await check_works(pool)
        (process,) = processes_of(pool)
        flags = [line.split() for line in Path(f"/proc/{process}/smaps").read_text().splitlines()]
        assert [line for line in flags if line[0] == "VmFlags:" and "hg" in line]

    run(scene)


def test_workers_are_confined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOCHROM_API_KEYS", "secret")
    processes.fork_server().close()  # The next one is started with this environment.

    async def scene(pool: DecodePool) -> None:
        await check_works(pool)
        (process,) = processes_of(pool)
        assert status_of(process, "NoNewPrivs") == "1"
        assert status_of(process, "Seccomp") == "2"
        assert status_of(process, "Threads") == "1"
        assert b"PHOTOCHROM_" not in Path(f"/proc/{process}/environ").read_bytes()
        limits = Path(f"/proc/{process}/limits").read_text()
        (core,) = (line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core == ["1", "1"]
        assert os.getpriority(os.PRIO_PROCESS, process) > os.getpriority(os.PRIO_PROCESS, 0)
        opened = [os.readlink(f"/proc/{process}/fd/{each}") for each in os.listdir(f"/proc/{process}/fd")]
        assert len([each for each in opened if each.startswith("socket:")]) == 1, opened

    run(scene)


CONFINED = """
import os, socket, subprocess, tempfile
from service.pictures.worker.sandbox import confine
before = socket.socketpair()
with tempfile.TemporaryFile() as spooled:
    spooled.write(b"spooled")
    spooled.flush()
    file = os.open(f"/proc/self/fd/{spooled.fileno()}", os.O_RDONLY)
name = f"/proc/self/fd/{file}"
confine()
def refused(call):
    try:
        call()
    except PermissionError:
        return True
print(
    refused(socket.socket), refused(lambda: socket.socketpair()), refused(lambda: os.execv("/bin/true", ["true"])),
    refused(lambda: os.kill(os.getppid(), 0)), refused(lambda: before[0].connect("/nowhere")),
)
before[0].send(b"x")
print(before[1].recv(1), len(os.urandom(4)), os.memfd_create("x") > 0)
print(
    refused(lambda: os.open(name, os.O_RDWR)), refused(lambda: os.open(name, os.O_RDONLY | os.O_TRUNC)),
    refused(lambda: os.truncate(name, 0)), refused(lambda: open("new", "w")), os.fstat(file).st_size,
    os.read(os.open(name, os.O_RDONLY), 7),
)
os.fork() or os._exit(0)
"""


def test_a_confined_process_has_no_network_and_starts_nothing() -> None:
    ended = subprocess.run([sys.executable, "-c", CONFINED], capture_output=True, text=True, timeout=60, check=False)
    lines = ended.stdout.splitlines()
    assert lines[0] == "True True True True True", ended.stderr
    assert lines[1] == "b'x' 4 True"
    assert lines[2] == "True True True True 7 b'spooled'"


@pytest.mark.parametrize("machine", list(sandbox.REFUSED))
def test_the_filter_says_no_to_what_is_listed_and_to_nothing_else(machine: str) -> None:
    """The program, run by hand: load, compare, jump, return are all it has."""
    processor, refused, opens = sandbox.REFUSED[machine]
    steps = np.frombuffer(
        sandbox.call_filter(processor, refused, opens),
        np.dtype([("code", "u2"), ("hit", "u1"), ("miss", "u1"), ("value", "u4")]),
    )

    def returned(number: int, of: int, flags: int = os.O_RDONLY | os.O_CLOEXEC) -> int:
        place, loaded = 0, 0
        data = {0: number, 4: of} | ({16 + 8 * opens[number]: flags} if number in opens else {})
        while True:
            code, hit, miss, value = (int(part) for part in steps[place])
            if code == 0x06:
                return value
            if code == 0x20:
                loaded = data[value]
                place += 1
                continue
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
            place += 1 + (hit if holds else miss)

    numbers = range(600)
    assert [number for number in numbers if returned(number, processor) != 0x7FFF0000] == sorted(refused)
    assert {returned(number, processor) for number in refused} == {0x00050001}
    for number in opens:
        for flags in (os.O_WRONLY, os.O_RDWR | os.O_CLOEXEC, os.O_CREAT, os.O_TRUNC):
            assert returned(number, processor, flags) == 0x00050001
    for number, of in ((0, processor + 1), (0x40000000, processor), (0x40000029, processor)):
        assert returned(number, of) == 0x00050001


async def fill(pool: DecodePool, count: int) -> list[int]:
    """Have so many workers idle; returns their processes."""
    workers = [pools._Worker(pool._server) for _ in range(count)]
    pool._idle[False].extend(workers)
    return [worker._process for worker in workers]


def test_a_lost_fork_server_costs_nobody_anything() -> None:
    losses: list[str] = []

    async def scene(pool: DecodePool) -> None:
        await fill(pool, 4)
        server = processes.fork_server()
        assert server._process is not None
        server._process.kill()
        server._process.wait()
        while any(worker.is_alive() for worker in pool._idle[False]):
            await asyncio.sleep(0.001)
        for _ in range(6):
            await check_works(pool)
        assert losses == []
        assert len(processes_of(pool)) == 1

    run(scene, on_loss=losses.append)


def test_workers_that_ended_idle_are_not_asked() -> None:
    losses: list[str] = []

    async def scene(pool: DecodePool) -> None:
        for process in await fill(pool, 3):
            os.kill(process, signal.SIGKILL)
            await_end(process)
        await check_works(pool)
        assert losses == []

    run(scene, on_loss=losses.append)


def test_sigterm_to_all_processes_lets_what_is_under_way_end() -> None:
    async def scene(pool: DecodePool) -> None:
        await check_works(pool)
        server = processes.fork_server()._process
        assert server is not None
        server.terminate()
        await check_works(pool)
        assert server.poll() is None

    run(scene)


def test_no_room_for_the_upload_is_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(pool: DecodePool) -> None:
        with monkeypatch.context() as patch:

            def no_room(*_: object) -> int:
                raise OSError(errno.ENOMEM, "no room")

            patch.setattr(os, "memfd_create", no_room)
            for _ in range(3):
                with pytest.raises(OutOfMemory):
                    await pool.decode(GRAY, header_of(GRAY))
        await check_works(pool)
        server = processes.fork_server()._process
        assert server is not None
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        assert [int(child) for child in children] == processes_of(pool)  # Nobody is left unreaped.

    run(scene)


LIMITED = """
import asyncio, resource, sys
from service.pictures.decode import prepare_codecs
from service.pictures.probe import probe
from service.pictures.worker.pool import DecodePool
if __name__ == "__main__":
    for limit, hard in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_DATA, 4 << 30)):
        resource.setrlimit(limit, (hard, hard))
    prepare_codecs()
    data = open(sys.argv[1], "rb").read()
    pool = DecodePool(1, cpu_s=60)
    print(asyncio.run(pool.decode(data, probe(data, max_megapixels=1))).pixels.shape)
    pool.close()
"""


def test_limits_of_whoever_starts_the_service_are_kept(tmp_path: Path) -> None:
    picture = tmp_path / "gray.png"
    picture.write_bytes(GRAY)
    command = [sys.executable, "-c", LIMITED, str(picture)]
    if os.geteuid() == 0 and shutil.which("setpriv"):  # Root may raise limits.
        command = ["setpriv", "--bounding-set=-sys_resource", *command]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "(48, 64)\n", ended.stderr


def test_nothing_is_imported_from_where_the_service_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cv2.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    processes.fork_server().close()
    run(check_works)
    assert (tmp_path / "cv2.py").exists()
    processes.fork_server().close()


def test_a_fork_server_that_does_not_start_is_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    processes.fork_server().close()
    monkeypatch.setattr(sys, "executable", "/bin/false")

    async def scene(pool: DecodePool) -> None:
        with pytest.raises(InternalError, match="No process"):
            await pool.decode(GRAY, header_of(GRAY))
        monkeypatch.undo()
        await check_works(pool)

    run(scene)


SERVICE = """
import asyncio, sys, time
from pathlib import Path
from service.pictures.decode import prepare_codecs
from service.pictures.probe import probe
from service.pictures.worker.pool import DecodePool
from service.pictures.worker.processes import fork_server
prepare_codecs()
data = Path(sys.argv[1]).read_bytes()
pool = DecodePool(1, cpu_s=60)
asyncio.run(pool.decode(data, probe(data, max_megapixels=1)))
print(fork_server()._process.pid, pool._idle[False][0]._process, flush=True)
time.sleep(60)
"""


def test_elsewhere_the_service_decodes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "CAN_CONFINE", False)

    async def scene(pool: DecodePool) -> None:
        await check_works(pool)
        assert not processes_of(pool)

    run(scene)


def test_nothing_is_left_of_a_service_that_was_killed(tmp_path: Path) -> None:
    picture = tmp_path / "gray.png"
    picture.write_bytes(GRAY)
    with subprocess.Popen([sys.executable, "-c", SERVICE, str(picture)], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        processes = [int(process) for process in service.stdout.readline().split()]
        service.kill()
    began = time.monotonic()
    while any(is_alive(process) for process in processes):
        assert time.monotonic() - began < 20
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    try:
        return status_of(process, "State")[0] != "Z"
    except OSError:
        return False


def test_where_memory_cannot_be_read_pixels_come_in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(memory, "read_memory", forbidden)
    data = by_opencv(np.dstack([RGB, RGB[..., 0]]).astype(np.uint16) * 257, ".png")
    expected = decode(data, header_of(data))

    async def scene(pool: DecodePool) -> None:
        found = await pool.decode(data, header_of(data))
        assert_array_equal(found.pixels, expected.pixels)
        assert found.alpha is not None
        assert expected.alpha is not None
        assert_array_equal(found.alpha, expected.alpha)
        assert not found.pixels.flags.writeable
        light = await pool.decode_lightness(data, header_of(data))
        assert_array_equal(light.L.levels, store_lightness(expected.pixels).levels)
        assert light.alpha is not None
        assert_array_equal(light.alpha, expected.alpha)
        await check_works(pool)
        assert len(processes_of(pool)) == 1

    run(scene)


def test_a_worker_that_points_nowhere_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    unpack, losses, told = wire.unpack_answer, list[str](), 0

    def point_nowhere(message: bytes, header: Header) -> object:
        nonlocal told
        told += 1
        planes = unpack(message, header)
        return [dataclasses.replace(planes[0], address=8)] if told == 1 else planes  # type: ignore[type-var]

    monkeypatch.setattr(wire, "unpack_answer", point_nowhere)

    async def scene(pool: DecodePool) -> None:
        await check_works(pool)
        assert told == 2
        assert losses == ["killed"]

    run(scene, on_loss=losses.append)


def test_memory_is_read_where_it_is() -> None:
    levels = smooth_gray(300, 500)
    copy = np.zeros(levels.size, np.uint8)
    read_memory(os.getpid(), levels.ctypes.data, copy)
    assert_array_equal(copy.reshape(levels.shape), levels)
    with subprocess.Popen(["/bin/true"]) as ended:
        pass
    with pytest.raises(ProcessLookupError):
        read_memory(ended.pid, levels.ctypes.data, copy)


def memory_of(content: bytes) -> int:
    descriptor = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(descriptor, content)
    return descriptor


@pytest.mark.parametrize(
    "message",
    [
        b"not json",
        b"[]",
        b"{}",
        b'{"planes": [{"shape": [48, 64], "dtype": "float32", "address": 4096}]}',
        b'{"planes": [{"shape": [48, 65], "dtype": "uint8", "address": 4096}]}',
        b'{"planes": [{"shape": [48, 64], "dtype": "uint8"}]}',
        b'{"planes": [{"shape": [48, 64], "dtype": "uint8", "address": -4096}]}',
        b'{"planes": [{"shape": [48, 64], "dtype": "uint8", "address": 4096}, '
        b'{"shape": [48, 64], "dtype": "uint16", "address": 4096}]}',
        b'{"planes": []}',
    ],
)
def test_an_answer_that_is_none_is_not_believed(message: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.unpack_answer(message, header_of(GRAY))


def test_pixels_cannot_be_made_fewer_while_they_are_read() -> None:
    descriptor = memory_of(smooth_gray(48, 64).tobytes())
    pixels = wire.map_plane(wire.Plane((48, 64), "uint8", 1), descriptor)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 1)
    with pytest.raises(wire.WireError):
        wire.map_plane(wire.Plane((48, 64, 3), "uint8", 1), descriptor)
    os.close(descriptor)
    assert_array_equal(pixels, smooth_gray(48, 64))
