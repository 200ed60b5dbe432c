"""Work that ends at the deadline, or when its caller has left."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from service.errors import (
    DeadlineExceeded,
)
from service.http.services import Services
from service.http.upload import Upload
from service.telemetry import Metrics, Stages

T = TypeVar("T")


class Deadline:
    """Until when the work on one request must be done; once its picture is known to be large, that is later.

    Attributes:
        seconds: that the work may take.
    """

    def __init__(self, seconds: float) -> None:
        """Begin to count.

        Args:
            seconds: that the work may take.
        """
        self.seconds = seconds
        self.timeout = asyncio.timeout(seconds)

    def extend(self, seconds: float) -> None:
        """Allow so many seconds more; too late, it changes nothing."""
        when = self.timeout.when()
        if seconds and when is not None and not self.timeout.expired():
            self.seconds += seconds
            self.timeout.reschedule(when + seconds)


async def in_time(services: Services, stages: Stages, work: Coroutine[Any, Any, T], *, more_s: float = 0.0) -> T:
    """Return what the work gives, and count how long its stages took.

    Args:
        services: of the application.
        stages: of the request.
        work: begins at once.
        more_s: how much longer than the deadline it may take, seconds.

    Raises:
        DeadlineExceeded: it took longer.
    """
    deadline = Deadline(services.settings.deadline_s + more_s)
    with _counted(services.pipeline.metrics, stages):
        return await _until(deadline, services, stages, work)


async def uploaded_in_time(
    services: Services,
    stages: Stages,
    upload: Coroutine[Any, Any, Upload],
    work: Callable[[Upload, Deadline], Coroutine[Any, Any, T]],
) -> T:
    """Return what the work gives on an upload: as `in_time`, from its last byte on.

    How long the caller may take to send is up to `Exchange`.

    Args:
        services: of the application.
        stages: of the request.
        upload: comes in; closed at the end.
        work: begins when it is there, and may extend the deadline.

    Raises:
        DeadlineExceeded: the work took longer than the deadline.
    """
    with _counted(services.pipeline.metrics, stages), await upload as files:
        deadline = Deadline(services.settings.deadline_s)
        return await _until(deadline, services, stages, work(files, deadline))


@contextmanager
def _counted(metrics: Metrics, stages: Stages) -> Iterator[None]:
    try:
        yield
    except ClientDisconnect:
        metrics.cancelled.labels(stages.current).inc()
        raise
    finally:
        for stage, seconds in stages.seconds.items():
            metrics.stage_duration.labels(stage).observe(seconds)


async def _until(deadline: Deadline, services: Services, stages: Stages, work: Coroutine[Any, Any, T]) -> T:
    try:
        async with deadline.timeout:
            return await work
    except TimeoutError:
        services.pipeline.metrics.late.labels(stages.current).inc()
        raise DeadlineExceeded(
            f"The picture was not done within {deadline.seconds:g} seconds; it was at the stage {stages.current!r}.",
            limit=deadline.seconds,
            unit="s",
            stage=stages.current,
        ) from None


async def cancel_on_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return what the work gives; cancel it when the client leaves, which FastAPI itself does not notice.

    Whoever waits is let go at once; what runs in a thread just then ends in the background.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # Nobody waits for an abandoned one.
    gone = asyncio.create_task(_wait_for_disconnect(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            gone.result()  # A body that nobody wants may be refused.
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
