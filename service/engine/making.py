"""What the network said -> the encoded answers of a job: every variant merged, composed and encoded."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import numpy as np

from chroma.framing import LightnessRows
from chroma.signature import Stamp
from chroma.variants import Versions
from service.engine.answer_file import make_file
from service.engine.codec_pool import CodecPool
from service.engine.colorizer import (
    ColoredPixels,
    Histogram,
    Prepared,
    confidence_of,
    finish,
    palette,
    scenes_of,
    versions_of,
)
from service.engine.job import Job, Result
from service.engine.outlet import Outlet
from service.engine.parcel import json_bytes
from service.engine.session import Heads
from service.errors import AnswerTooLarge
from service.pictures.levels import Alpha, Rows, has_two_levels
from service.pictures.lightness import StoredLightness
from service.pictures.metadata.belongings import NOTHING, Metadata
from service.settings import Precision
from service.telemetry import Stages

T = TypeVar("T")

SIDE_BY_SIDE_PIXELS: Final = 4_000_000
"""Variants of pictures up to this many pixels are made side by side, one a core; larger ones would take memory."""


LITTLE_TO_COLOR: Final = "it is black and white alone, without grays: there is little to color"


def tell_tone(*, is_stretched: bool) -> Literal["applied", "none"]:
    """Return how JSON says whether the network saw the tones of a picture stretched."""
    return "applied" if is_stretched else "none"


def notes_on(picture: np.ndarray | LightnessRows) -> tuple[str, ...]:
    """Return what is to be said of a picture, in words.

    Args:
        picture: its gray levels or lightness, (H, W) or (H, W, 1); or its colors, (H, W, 3).
    """
    levels = picture.levels if isinstance(picture, StoredLightness) else np.asarray(picture)
    return (LITTLE_TO_COLOR,) if has_two_levels(levels) else ()


@dataclass(frozen=True, eq=False)
class Parts:
    """What the answers of one job are made of.

    Attributes:
        prepared: the picture's lightness, and what the network was asked.
        alpha: the picture's opacity, at the answer's depth.
        heads: what the network said, through `as_kept`.
        reference: histogram of the photograph whose palette is followed; or None.
        precision: that the network was computed in.
        metadata: what goes over from the picture's file.
    """

    prepared: Prepared
    alpha: Alpha
    heads: Heads
    reference: Histogram | None
    precision: Precision
    metadata: Metadata = NOTHING


class Maker:
    """Makes the answers of jobs."""

    def __init__(
        self,
        stamp: Stamp,
        codecs: CodecPool,
        *,
        free_threads: Callable[[], int],
        max_answer_bytes: int,
        on_picture: Callable[[float], None],
    ) -> None:
        """Remember what is the same for all jobs.

        Args:
            stamp: of the model.
            codecs: where the work is done.
            free_threads: how many threads a picture may take now.
            max_answer_bytes: largest answer of several pictures.
            on_picture: told the size of each encoded picture, bytes.
        """
        self.stamp, self.codecs, self.free_threads = stamp, codecs, free_threads
        self.max_answer_bytes, self.on_picture = max_answer_bytes, on_picture

    async def make(self, parts: Parts, job: Job, stages: Stages, outlet: Outlet) -> Result:
        """Merge and encode a few variants at a time: several need hardly more memory than one.

        Args:
            parts: what the answers are made of.
            job: what is asked for.
            stages: where to time it.
            outlet: takes a large answer while it is made; told how many bytes each of several pictures takes.

        Returns:
            The encoded answers, but for what the outlet has taken.

        Raises:
            RequestError: the answers are too large, or do not fit their format.
        """
        return await _Making(self, parts, job, stages, outlet).run()

    def tell_scenes(self, heads: Heads) -> list[dict[str, Any]]:
        """Return the likeliest scenes, for JSON."""
        return [
            {"name": name, "probability": round(probability, 4)} for name, probability in scenes_of(heads, self.stamp)
        ]

    def tell(self, colored: ColoredPixels, parts: Parts) -> dict[str, Any]:
        """Return what is told of a picture beside its colors.

        Args:
            colored: the first variant.
            parts: what it was made of.
        """
        heads, prepared, rgb = parts.heads, parts.prepared, colored.rgb
        return {
            "width": rgb.shape[1],
            "height": rgb.shape[0],
            "model": self.stamp.run_id,
            "computed_in": parts.precision,
            "scene": self.tell_scenes(heads),
            "tone": tell_tone(is_stretched=prepared.is_stretched),
            "notes": notes_on(prepared.L),
            "palette": [{"hex": color, "share": round(share, 4)} for color, share in palette(rgb)],
            "confidence": {"mean": round(confidence_of(heads), 4)},
        }


class _Making:
    """One job under way."""

    def __init__(self, maker: Maker, parts: Parts, job: Job, stages: Stages, outlet: Outlet) -> None:
        self._maker, self._parts, self._job, self._stages, self._outlet = maker, parts, job, stages, outlet
        self._left = deque(job.options.variants)
        self._made: dict[int, bytes] = {}
        self._versions: Versions | None = None
        self._scene, self._facts, self._total = "", dict[str, Any](), 0
        is_small = parts.prepared.L.shape[0] * parts.prepared.L.shape[1] <= SIDE_BY_SIDE_PIXELS
        self._side_by_side = min(maker.free_threads(), len(self._left)) if is_small else 1

    async def run(self) -> Result:
        """Make all variants."""
        if max(self._job.options.variants) > 1:
            self._versions = await self._maker.codecs.run(versions_of, self._parts.heads)
        with self._stages.overlapping("merge", "encode"):
            await _together(self._make_some(place) for place in range(self._side_by_side))
        return Result(
            [(variant, self._made[variant]) for variant in self._job.options.variants if variant in self._made],
            self._scene,
            self._facts,
        )

    async def _make_some(self, place: int) -> None:
        try:
            # When company comes, one goes on.
            while self._left and (place == 0 or place < self._maker.free_threads()):
                await self._make_one(self._left.popleft())
        except BaseException:
            self._left.clear()
            raise

    async def _make_one(self, variant: int) -> None:
        maker, parts, job = self._maker, self._parts, self._job
        workers = max(maker.free_threads() // self._side_by_side, 1)
        with self._stages.measure("merge"):
            pixels = await maker.codecs.run(self._merge, variant, workers)
            self._outlet.scene = self._scene
        with self._stages.measure("encode"):
            data = await maker.codecs.run(
                make_file,
                pixels,
                parts.alpha,
                job.output_format,
                job.options,
                maker.stamp,
                metadata=parts.metadata,
                variant=variant,
                has_reference=parts.reference is not None,
                workers=workers,
                into=self._outlet if self._outlet.is_open else None,
            )
        maker.on_picture(self._outlet.size or len(data))
        if not self._outlet.is_open:
            self._made[variant] = data
        if job.is_packed:
            self._count(len(data))

    def _merge(self, variant: int, workers: int) -> Rows:
        """Return the pixels of a variant, all that the encoder does not take a few rows at a time; takes long."""
        maker, parts, job = self._maker, self._parts, self._job
        colored = finish(
            parts.prepared,
            parts.heads,
            maker.stamp,
            workers=workers,
            variant=variant,
            versions=self._versions,
            reference=parts.reference,
        )
        self._scene = colored.scene
        if job.tells and variant == job.options.variants[0]:
            self._facts.update(maker.tell(colored, parts))
        return colored.pixels_for(job.output_format)

    def _count(self, size: int) -> None:
        limit = self._maker.max_answer_bytes
        self._total += json_bytes(size) if self._job.tells else size
        if self._total > limit:
            raise AnswerTooLarge(
                f"The answer would have more than {limit} bytes: ask for fewer variants, or for jpeg or webp.",
                limit=limit,
                unit="bytes",
            )
        self._outlet.hold(size)


async def _together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return what several pieces of work give; whatever happens to one, all have ended by then.

    Raises:
        BaseException: what the first that failed has raised.
    """
    results = await asyncio.gather(*works, return_exceptions=True)
    done: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        done.append(result)
    return done
