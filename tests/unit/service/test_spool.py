"""service.engine.spool: what is large goes to a disk as it comes, within a limit, and leaves nothing behind."""

import asyncio
import errno
import os
import resource
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.engine import spool as spools
from service.engine.byte_budget import ByteBudget, Limits, Reservation
from service.engine.spool import Incoming, Spool, default_directory
from service.errors import OutOfDisk, Overloaded, SettingsError, UploadTooLarge
from service.machine import is_in_memory
from service.pictures.size_limits import SizeLimits
from service.pictures.spooled import FileData, SpooledFile
from service.settings import Settings

SMALL, PIECE = 1000, 100


@pytest.fixture(autouse=True)
def _scaled_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "SPOOL_FROM_BYTES", SMALL)
    monkeypatch.setattr(spools, "WRITE_BYTES", PIECE)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path, 10_000)
    yield made
    made.close()


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 60))


async def take(incoming: Incoming, size: int, step: int = 77) -> FileData:
    data = os.urandom(size)
    for place in range(0, size, step):
        await incoming.add(data[place : place + step])
    finished = await incoming.finish()
    incoming.close()
    assert bytes(finished) == data
    return finished


@pytest.mark.parametrize(("size", "is_on_disk"), [(0, False), (SMALL, False), (SMALL + 1, True), (5000, True)])
def test_only_what_is_large_goes_to_the_disk(spool: Spool, size: int, is_on_disk: bool) -> None:
    unloaded: list[int] = []

    async def scene() -> None:
        data = await take(Incoming(spool, unloaded.append), size)
        assert isinstance(data, SpooledFile) is is_on_disk
        assert spool.count == sum(unloaded) == size * is_on_disk
        if isinstance(data, SpooledFile):
            data.close()
        assert spool.count == 0

    play(scene)


def test_what_is_announced_as_large_never_fills_the_memory(spool: Spool) -> None:
    unloaded: list[int] = []

    async def scene() -> None:
        incoming = Incoming(spool, unloaded.append, announced=SMALL + 1)
        await incoming.add(bytes(PIECE + 1))
        assert unloaded == [PIECE + 1]
        incoming.close()
        assert spool.count == 0

    play(scene)


def test_without_a_spool_all_stays_in_memory() -> None:
    async def scene() -> None:
        assert type(await take(Incoming(None, lambda _: None, 9000), 9000)) is bytes

    play(scene)


@pytest.mark.parametrize("named", [False, True])
def test_files_have_no_name_and_workers_cannot_write_them(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    if named:  # As on file systems that know no files without a name.
        monkeypatch.delattr(os, "O_TMPFILE")

    async def scene() -> None:
        data = await take(Incoming(spool, lambda _: None), 2000)
        assert isinstance(data, SpooledFile)
        assert list(tmp_path.iterdir()) == []
        descriptor = data.descriptor()
        assert "(deleted)" in os.readlink(f"/proc/self/fd/{descriptor}")
        assert os.fstat(descriptor).st_mode & 0o777 == 0o400
        with pytest.raises(OSError, match="Invalid argument"):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)

    play(scene)


def test_more_than_the_limit_is_refused_and_leaves_room_for_others(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 3000)

    async def scene() -> None:
        first = await take(Incoming(spool, lambda _: None), 2000)
        incoming = Incoming(spool, lambda _: None)
        with pytest.raises(Overloaded) as caught:
            await incoming.add(bytes(1200))
        assert caught.value.facts == {"limit": 3000, "unit": "bytes", "retry_after_s": 1}
        incoming.close()
        assert spool.count == 2000
        assert isinstance(first, SpooledFile)
        first.close()
        await take(Incoming(spool, lambda _: None), 3000)

    play(scene)
    spool.close()


def test_a_full_disk_is_said_and_leaves_nothing(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scene() -> None:
        incoming = Incoming(spool, lambda _: None)
        with monkeypatch.context() as patch:
            patch.setattr("service.engine.spool.os.write", full)
            with pytest.raises(OutOfDisk) as caught:
                await incoming.add(bytes(2000))
        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "5"})
        incoming.close()
        assert spool.count == 0
        await take(Incoming(spool, lambda _: None), 2000)

    play(scene)
    assert "No space left on device" in caplog.text


def test_a_limit_of_the_system_is_a_full_disk_too(spool: Spool) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def scene() -> None:
        incoming = Incoming(spool, lambda _: None)
        await incoming.add(bytes(2000))
        with pytest.raises(OutOfDisk):
            await incoming.add(bytes(4000))
        incoming.close()

    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        play(scene)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert spool.count == 0


def test_who_leaves_while_a_part_is_written_leaves_nothing(spool: Spool) -> None:
    async def scene() -> None:
        incoming = Incoming(spool, lambda _: None)
        await incoming.add(bytes(2000))
        task = asyncio.create_task(incoming.add(bytes(500)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        incoming.close()
        assert spool.count == 0

    play(scene)


def test_the_directory_is_the_operators_or_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Spool.of(Settings(spool_dir=tmp_path, max_spooled_bytes=5, max_upload_bytes=9))
    assert chosen is not None
    assert (chosen.directory, chosen.limit) == (tmp_path, 9)
    assert list(tmp_path.iterdir()) == []
    assert Spool.of(Settings(spool_dir=tmp_path, max_spooled_bytes=0)) is None
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert default_directory() == tmp_path
    monkeypatch.setattr(spools, "is_in_memory", lambda _: True)
    monkeypatch.setattr(spools, "LASTING", tmp_path / "lasting")
    assert default_directory() == tmp_path
    (tmp_path / "lasting").mkdir()
    assert default_directory() == tmp_path / "lasting"


def test_a_directory_that_takes_nothing_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("gone", "file"):
        with pytest.raises(SettingsError, match="PHOTOCHROM_SPOOL_DIR to a directory that can be written to"):
            Spool.of(Settings(spool_dir=tmp_path / place))


def test_without_any_directory_uploads_stay_in_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    assert Spool.of(Settings()) is None
    assert "uploads stay in memory" in caplog.text


def test_where_files_are_in_memory_is_seen(tmp_path: Path) -> None:
    device = os.stat(tmp_path).st_dev
    line = f"1 2 {os.major(device)}:{os.minor(device)} / /tmp rw shared:1 - {{}} none rw\n"
    (tmp_path / "self").mkdir()
    for kind, expected in (("tmpfs", True), ("ext4", False)):
        (tmp_path / "self" / "mountinfo").write_text("1 1 0:1 / /x rw - proc proc rw\n" + line.format(kind))
        assert is_in_memory(tmp_path, tmp_path) is expected
    assert is_in_memory(tmp_path, tmp_path / "nowhere") is False


def test_what_is_announced_is_held_against_memory_and_disk(spool: Spool) -> None:
    budget = ByteBudget(Limits(SizeLimits(7, 9000), 2000, 0), spool)
    budget.check_upload(9000)  # More than may be in memory.
    with pytest.raises(UploadTooLarge, match=r"7 megapixels and 0\.009 MB"):
        budget.check_upload(9001)
    spool.add(5000)
    with pytest.raises(Overloaded, match="on the disk"):
        budget.check_upload(6000)
    budget.check_upload(SMALL)
    other = Reservation(budget)
    other.add(1500)
    with pytest.raises(Overloaded, match="in memory"):
        budget.check_upload(SMALL)
    budget.check_upload(4000)
    other.unload(1000)
    budget.check_upload(SMALL)
    assert budget.count == 500
