"""Photographs colored by a model in this process, and decoded in another."""

import weakref
from typing import Final

from service.archive.run import ColoredFile
from service.engine.answer_file import make_file, metadata_of
from service.engine.colorizer import colorize, histogram_of
from service.engine.making import notes_on
from service.engine.options import Options as ColorOptions
from service.engine.session import Session
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
    ) -> None:
        """Keep what is the same for all pictures.

        Args:
            session: the loaded model.
            options: how to color.
            output_format: of the answers.
            limits: of a picture.
            reference: the file of a color photograph whose palette is followed.

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

    def __call__(self, data: bytes) -> ColoredFile:
        """Color one file.

        Raises:
            RequestError: it cannot be colored: see `service.pictures.probe.probe` and `DecodePool.decode`.
        """
        with self._limits.told():
            header = probe(data, max_megapixels=self._limits.max_megapixels)
        picture = self._decoders.decode_here(data, header)
        deep = self._options.is_deep(self._format, asked_deep=picture.is_deep)
        colored = colorize(
            picture,
            self._options,
            self._session,
            deep=deep,
            workers=self._session.threads,
            reference=self._reference,
        )
        alpha = to_depth(picture.alpha, deep=deep)
        answer = make_file(
            colored.rgb,
            alpha,
            self._format,
            self._options,
            self._session.stamp,
            metadata=metadata_of(data, self._options, header),
            has_reference=self._reference is not None,
            workers=self._session.threads,
        )
        return ColoredFile(answer, colored.scene, notes_on(picture.pixels))

    def _decode(self, data: bytes) -> Picture:
        self._limits.check_bytes(len(data))
        with self._limits.told():
            header = probe(data, max_megapixels=self._limits.max_megapixels)
        return self._decoders.decode_here(data, header)
