"""The road of one request: bytes in, bytes out, each stage timed and on the thread it belongs to.

read (HTTP) -> probe -> admit -> decode -> queue -> infer -> merge -> encode. A kept picture goes round the network:
admit -> decode -> merge -> encode. Of several variants each goes through merge and encode, small ones side by side.

Headers are judged in a thread of the event loop's own pool, so that refusals never wait behind pictures; decoding and
encoding run in one bounded codec pool; the network runs in the batcher's thread. Cancelling the task ends it at the
next stage, and what it was admitted for is given back only when its last thread has really stopped.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import Final

import numpy as np

from chroma.framing import network_size
from service.engine.admission import Admission
from service.engine.batcher import Batcher, batch_sizes_up_to
from service.engine.codec_pool import CodecPool
from service.engine.colorizer import (
    Histogram,
    Prepared,
    colorize,
    confidence_of,
    draw_confidence,
    fit_alpha,
    histogram_of,
    lightness_of,
    make_ready,
    prepare,
    prepare_kept,
)
from service.engine.job import Caller, Inspected, Job, Result
from service.engine.kept import KeptPicture, KeptPictures, Posterior, ReadyPixels
from service.engine.making import Maker, Parts, hold_nothing
from service.engine.options import Options
from service.engine.session import Heads, Session, shipped_model
from service.errors import RequestError
from service.machine import give_memory_back, give_way, usable_cores
from service.pictures.decode import Picture, prepare_codecs
from service.pictures.encode import encode_gray, most_bytes
from service.pictures.levels import Alpha, to_depth
from service.pictures.probe import Header, probe
from service.pictures.worker.pool import DecodePool
from service.settings import Settings
from service.telemetry import Metrics, Stages

POSTERIOR_WEIGHT: Final = 32
"""Where the posterior leaves the network, a pixel of the network's input takes as much memory as so many pixels of a
picture: 78 bytes of logits, and a few times that while they are decoded."""


LARGE_MEGAPIXELS: Final = 20.0
"""After so many at once, what they took is given back to the system as soon as there is nothing to do."""

SENT_S: Final = 2.0
"""...and their answers are taken, as far as that goes fast."""

CALLER_SHARE: Final = 2 / 3
"""Of the megapixels worked on, this much is the most for one caller: the next one finds some room."""


class Pipeline:
    """Everything that lives as long as the service: model, threads, admission.

    Attributes:
        metrics: where it counts.
        session: the loaded model.
        batcher: the inference thread.
        admission: how much may be worked on.
        decoders: processes that decode pictures.
        kept: pictures that can be decoded again without an inference.
        maker: makes the answers of what the network said.
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
        prepare_codecs()
        self.metrics = metrics
        threads = settings.threads or usable_cores()
        # One more than one caller gets: nobody's slow files are in the way of everyone.
        self.decoders = DecodePool(
            threads + 1,
            share=threads,
            cpu_s=settings.decode_s,
            on_loss=lambda reason: metrics.lost_workers.labels(reason).inc(),
        )
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
            # Every thread busy, one batch running, one ready; and one more than one caller gets.
            max_pictures=self.session.threads + 2 * max_batch + 1,
            share=CALLER_SHARE,
            max_waiting=settings.max_queue,
            on_change=self._count_admitted,
        )
        self.kept = KeptPictures(
            max_bytes=settings.kept_bytes,
            max_age_s=settings.kept_s,
            on_lookup=lambda is_there: (metrics.kept_hits if is_there else metrics.kept_misses).inc(),
            on_evict=lambda reason: metrics.kept_evictions.labels(reason).inc(),
        )
        metrics.kept_pictures.set_function(lambda: len(self.kept))
        metrics.kept_bytes.set_function(lambda: self.kept.kept_bytes)
        self.draining = False
        self._most_megapixels = 0.0
        self._codecs = CodecPool(self.session.threads)
        self.maker = Maker(
            self.session.stamp,
            self._codecs,
            free_threads=self._threads,
            max_answer_bytes=settings.max_answer_bytes,
            on_picture=metrics.output_bytes.observe,
        )
        self._max_megapixels = settings.max_megapixels
        self._identity = f"{version} {self.session.digest} {self.session.provider}"
        metrics.queue_depth.set_function(lambda: self.batcher.depth)

    def close(self) -> None:
        """Finish what is under way, then stop the threads."""
        self.batcher.close()
        self._codecs.close()
        self.decoders.close()
        self.kept.clear()

    async def inspect(self, job: Job, stages: Stages) -> Inspected:
        """Judge a job's header, and name its answer.

        Args:
            job: the upload.
            stages: where to time it.

        Returns:
            What is known now.

        Raises:
            RequestError: the picture, or the reference, is not taken; see `images.probe`.
        """
        with stages.measure("probe"):
            return await asyncio.to_thread(self._inspect, job)

    async def run(
        self, job: Job, inspected: Inspected, stages: Stages, hold: Callable[[int], None] = hold_nothing
    ) -> Result:
        """Color one picture.

        Args:
            job: the upload.
            inspected: from `inspect`.
            stages: where to time it.
            hold: told how many bytes the answer will take, or each of several pictures takes.

        Returns:
            The encoded answers.

        Raises:
            RequestError: the picture is damaged, there is no room, or the answer does not fit its format.
        """
        header = inspected.header
        self.metrics.input_megapixels.observe(header.megapixels)
        weight = max(header.megapixels, inspected.reference.megapixels if inspected.reference else 0)
        if job.needs_posterior:
            weight += self._posterior_weight(header, job.options.size)
        async with AsyncExitStack() as admitted:
            with stages.measure("admit"):
                await admitted.enter_async_context(self.admission.admit(weight, job.caller))
            with stages.measure("decode"):
                reference = None
                if job.reference is not None and inspected.reference is not None:
                    reference = await self._read_reference(job, job.reference, inspected.reference)
                picture = await self.decoders.decode(job.data, header, job.caller.name)
                prepared, alpha = await self._codecs.run(self._prepare, picture, job)
            _reserve(prepared, alpha, job, hold)
            heads = await self._infer(prepared, stages)
            return await self.maker.make(Parts(prepared, alpha, heads, reference), job, stages, hold)

    async def keep(self, job: Job, inspected: Inspected, owner: str, stages: Stages) -> KeptPicture:
        """Run one picture through the network, and keep what it says.

        Args:
            job: the upload.
            inspected: from `inspect`.
            owner: fingerprint of the API key that it came with.
            stages: where to time it.

        Returns:
            The picture, kept.

        Raises:
            RequestError: the picture is damaged, or there is no room for it.
        """
        header = inspected.header
        self.metrics.input_megapixels.observe(header.megapixels)
        weight = header.megapixels + self._posterior_weight(header, job.options.size)
        async with AsyncExitStack() as admitted:
            with stages.measure("admit"):
                await admitted.enter_async_context(self.admission.admit(weight, job.caller))
            with stages.measure("decode"):
                picture = await self.decoders.decode(job.data, header, job.caller.name)
                prepared, ready, histogram = await self._codecs.run(self._prepare_to_keep, picture, job)
            heads = await self._infer(prepared, stages)
            with stages.measure("merge"):
                confidence = await self._codecs.run(confidence_of, heads)
                posterior = await self._codecs.run(Posterior.of, heads, prepared.query.lightness)
        kept = KeptPicture(
            data=job.data,
            header=header,
            digest=inspected.digest,
            size=job.options.size,
            posterior=posterior,
            histogram=histogram,
            confidence=confidence,
            ready=ready,
        )
        return self.kept.put(kept, owner)

    def name_render(self, kept: KeptPicture, job: Job, reference: KeptPicture | None) -> str:
        """Return the entity tag of what `render` would give for the same arguments."""
        given = f"{kept.digest} {kept.size} {reference.digest if reference else ''}"
        return self._tag(f"kept {job.options} {job.output_format} {job.tells} {given}")

    async def render(
        self,
        kept: KeptPicture,
        job: Job,
        reference: KeptPicture | None,
        stages: Stages,
        hold: Callable[[int], None] = hold_nothing,
    ) -> Result:
        """Color a kept picture, without the network.

        Args:
            kept: the picture.
            job: what to make of it; its bytes do not count.
            reference: another kept picture whose palette is followed.
            stages: where to time it.
            hold: told how many bytes the answer will take, or each of several pictures takes.

        Returns:
            The encoded answers.

        Raises:
            RequestError: there is no room, or the answer does not fit its format.
        """
        weight = kept.header.megapixels + self._posterior_weight(kept.header, kept.size)
        async with AsyncExitStack() as admitted:
            with stages.measure("admit"):
                await admitted.enter_async_context(self.admission.admit(weight, job.caller))
            with stages.measure("decode"):
                picture = None
                if kept.ready is None:
                    picture = await self.decoders.decode(kept.data, kept.header, job.caller.name)
                prepared, alpha = await self._codecs.run(self._take_up, kept, picture, job)
                heads = await self._codecs.run(kept.posterior.heads)
            _reserve(prepared, alpha, job, hold)
            histogram = reference.histogram if reference else None
            return await self.maker.make(Parts(prepared, alpha, heads, histogram), job, stages, hold)

    async def draw_confidence(self, kept: KeptPicture, caller: Caller, stages: Stages) -> bytes:
        """Draw where the network is sure of a kept picture.

        Args:
            kept: the picture.
            caller: who asks.
            stages: where to time it.

        Returns:
            A gray PNG: see `colorizer.draw_confidence`.

        Raises:
            RequestError: there is no room.
        """

        def draw() -> bytes:
            width, height = kept.header.upright_size
            return encode_gray(draw_confidence(kept.posterior.heads(), height, width))

        async with AsyncExitStack() as admitted:
            with stages.measure("admit"):
                weight = self._posterior_weight(kept.header, kept.size)
                await admitted.enter_async_context(self.admission.admit(weight, caller))
            with stages.measure("merge"):
                return await self._codecs.run(draw)

    def _posterior_weight(self, header: Header, size: int | None) -> float:
        """Return what the posterior of a picture takes in memory, in megapixels."""
        width, height = header.upright_size
        rows, columns = network_size(height, width, size or self.session.stamp.size)
        return POSTERIOR_WEIGHT * rows * columns / 1e6

    def _inspect(self, job: Job) -> Inspected:
        header = probe(job.data, max_megapixels=self._max_megapixels)
        digest, given = hashlib.sha256(job.data).hexdigest(), ""
        reference = None
        if job.reference is not None:
            with _of_the_reference():
                reference = probe(job.reference, max_megapixels=self._max_megapixels)
            given = hashlib.sha256(job.reference).hexdigest()
        tag = self._tag(f"{job.options} {job.output_format} {job.tells} {digest} {given}")
        return Inspected(header, reference, tag, digest)

    def _tag(self, recipe: str) -> str:
        return hashlib.sha256(f"{self._identity} {recipe}".encode()).hexdigest()[:32]

    def _threads(self) -> int:
        # Alone, a picture gets every core; in company, each gets one. The answer is the same, bit for bit.
        return self.session.threads if self.admission.admitted == 1 else 1

    async def _read_reference(self, job: Job, data: bytes, header: Header) -> Histogram:
        """Return what a reference photograph holds."""
        with _of_the_reference():
            picture = await self.decoders.decode(data, header, job.caller.name)
        return await self._codecs.run(histogram_of, picture)

    def _prepare(self, picture: Picture, job: Job) -> tuple[Prepared, Alpha]:
        deep = job.output_format == "png"
        prepared = prepare(
            picture,
            job.options,
            self.session.stamp,
            deep=deep,
            posterior=job.needs_posterior,
            workers=self._threads(),
        )
        return prepared, to_depth(picture.alpha, deep=prepared.is_deep)

    def _prepare_to_keep(self, picture: Picture, job: Job) -> tuple[Prepared, ReadyPixels, Histogram]:
        prepared = prepare(picture, job.options, self.session.stamp, posterior=True, workers=self._threads())
        return prepared, make_ready(picture, prepared.L), histogram_of(picture)

    def _take_up(self, kept: KeptPicture, picture: Picture | None, job: Job) -> tuple[Prepared, Alpha]:
        pixels = kept.ready
        if pixels is None:
            if picture is None:
                raise ValueError("a picture whose pixels are not kept must be decoded first")
            pixels = make_ready(picture, lightness_of(picture))
        deep = job.output_format == "png"
        prepared = prepare_kept(kept, pixels, job.options, self.session.stamp, deep=deep)
        shape = (prepared.L.shape[0], prepared.L.shape[1])
        return prepared, to_depth(fit_alpha(pixels.alpha, shape), deep=prepared.is_deep)

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

    def _count_admitted(self, megapixels: float, waiting: int) -> None:
        self._most_megapixels = max(self._most_megapixels, megapixels)
        if not megapixels and self._most_megapixels > LARGE_MEGAPIXELS:
            self._most_megapixels = 0.0
            asyncio.get_running_loop().call_later(SENT_S, self._give_memory_back)

    def _give_memory_back(self) -> None:
        if not self.draining:
            self._codecs.start(give_memory_back)
        self.metrics.inflight_megapixels.set(megapixels)
        self.metrics.waiting_requests.set(waiting)


def _reserve(prepared: Prepared, alpha: Alpha, job: Job, hold: Callable[[int], None]) -> None:
    """Have the bytes counted that the answer may take, before it is made; of several each is counted when it is."""
    if not job.is_packed:
        channels = 3 if alpha is None else 4
        hold(most_bytes(job.output_format, prepared.L.size, channels=channels, deep=prepared.is_deep))


@contextmanager
def _of_the_reference() -> Iterator[None]:
    """Say of an error that it is the reference's."""
    try:
        yield
    except RequestError as error:
        error.detail = f"The reference photograph: {error.detail}"
        raise
