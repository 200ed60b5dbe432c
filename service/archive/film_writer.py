"""Writes the answer: an MP4 with H.264 in 8 or 10 bits, and what goes along with it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float

from service.archive.film_file import PRESETS, FilmOptions, FilmReader, Shown, UnsupportedFilm
from service.archive.film_pixels import BT709, LIMITED
from service.archive.film_planes import to_frame
from service.archive.film_tracks import Tracks
from service.engine.options import Options

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

LOOKAHEAD: Final = 10
"""Frames that the encoder keeps to plan with; its own default of 40 is half a gigabyte in 4K."""

QUICKEST: Final = PRESETS[0]
OF_QUICKEST: Final = "chroma-qp-offset=-2:partitions=i4x4,i8x8"
"""With the quickest preset x264 leaves out what has it spend more on color by itself. And blocks that move are not
divided: it saves a quarter of its time, for files within 1 % of the size and .05 dB of the quality."""

FINEST: Final = 90_000
"""Most ticks a second of the answer's clock: with more, MP4's 32 bits do not reach from one frame to the next."""

OF_DISKS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EFBIG}
)
"""Errors that FFmpeg passes on from the system."""


class FilmWriter:
    """Writes frames, sound and text in the order in which they come.

    Attributes:
        tracks: sound and text.
    """

    def __init__(self, container: "OutputContainer", reader: FilmReader, how: FilmOptions, options: Options) -> None:
        """Make the tracks.

        Args:
            container: the open MP4.
            reader: of the film.
            how: what is chosen for films.
            options: how to color.
        """
        self._container = container
        self._enlargement = options.enlargement
        self._is_deep = how.depth > 8
        self._last: int | None = None
        self._picture = self._add_picture(reader, how)
        self.tracks = Tracks(container, reader.container, reader.picture)

    def compose(self, shown: Shown, ab: Float[np.ndarray, "h w 2"]) -> "VideoFrame":
        """Join grays and ab; to be called from any one thread."""
        return to_frame(shown.gray, ab, is_deep=self._is_deep, enlargement=self._enlargement)

    def encode(self, frame: "VideoFrame", at_s: Fraction | None, length_s: Fraction) -> None:
        """Encode what `compose` made of a frame, with its times, and write what the encoder has ready."""
        base = frame.time_base = self._picture.codec_context.time_base
        after = 0 if self._last is None else self._last + 1
        at = after if at_s is None else round(at_s / base)
        frame.pts = self._last = at if self._last is None else max(at, after)
        if length_s:
            frame.duration = round(length_s / base)
        self._container.mux(self._picture.encode(frame))

    def finish(self) -> None:
        """Write what the encoders still hold."""
        self._container.mux(self._picture.encode(None))
        self.tracks.finish()

    def _add_picture(self, reader: FilmReader, how: FilmOptions) -> "VideoStream":
        source, film = reader.picture, reader.film
        # In 10 bits the scale of crf goes on below 0.
        quality = {"crf": str(how.crf)} if how.crf else {"qp": "0"}
        if how.crf and how.preset == QUICKEST:
            quality["x264-params"] = OF_QUICKEST
        settings = {**quality, "preset": how.preset, "rc-lookahead": str(LOOKAHEAD)}
        picture: VideoStream = self._container.add_stream("libx264", rate=film.rate, options=settings)
        picture.width, picture.height = film.width + film.width % 2, film.height + film.height % 2
        picture.pix_fmt = "yuv420p10le" if self._is_deep else "yuv420p"
        context = picture.codec_context
        context.thread_type = "FRAME"  # Threads that share a frame wait for one another, and for what comes next.
        base = source.time_base or 1 / film.rate
        picture.time_base = context.time_base = base if base >= Fraction(1, FINEST) else Fraction(1, FINEST)
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        aspect = source.sample_aspect_ratio
        if aspect:
            context.sample_aspect_ratio = 1 / aspect if film.orientation.transposed else aspect
        return picture


@contextmanager
def writing(target: Path) -> "Iterator[OutputContainer]":
    """Open the answer for writing.

    Raises:
        UnsupportedFilm: FFmpeg can make no MP4 of what it is given.
        OSError: the file cannot be written.
    """
    import av

    try:
        with av.open(str(target.absolute()), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            yield container
    except av.FFmpegError as error:
        if error.errno in OF_DISKS or isinstance(error, FileNotFoundError):
            raise OSError(error.errno, error.strerror) from error
        raise UnsupportedFilm(
            "what is in the film fits into no MP4: its times or a track make no sense there"
        ) from error
