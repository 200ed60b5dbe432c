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
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import cv2

from service.engine.admission import Admission
from service.engine.answer_file import metadata_of
from service.engine.batcher import Batcher
from service.engine.codec_pool import CodecPool
from service.engine.colorizer import (
    Histogram,
    Prepared,
    as_kept,
    confidence_of,
    fit_alpha,
    histogram_of,
    prepare_kept,
    prepare_lightness,
)
from service.engine.job import Job, Result
from service.engine.kept import KeptPicture, KeptPictures, Posterior
from service.engine.loaded_model import LoadedModel, tag_of
from service.engine.making import Parts, notes_on
from service.engine.memory_cost import posterior_weight, reserve
from service.engine.models import Models
from service.engine.outlet import Outlet
from service.engine.session import Heads, Session
from service.errors import RequestError
from service.machine import trim_memory, usable_cores
from service.pictures.decode import Picture, prepare_codecs
from service.pictures.header import Header
from service.pictures.levels import Alpha, to_depth
from service.pictures.lightness import Lightness, store_lightness
from service.pictures.metadata.belongings import Metadata
from service.pictures.probe import probe
from service.pictures.size_limits import SizeLimits
from service.pictures.spooled import FileData, as_bytes
from service.pictures.worker.pool import DecodePool
from service.settings import Settings
from service.telemetry import Metrics, Stages

LARGE_MEGAPIXELS: Final = 20.0
"""After so many at once, what they took is given back to the system as soon as there is nothing to do."""

SENT_S: Final = 2.0
"""...and their answers are taken, as far as that goes fast."""

KEPT_SHARE: Final = 2
"""Uploads that belong to kept pictures take at most one in so many of the bytes on the disk."""

CALLER_SHARE: Final = 2 / 3
"""Of the megapixels worked on, this much is the most for one caller: the next one finds some room."""


@dataclass(frozen=True, eq=False)
class Inspected:
    """What is known of a job before a pixel is decoded.

    Attributes:
        model: that answers it.
        header: of the picture.
        reference: header of the reference photograph, where there is one.
        tag: entity tag of the answer to come: the same program, model, options and bytes give the same answer.
        digest: sha256 of the upload, hexadecimal.
    """

    model: LoadedModel
    header: Header
    reference: Header | None
    tag: str
    digest: str


