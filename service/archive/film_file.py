"""Film files, read and written with PyAV (FFmpeg's libraries), which is imported only when there is a film."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from jaxtyping import Float, UInt8

from chroma.compose import compose_u8
from service.archive.finding import walk_boxes
from service.engine.options import Options
from service.errors import PictureTooLarge, RequestError, StartupError
from service.settings import pixels_of

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet as _Packet
    from av.video.stream import VideoStream

    Packet = _Packet[Any]


FORMATS: Final = "mov,matroska,webm,avi,mpeg,mpegvideo,mpegts,asf,flv,ogg,dv,mxf,m4v,h264,hevc,rm,gif"
"""The containers that are read. FFmpeg knows more, and some (playlists, lists of files) name other files to read."""

MEMORY_S: Final = 0.5
"""How far back the average of the posteriors reaches, seconds of film."""

EVERY: Final = 1
"""The network looks at each so many-th frame if nothing else is asked for."""

CRF: Final = 18
"""Quality of the answer's H.264 if nothing else is asked for: 0 lossless, 51 worst; at 18 the loss is hard to see."""

LOOKAHEAD: Final = 10
"""Frames that the encoder keeps to plan with; its own default of 40 is half a gigabyte in 4K."""

CUT_OFF_SHARE: Final = 0.03
"""A film that ends earlier than it says, by more than this share of its length..."""

CUT_OFF_S: Final = 0.1
"""...and this, seconds, is cut off."""

AAC_RATE: Final = 48000
"""Samples a second of sound that is encoded again."""

AAC_LAYOUTS: Final = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""Speakers of sound that is encoded again, by its channels; what has another number becomes stereo."""

BT709: Final = 1
"""Matrix, primaries and transfer of the answer, by FFmpeg's numbers."""

