"""The way of an answer out: whole when it is done, or, of a large one, in parts while it is made.

Whoever makes it never waits for whoever takes it, so that a slow caller holds no thread. What the caller has not taken
yet waits in memory up to `WAITING_BYTES`; from then on the rest goes to the disk, where uploads go. Without one all of
it waits in memory, and is counted there before the answer begins. A large answer that cannot begin before it is done
waits on the disk, too.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final

from service.engine.spool import Pair, Spool
from service.errors import Overloaded

WAITING_BYTES: Final = 8 << 20
"""Most that waits in memory for a caller when there is a disk; more than a fast one ever leaves."""

READ_BYTES: Final = 1 << 20
"""What is read from the disk at once."""


class Left(Exception):
    """Nobody takes the answer any more."""


class Outlet:
    """Takes one answer from the thread that makes it, and gives it to the event loop that it was made in.

    Attributes:
        hold: told how many bytes the answer takes in memory, or fewer.
        takes_parts: whether a large answer may come in parts.
        is_open: whether this one goes through here; else whoever makes it hands it over whole.
        is_late: whether it may only be taken once it is done.
        size: of what has come so far, bytes.
        scene: that the answer will name, known before its first part.
        begun: done when the first part is there, with which nothing can go wrong any more for the picture's sake.
    """

    def __init__(self, hold: Callable[[int], None], spool: Spool | None = None, *, takes_parts: bool = False) -> None:
        """Begin without anything.

        Args:
            hold: counts bytes in memory; raises `Overloaded` where they are too many.
            spool: where large files go.
            takes_parts: whether a large answer may come in parts.
        """
        self.hold, self.takes_parts = hold, takes_parts
        self.is_open = self.is_late = False
        self.scene, self.size = "", 0
        self._loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = self._loop.create_future()
        self._spool = spool
        self._arrived = asyncio.Event()
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = self._held = self._on_disk = 0
        self._file: Pair | None = None
        self._written = self._read = 0
        self._is_spilling = self._is_done = self._is_closed = False
        self._error: BaseException | None = None

    def open(self, most_bytes: int, *, at_once: bool = True) -> None:
        """Make room for a file: on the disk where that has any, else in memory.

        Args:
            most_bytes: of the file.
            at_once: whether it may be taken while it comes; one that may not stays closed where the disk has no room.

        Raises:
            Overloaded: there is none.
        """
        if self._spool is not None:
            with suppress(Overloaded):
                self._spool.check(most_bytes)
                self._spool.add(most_bytes)
                self._on_disk = most_bytes
        self.is_late = self._is_spilling = not at_once and self._on_disk > 0
        held = most_bytes if not self._on_disk else 0 if self.is_late else min(most_bytes, WAITING_BYTES)
        self.hold(held)
        self._held, self.is_open = held, at_once or self.is_late

    def put(self, part: bytes) -> None:
        """Take the next part; to be called from one thread.

        Raises:
            Left: nobody wants it.
            OutOfDisk: it cannot be written.
        """
        with self._lock:
            if self._is_closed:
                raise Left
            is_full = self._waiting_bytes + len(part) > WAITING_BYTES
            spills = self._is_spilling = self._is_spilling or (is_full and self._on_disk > 0)
            if not spills:
                self._waiting.append(part)
                self._waiting_bytes += len(part)
            self.size += len(part)
            file = self._file
        if spills and self._spool is not None:
            self._note_written(self._spool.append(file, part), len(part))
        if not self.is_late:
            self._loop.call_soon_threadsafe(self._note)

    def patch(self, place: int, data: bytes) -> None:
        """Put other bytes in the place of some that have come, of an answer that may only be taken once it is done.

        Raises:
            Left: nobody wants it.
            OutOfDisk: they cannot be written.
        """
        with self._lock:
            file = self._file
        if file is None or self._spool is None:
            raise Left
        self._spool.patch(file, place, data)

    def finish(self, error: BaseException | None = None) -> None:
        """Say that there are no more parts, and why, if that was no plan."""
        self._is_done, self._error = True, error
        if not self._is_closed:
            self._settle()
            if self._spool is not None and self._on_disk:
                self._spool.free(self._on_disk - self._written)
                self._on_disk = self._written
        self._arrived.set()

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield all parts as they come; they are gone then.

        Raises:
            BaseException: what `finish` was told.
        """
        while True:
            self._arrived.clear()
            with self._lock:
                part = self._waiting.popleft() if self._waiting else b""
                self._waiting_bytes -= len(part)
                file, ready = self._file, self._written - self._read
            if part:
                if self._is_done:
                    self._settle()
                yield part
            elif ready and file is not None and self._spool is not None:
                part = await self._spool.read(file, min(ready, READ_BYTES), self._read)
                self._read += len(part)
                yield part
            elif self._error is not None:
                raise self._error
            elif self._is_done:
                return
            else:
                await self._arrived.wait()

    def close(self) -> None:
        """Let go of everything; whoever makes the answer ends with its next part."""
        with self._lock:
            self._is_closed = True
            self._waiting.clear()
            self._file = None
        if self._spool is not None and self._on_disk:
            self._spool.free(self._on_disk)
        self._on_disk = 0

    def _note_written(self, file: Pair, size: int) -> None:
        with self._lock:
            self._written += size
            self._file = None if self._is_closed else file

    def _note(self) -> None:
        self._arrived.set()
        if not self.begun.done():
            self.begun.set_result(None)

    def _settle(self) -> None:
        """Have counted in memory what is there."""
        with self._lock:
            waiting = self._waiting_bytes
        self.hold(waiting - self._held)
        self._held = waiting
