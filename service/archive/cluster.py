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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from service.archive.here import Here
from service.archive.looks import Looks
from service.archive.run import ColoredFile, Outcome, Stopped, Work, color_there
from service.archive.worker_pool import FILES_EACH, ClusterError, WorkerLost, WorkerPool, first_line
from service.engine.options import ColorizeQuery
from service.engine.precision import open_session
from service.errors import ModelError
from service.pictures.decode import prepare_codecs
from service.pictures.size_limits import SizeLimits
from service.settings import Device, PrecisionChoice, pixels_of
from service.version import program_version

CONNECT_S: Final = 5.0
"""How long a machine of the cluster may take to accept a connection, seconds."""

ADDRESS: Final = re.compile(r"(?:ray://)?(?:\[(?P<six>[0-9a-fA-F:]+)\]|(?P<host>[^/:\s\[\]]+)):(?P<port>\d{1,5})")


@dataclass(frozen=True)
class Instructions:
    """What every worker is told before its first picture.

    Attributes:
        query: how to color.
        device: that a worker takes: with `cuda` a GPU each.
        model: path of the ONNX model, on this machine.
        limits: of a picture.
        precision: that every worker computes the network in, `auto` that of the file; those that cannot are refused.
        reference: the file of a color photograph whose palette is followed.
        looks: how single photographs are colored instead.
    """

    query: ColorizeQuery
    device: Device
    model: Path
    limits: SizeLimits
    precision: PrecisionChoice = "auto"
    reference: bytes | None = None
    looks: Looks | None = None


def color_on_cluster(
    address: str,
    order: Instructions,
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
        actor_type = _actor_type(ray, order)

        def start_worker() -> _RayWorker:
            try:
                return _RayWorker(ray, actor_type.remote(), told)
            except Exception as error:
                raise _in_our_words(ray.exceptions, error) from error

        async def run() -> None:
            async with WorkerPool(start_worker, size, say=say) as pool:
                await color_there(work, pool, report, jobs=FILES_EACH * size, room=pool.room)

        asyncio.run(run())


def _actor_type(ray: Any, order: Instructions) -> Any:
    """Return what Ray makes workers of."""
    variables = {
        # As the command line sets them for itself; libraries read them when they are imported.
        "OPENCV_IO_MAX_IMAGE_PIXELS": str(pixels_of(order.limits.max_megapixels)),
        "OPENBLAS_NUM_THREADS": "1",
    }
    return ray.remote(ColorizeActor).options(
        num_cpus=1,
        num_gpus=int(order.device == "cuda"),
        max_restarts=0,  # The pool starts another one instead.
        scheduling_strategy="SPREAD",
        runtime_env={"env_vars": variables},
    )


class ColorizeActor:
    """The other end: lives in a process of its own somewhere in the cluster, with one loaded model."""

    def load(self, model: bytes, version: str, order: Instructions) -> None:
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
        prepare_codecs()
        # As on the command line: nobody can do anything about odd tags.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            file.write(model)
            file.flush()
            session = open_session(Path(file.name), device=order.device, threads=1, precision=order.precision)
        self._color = Here(
            session,
            order.query.to_options(),
            order.query.picture_format() or "png",
            limits=order.limits,
            reference=order.reference,
            looks=order.looks,
        )

    def ping(self) -> None:
        """Say that this process is still there: that it returns says it."""

    def color(self, data: bytes) -> ColoredFile:
        """Color one file.

        Raises:
            RequestError: it cannot be colored.
        """
        return self._color(data)


class _RayWorker:
    """A `ColorizeActor`, seen from here."""

    def __init__(self, ray: Any, actor: Any, told: tuple[Any, str, Instructions]) -> None:
        self._ray, self._actor, self._told = ray, actor, told

    async def load(self) -> None:
        await self._answer(self._actor.load, *self._told)

    async def ping(self) -> None:
        await self._answer(self._actor.ping)

    async def color(self, data: bytes) -> ColoredFile:
        return ColoredFile(*await self._answer(self._actor.color, data))

    def stop(self) -> None:
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
        return WorkerLost(first_line(cause)) if isinstance(cause, errors.RayError) else cause
    if isinstance(error, errors.RayError):
        return WorkerLost(first_line(error))
    # Through ray:// a lost connection is a ConnectionError for whoever waits, which would pass for a file's own error,
    # and a bare Exception for whoever asks afterwards.
    return _cut_off(error)


def _cut_off(error: Exception) -> Stopped:
    return Stopped(
        f"the connection to the cluster broke ({first_line(error)}): see whether its head node runs and can be reached"
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
        check_reachable(address)
    with suppress(AttributeError):
        # Ray has no setting for this: it tells of machines that died on the standard output, among our lines of JSON.
        # The pool says it in a line.
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray has no type for them.
        raise ClusterError(
            f"the cluster at {address} does not take us ({first_line(error)}): has it the same version of Ray, and if "
            "it wants a token, do RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH give the right one?"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, before)  # Ray's own handler would leave no time to end well.
    try:
        yield ray
    finally:
        with suppress(ConnectionError):  # Broken before: why was said already.
            ray.shutdown()


def check_reachable(address: str) -> None:
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
