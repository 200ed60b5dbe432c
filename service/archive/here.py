"""Photographs colored by a model in this process, and decoded in another."""

import weakref
from typing import Final

from service.archive.looks import UNNAMED, Look, Looks
from service.archive.run import ColoredFile
from service.engine.answer_file import make_file, metadata_of
from service.engine.colorizer import Histogram, colorize_versions, histogram_of
from service.engine.making import notes_on
from service.engine.options import Options as ColorOptions
from service.engine.session import Session
from service.errors import RequestError
from service.pictures.answer_formats import OutputFormat
from service.pictures.decode import Picture
from service.pictures.levels import to_depth
from service.pictures.probe import probe
from service.pictures.size_limits import SizeLimits
from service.pictures.worker.pool import DecodePool

DECODE_S: Final = 60.0
"""Processor time that decoding a file may take, seconds: nobody else waits."""


class Here:
    """Colors with a model of its own."""

    def __init__(
        self,
        session: Session,
        options: ColorOptions,
        output_format: OutputFormat,
        *,
        limits: SizeLimits,
        reference: bytes | None = None,
        looks: Looks | None = None,
    ) -> None:
        """Keep what is the same for all pictures.

        Args:
            session: the loaded model.
            options: how to color.
            output_format: of the answers.
            limits: of a picture.
            reference: the file of a color photograph whose palette is followed.
            looks: how single photographs are colored instead.

        Raises:
            RequestError: the reference cannot be read as a picture.
        """
        self._session = session
        self._options = options
        self._format = output_format
        self._limits = limits
        # One file over which a decoder crashes, or never ends, must not end all the others.
        self._decoders = DecodePool(1, cpu_s=DECODE_S)
        weakref.finalize(self, self._decoders.close)
        self._reference = None if reference is None else histogram_of(self._decode(reference))
        self._looks = looks
        self._of_looks: dict[str, Histogram] = {}

    def __call__(self, data: bytes) -> ColoredFile:
        """Color one file.

        Raises:
            RequestError: it cannot be colored: see `service.pictures.probe.probe` and `DecodePool.decode`.
        """
        look = self._looks.find(data) if self._looks else None
        options, reference = self._options, self._reference
        if look is not None:
            options, reference = look.options_like(options), self._reference_of(look)
        with self._limits.told():
            header = probe(data, max_megapixels=self._limits.max_megapixels, page=options.page)
        picture = self._decoders.decode_here(data, header)
        deep = options.is_deep(self._format, asked_deep=picture.is_deep)
        alpha = to_depth(picture.alpha, deep=deep)
        metadata = metadata_of(data, options, header)
        threads, stamp = self._session.threads, self._session.stamp
        made = colorize_versions(picture, options, self._session, deep=deep, workers=threads, reference=reference)
        answers, scene = [], ""
        for variant, colored in zip(options.variants, made, strict=True):
            scene = colored.scene
            answers.append(
                make_file(
                    colored.pixels_for(self._format),
                    alpha,
                    self._format,
                    options,
                    stamp,
                    metadata=metadata,
                    variant=variant,
                    has_reference=reference is not None,
                    workers=threads,
                )
            )
        notes = (UNNAMED,) if self._looks and look is None else ()
        met = look.digest if look else ""
        return ColoredFile(answers[0], scene, (*notes_on(picture.pixels), *notes), tuple(answers[1:]), met)

    def _reference_of(self, look: Look) -> Histogram | None:
        if look.reference is None or self._looks is None:
            return None
        if look.reference not in self._of_looks:
            try:
                picture = self._decode(self._looks.references[look.reference])
            except RequestError as error:
                error.detail = f"The reference of its look: {error.detail}"
                raise
            self._of_looks[look.reference] = histogram_of(picture)
        return self._of_looks[look.reference]

    def _decode(self, data: bytes) -> Picture:
        self._limits.check_bytes(len(data))
        with self._limits.told():
            header = probe(data, max_megapixels=self._limits.max_megapixels)
        return self._decoders.decode_here(data, header)
