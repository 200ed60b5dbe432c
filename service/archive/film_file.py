"""Film files, opened and read with PyAV (FFmpeg's libraries), which is imported only when there is a film."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from service.archive.film_fields import Deinterlacer
from service.archive.film_pixels import UPRIGHT, Gray, Orientation, film_gray
from service.errors import PictureTooLarge, RequestError, StartupError
from service.settings import pixels_of

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.packet import Packet as _Packet
    from av.video.stream import VideoStream

    Packet = _Packet[Any]


FORMATS: Final = "mov,matroska,webm,avi,mpeg,mpegvideo,mpegts,asf,flv,ogg,dv,mxf,m4v,h264,hevc,rm,gif"
"""The containers that are read. FFmpeg knows more, and some (playlists, lists of files) name other files to read."""

MEMORY_S: Final = 0.5
"""How far back the average of the posteriors reaches, seconds of film."""

SELDOM_S: Final = 0.5
"""The network looks at a frame at least so often where nothing new is to be seen, seconds of film."""

CRF: Final = 18
"""Quality of the answer's H.264 if nothing else is asked for: 0 lossless, 51 worst; at 18 the loss is hard to see."""

DEPTHS: Final = (8, 10)
"""Bits of the answer's levels that may be asked for."""

PRESETS: Final = ("faster", "fast", "medium", "slow")
"""How long the encoder may try to make the file smaller; the first if nothing else is asked for."""

FFMPEG_MOST_PIXELS: Final = 2**31 - 1
"""The largest `max_pixels` that FFmpeg's codecs take; with a larger one none opens."""


class NoFilmSupport(StartupError):
    """PyAV is not installed; the text says how to get it."""


class UnsupportedFilm(RequestError):
    """The file is no film, or of a kind that is not read."""

    status: ClassVar[int] = 415
    name, title = "unsupported-film", "The file is not a film that can be read here"


class BrokenFilm(RequestError):
    """The film is cut off or damaged."""

    status: ClassVar[int] = 422
    name, title = "broken-film", "The film is truncated or damaged"


@dataclass(frozen=True)
class FilmOptions:
    """What may be chosen for films beside the colors.

    Attributes:
        crf: quality of H.264, 0 (lossless) to 51.
        every: the network looks at each so many-th frame at least, from 1; 0 lets `SELDOM_S` of film pass where nothing
            new is to be seen. Between them the colors move with the film.
        memory_s: how far back the average reaches, seconds; 0 colors each frame by itself.
        depth: bits of the answer's levels, one of `DEPTHS`.
        deinterlace: whether frames that say they hold two moments are made to hold one.
        preset: how long the encoder tries, one of `PRESETS`.
    """

    crf: int = CRF
    every: int = 0
    memory_s: float = MEMORY_S
    depth: int = DEPTHS[0]
    deinterlace: bool = True
    preset: str = PRESETS[0]


@dataclass(frozen=True)
class Film:
    """What a file holds, without a frame of it being kept.

    Attributes:
        height: of the upright picture, px.
        width: of the upright picture, px.
        frames: how many are shown: can be decoded, and belong to what the file's edit list leaves.
        rate: frames a second, on average.
        orientation: how a frame becomes upright.
        start_s: time of the first frame or sound, where the container's clock starts anywhere; seconds.
        is_interlaced: whether frames say that they hold two moments.
        notes: what is missing or doubtful in the file, for people.
    """

    height: int
    width: int
    frames: int
    rate: Fraction
    orientation: Orientation = UPRIGHT
    start_s: Fraction = Fraction(0)
    is_interlaced: bool = False
    notes: tuple[str, ...] = ()


class Shown(NamedTuple):
    """One frame that is to be seen."""

    gray: Gray
    """Without its colors, upright."""
    at_s: Fraction | None
    """When, seconds; None where the file does not say."""
    length_s: Fraction
    """How long, seconds; 0 where the file does not say."""


def is_supported() -> bool:
    """Return whether PyAV is installed; it is not imported."""
    return importlib.util.find_spec("av") is not None


def require_support() -> None:
    """Make sure that films can be read.

    Raises:
        NoFilmSupport: they cannot.
    """
    if not is_supported():
        raise NoFilmSupport(
            "films need PyAV, which is not installed: pip install --require-hashes -r requirements/video.txt "
            "(the extra `video`)"
        )


