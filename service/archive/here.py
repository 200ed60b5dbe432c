"""Photographs colored by a model in this process."""

from service.archive.run import ColoredFile
from service.engine.colorizer import colorize, histogram_of
from service.engine.options import Options as ColorOptions
from service.engine.session import Session
from service.pictures.decode import Picture, decode
from service.pictures.encode import OutputFormat, encode
from service.pictures.levels import to_depth
from service.pictures.probe import probe


class Here:
    """Colors with a model of its own."""

    def __init__(
        self,
        session: Session,
        options: ColorOptions,
        output_format: OutputFormat,
        *,
        max_megapixels: float,
        reference: bytes | None = None,
    ) -> None:
        """Keep what is the same for all pictures.

        Args:
            session: the loaded model.
            options: how to color.
            output_format: of the answers.
            max_megapixels: largest picture, millions of pixels.
            reference: the file of a color photograph whose palette is followed.

        Raises:
            RequestError: the reference cannot be read as a picture.
        """
        self._reference = None if reference is None else histogram_of(_decode(reference, max_megapixels))
        self._session = session
        self._options = options
        self._format = output_format
        self._max_megapixels = max_megapixels

    def __call__(self, data: bytes) -> ColoredFile:
        """Color one file.

        Raises:
            RequestError: it cannot be colored: see `service.pictures.probe.probe` and `service.pictures.decode.decode`.
        """
        picture = _decode(data, self._max_megapixels)
        deep = self._format == "png"
        colored = colorize(
            picture,
            self._options,
            self._session,
            deep=deep,
            workers=self._session.threads,
            reference=self._reference,
        )
        alpha = to_depth(picture.alpha, deep=deep)
        return ColoredFile(encode(colored.rgb, alpha, self._format, workers=self._session.threads), colored.scene)


def _decode(data: bytes, max_megapixels: float) -> Picture:
    return decode(data, probe(data, max_megapixels=max_megapixels))
