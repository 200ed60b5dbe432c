"""Films whose levels are known to the last bit: written plane by plane, losslessly, and their answers read likewise."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
import numpy as np

from chroma.lab import gray_to_lightness, rgb_to_lightness

LIMITED, FULL = 1, 2
LOSSLESS = {
    "libx264": {"qp": "0", "preset": "ultrafast", "x264opts": "bframes=0"},
    "libx265": {"preset": "ultrafast", "x265-params": "lossless=1:log-level=none:bframes=0"},
    "ffv1": {},
    "rawvideo": {},
}
MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Shares of red and blue in luma by FFmpeg's number of the matrix."""


def pattern(index: int = 0) -> np.ndarray:
    """Return gray in [0, 1], (48, 64): a ramp with a black patch at the top left, a white one at the top right."""
    gray = np.linspace(0.05, 0.8, 64)[None].repeat(48, axis=0) + 0.02 * (index % 10)
    gray[:16, :16], gray[:16, -16:] = 0, 1
    return gray


def colors(index: int = 0) -> np.ndarray:
    """Return RGB in [0, 1], (48, 64, 3): even fields of color, one lighter than the other."""
    fields = np.array([(0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.2, 0.9), (0.7, 0.6, 0.1)]) * (1 - 0.02 * index)
    return fields.repeat(16, axis=0)[None].repeat(48, axis=0)


def codes(share: np.ndarray, bits: int, color_range: int) -> np.ndarray:
    """Return gray in [0, 1] as the codes of luma."""
    scale = 1 << (bits - 8)
    span, black = ((1 << bits) - 1, 0) if color_range == FULL else (219 * scale, 16 * scale)
    return np.rint(share * span + black).astype(np.uint8 if bits == 8 else np.uint16)


def frame_of(picture: np.ndarray, pixel_format: str, color_range: int, colorspace: int = 2) -> av.VideoFrame:
    """Return a frame of gray (H, W) or RGB (H, W, 3) in [0, 1]; of the latter only formats of 4:4:4."""
    height, width = picture.shape[:2]
    frame = av.VideoFrame(width, height, pixel_format)
    bits = max(component.bits for component in frame.format.components)
    middle = 1 << (bits - 1)
    planes: list[Any] = [codes(picture, bits, color_range)] if picture.ndim == 2 else []
    if picture.ndim == 3:
        red, blue = MATRICES[colorspace]
        luma = picture @ (red, 1 - red - blue, blue)
        planes = [codes(luma, bits, color_range)]
        span = (1 << bits) - 1 if color_range == FULL else 224 << (bits - 8)
        for channel, share in ((2, blue), (0, red)):
            planes.append(np.rint((picture[..., channel] - luma) / (2 - 2 * share) * span + middle))
    if pixel_format == "uyvy422":
        packed = np.full((height, width, 2), middle)
        packed[..., 1] = planes[0]
        planes = [packed.reshape(height, -1)]
    for index, stored in enumerate(frame.planes):
        rows = np.frombuffer(stored, np.uint8 if bits == 8 else np.uint16).reshape(stored.height, -1)
        rows[:] = middle
        if index < len(planes):
            rows[:, : planes[index].shape[1]] = planes[index]
    frame.color_range, frame.colorspace = color_range, colorspace
    return frame


