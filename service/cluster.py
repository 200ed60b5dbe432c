"""Colors photographs on a Ray cluster: files are read and written here alone, and go over as bytes.

So the cluster needs no file system that all its machines share, an answer has one writer and is whole or not there, and
a machine that dies takes nothing along: what it was at work on is given to another one. Every machine needs this same
version of the package. Ray is imported by `connect` alone.
"""

import asyncio
import logging
import re
import signal
import socket
import tempfile
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from service import images
from service.app import program_version
from service.batch import Colored, Here, Outcome, Stopped, Work, color_there
from service.errors import InternalError, ModelError, StartupError
from service.schemas import ColorizeQuery
from service.session import Session
from service.settings import Device, pixels_of

MAX_TRIES: Final = 3
"""A picture whose worker is lost so often in a row is what ends them."""
CONNECT_S: Final = 5.0
"""How long a machine of the cluster may take to accept a connection, seconds."""
PATIENCE_S: Final = 20.0
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
ADDRESS: Final = re.compile(r"(?:ray://)?(?:\[(?P<six>[0-9a-fA-F:]+)\]|(?P<host>[^/:\s\[\]]+)):(?P<port>\d{1,5})")


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

    async def color(self, data: bytes) -> Colored:
        """Color one file.

        Raises:
            RequestError: it cannot be colored.
            Stopped: the cluster cannot be reached any more.
            WorkerLost: the worker ended.
        """

    def dismiss(self) -> None:
        """End it, if it has not ended."""


class Crew:
    """Keeps workers at work, and puts a new one into the place of each that is lost.

    Attributes:
        lost: how many workers were lost.
    """

    def __init__(self, hire: Callable[[], Worker], size: int, *, say: Callable[[str], None] = lambda _: None) -> None:
        """Start without anyone.

        Args:
            hire: returns a new worker, which is asked to load before its first picture.
            size: how many workers there are to be.
            say: told what whoever waits should know.
        """
        self.lost = 0
        self._hire = hire
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

    async def __call__(self, data: bytes) -> Colored:
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
        """Hire until one is ready; a place where none gets ready is left empty as long as there are others."""
        for _ in range(MAX_TRIES):
            worker = None
            try:
                worker = self._hire()
                await worker.load()
            except (WorkerLost, OSError, MemoryError) as lost:  # All of one machine; the next try may be on another.
                reason = str(lost) if isinstance(lost, WorkerLost) else _first_line(lost)
                self._lose(worker, reason)
                await asyncio.sleep(AGAIN_S)
            except Exception as error:  # What keeps one from starting, an import that fails there, keeps all of them.
                if worker is not None:
                    worker.dismiss()
                known = isinstance(error, StartupError | Stopped)
                self._free.put_nowait(error if known else ClusterError(f"a worker cannot start: {_first_line(error)}"))
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
            worker.dismiss()
        self._say(f"a worker was lost ({reason}); others take over")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PATIENCE_S)
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
            self._free.put_nowait(ClusterError(_first_line(error)))


@dataclass(frozen=True)
class Order:
    """What every worker is told before its first picture.

    Attributes:
        query: how to color.
        device: that a worker takes: with `cuda` a GPU each.
        model: path of the ONNX model, on this machine.
        max_megapixels: largest picture, millions of pixels.
        reference: the file of a color photograph whose palette is followed.
    """

    query: ColorizeQuery
    device: Device
    model: Path
    max_megapixels: float
    reference: bytes | None = None