class FilmReader:
    """Hands out what a film holds, in the order of the file.

    Attributes:
        container: the open file.
        picture: the one stream that is colored.
        film: what `service.archive.film_check.inspect` found.
    """

    def __init__(self, container: "InputContainer", picture: "VideoStream", film: Film, *, deinterlace: bool) -> None:
        """Begin.

        Args:
            container: the open file.
            picture: from `picture_of`.
            film: from `service.archive.film_check.inspect` of the same file.
            deinterlace: whether frames of two moments are made to hold one.
        """
        self.container = container
        self.picture = picture
        self.film = film
        self._fields = Deinterlacer() if deinterlace and film.is_interlaced else None
        height, width = (film.height, film.width)
        self._size = (width, height) if film.orientation.transposed else (height, width)
        picture.thread_type = "AUTO"

    def read(self, others: "list[Any]") -> "Iterator[Packet | Shown]":
        """Yield the frames of the picture and the packets of other streams, timed from the film's start.

        Args:
            others: streams whose packets are wanted.
        """
        for packet in packets_of(self.container, [self.picture, *others]):
            if packet.stream is self.picture:
                for frame in decode(packet) or []:
                    yield from map(self._shown, [frame] if self._fields is None else self._fields.frames_of(frame))
            else:
                self._shift(packet)
                yield packet
        if self._fields is not None:
            yield from map(self._shown, self._fields.rest())

    def _shown(self, frame: "av.VideoFrame") -> Shown:
        gray = film_gray(frame, *self._size)
        upright = Gray(self.film.orientation.upright(gray.levels), gray.scale)
        base = frame.time_base or Fraction(0)
        at_s = None if frame.pts is None or not base else frame.pts * base - self.film.start_s
        return Shown(upright, at_s, (frame.duration or 0) * base)

    def _shift(self, packet: "Packet") -> None:
        shift = round(self.film.start_s / packet.time_base) if packet.time_base else 0
        if shift and packet.pts is not None:
            packet.pts -= shift
        if shift and packet.dts is not None:
            packet.dts -= shift


@contextmanager
def open_film(path: Path) -> "Iterator[InputContainer]":
    """Open a film for reading.

    Raises:
        NoFilmSupport: PyAV is not installed.
        UnsupportedFilm: it is no film.
        OSError: the file cannot be read.
    """
    require_support()
    import av

    # With any level but None errors are handed on to Python: a codec's threads wait for this one, and it for them.
    av.logging.set_level(None)
    with path.open("rb"):
        pass  # A file that is not there, or a folder, is told in the words of all other files.
    try:
        container = av.open(str(path.absolute()), metadata_errors="replace", options={"format_whitelist": FORMATS})
    except av.FFmpegError as error:
        raise UnsupportedFilm("the file is no film, or its header is damaged") from error
    with container:
        yield container


def picture_of(film: "InputContainer", max_megapixels: float, *, roughly: bool = False) -> "VideoStream":
    """Return the one stream that is colored: not a cover, and not a thumbnail.

    Args:
        film: the open file.
        max_megapixels: largest frame, millions of pixels.
        roughly: whether the frames need not look well, which is faster.

    Raises:
        UnsupportedFilm: there is none, or it is of an unknown kind.
        PictureTooLarge: its frames have too many pixels.
    """
    from av.stream import Disposition

    moving = [stream for stream in film.streams.video if not stream.disposition & Disposition.attached_pic]
    if not moving:
        raise UnsupportedFilm("there is no picture in the film")
    picture = max(moving, key=lambda stream: (stream.width or 0) * (stream.height or 0))
    context: Any = picture.codec_context
    if context is None:
        raise UnsupportedFilm("the picture of the film is of an unknown kind")
    refuse_large(picture.width or 0, picture.height or 0, max_megapixels)
    # A film may say another size on its way; codecs round sides up, hence the quarter more.
    context.options = {"max_pixels": str(min(pixels_of(max_megapixels * 1.25), FFMPEG_MOST_PIXELS))}
    if roughly:
        context.options = {**context.options, "skip_loop_filter": "all"}
    return picture


def refuse_large(width: int, height: int, max_megapixels: float) -> None:
    """Refuse frames of too many pixels.

    Raises:
        PictureTooLarge: they have.
    """
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise PictureTooLarge(
            f"The film has {megapixels:.1f} megapixels, at most {max_megapixels:g} are taken.", limit=max_megapixels
        )


def packets_of(film: "InputContainer", streams: "list[Any]") -> "Iterator[Packet]":
    """Yield the packets of some streams; one that cannot be read is the end."""
    import av

    packets = film.demux(streams)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return
        if packet is None:
            return
        yield packet


def decode(packet: "Packet") -> "list[Any] | None":
    """Return the frames of a packet; None when it is damaged."""
    import av

    try:
        return list(packet.decode())
    except av.FFmpegError:
        return None