class Pipeline:
    """Everything that lives as long as the service: model, threads, admission.

    Attributes:
        metrics: where it counts.
        models: the one that new requests get, and those before it.
        admission: how much may be worked on.
        decoders: processes that decode pictures.
        codecs: threads that make answers.
        kept: pictures that can be decoded again without an inference.
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
        cv2.setNumThreads(1)  # A picture has as many threads as are free; those of OpenCV would come on top.
        self.metrics = metrics
        threads = settings.threads or usable_cores()
        # One more than one caller gets: nobody's slow files are in the way of everyone.
        self.decoders = DecodePool(
            threads + 1,
            share=threads,
            cpu_s=settings.decode_s,
            on_loss=lambda reason: metrics.lost_workers.labels(reason).inc(),
        )
        self.codecs = CodecPool(threads)
        self.draining = False
        load = partial(
            LoadedModel, settings, metrics, self.codecs, version=version, free_threads=lambda: self._threads()
        )
        self.models = Models(load, on_another=lambda: self.kept.clear(), is_ending=lambda: self.draining)
        self.admission = Admission(
            max_megapixels=settings.max_inflight_megapixels,
            # Every thread busy, one batch running, one ready; and one more than one caller gets.
            max_pictures=threads + 2 * self.model.max_batch + 1,
            share=CALLER_SHARE,
            max_waiting=settings.max_queue,
            on_change=self._count_admitted,
        )
        self.kept = KeptPictures(
            max_bytes=settings.kept_bytes,
            max_spooled_bytes=settings.max_spooled_bytes // KEPT_SHARE,
            max_age_s=settings.kept_s,
            on_lookup=lambda is_there: (metrics.kept_hits if is_there else metrics.kept_misses).inc(),
            on_evict=lambda reason: metrics.kept_evictions.labels(reason).inc(),
        )
        metrics.kept_pictures.set_function(lambda: len(self.kept))
        metrics.kept_bytes.set_function(lambda: self.kept.kept_bytes)
        self._most_megapixels = 0.0
        self._sizes = SizeLimits.of(settings)
        metrics.queue_depth.set_function(lambda: self.batcher.depth)

    @property
    def model(self) -> LoadedModel:
        """What answers new requests."""
        return self.models.current

    @property
    def session(self) -> Session:
        """The model that new requests get."""
        return self.model.session

    @property
    def batcher(self) -> Batcher:
        """Its inference thread."""
        return self.model.batcher

    async def reload(self) -> None:
        """Load the model's file again, and give it to new requests; what was kept, another model said, and goes.

        Raises:
            StartupError: it does not work, and the model of now stays.
        """
        await self.models.reload()

    async def accelerate(self) -> bool:
        """Have the network computed faster for new requests, where that works; kept pictures stay as they are.

        Returns:
            Whether it is.
        """
        return await self.models.accelerate()

    def close(self) -> None:
        """Finish what is under way, then stop the threads."""
        self.model.close()
        self.codecs.close()
        self.decoders.close()
        self.kept.clear()

    async def inspect(self, job: Job, model: LoadedModel, stages: Stages) -> Inspected:
        """Judge a job's header, and name its answer.

        Args:
            job: the upload.
            model: from `models`.
            stages: where to time it.

        Returns:
            What is known now.

        Raises:
            RequestError: the picture, or the reference, is not taken; see `images.probe`.
        """
        with stages.measure("probe"):
            return await asyncio.to_thread(self._inspect, job, model)

    async def run(self, job: Job, inspected: Inspected, stages: Stages, outlet: Outlet) -> Result:
        """Color one picture.

        Args:
            job: the upload.
            inspected: from `inspect`.
            stages: where to time it.
            outlet: takes a large answer while it is made; told how many bytes the others take in memory.

        Returns:
            The encoded answers, but for what the outlet has taken.

        Raises:
            RequestError: the picture is damaged, there is no room, or the answer does not fit its format.
        """
        header, model = inspected.header, inspected.model
        self.metrics.input_megapixels.observe(header.megapixels)
        weight = max(header.megapixels, inspected.reference.megapixels if inspected.reference else 0)
        weight += posterior_weight(header, job.options.size or model.session.stamp.size, moves=job.moves_posterior)
        async with AsyncExitStack() as admitted:
            with stages.measure("admit"):
                await admitted.enter_async_context(self.admission.admit(weight, job.caller))
            with stages.measure("decode"):
                reference = None
                if job.reference is not None and inspected.reference is not None:
                    reference = await self._read_reference(job, job.reference, inspected.reference)
                taken = await self.decoders.decode_lightness(job.data, header, job.caller.name, threads=self._threads())
                prepared, alpha, metadata = await self.codecs.run(self._prepare, taken, job, header, model)
            reserve(prepared, alpha, job, outlet, beside=metadata.nbytes)
            heads = await self._infer(prepared, model, stages)
            parts = Parts(prepared, alpha, heads, reference, model.session.precision, metadata)
            return await model.maker.make(parts, job, stages, outlet)

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
        header, model = inspected.header, inspected.model
        self.metrics.input_megapixels.observe(header.megapixels)
        weight = header.megapixels + posterior_weight(header, job.options.size or model.session.stamp.size)
        async with AsyncExitStack() as admitted:
            with stages.measure("admit"):
                await admitted.enter_async_context(self.admission.admit(weight, job.caller))
            with stages.measure("decode"):
                picture = await self.decoders.decode(job.data, header, job.caller.name)
                prepared, ready, histogram = await self.codecs.run(self._prepare_to_keep, picture, job, model)
            heads = await self._infer(prepared, model, stages)
            with stages.measure("merge"):
                confidence, notes, posterior = await self.codecs.run(_to_keep, heads, prepared)
        if model is not self.model:  # Another one was taken up meanwhile.
            with self.models.use() as newer:
                return await self.keep(job, replace(inspected, model=newer), owner, stages)
        kept = KeptPicture(
            data=job.data,
            header=header,
            digest=inspected.digest,
            size=job.options.size,
            is_stretched=prepared.is_stretched,
            notes=notes,
            page=job.options.page,
            posterior=posterior,
            histogram=histogram,
            confidence=confidence,
            ready=ready,
            precision=model.session.precision,
            identity=model.identity,
        )
        return self.kept.put(kept, owner)

    def name_render(self, kept: KeptPicture, job: Job, reference: KeptPicture | None) -> str:
        """Return the entity tag of what `render` would give for the same arguments."""
        given = f"{kept.digest} {kept.page} {kept.size} {kept.is_stretched} {reference.digest if reference else ''}"
        by = f"{kept.identity} {reference.identity if reference else ''}"
        return tag_of(by, f"kept {job.options} {job.output_format} {job.tells} {given}")

    async def render(
        self,
        kept: KeptPicture,
        job: Job,
        reference: KeptPicture | None,
        model: LoadedModel,
        stages: Stages,
        outlet: Outlet,
    ) -> Result:
        """Color a kept picture, without the network.

        Args:
            kept: the picture.
            job: what to make of it; its bytes do not count.
            reference: another kept picture whose palette is followed.
            model: from `models`, as it was when the picture was found.
            stages: where to time it.
            outlet: takes a large answer while it is made; told how many bytes the others take in memory.

        Returns:
            The encoded answers, but for what the outlet has taken.

        Raises:
            RequestError: there is no room, or the answer does not fit its format.
        """
        # What was asked for when it was posted counts for the answer's note, too.
        job = replace(job, options=replace(job.options, size=kept.size, page=kept.page))
        weight = kept.header.megapixels + posterior_weight(kept.header, kept.size or model.session.stamp.size)
        async with AsyncExitStack() as admitted:
            with stages.measure("admit"):
                await admitted.enter_async_context(self.admission.admit(weight, job.caller))
            with stages.measure("decode"):
                picture = None
                if kept.ready is None:
                    picture = await self.decoders.decode(kept.data, kept.header, job.caller.name)
                prepared, alpha, metadata = await self.codecs.run(self._take_up, kept, picture, job, model)
            reserve(prepared, alpha, job, outlet, beside=metadata.nbytes)
            histogram = reference.histogram if reference else None
            heads = kept.posterior.heads()
            parts = Parts(prepared, alpha, heads, histogram, kept.precision, metadata)
            return await model.maker.make(parts, job, stages, outlet)

    def _inspect(self, job: Job, model: LoadedModel) -> Inspected:
        header = self._probe(job.data, job.options.page)
        digest, given = hashlib.sha256(job.data).hexdigest(), ""
        reference = None
        if job.reference is not None:
            with _of_the_reference():
                reference = self._probe(job.reference)
            given = hashlib.sha256(job.reference).hexdigest()
        tag = model.tag(f"{job.options} {job.output_format} {job.tells} {digest} {given}")
        return Inspected(model, header, reference, tag, digest)

    def _probe(self, data: FileData, page: int | None = None) -> Header:
        with self._sizes.told():
            return probe(as_bytes(data), max_megapixels=self._sizes.max_megapixels, page=page)

    def _threads(self) -> int:
        # Alone, a picture gets every core; in company, each gets one. The answer is the same, bit for bit.
        return self.session.threads if self.admission.admitted == 1 else 1

    async def _read_reference(self, job: Job, data: FileData, header: Header) -> Histogram:
        """Return what a reference photograph holds."""
        with _of_the_reference():
            picture = await self.decoders.decode(data, header, job.caller.name)
        return await self.codecs.run(histogram_of, picture)

    def _prepare(
        self, lightness: Lightness, job: Job, header: Header, model: LoadedModel
    ) -> tuple[Prepared, Alpha, Metadata]:
        deep = job.options.is_deep(job.output_format, asked_deep=lightness.is_deep)
        stamp = model.session.stamp
        prepared = prepare_lightness(lightness.L, job.options, stamp, deep=deep, workers=self._threads())
        return prepared, to_depth(lightness.alpha, deep=deep), metadata_of(as_bytes(job.data), job.options, header)

    def _prepare_to_keep(self, picture: Picture, job: Job, model: LoadedModel) -> tuple[Prepared, Lightness, Histogram]:
        workers, stamp = self._threads(), model.session.stamp
        L = store_lightness(picture.pixels, workers=workers)
        prepared = prepare_lightness(L, job.options, stamp, deep=picture.is_deep, workers=workers)
        return prepared, Lightness(L, picture.alpha, picture.is_deep), histogram_of(picture)

    def _take_up(
        self, kept: KeptPicture, picture: Picture | None, job: Job, model: LoadedModel
    ) -> tuple[Prepared, Alpha, Metadata]:
        pixels = kept.ready
        if pixels is None:
            if picture is None:
                raise ValueError("a picture whose pixels are not kept must be decoded first")
            L = store_lightness(picture.pixels, workers=self._threads())
            pixels = Lightness(L, picture.alpha, picture.is_deep)
        deep = job.options.is_deep(job.output_format, asked_deep=pixels.is_deep)
        prepared = prepare_kept(kept, pixels, job.options, model.session.stamp, deep=deep)
        shape = (prepared.L.shape[0], prepared.L.shape[1])
        alpha = to_depth(fit_alpha(pixels.alpha, shape), deep=prepared.is_deep)
        return prepared, alpha, metadata_of(as_bytes(kept.data), job.options, kept.header)

    async def _infer(self, prepared: Prepared, model: LoadedModel, stages: Stages) -> Heads:
        stages.enter("queue")
        since = time.perf_counter()
        try:
            answer = await asyncio.wrap_future(model.batcher.submit(prepared.query, partial(stages.enter, "infer")))
        except BaseException:  # The client left, time is up, or the inference failed.
            stages.add(stages.current, time.perf_counter() - since)
            raise
        stages.add("queue", answer.queue_s, ago_s=answer.infer_s)
        stages.add("infer", answer.infer_s)
        return await self.codecs.run(as_kept, answer.heads)

    def _count_admitted(self, megapixels: float, waiting: int) -> None:
        self.metrics.inflight_megapixels.set(megapixels)
        self.metrics.waiting_requests.set(waiting)
        self._most_megapixels = max(self._most_megapixels, megapixels)
        if not megapixels and self._most_megapixels > LARGE_MEGAPIXELS:
            self._most_megapixels = 0.0
            asyncio.get_running_loop().call_later(SENT_S, self._trim_memory)

    def _trim_memory(self) -> None:
        if not self.draining:
            self.codecs.start(trim_memory)


def _to_keep(heads: Heads, prepared: Prepared) -> tuple[float, tuple[str, ...], Posterior]:
    return confidence_of(heads), notes_on(prepared.L), Posterior.of(heads, prepared.query.lightness)


@contextmanager
def _of_the_reference() -> Iterator[None]:
    """Say of an error that it is the reference's."""
    try:
        yield
    except RequestError as error:
        error.detail = f"The reference photograph: {error.detail}"
        raise