def color_on_cluster(
    address: str,
    order: Order,
    work: Work,
    report: Callable[[Outcome], None],
    *,
    jobs: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Have a cluster color many files.

    Args:
        address: of the cluster: HOST:PORT of its head node where this machine is a node of it, ray://HOST:PORT where it
            is not, `auto` for the one that runs here.
        order: how to color.
        work: which, and where the answers go.
        report: told each outcome, in the order in which they end.
        jobs: how many workers; None: one for each processor (or GPU) of the cluster.
        say: told what whoever waits should know.

    Raises:
        ClusterError: the cluster cannot be used.
        ModelError: the model cannot be read.
        Stopped: what went wrong would go wrong for every further file too.
    """
    try:
        model = order.model.read_bytes()
    except OSError as error:
        raise ModelError(f"{order.model}: {error.strerror}") from error
    with connect(address) as ray:
        wants_gpu = order.device == "cuda"
        try:
            size = jobs or int(ray.cluster_resources().get("GPU" if wants_gpu else "CPU", 0))
            told = (ray.put(model), program_version(), order)
        except ConnectionError as error:
            raise _cut_off(error) from error
        if not size:
            kind = "GPU" if wants_gpu else "processor for work"
            raise ClusterError(f"the cluster at {address} has no {kind}: add a node that has one")
        variables = {
            # As the command line sets them for itself; libraries read them when they are imported.
            "OPENCV_IO_MAX_IMAGE_PIXELS": str(pixels_of(order.max_megapixels)),
            "OPENBLAS_NUM_THREADS": "1",
        }
        painter = ray.remote(Painter).options(
            num_cpus=1,
            num_gpus=int(wants_gpu),
            max_restarts=0,  # The crew hires another one instead.
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": variables},
        )

        def hire() -> _RayWorker:
            try:
                return _RayWorker(ray, painter.remote(), told)
            except Exception as error:
                raise _in_our_words(ray.exceptions, error) from error

        async def run() -> None:
            async with Crew(hire, size, say=say) as crew:
                await color_there(work, crew, report, jobs=FILES_EACH * size, room=crew.room)

        asyncio.run(run())


class Painter:
    """The other end: lives in a process of its own somewhere in the cluster, with one loaded model."""

    def load(self, model: bytes, version: str, order: Order) -> None:
        """Get ready.

        Args:
            model: content of the ONNX file.
            version: of the package on the machine that gives the orders.
            order: how to color.

        Raises:
            ClusterError: another version of the package is installed here.
            StartupError: the model cannot be loaded.
            RequestError: the reference cannot be read as a picture.
        """
        if version != program_version():
            raise ClusterError(
                f"{socket.gethostname()} of the cluster has Photochrom {program_version()}, this machine {version}: "
                "install the same one everywhere"
            )
        images.prepare_codecs()
        # As on the command line: nobody can do anything about odd tags.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            file.write(model)
            file.flush()
            session = Session(Path(file.name), device=order.device, threads=1)
        self._color = Here(
            session,
            order.query.to_options(),
            order.query.picture_format() or "png",
            max_megapixels=order.max_megapixels,
            reference=order.reference,
        )

    def ping(self) -> None:
        """Say that this process is still there: that it returns says it."""

    def color(self, data: bytes) -> Colored:
        """Color one file.

        Raises:
            RequestError: it cannot be colored.
        """
        return self._color(data)


class _RayWorker:
    """A `Painter`, seen from here."""

    def __init__(self, ray: Any, actor: Any, told: tuple[Any, str, Order]) -> None:
        self._ray, self._actor, self._told = ray, actor, told

    async def load(self) -> None:
        await self._answer(self._actor.load, *self._told)

    async def ping(self) -> None:
        await self._answer(self._actor.ping)

    async def color(self, data: bytes) -> Colored:
        return Colored(*await self._answer(self._actor.color, data))

    def dismiss(self) -> None:
        with suppress(Exception):  # It has ended already, or nobody can be reached who would know.
            self._ray.kill(self._actor)

    async def _answer(self, method: Any, *given: Any) -> Any:
        try:
            return await method.remote(*given)
        except Exception as error:
            errors = self._ray.exceptions
            if isinstance(error, MemoryError) and not isinstance(error, errors.RayError):
                raise  # Of this machine. That of a worker is both.
            raise _in_our_words(errors, error) from error


def _in_our_words(errors: Any, error: Exception) -> Exception:
    """Return what an error that Ray raised means here.

    Args:
        errors: the module `ray.exceptions`.
        error: that it raised when something was asked of a worker, or awaited.

    Returns:
        What the work of a worker failed with, `WorkerLost`, or `Stopped` when the cluster cannot be reached.
    """
    if isinstance(error, errors.RayTaskError):  # The worker lives, and its work has failed.
        cause: Exception = error.cause
        return WorkerLost(_first_line(cause)) if isinstance(cause, errors.RayError) else cause
    if isinstance(error, errors.RayError):
        return WorkerLost(_first_line(error))
    # Through ray:// a lost connection is a ConnectionError for whoever waits, which would pass for a file's own error,
    # and a bare Exception for whoever asks afterwards.
    return _cut_off(error)


def _cut_off(error: Exception) -> Stopped:
    return Stopped(
        f"the connection to the cluster broke ({_first_line(error)}): see whether its head node runs and can be reached"
    )


@contextmanager
def connect(address: str) -> Iterator[Any]:
    """Be connected to a Ray cluster while inside.

    Args:
        address: see `color_on_cluster`.

    Yields:
        The module `ray`.

    Raises:
        ClusterError: Ray is not installed, nobody answers, or the cluster does not take us.
    """
    try:
        import ray
    except ImportError as error:
        raise ClusterError("--cluster needs Ray, which is not installed here: install photochrom[cluster]") from error
    if address != "auto":
        knock(address)
    with suppress(AttributeError):
        # Ray has no setting for this: it tells of machines that died on the standard output, among our lines of JSON.
        # The crew says it in a line.
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray has no type for them.
        raise ClusterError(
            f"the cluster at {address} does not take us ({_first_line(error)}): has it the same version of Ray, and if "
            "it wants a token, do RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH give the right one?"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, before)  # Ray's own handler would leave no time to end well.
    try:
        yield ray
    finally:
        with suppress(ConnectionError):  # Broken before: why was said already.
            ray.shutdown()


def knock(address: str) -> None:
    """Find out soon whether anyone is there: Ray itself would try for minutes.

    Args:
        address: HOST:PORT or ray://HOST:PORT.

    Raises:
        ClusterError: it is no address, or nobody answers there.
    """
    no_address = ClusterError(f"{address!r} is no address of a Ray cluster: give HOST:PORT, ray://HOST:PORT or auto")
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise no_address
    try:
        socket.create_connection((found["six"] or found["host"], int(found["port"])), timeout=CONNECT_S).close()
    except UnicodeError as error:  # No name of a host: a part of it is empty, longer than 63, or of odd characters.
        raise no_address from error
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ClusterError(
            f"nobody answers at {address} ({reason}): is the cluster up, and the address right?"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith(":"):  # A heading, and the trace of another machine under it.
        lines[0] += f" {lines[-1]}"
    return ": ".join((type(error).__name__, *lines[:1]))
