"""A pool of workers elsewhere: each that is lost is replaced, and what it was at work on goes to another."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Protocol, Self

from service.archive.run import ColoredFile, Stopped
from service.errors import InternalError, StartupError

MAX_TRIES: Final = 3
"""A picture whose worker is lost so often in a row is what ends them."""

NOTICE_S: Final = 20.0
"""How long there may be no worker at all before that is said, and said again, seconds."""

FILES_EACH: Final = 2
"""In memory for each worker: the one that it is at work on, and one on its way to it or from it."""

FILES_AHEAD: Final = 4
"""In memory besides, so that whoever gets ready first finds something to do."""

ANSWER_S: Final = 30.0
"""How long a worker without work may take to say that it is still there, seconds."""

OTHERS_S: Final = 120.0
"""How long the other places may take to get a worker when one was given up and nobody is at work, seconds."""

AGAIN_S: Final = 1.0
"""Pause after a worker that ended while it started, seconds."""


class ClusterError(StartupError):
    """The cluster cannot be used from here; the text says why and what to do."""


class WorkerLost(Exception):
    """A worker has ended: killed, out of memory, or its machine is gone."""


class Worker(Protocol):
    """Colors one photograph after the other, elsewhere."""

    async def load(self) -> None:
        """Get ready.

        Raises:
            StartupError: it cannot, and neither could another one.
            Stopped: the cluster cannot be reached any more.
            WorkerLost: it ended.
            OSError: its machine has no room for the model, or whatever else a disk may lack.
            MemoryError: its machine has too little memory.
        """

    async def ping(self) -> None:
        """Say that it is still there.

        Raises:
            Stopped: the cluster cannot be reached any more.
            WorkerLost: it is not.
        """

    async def color(self, data: bytes) -> ColoredFile:
        """Color one file.

        Raises:
            RequestError: it cannot be colored.
            Stopped: the cluster cannot be reached any more.
            WorkerLost: the worker ended.
        """

    def stop(self) -> None:
        """End it, if it has not ended."""


class WorkerPool:
    """Keeps workers at work, and puts a new one into the place of each that is lost.

    Attributes:
        lost: how many workers were lost.
    """

    def __init__(
        self, start_worker: Callable[[], Worker], size: int, *, say: Callable[[str], None] = lambda _: None
    ) -> None:
        """Start without anyone.

        Args:
            start_worker: returns a new worker, which is asked to load before its first picture.
            size: how many workers there are to be.
            say: told what whoever waits should know.
        """
        self.lost = 0
        self._start_worker = start_worker
        self._size = size
        self._say = say
        self._ready = 0
        self._arrived = 0
        self._places = size
        self._held = 0
        self._room = asyncio.Condition()
        self._free: asyncio.Queue[Worker | Exception] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        for _ in range(self._size):
            self._start(self._fill_place())
        self._start(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def room(self) -> AsyncIterator[None]:
        """Wait until one more file may be in memory; it is as long as this is not left.

        More workers may be asked for than the cluster has room for, and what those would color must not lie here
        until the others come to it.
        """
        async with self._room:
            await self._room.wait_for(lambda: self._held < FILES_AHEAD + FILES_EACH * self._ready)
            self._held += 1
        try:
            yield
        finally:
            async with self._room:
                self._held -= 1
                self._room.notify()

    async def __call__(self, data: bytes) -> ColoredFile:
        """Have one file colored by whoever is free; when that one is lost, by another.

        A worker that was gone before it got the file says nothing about the file, and is not counted.

        Raises:
            RequestError: it cannot be colored, or worker after worker was lost over it.
            Stopped: nobody can color anything.
        """
        for _ in range(MAX_TRIES):
            worker = await self._next()
            try:
                colored = await worker.color(data)
            except WorkerLost as lost:
                self._replace(worker, str(lost))
            except BaseException:
                self._free.put_nowait(worker)
                raise
            else:
                self._free.put_nowait(worker)
                return colored
        raise InternalError(f"{MAX_TRIES} workers in a row were lost over it")

    async def _next(self) -> Worker:
        """Return a worker that lives: when a machine dies, nobody hears of those on it that had nothing to do.

        Raises:
            Stopped: nobody can color anything, or all die as soon as they have nothing to do.
        """
        for _ in range(self._size + MAX_TRIES):
            was_idle = not self._free.empty()
            found = await self._free.get()
            if isinstance(found, Exception):
                self._free.put_nowait(found)  # For whoever else waits.
                raise Stopped(str(found)) from found
            # Who was waited for has answered just now.
            if not was_idle or await self._is_there(found):
                return found
        raise Stopped("the cluster's workers end before they get anything to do: see whether its machines stay up")

    async def _is_there(self, worker: Worker) -> bool:
        try:
            async with asyncio.timeout(ANSWER_S):
                await worker.ping()
        except WorkerLost as lost:
            self._replace(worker, str(lost))
        except TimeoutError:
            self._replace(worker, f"no answer within {ANSWER_S:g} s")
        except BaseException:
            self._free.put_nowait(worker)
            raise
        else:
            return True
        return False

    async def _fill_place(self) -> None:
        """Start until one is ready; a place where none gets ready is left empty as long as there are others."""
        for _ in range(MAX_TRIES):
            worker = None
            try:
                worker = self._start_worker()
                await worker.load()
            except (WorkerLost, OSError, MemoryError) as lost:  # All of one machine; the next try may be on another.
                reason = str(lost) if isinstance(lost, WorkerLost) else first_line(lost)
                self._lose(worker, reason)
                await asyncio.sleep(AGAIN_S)
            except Exception as error:  # What keeps one from starting, an import that fails there, keeps all of them.
                if worker is not None:
                    worker.stop()
                known = isinstance(error, StartupError | Stopped)
                self._free.put_nowait(error if known else ClusterError(f"a worker cannot start: {first_line(error)}"))
                return
            else:
                self._ready += 1
                self._arrived += 1
                self._free.put_nowait(worker)
                async with self._room:
                    self._room.notify(FILES_EACH)
                return
        await self._leave_empty(reason)

    async def _leave_empty(self, reason: str) -> None:
        """Go on with one place less, or tell whoever waits that nobody comes."""
        self._places -= 1
        arrived = self._arrived
        if self._places and not self._ready:
            await asyncio.sleep(OTHERS_S)  # A machine where nothing works says so sooner than others take to start.
        if not self._ready and self._arrived == arrived:
            self._free.put_nowait(ClusterError(f"{MAX_TRIES} workers in a row were lost while they started: {reason}"))

    def _replace(self, worker: Worker, reason: str) -> None:
        self._ready -= 1
        self._lose(worker, reason)
        self._start(self._fill_place())

    def _lose(self, worker: Worker | None, reason: str) -> None:
        self.lost += 1
        if worker is not None:
            worker.stop()
        self._say(f"a worker was lost ({reason}); others take over")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(NOTICE_S)
            if not self._ready:
                self._say("waiting for the cluster: no worker has started, perhaps all its processors are taken")

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Forget a task; one that failed unforeseen must not leave whoever waits for a worker waiting for ever."""
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._free.put_nowait(ClusterError(first_line(error)))


def first_line(error: BaseException) -> str:
    """Return an error in one line: its type, and the first line of what it says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith(":"):  # A heading, and the trace of another machine under it.
        lines[0] += f" {lines[-1]}"
    return ": ".join((type(error).__name__, *lines[:1]))