LIMITED: Final = 1
"""Range of the answer's levels, 16 to 235."""

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
        every: the network looks at each so many-th frame, at least 1; between them the colors move with the film.
        memory_s: how far back the average reaches, seconds; 0 colors each frame by itself.
    """

    crf: int = CRF
    every: int = EVERY
    memory_s: float = MEMORY_S


@dataclass(frozen=True)
class Film:
    """What a file holds, without a frame of it being kept.

    Attributes:
        height: of the upright picture, px.
        width: of the upright picture, px.
        frames: how many there are.
        rate: frames a second, on average.
        rotation: by how many quarter turns counterclockwise a frame becomes upright.
    """

    height: int
    width: int
    frames: int
    rate: float
    rotation: int


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


def inspect(path: Path, *, max_megapixels: float) -> Film:
    """Read a film from one end to the other without decoding it, but for its first frame.

    Args:
        path: of the file.
        max_megapixels: largest frame, millions of pixels.

    Returns:
        What it holds.

    Raises:
        NoFilmSupport: PyAV is not installed.
        UnsupportedFilm: it is no film, or there is no picture in it.
        BrokenFilm: it ends too early, or no frame can be decoded.
        PictureTooLarge: its frames have too many pixels.
        OSError: it cannot be read.
    """
    with open_film(path) as film:
        picture = picture_of(film, max_megapixels)
        first: av.VideoFrame | None = None
        packets, end_s = 0, 0.0
        for packet in _packets(film, [*film.streams.video, *film.streams.audio]):
            if packet.pts is not None:
                end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is picture:
                packets += bool(packet.size)  # The last ones are empty: they only empty the decoder.
                if first is None:
                    first = next(iter(_decode(packet)), None)
        if first is None and packets:
            with open_film(path) as again:  # Codecs that hand out frames late, in films of few frames.
                first = next(_frames(again, picture_of(again, max_megapixels)), None)
        if first is None:
            raise BrokenFilm("no frame of the film can be decoded" if packets else "there is no frame in the film")
        _refuse_large(first.width, first.height, max_megapixels)
        said_s = (film.duration or 0) / 1e6
        length_s = end_s - min(film.start_time or 0, 0) / 1e6
        if film.format.name.startswith("mov"):  # Its index may name more than is to be shown, but not than there is.
            is_cut_off = walk_boxes(path)[0] > path.stat().st_size
        else:
            is_cut_off = length_s < said_s * (1 - CUT_OFF_SHARE) - CUT_OFF_S
        if is_cut_off:
            raise BrokenFilm(f"the film is cut off: it ends after {length_s:.1f} of {said_s:.1f} s")
        turns = round(first.rotation / 90) % 4
        height, width = (first.width, first.height) if turns % 2 else (first.height, first.width)
        rate = picture.average_rate or picture.guessed_rate or Fraction(packets) / Fraction(max(length_s, 0.04))
        return Film(height, width, packets, float(rate), turns)


class FilmReader:
    """Hands out the packets and frames of a film."""

    def __init__(self, container: "InputContainer", picture: "VideoStream", film: Film) -> None:
        self.container = container
        self.picture = picture
        self.film = film
        self.damaged = 0
        picture.thread_type = "AUTO"

    def packets(self) -> "Iterator[Packet]":
        """Yield the packets of the picture and of all sound."""
        return _packets(self.container, [self.picture, *self.container.streams.audio])

    def frames(self, packet: "Packet") -> "Iterator[av.VideoFrame]":
        """Yield the frames of a packet; none when it is damaged, which is counted."""
        import av

        try:
            yield from packet.decode()
        except av.FFmpegError:
            self.damaged += 1

    def upright(self, frame: "av.VideoFrame") -> UInt8[np.ndarray, "H W 3"]:
        """Return sRGB of the size the film began with, turned upright."""
        sides = (self.film.width, self.film.height)
        width, height = sides[::-1] if self.film.rotation % 2 else sides
        rgb = frame.to_ndarray(format="rgb24", width=width, height=height)
        return np.ascontiguousarray(np.rot90(rgb, self.film.rotation))


class FilmWriter:
    """Writes the answer: H.264, and the sound."""

    def __init__(
        self, container: "OutputContainer", reader: FilmReader, crf: int, workers: int, options: Options
    ) -> None:
        self.notes: list[str] = []
        self._container = container
        self._workers = workers
        self._enlargement = options.enlargement
        self._last: int | None = None
        self._picture = self._add_picture(reader, crf)
        self._copied: dict[int, Any] = {}
        self._recoded: dict[int, Any] = {}
        for sound in reader.container.streams.audio:
            self._add_sound(sound)
        left_out = sorted({stream.type for stream in reader.container.streams} - {"video", "audio"})
        if left_out:
            words = {"subtitle": "subtitles", "data": "data tracks", "attachment": "attachments"}
            self.notes.append(f"left out: {', '.join(words.get(kind, kind) for kind in left_out)}")

    def encode(
        self, L: Float[np.ndarray, "H W 1"], ab: Float[np.ndarray, "h w 2"], pts: int | None, duration: int | None
    ) -> "list[Packet]":
        """Join L and ab, and return what the encoder has ready."""
        import av

        rgb = compose_u8(L, ab, enlargement=self._enlargement, workers=self._workers)
        # 4:2:0 has one color for two rows and columns: a last odd one is repeated.
        rgb = np.pad(rgb, ((0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
            format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED
        )
        frame.time_base = self._picture.codec_context.time_base
        after = 0 if self._last is None else self._last + 1
        frame.pts = self._last = after if pts is None or (self._last is not None and pts < after) else pts
        if duration:
            frame.duration = duration
        return self._picture.encode(frame)

    def write(self, packets: "list[Packet]") -> None:
        """Write what `encode` gave."""
        self._container.mux(packets)

    def write_sound(self, packet: "Packet") -> None:
        """Write a packet of sound: as it is where MP4 holds its codec, else encoded again."""
        if packet.stream.index in self._copied:
            if packet.dts is not None:
                packet.stream = self._copied[packet.stream.index]
                self._container.mux(packet)
        elif packet.stream.index in self._recoded:
            encoder = self._recoded[packet.stream.index]
            for samples in _decode(packet):
                self._container.mux(encoder.encode(samples))

    def finish(self) -> None:
        """Write what the encoders still hold."""
        for encoder in (self._picture, *self._recoded.values()):
            self._container.mux(encoder.encode(None))

    def _add_picture(self, reader: FilmReader, crf: int) -> "VideoStream":
        source, film = reader.picture, reader.film
        rate = source.average_rate or source.guessed_rate or Fraction(25)
        settings = {"crf": str(crf), "preset": "medium", "rc-lookahead": str(LOOKAHEAD)}
        picture: VideoStream = self._container.add_stream("libx264", rate=rate, options=settings)
        picture.width, picture.height = film.width + film.width % 2, film.height + film.height % 2
        picture.pix_fmt = "yuv420p"
        context = picture.codec_context
        picture.time_base = context.time_base = source.time_base or 1 / rate
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        aspect = source.sample_aspect_ratio
        if aspect:
            context.sample_aspect_ratio = 1 / aspect if film.rotation % 2 else aspect
        return picture

    def _add_sound(self, source: "AudioStream") -> None:
        context: Any = source.codec_context  # None where FFmpeg has no decoder for it.
        name = context.name if context is not None else "of an unknown kind"
        try:
            self._copied[source.index] = self._container.add_stream_from_template(source)
        except ValueError:  # MP4 does not hold that codec.
            try:
                encoder = self._container.add_stream("aac", rate=AAC_RATE)
                encoder.layout = AAC_LAYOUTS.get(source.layout.nb_channels, "stereo")
            except (ValueError, AttributeError):
                self.notes.append(f"left out: sound, {name}")
            else:
                self._recoded[source.index] = encoder
                self.notes.append(f"sound encoded again: MP4 does not hold {name}, so it is AAC now")


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

    av.logging.set_level(av.logging.PANIC)
    with path.open("rb"):
        pass  # A file that is not there, or a folder, is told in the words of all other files.
    try:
        container = av.open(str(path.absolute()), metadata_errors="replace", options={"format_whitelist": FORMATS})
    except av.FFmpegError as error:
        raise UnsupportedFilm("the file is no film, or its header is damaged") from error
    with container:
        yield container


@contextmanager
def writing(target: Path) -> "Iterator[OutputContainer]":
    """Open the answer for writing.

    Raises:
        OSError: FFmpeg cannot write it.
    """
    import av

    try:
        with av.open(str(target.absolute()), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            yield container
    except av.FFmpegError as error:
        raise OSError(error.errno, error.strerror) from error


def picture_of(film: "InputContainer", max_megapixels: float) -> "VideoStream":
    """Return the one stream that is colored: not a cover, and not a thumbnail.

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
    _refuse_large(picture.width or 0, picture.height or 0, max_megapixels)
    # A film may say another size on its way; codecs round sides up, hence the quarter more.
    context.options = {"max_pixels": str(min(pixels_of(max_megapixels * 1.25), FFMPEG_MOST_PIXELS))}
    return picture


def _refuse_large(width: int, height: int, max_megapixels: float) -> None:
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise PictureTooLarge(
            f"The film has {megapixels:.1f} megapixels, at most {max_megapixels:g} are taken.", limit=max_megapixels
        )


def _packets(film: "InputContainer", streams: "list[Any]") -> "Iterator[Packet]":
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


def _frames(film: "InputContainer", picture: "VideoStream") -> "Iterator[av.VideoFrame]":
    for packet in _packets(film, [picture]):
        yield from _decode(packet)


def _decode(packet: "Packet") -> "list[Any]":
    """Return the frames of a packet; none when it is damaged."""
    import av

    try:
        return list(packet.decode())
    except av.FFmpegError:
        return []
