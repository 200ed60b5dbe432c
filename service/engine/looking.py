"""What a kept picture is asked beside its colors, without the network: where that is sure, what a place could be."""

from contextlib import AsyncExitStack

from chroma.bins import load_centers
from chroma.plausible import find_place, plausible_colors
from service.engine.colorizer import draw_confidence
from service.engine.job import Caller
from service.engine.kept import KeptPicture
from service.engine.memory_cost import posterior_weight
from service.engine.pipeline import Pipeline
from service.pictures.encode import encode_gray
from service.pictures.lightness import StoredLightness, store_lightness
from service.telemetry import Stages


async def confidence_of_places(pipeline: Pipeline, kept: KeptPicture, caller: Caller, stages: Stages) -> bytes:
    """Draw where the network is sure of a kept picture.

    Args:
        pipeline: that keeps it.
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
            weight = posterior_weight(kept.header, kept.size or pipeline.session.stamp.size)
            await admitted.enter_async_context(pipeline.admission.admit(weight, caller))
        with stages.measure("merge"):
            return await pipeline.codecs.run(draw)


async def colors_of_place(
    pipeline: Pipeline, kept: KeptPicture, x: float, y: float, caller: Caller, stages: Stages
) -> list[tuple[str, float]]:
    """List the colors that the network finds plausible at a place of a kept picture.

    Args:
        pipeline: that keeps it.
        kept: the picture.
        x: from the left border, 0, to the right one, 1, of the upright picture.
        y: from the top, 0, to the bottom, 1.
        caller: who asks.
        stages: where to time it.

    Returns:
        See `chroma.plausible.plausible_colors`.

    Raises:
        RequestError: there is no room, or the picture, whose pixels are not kept, can be decoded no more.
    """

    def look(stored: StoredLightness) -> list[tuple[str, float]]:
        height, width, _ = stored.shape
        cell, L = find_place(x, y, (height, width), kept.posterior.grid, stored.part)
        logits, seen = kept.posterior.at(cell)
        return plausible_colors(logits, load_centers(), seen=seen, L=L)

    async with AsyncExitStack() as admitted:
        with stages.measure("admit"):
            weight = 0.0 if kept.ready else kept.header.megapixels
            await admitted.enter_async_context(pipeline.admission.admit(weight, caller))
        with stages.measure("decode"):
            if kept.ready:
                stored = kept.ready.L
            else:
                picture = await pipeline.decoders.decode(kept.data, kept.header, caller.name)
                stored = await pipeline.codecs.run(store_lightness, picture.pixels)
        with stages.measure("merge"):
            return await pipeline.codecs.run(look, stored)
