"""The road of one request: bytes in, bytes out, each stage timed and on the thread it belongs to.

read (HTTP) -> probe -> admit -> decode -> queue -> infer -> merge -> encode. Headers are judged in a thread of the
event loop's own pool, so that refusals never wait behind pictures; decoding and encoding run in one bounded codec pool;
the network runs in the batcher's thread. Cancelling the task ends it at the next stage, and what it was admitted for is
given back only when its last thread has really stopped.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

import numpy as np

from service import images
from service.admission import Admission
from service.batcher import Batcher, batch_sizes_up_to
from service.colorizer import Options, Prepared, colorize, finish, prepare
from service.images import Alpha, Header, OutputFormat, Picture
from service.priority import give_way
from service.session import Heads, Session, shipped_model
from service.settings import Settings
from service.telemetry import Metrics, Stages

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Job:
    """What is asked for: a file and what to make of it.

    Attributes:
        data: the uploaded file.
        options: how to color it.
        output_format: of the answer.
    """

    data: bytes
    options: Options
    output_format: OutputFormat


@dataclass(frozen=True, eq=False)
class Result:
    """What comes out.

    Attributes:
        data: the encoded answer.
        scene: name of the scene that the network finds most likely.
    """

    data: bytes
    scene: str


class Pipeline:
    """Everything that lives as long as the service: model, threads, admission.

    Attributes:
        metrics: where it counts.
        session: the loaded model.
        batcher: the inference thread.
        admission: how much may be worked on.
        draining: set when the service is to stop; `/health/ready` then says no.
    """

    def __init__(self, settings: Settings, metrics: Metrics, *, version: str) -> None:
        """Load the model, run it once for real, start the threads.

        Args:
            settings: the operator's.
            metrics: where to count.
            version: of this program; part of every entity tag.

        Raises:
            StartupError: the model or the device does not work; the text says why.
        """
        images.prepare_codecs()
        self.metrics = metrics
        with ThreadPoolExecutor(1, initializer=give_way) as loader:  # ONNX Runtime's own threads inherit it.
            self.session = loader.submit(
                Session, settings.model or shipped_model(), device=settings.device, threads=settings.threads
            ).result()
        max_batch = settings.max_batch or self.session.default_batch
        self.session.warm_up(batch_sizes_up_to(max_batch))
        # The first composition makes tables that take a third of a second.
        colorize(Picture(np.zeros((1, 1), np.uint8)), Options(), self.session)
        self.batcher = Batcher(
            self.session.run,
            max_batch=max_batch,
            max_queue=self.session.threads + 2 * max_batch,
            on_batch=metrics.batch_size.observe,
        )
        self.admission = Admission(
            max_megapixels=settings.max_inflight_megapixels,
            max_pictures=self.session.threads + 2 * max_batch,  # Every thread busy, one batch running, one ready.
            max_waiting=settings.max_queue,
            on_change=self._count_admitted,
        )
        self.draining = False
        self._codecs = ThreadPoolExecutor(self.session.threads, thread_name_prefix="codec", initializer=give_way)
        self._max_megapixels = settings.max_megapixels
        self._identity = f"{version} {self.session.digest} {self.session.provider}"
        metrics.queue_depth.set_function(lambda: self.batcher.depth)

    def close(self) -> None:
        """Finish what is under way, then stop the threads."""
        self.batcher.close()
        self._codecs.shutdown()

    async def inspect(self, job: Job, stages: Stages) -> tuple[Header, str]:
        """Judge a job's header, and name its answer.

        Args:
            job: the upload.
            stages: where to time it.

        Returns:
            The header, and the entity tag of the answer to come: the same program, model, options and bytes always
            give the same answer.

        Raises:
            RequestError: the picture is not taken; see `images.probe`.
        """
        with stages.measure("probe"):
            return await asyncio.to_thread(self._inspect, job)

    async def run(self, job: Job, header: Header, stages: Stages) -> Result:
        """Color one picture.

        Args:
            job: the upload.
            header: from `inspect`.
            stages: where to time it.

        Returns:
            The encoded answer.

        Raises:
            RequestError: the picture is damaged, there is no room, or the answer does not fit its format.
        """
        self.metrics.input_megapixels.observe(header.megapixels)
        async with AsyncExitStack() as admitted:
            with stages.measure("admit"):
                await admitted.enter_async_context(self.admission.admit(header.megapixels))
            with stages.measure("decode"):
                prepared, alpha = await self._in_codec_pool(self._decode, job, header)
            heads = await self._infer(prepared, stages)
            with stages.measure("merge"):
                # Alone, a picture gets every core; in company, each gets one. The answer is the same, bit for bit.
                workers = self.session.threads if self.admission.admitted == 1 else 1
                colored = await self._in_codec_pool(finish, prepared, heads, self.session.stamp, workers=workers)
            with stages.measure("encode"):
                data = await self._in_codec_pool(images.encode, colored.rgb, alpha, job.output_format)
        self.metrics.output_bytes.observe(len(data))
        return Result(data, colored.scene)

    def _inspect(self, job: Job) -> tuple[Header, str]:
        header = images.probe(job.data, max_megapixels=self._max_megapixels)
        recipe = f"{self._identity} {job.options} {job.output_format} {hashlib.sha256(job.data).hexdigest()}"
        return header, hashlib.sha256(recipe.encode()).hexdigest()[:32]

    def _decode(self, job: Job, header: Header) -> tuple[Prepared, Alpha]:
        picture = images.decode(job.data, header)
        prepared = prepare(picture, job.options, self.session.stamp, deep=job.output_format == "png")
        return prepared, images.to_depth(picture.alpha, deep=prepared.is_deep)

    async def _infer(self, prepared: Prepared, stages: Stages) -> Heads:
        stages.enter("queue")
        since = time.perf_counter()
        try:
            answer = await asyncio.wrap_future(self.batcher.submit(prepared.query, partial(stages.enter, "infer")))
        except BaseException:  # The client left, time is up, or the inference failed.
            stages.add(stages.current, time.perf_counter() - since)
            raise
        stages.add("queue", answer.queue_s, ago_s=answer.infer_s)
        stages.add("infer", answer.infer_s)
        return answer.heads

    async def _in_codec_pool(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work in the codec pool; when cancelled, return only once its thread has stopped.

        A thread cannot be interrupted, and as long as it runs its pixels are in memory and must stay admitted.
        """
        future = self._codecs.submit(work, *args, **kwargs)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.cancelled():
                await asyncio.wait([asyncio.wrap_future(future)])
            raise

    def _count_admitted(self, megapixels: float, waiting: int) -> None:
        self.metrics.inflight_megapixels.set(megapixels)
        self.metrics.waiting_requests.set(waiting)
