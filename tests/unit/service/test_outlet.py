"""service.engine.outlet: parts on their way from a thread to a caller, through memory and over the disk."""

import asyncio
import errno
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from service.engine import outlet
from service.engine.outlet import Left, Outlet
from service.engine.spool import Spool
from service.errors import OutOfDisk, Overloaded

PARTS = [bytes([number]) * 100 for number in range(40)]


class Held:
    """Counts bytes, up to a limit."""

    def __init__(self, limit: int = 1 << 30) -> None:
        self.count, self.limit = 0, limit

    def __call__(self, count: int) -> None:
        if self.count + count > self.limit:
            raise Overloaded("full", retry_after_s=1)
        self.count += count


@pytest.fixture(autouse=True)
def _scaled_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "WAITING_BYTES", 1000)
    monkeypatch.setattr(outlet, "READ_BYTES", 250)


def run(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 60))  # type: ignore[arg-type]


async def fill(way: Outlet) -> None:
    """Put all parts, from another thread, before any is taken."""
    await asyncio.to_thread(lambda: [way.put(part) for part in PARTS])


@pytest.mark.parametrize("has_disk", [True, False])
def test_parts_come_in_order_wherever_they_waited(tmp_path: Path, has_disk: bool) -> None:
    async def scene() -> None:
        held, disk = Held(), Spool(tmp_path, 10_000) if has_disk else None
        way = Outlet(held, disk, takes_parts=True)
        assert not way.is_open
        way.open(5000)
        assert way.is_open
        assert (held.count, disk.count if disk else 0) == ((1000, 5000) if has_disk else (5000, 0))
        await fill(way)
        assert way.begun.done()
        way.finish()
        assert (held.count, disk.count if disk else 0) == ((1000, 3000) if has_disk else (4000, 0))
        assert b"".join([part async for part in way.parts()]) == b"".join(PARTS)
        assert held.count == 0
        way.close()
        if disk:
            assert disk.count == 0
            disk.close()

    run(scene)


def test_who_takes_while_it_is_made_gets_the_same(tmp_path: Path) -> None:
    async def scene() -> None:
        disk = Spool(tmp_path, 10_000)
        for _ in range(20):
            way = Outlet(Held(), disk, takes_parts=True)
            way.open(5000)
            making = asyncio.create_task(fill(way))
            making.add_done_callback(lambda _, way=way: way.finish())
            assert b"".join([part async for part in way.parts()]) == b"".join(PARTS)
            way.close()
        assert disk.count == 0
        disk.close()

    run(scene)


def test_where_the_disk_has_no_room_it_waits_in_memory(tmp_path: Path) -> None:
    async def scene() -> None:
        disk, held = Spool(tmp_path, 4999), Held()
        way = Outlet(held, disk, takes_parts=True)
        way.open(5000)
        assert (held.count, disk.count) == (5000, 0)
        with pytest.raises(Overloaded):
            Outlet(Held(4999), disk, takes_parts=True).open(5000)
        disk.close()

    run(scene)


def test_what_memory_has_no_room_for_is_given_back_on_the_disk(tmp_path: Path) -> None:
    async def scene() -> None:
        disk = Spool(tmp_path, 5000)
        way = Outlet(Held(999), disk, takes_parts=True)
        with pytest.raises(Overloaded):
            way.open(5000)
        way.close()
        assert disk.count == 0
        disk.close()

    run(scene)


def test_what_may_only_be_taken_once_it_is_done_waits_on_the_disk_and_can_be_changed(tmp_path: Path) -> None:
    async def scene() -> None:
        disk, held = Spool(tmp_path, 10_000), Held()
        way = Outlet(held, disk)
        way.open(5000, at_once=False)
        assert way.is_open
        assert way.is_late
        assert (held.count, disk.count) == (0, 5000)
        await fill(way)
        await asyncio.to_thread(way.patch, 50, b"patch")
        way.finish()
        assert not way.begun.done()
        assert (way.size, disk.count) == (4000, 4000)
        data = b"".join(PARTS)
        assert b"".join([part async for part in way.parts()]) == data[:50] + b"patch" + data[55:]
        way.close()
        with pytest.raises(Left):
            way.patch(0, b"late")
        assert disk.count == 0
        disk.close()

    run(scene)


def test_without_a_disk_it_is_handed_over_whole(tmp_path: Path) -> None:
    async def scene() -> None:
        full = Spool(tmp_path, 4999)
        for disk in (None, full):
            held = Held()
            way = Outlet(held, disk)
            way.open(5000, at_once=False)
            assert not way.is_open
            assert held.count == 5000
            way.finish()
            way.close()
        assert full.count == 0
        full.close()

    run(scene)


def test_a_disk_that_takes_no_change_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    async def scene() -> None:
        disk = Spool(tmp_path, 10_000)
        way = Outlet(Held(), disk)
        way.open(5000, at_once=False)
        await fill(way)
        monkeypatch.setattr("service.engine.spool.os.pwrite", fail)
        with pytest.raises(OutOfDisk):
            way.patch(0, b"patch")
        way.close()
        disk.close()

    run(scene)


def test_whoever_makes_what_nobody_takes_ends_with_the_next_part(tmp_path: Path) -> None:
    async def scene() -> None:
        disk = Spool(tmp_path, 10_000)
        way = Outlet(Held(), disk, takes_parts=True)
        way.open(5000)
        writes, goes_on = threading.Event(), threading.Event()
        append = disk.append

        def held_up(*given: object) -> object:
            writes.set()
            assert goes_on.wait(60)
            return append(*given)  # type: ignore[arg-type]

        disk.append = held_up  # type: ignore[method-assign, assignment]
        making = asyncio.create_task(fill(way))
        await asyncio.to_thread(writes.wait, 20)
        way.close()  # In the middle of a write.
        assert disk.count == 0
        goes_on.set()
        with pytest.raises(Left):
            await making
        way.finish(Left())
        assert disk.count == 0
        disk.close()

    run(scene)


def test_what_goes_wrong_comes_after_all_that_was_made(tmp_path: Path) -> None:
    async def scene() -> None:
        disk = Spool(tmp_path, 10_000)
        way = Outlet(Held(), disk, takes_parts=True)
        way.open(5000)
        await fill(way)
        way.finish(ValueError("as an encoder might"))
        taken: list[bytes] = []

        async def take() -> None:
            async for part in way.parts():
                taken.append(part)

        with pytest.raises(ValueError, match="as an encoder might"):
            await take()
        assert b"".join(taken) == b"".join(PARTS)
        way.close()
        disk.close()

    run(scene)


def test_a_disk_that_takes_nothing_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        disk = Spool(tmp_path / "gone", 10_000)
        way = Outlet(Held(), disk, takes_parts=True)
        way.open(5000)
        with pytest.raises(OutOfDisk):
            await fill(way)
        assert "takes no more" in caplog.text
        way.close()
        disk.close()

    run(scene)


def test_a_disk_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    async def scene() -> None:
        disk = Spool(tmp_path, 10_000)
        way = Outlet(Held(), disk, takes_parts=True)
        way.open(5000)
        await fill(way)
        way.finish()
        monkeypatch.setattr("service.engine.spool.os.pread", fail)
        with pytest.raises(OutOfDisk):
            assert [len(part) async for part in way.parts()] == []
        assert "cannot be read" in caplog.text
        way.close()
        disk.close()

    run(scene)