@dataclass(frozen=True)
class Source:
    """One kind of film.

    Attributes:
        name: of the test and the file; the suffix chooses the container.
        codec: of the picture.
        pixel_format: by FFmpeg.
        color_range: as it is, and as the file says.
        colorspace: FFmpeg's number of the matrix; with one the film is in color.
        is_interlaced: whether frames say so, and their rows are of two moments.
        is_said: whether the range is in the file.
        options: of the codec, beside what makes it lossless.
    """

    name: str
    codec: str
    pixel_format: str
    color_range: int = LIMITED
    colorspace: int = 2
    is_interlaced: bool = False
    is_said: bool = True
    options: dict[str, str] = field(default_factory=dict)

    def pictures(self, count: int) -> list[np.ndarray]:
        """Return what is put in."""
        if self.colorspace != 2:
            return [colors(index) for index in range(count)]
        if (
            self.is_interlaced
        ):  # Its two moments are the same, and rows alike: what is guessed must be what was left out.
            return [pattern()[16:17].repeat(48, axis=0)] * count
        return [pattern(index) for index in range(count)]

    def write(self, folder: Path, count: int = 4, *, sounds: int = 0) -> Path:
        """Write the film, 25 frames a second, with tracks of silence."""
        path = folder / self.name
        options = LOSSLESS[self.codec] | ({"flags": "+ildct"} if self.is_interlaced else {}) | self.options
        with av.open(str(path), "w") as film:
            picture: Any = film.add_stream(self.codec, rate=25, options=options)
            picture.width, picture.height, picture.pix_fmt = 64, 48, self.pixel_format
            picture.codec_context.color_range = self.color_range if self.is_said else 0
            picture.codec_context.colorspace = self.colorspace
            tracks: list[Any] = [film.add_stream("aac", rate=48000) for _ in range(sounds)]
            frames = (
                frame_of(each, self.pixel_format, self.color_range, self.colorspace) for each in self.pictures(count)
            )
            for index, frame in enumerate(as_fields(frames) if self.is_interlaced else frames):
                frame.color_range = self.color_range if self.is_said else 0
                frame.pts, frame.time_base = index, Fraction(1, 25)
                film.mux(picture.encode(frame))
            film.mux(picture.encode(None))
            for track in tracks:
                for start in range(0, count * 1920, 1024):
                    samples = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), "s16", "stereo")
                    samples.sample_rate, samples.pts, samples.time_base = 48000, start, Fraction(1, 48000)
                    film.mux(track.encode(samples))
                film.mux(track.encode(None))
        return path


def as_fields(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Let frames say that they hold two moments, that of the upper rows first."""
    graph: Any = None
    for frame in frames:
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        if graph is None:
            graph = av.filter.Graph()
            source = graph.add_buffer(width=64, height=48, format=frame.format, time_base=frame.time_base)
            graph.link_nodes(source, graph.add("setfield", "tff"), graph.add("buffersink")).configure()
        graph.push(frame)
        yield graph.pull()


def lightness_put_in(picture: np.ndarray) -> np.ndarray:
    """Return the L of gray or RGB in [0, 1], (H, W)."""
    picture = picture.astype(np.float32)
    return (gray_to_lightness(picture) if picture.ndim == 2 else rgb_to_lightness(picture))[..., 0]


def lightness_of_answer(path: Path) -> list[np.ndarray]:
    """Return the L of an answer's frames, (H, W), from luma alone where it has no color."""
    found = []
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            scale = 4 if frame.format.name == "yuv420p10le" else 1
            assert frame.format.name in ("yuv420p", "yuv420p10le")
            assert (frame.color_range, frame.colorspace) == (LIMITED, 1)
            stored = frame.planes[0]
            luma = np.frombuffer(stored, np.uint8 if scale == 1 else np.uint16).reshape(stored.height, -1)
            share = (luma[:, : stored.width].astype(np.float32) - 16 * scale) / (219 * scale)
            found.append(gray_to_lightness(np.clip(share, 0, 1))[..., 0])
    return found


def boxes(data: bytes | bytearray, kind: bytes) -> Iterator[int]:
    """Yield where the contents of an MP4's boxes of a kind begin, in those that hold boxes."""

    def walk(at: int, end: int) -> Iterator[int]:
        while at + 8 <= end:
            size, name = struct.unpack_from(">I4s", data, at)
            if name == kind:
                yield at + 8
            if name in (b"moov", b"trak", b"edts", b"mdia"):
                yield from walk(at + 8, at + size)
            at += max(size, 8)

    yield from walk(0, len(data))


def cut(path: Path, *, first_s: float, length_s: float) -> None:
    """Let an MP4's edit lists show a part only, in all its tracks."""
    data = bytearray(path.read_bytes())
    clocks = [struct.unpack_from(">I", data, at + 12)[0] for at in boxes(data, b"mdhd")]
    (movie_clock,) = (struct.unpack_from(">I", data, at + 12)[0] for at in boxes(data, b"mvhd"))
    for at, clock in zip(boxes(data, b"elst"), clocks, strict=True):
        _, begin = struct.unpack_from(">Ii", data, at + 8)
        struct.pack_into(">Ii", data, at + 8, round(length_s * movie_clock), begin + round(first_s * clock))
    path.write_bytes(data)


def set_matrix(path: Path, matrix: Sequence[int]) -> None:
    """Write a, b, c, d into the display matrix of an MP4's picture, its first track."""
    data = bytearray(path.read_bytes())
    at = next(boxes(data, b"tkhd")) + 40
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 64 << 16, 64 << 16, 1 << 30)
    path.write_bytes(data)


