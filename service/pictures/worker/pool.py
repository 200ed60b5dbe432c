"""The workers, seen from the service: as many as there may be, each replaced when it ends."""

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeVar

import numpy as np

from service.errors import (
    BrokenPicture,
    CostlyPicture,
    InternalError,
    OutOfDisk,
    OutOfMemory,
    RequestError,
    UnsupportedPicture,
)
from service.machine import give_way
from service.pictures.decode import Picture, decode
from service.pictures.header import Header
from service.pictures.levels import Pixels, Rows
from service.pictures.lightness import Lightness, store_lightness
from service.pictures.spooled import FileData, SpooledFile, as_bytes
from service.pictures.worker import wire
from service.pictures.worker.allowance import cpu_s_for, memory_for
from service.pictures.worker.memory import LevelsElsewhere
from service.pictures.worker.processes import TRIES, Ended, ForkServer, fork_server
from service.telemetry import LossReason

T = TypeVar("T")

Take = Callable[[Sequence[Rows]], T]
"""Makes something of pixels, and opacity if there is any, while whoever decoded them still has them; may be called
anew, on the same elsewhere."""

TOLD: Final[dict[str, type[RequestError]]] = {
    kind.name: kind for kind in (BrokenPicture, CostlyPicture, InternalError, UnsupportedPicture)
}
"""What a worker may say of a picture."""

CAN_CONFINE: Final = sys.platform == "linux"
"""Elsewhere pictures are decoded in the service itself."""

PICTURES_EACH: Final = 1000
"""A worker is replaced after so many, whatever it may have kept of them."""

SUSPECT_S: Final = 60.0
"""For so long after a picture that took too long its caller's others get only what time nobody else wants..."""

SUSPECTS_SHARE: Final = 4
"""...in one of so many workers: what a picture costs the service beside its decoding takes others' time."""

LEAST_PRIORITY: Final = 19
"""The highest niceness that there is."""

_FAULTS: Final = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)


