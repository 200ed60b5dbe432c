"""The workers, seen from the service: as many as there may be, each replaced when it ends."""

import asyncio
import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Final

from service.errors import (
    BrokenPicture,
    CostlyPicture,
    InternalError,
    OutOfMemory,
    RequestError,
    UnsupportedPicture,
)
from service.pictures.decode import Picture, decode
from service.pictures.probe import Header
from service.pictures.worker import wire
from service.pictures.worker.fork_server import FAILED, NUMBER_BYTES, REAP, START, UNKNOWN
from service.telemetry import LossReason

CPU_S_A_MEGAPIXEL: Final = 0.25
"""Processor time that decoding may take for a million pixels; the slowest ordinary files take a fifth of it."""

SPARE_BYTES: Final = 64 << 20
"""Memory that decoding may take whatever the picture's size..."""

FILES: Final = 2
"""...for so many copies of the file..."""

COPIES: Final = 6
"""...and so many of the pixels. The most that was measured are four: opacity and a profile at 16 bits a channel."""

STORED_COPIES: Final = 2
"""...and so many of what a TIFF's strips hold, which may all be one: channels that are left out, 64 bits a channel."""

TOLD: Final[dict[str, type[RequestError]]] = {
    kind.name: kind for kind in (BrokenPicture, CostlyPicture, InternalError, UnsupportedPicture)
}
"""What a worker may say of a picture."""

TRIES: Final = 2
"""A worker may end for another's fault; a picture that ends two is at fault itself."""

CAN_CONFINE: Final = sys.platform == "linux"
"""Elsewhere pictures are decoded in the service itself."""

PICTURES_EACH: Final = 1000
"""A worker is replaced after so many, whatever it may have kept of them."""

SUSPECT_S: Final = 60.0
"""For so long after a picture that took too long its caller's others get only what time nobody else wants."""

LEAST_PRIORITY: Final = 19
"""The highest niceness that there is."""

_FAULTS: Final = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)


def memory_for(data_bytes: int, header: Header) -> int:
    """Return how much memory decoding a picture may take, bytes.

    Args:
        data_bytes: of the file.
        header: of the picture.
    """
    is_one_channel = header.mode in ("1", "L") or header.mode.startswith("I;16")
    # PNG files of 16 bits a channel are plain RGB to the header.
    is_deep = header.wide or header.mode.startswith("I;16") or header.format == "PNG"
    pixel_bytes = (1 if is_one_channel else 4) * (2 if is_deep else 1)
    bytes_a_pixel = COPIES * pixel_bytes + STORED_COPIES * header.stored_bytes
    return SPARE_BYTES + FILES * data_bytes + round(bytes_a_pixel * header.megapixels * 1e6)


class _Ended(Exception):
    """The worker has ended; or the fork server, and every worker with it."""


class ForkServer:
    """The process that makes workers; started again when it is lost. It ends when this process does.

    Attributes:
        generation: how often it was lost; workers of an earlier one have ended with it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self.generation = 0

    def launch(self) -> None:
        """Start it, without waiting until it is ready."""
        with self._lock, suppress(OSError):  # It is tried again with the first picture.
            self._launch()

    def start_worker(self) -> tuple[int, socket.socket, int]:
        """Return a new worker's process id, the socket to it, and its generation.

        Raises:
            OutOfMemory: the machine has no room for one more process.
            InternalError: it does not start.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            for _ in range(TRIES):
                with suppress(_Ended), self._lock:
                    process = self._ask(self._control or self._launch(), START, theirs)
                    if process == FAILED:
                        ours.close()
                        raise OutOfMemory("No more processes can be started here; try again later.")
                    return process, ours, self.generation
        ours.close()
        raise InternalError("No process to decode pictures can be started.")

    def reap(self, process: int, generation: int) -> int | None:
        """End a worker; return its wait status, None where nobody knows."""
        with suppress(_Ended), self._lock:
            if self._control is not None and generation == self.generation:
                _kill(process)  # Until it is waited for, nobody else can have its id.
                status = self._ask(self._control, REAP + str(process).encode())
                return None if status == UNKNOWN else status
        return None

    def kill(self, process: int, generation: int) -> None:
        """End a worker."""
        with self._lock:
            if generation == self.generation:
                _kill(process)

    def close(self) -> None:
        """End it, and every worker."""
        with self._lock:
            self._end()

    def _ask(self, control: socket.socket, question: bytes, *sockets: socket.socket) -> int:
        try:
            socket.send_fds(control, [question], [each.fileno() for each in sockets])
            answer = control.recv(NUMBER_BYTES)
        except OSError:
            answer = b""
        if not answer:
            self._end()
            raise _Ended
        return int.from_bytes(answer, "little")

    def _launch(self) -> socket.socket:
        if self._control is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "service.pictures.worker", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # Ctrl-C is for the service. A session of its own would undo its niceness.
                    env=_environment(),
                )
            self._control = ours
        return self._control

    def _end(self) -> None:
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.kill()  # Its workers end with it.
            self._process.wait()
            self.generation += 1
        self._control = self._process = None