def with_sound(path: Path, *, sound: str, flash: int, count: int, bframes: int = 3, delay_s: int = 0) -> Path:
    """Write a film of 25 frames a second in which one frame is white when a tone of 10 ms begins."""
    with av.open(str(path), "w", options={"output_ts_offset": str(delay_s)} if delay_s else {}) as film:
        picture: Any = film.add_stream("libx264", rate=25, options={"crf": "1", "bf": str(bframes), "g": "50"})
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        track: Any = film.add_stream(sound, rate=48000)
        track.layout = "mono"
        for index in range(count):
            frame = frame_of(np.full((48, 64), 1 if index == flash else 0.2), "yuv420p", LIMITED)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            film.mux(picture.encode(frame))
        film.mux(picture.encode(None))
        wave = np.zeros((1, count * 1920), np.int16)
        wave[0, flash * 1920 : flash * 1920 + 480] = 20000 * np.sin(np.arange(480) / 3)
        for start in range(0, wave.shape[1], 1024):
            samples = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[:, start : start + 1024]), "s16", "mono")
            samples.sample_rate, samples.pts, samples.time_base = 48000, start, Fraction(1, 48000)
            film.mux(track.encode(samples))
        film.mux(track.encode(None))
    return path


def flash_and_tone(path: Path) -> tuple[int, float, float]:
    """Return how many frames a film of `with_sound` shows, when it flashes, and when the tone begins; seconds."""
    with av.open(str(path)) as film:
        lights = [(float(np.frombuffer(frame.planes[0], np.uint8)[9]), frame.time) for frame in film.decode(video=0)]
    with av.open(str(path)) as film:
        loud = [
            frame.time + float(np.argmax(np.abs(frame.to_ndarray()[0]) > 0.1 * frame.to_ndarray().max())) / 48000
            for frame in film.decode(audio=0)
            if np.abs(frame.to_ndarray().astype(float)).max() > (0.1 if frame.format.name.startswith("flt") else 3000)
        ]
    return len(lights), max(lights)[1], loud[0]


def walking_bar(path: Path, count: int) -> Path:
    """Write an interlaced film of a light bar that is elsewhere in the even rows than in the odd ones."""

    def frames() -> Iterator[av.VideoFrame]:
        for index in range(count):
            picture = np.full((48, 64), 0.2)
            for moment in (0, 1):
                begin = 6 * index + 3 * moment
                picture[moment::2, begin : begin + 12] = 0.9
            yield frame_of(picture, "yuv420p", LIMITED)

    with av.open(str(path), "w") as film:
        track: Any = film.add_stream("ffv1", rate=25, options={"flags": "+ildct"})
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        for index, frame in enumerate(as_fields(frames())):
            frame.pts, frame.time_base = index, Fraction(1, 25)
            film.mux(track.encode(frame))
        film.mux(track.encode(None))
    return path


def combs(luma: np.ndarray) -> float:
    """Return how much rows differ from both neighbors in the same direction, mean over (H, W)."""
    above, below = np.diff(luma.astype(float), axis=0)[:-1], -np.diff(luma.astype(float), axis=0)[1:]
    return float(np.mean(np.sqrt(np.clip(above * below, 0, None))))