class _Worker:
    """One worker.

    Attributes:
        pictures: how many it has been asked for.
        is_last: whether it only takes what processor time nobody else wants.
    """

    def __init__(self, server: ForkServer) -> None:
        self._server = server
        self._process, self._link, self._generation = server.start_worker()
        self.pictures = 0
        self.is_last = False

    def go_last(self) -> None:
        """Take only what processor time nobody else wants, from now on.

        Niceness alone is not enough: who wakes up waits until the slice of a nice process is over, and a network's
        threads wake up all the time.
        """
        self.is_last = True
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process, LEAST_PRIORITY)
        with suppress(OSError):
            os.sched_setscheduler(self._process, os.SCHED_IDLE, os.sched_param(0))

    def ask(self, task: wire.Task, take: Take[T]) -> T | wire.Fault:
        """Return what is made of a decoded picture, or what is wrong with it.

        Raises:
            Ended: it has ended, or must.
        """
        self.pictures += 1
        message, files = wire.pack_task(task)
        try:
            socket.send_fds(self._link, [message], files)
            answer = self._link.recv(wire.MESSAGE_BYTES)
            if not answer:
                raise Ended
            told = wire.unpack_answer(answer, task.header)
            return told if isinstance(told, wire.Fault) else self._take(told, take)
        except (OSError, wire.WireError) as error:
            raise Ended from error
        finally:
            for each in files:
                os.close(each)

    def _take(self, planes: list[wire.Plane], take: Take[T]) -> T:
        pixels, *others = (
            LevelsElsewhere(self._process, plane.address, plane.shape, np.dtype(wire.DTYPES[plane.dtype]))
            for plane in planes
        )
        try:
            taken = take([replace(pixels, on_drop=self._drop), *others])
        except PermissionError:
            return take(self._take_files(planes))
        self._link.send(wire.TAKEN)
        return taken

    def _drop(self, nbytes: int) -> None:
        self._link.send(wire.pack_drop(nbytes))

    def _take_files(self, planes: list[wire.Plane]) -> list[Pixels]:
        self._link.send(wire.FILES)
        _, descriptors, _, _ = socket.recv_fds(self._link, len(wire.FILES), wire.MOST_PLANES)
        try:
            if len(descriptors) != len(planes):
                raise Ended
            return [wire.map_plane(*each) for each in zip(planes, descriptors, strict=True)]
        finally:
            for each in descriptors:
                os.close(each)

    def is_alive(self) -> bool:
        """Return whether it waits for a picture; who has ended has closed the socket."""
        try:
            return bool(self._link.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def kill(self) -> None:
        """End it at once."""
        self._server.kill(self._process, self._generation)

    def reap(self) -> int:
        """End it; return the signal that it ended by, 0 for none."""
        self._link.close()
        status = self._server.reap(self._process, self._generation)
        return signal.SIGKILL if status is None else os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


class _Call:
    """One picture that is being decoded, and can be given up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self.is_aborted = False

    def hold(self, worker: _Worker) -> None:
        """Note who is at work on it.

        Raises:
            Ended: it was given up.
        """
        with self._lock:
            self._worker = worker
            if self.is_aborted:
                raise Ended

    def let_go(self) -> None:
        """Note that nobody is at work on it any more.

        Raises:
            Ended: it was given up, and whoever was at work has ended.
        """
        with self._lock:
            self._worker = None
            if self.is_aborted:
                raise Ended

    def abort(self) -> None:
        """End whoever is at work on it."""
        with self._lock:
            self.is_aborted = True
            if self._worker:
                self._worker.kill()


class DecodePool:
    """Decodes pictures in processes that are ended when they take too much."""

    def __init__(
        self,
        workers: int,
        *,
        cpu_s: float,
        share: int | None = None,
        on_loss: Callable[[LossReason], None] = lambda _: None,
    ) -> None:
        """Start to load the decoders; workers are made as they are needed.

        Args:
            workers: how many there may be.
            cpu_s: processor time that a picture may take beside `CPU_S_A_MEGAPIXEL`, seconds.
            share: most workers for one caller; None for all.
            on_loss: told why a worker was lost.
        """
        self._cpu_s = cpu_s
        self._share = share or workers
        self._on_loss = on_loss
        self._server = fork_server()
        if CAN_CONFINE:
            self._server.launch()
        self._idle: dict[bool, list[_Worker]] = {False: [], True: []}
        self._suspects: dict[str, float] = {}
        self._last = asyncio.Semaphore(max(workers // SUSPECTS_SHARE, 1))
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(self._share))
        self._callers: defaultdict[str, int] = defaultdict(int)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decode", initializer=give_way)

    async def decode(self, data: FileData, header: Header, caller: str = "") -> Picture:
        """Decode a picture that `probe` has passed; when cancelled, its worker is ended.

        Args:
            data: the whole file.
            header: from `probe` of the same bytes.
            caller: who asks; one caller gets no more than its share of workers.

        Returns:
            The picture; its arrays can only be read.

        Raises:
            BrokenPicture: as `decode`; or decoders crash over it.
            CostlyPicture: it takes more memory or time than a picture of its size may.
            OutOfMemory: its workers were ended from outside.
            OutOfDisk: it is spooled, and the disk fails.
            InternalError: no worker can be started.
        """
        return await self._in_turn(data, header, caller, _take_picture)

    async def decode_lightness(
        self, data: FileData, header: Header, caller: str = "", *, threads: int = 1
    ) -> Lightness:
        """Decode a picture of which nobody needs the colors: its pixels never are in this process all at once.

        Args:
            data: as `decode`.
            header: as `decode`.
            caller: as `decode`.
            threads: that may compute it, once the picture is decoded.

        Returns:
            The picture's lightness.

        Raises:
            RequestError: as `decode`.
        """

        def take(planes: Sequence[Rows]) -> Lightness:
            pixels, *opacity = planes
            alpha = opacity[0][:] if opacity else None
            drop = pixels.drop if isinstance(pixels, LevelsElsewhere) else None
            return Lightness(store_lightness(pixels, workers=threads, drop=drop), alpha, pixels.dtype == np.uint16)

        return await self._in_turn(data, header, caller, take)

    async def _in_turn(self, data: FileData, header: Header, caller: str, take: Take[T]) -> T:
        self._callers[caller] += 1
        try:
            async with self._turns[caller]:
                if self._is_suspect(caller):
                    return await self._run_last(data, header, caller, take)
                return await self._run(data, header, caller, take)
        finally:
            self._callers[caller] -= 1
            if not self._callers[caller]:
                del self._callers[caller]
                self._turns.pop(caller, None)

    async def _run_last(self, data: FileData, header: Header, caller: str, take: Take[T]) -> T:
        await self._last.acquire()
        began, rest_s = time.monotonic(), 0.0
        try:
            return await self._run(data, header, caller, take)
        except CostlyPicture:
            rest_s = time.monotonic() - began
            raise
        finally:
            # Only the other half of the time goes to the next one; who is refused knows why at once.
            asyncio.get_running_loop().call_later(rest_s, self._last.release)

    def _is_suspect(self, caller: str) -> bool:
        """Return whether a picture of this caller's took too long less than `SUSPECT_S` ago."""
        now = time.monotonic()
        self._suspects = {name: until for name, until in self._suspects.items() if until > now}
        return caller in self._suspects

    def decode_here(self, data: FileData, header: Header) -> Picture:
        """Decode a picture while the calling thread waits; see `decode`."""
        return self._decode(_Call(), data, header, _take_picture, is_suspect=False)

    def close(self) -> None:
        """Finish what is under way, then end the workers."""
        self._threads.shutdown()
        for idle in self._idle.values():
            while idle:
                idle.pop().reap()

    async def _run(self, data: FileData, header: Header, caller: str, take: Take[T]) -> T:
        call = _Call()
        future = self._threads.submit(self._decode, call, data, header, take, is_suspect=self._is_suspect(caller))
        try:
            return await asyncio.wrap_future(future)
        except CostlyPicture:
            self._suspects[caller] = time.monotonic() + SUSPECT_S
            raise
        except asyncio.CancelledError:
            call.abort()
            if not future.cancelled():  # Its pixels are in memory until it has returned.
                with suppress(Exception):
                    await asyncio.wrap_future(future)
            raise

    def _decode(self, call: _Call, data: FileData, header: Header, take: Take[T], *, is_suspect: bool) -> T:
        if not CAN_CONFINE:
            picture = decode(as_bytes(data), header)
            return take([picture.pixels] if picture.alpha is None else [picture.pixels, picture.alpha])
        cpu_s = self._cpu_s + cpu_s_for(header)
        task = wire.Task(data, header, cpu_s, memory_for(len(data), header))
        ended = 0
        for _ in range(TRIES):
            worker = self._take(is_suspect)
            try:
                call.hold(worker)
                answer = worker.ask(task, take)
                call.let_go()
            except Ended:
                ended = worker.reap()
                if call.is_aborted:
                    break
                if ended == signal.SIGPROF:
                    self._on_loss("time")
                    raise CostlyPicture(
                        f"Decoding the picture takes longer than {cpu_s:.1f} s, which are allowed at its size.",
                        limit=round(cpu_s, 3),
                        unit="s",
                    ) from None
                self._on_loss("crash" if ended in _FAULTS else "killed")
                continue
            except BaseException as error:
                worker.reap()
                if isinstance(error, OSError | MemoryError):
                    raise OutOfMemory() from error
                raise
            self._put_back(worker)
            if not isinstance(answer, wire.Fault):
                return answer
            raise TOLD.get(answer.name, BrokenPicture)(answer.detail)
        if ended == signal.SIGBUS and isinstance(data, SpooledFile):
            raise OutOfDisk("The disk that holds the upload cannot be read; try again later.")
        if ended in _FAULTS:
            raise BrokenPicture("The picture starts well, but decoders crash over it.")
        raise OutOfMemory("The processes that decoded this picture were ended; try again later.")

    def _take(self, is_suspect: bool) -> _Worker:
        with suppress(IndexError):
            while True:
                worker = self._idle[is_suspect].pop()  # Nobody may raise a priority again.
                if worker.is_alive():
                    return worker
                worker.reap()
        worker = _Worker(self._server)
        if is_suspect:
            worker.go_last()
        return worker

    def _put_back(self, worker: _Worker) -> None:
        if worker.pictures < PICTURES_EACH:
            self._idle[worker.is_last].append(worker)
        else:
            worker.reap()


def _take_picture(planes: Sequence[Rows]) -> Picture:
    return Picture(*(plane[:] for plane in planes))