def _kill(process: int) -> None:
    """End a process, if it has not ended."""
    with suppress(OSError):
        os.kill(process, signal.SIGKILL)


@cache
def fork_server() -> ForkServer:
    """Return the one of this process."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def _environment() -> dict[str, str]:
    """Return the environment of workers: no key, and one thread where libraries would start several."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PHOTOCHROM_")}
    return kept | {
        "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


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
        """Take only what processor time nobody else wants, from now on."""
        self.is_last = True
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process, LEAST_PRIORITY)

    def ask(self, task: wire.Task) -> Picture | tuple[str, str]:
        """Return a decoded picture, or what is wrong with it.

        Raises:
            _Ended: it has ended, or must.
        """
        self.pictures += 1
        message, upload = wire.pack_task(task)
        descriptors: list[int] = []
        try:
            socket.send_fds(self._link, [message], [upload])
            answer, descriptors, _, _ = socket.recv_fds(self._link, wire.MESSAGE_BYTES, 2)
            if not answer:
                raise _Ended
            return wire.unpack_answer(answer, descriptors, task.header)
        except (OSError, wire.WireError) as error:
            raise _Ended from error
        finally:
            for each in (upload, *descriptors):
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
        self.is_given_up = False

    def hold(self, worker: _Worker) -> None:
        """Note who is at work on it.

        Raises:
            _Ended: it was given up.
        """
        with self._lock:
            self._worker = worker
            if self.is_given_up:
                raise _Ended

    def let_go(self) -> None:
        """Note that nobody is at work on it any more.

        Raises:
            _Ended: it was given up, and whoever was at work has ended.
        """
        with self._lock:
            self._worker = None
            if self.is_given_up:
                raise _Ended

    def give_up(self) -> None:
        """End whoever is at work on it."""
        with self._lock:
            self.is_given_up = True
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
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(self._share))
        self._callers: defaultdict[str, int] = defaultdict(int)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decode")

    async def decode(self, data: bytes, header: Header, caller: str = "") -> Picture:
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
            InternalError: no worker can be started.
        """
        self._callers[caller] += 1
        try:
            async with self._turns[caller]:
                return await self._run(data, header, caller)
        finally:
            self._callers[caller] -= 1
            if not self._callers[caller]:
                del self._callers[caller]
                self._turns.pop(caller, None)

    def decode_here(self, data: bytes, header: Header) -> Picture:
        """Decode a picture while the calling thread waits; see `decode`."""
        return self._decode(_Call(), data, header, is_suspect=False)

    def close(self) -> None:
        """Finish what is under way, then end the workers."""
        self._threads.shutdown()
        for idle in self._idle.values():
            while idle:
                idle.pop().reap()

    async def _run(self, data: bytes, header: Header, caller: str) -> Picture:
        call = _Call()
        now = time.monotonic()
        self._suspects = {name: until for name, until in self._suspects.items() if until > now}
        future = self._threads.submit(self._decode, call, data, header, caller in self._suspects)
        try:
            return await asyncio.wrap_future(future)
        except CostlyPicture:
            self._suspects[caller] = time.monotonic() + SUSPECT_S
            raise
        except asyncio.CancelledError:
            call.give_up()
            if not future.cancelled():  # Its pixels are in memory until it has returned.
                with suppress(Exception):
                    await asyncio.wrap_future(future)
            raise

    def _decode(self, call: _Call, data: bytes, header: Header, is_suspect: bool) -> Picture:
        if not CAN_CONFINE:
            return decode(data, header)
        cpu_s = self._cpu_s + CPU_S_A_MEGAPIXEL * header.cpu_factor * header.megapixels
        task = wire.Task(data, header, cpu_s, memory_for(len(data), header))
        ended = 0
        for _ in range(TRIES):
            worker = self._take(is_suspect)
            try:
                call.hold(worker)
                answer = worker.ask(task)
                call.let_go()
            except _Ended:
                ended = worker.reap()
                if call.is_given_up:
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
            if isinstance(answer, Picture):
                return answer
            name, detail = answer
            raise TOLD.get(name, BrokenPicture)(detail)
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
