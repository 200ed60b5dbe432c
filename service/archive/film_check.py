"""The first pass over a film: all of it is decoded, none of it kept, so that nothing fails after hours of coloring."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from service.archive.answers import walk_boxes
from service.archive.film_file import (
    BrokenFilm,
    Film,
    UnsupportedFilm,
    decode,
    open_film,
    packets_of,
    picture_of,
    refuse_large,
)
from service.archive.film_pixels import orientation_of

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet as _Packet
    from av.video.stream import VideoStream

    Packet = _Packet[Any]

MOST_LOST: Final = 0.1
"""A film of whose packets a larger share cannot be decoded is broken."""

CUT_OFF_SHARE: Final = 0.03
"""A film that ends earlier than it says, by more than this share of its length..."""

CUT_OFF_S: Final = 0.1
"""...and this, seconds, is cut off."""

HEAD_S: Final = 0.1
"""A longer stretch without a frame at the start is said, seconds."""

STILL_S: Final = 3600
"""The longest time between two frames, seconds: MP4 counts in 32 bits, which is 6 hours at 90,000 a second, and an
encoder that reorders frames needs two or three such times."""

SILENCE_S: Final = 3 * 3600
"""The same of sound, which is not reordered: 32 bits reach so far at 192,000 samples a second."""

SLOWEST: Final = Fraction(1, 10_000)
"""The least rate that is believed, frames a second."""

ANY_START: Final = frozenset({"mov", "matroska"})
"""Containers whose clock starts at 0. That of others (recordings, discs) starts anywhere, often hours later."""

ODD_RATE: Final = 0.01
"""An average rate of the header that is off by a larger share is not believed: with uneven times it is wrong."""

HDR: Final = {16: "PQ", 18: "HLG"}
"""Curves of light that are not those of ordinary video, by FFmpeg's numbers (ITU-T H.273)."""


def inspect(path: Path, *, max_megapixels: float, progress: Callable[[int], None] | None = None) -> Film:
    """Read a film from one end to the other, and decode its frames in a fast, rough way.

    Args:
        path: of the file.
        max_megapixels: largest frame, millions of pixels.
        progress: told how many frames were seen.

    Returns:
        What it holds.

    Raises:
        NoFilmSupport: PyAV is not installed.
        UnsupportedFilm: it is no film, there is no picture in it, or its times fit into no MP4.
        BrokenFilm: it ends too early, or too much of it cannot be decoded.
        PictureTooLarge: its frames have too many pixels.
        OSError: it cannot be read.
    """
    with open_film(path) as film:
        picture = picture_of(film, max_megapixels, roughly=True)
        picture.thread_type = "AUTO"
        seen = _Seen()
        for packet in packets_of(film, [*film.streams.video, *film.streams.audio]):
            seen.take(packet)
            if packet.stream is not picture:
                continue
            seen.packets += bool(packet.size) and not packet.is_discard  # The last ones only empty the decoder.
            frames = decode(packet)
            seen.damaged += frames is None and not packet.is_discard
            for frame in frames or []:
                if seen.first is None:
                    refuse_large(frame.width, frame.height, max_megapixels)
                seen.show(frame)
                if progress is not None:
                    progress(seen.frames)
        _refuse_broken(path, film, seen)
        return _film_of(film, picture, seen)


@dataclass
class _Seen:
    """What has been found so far; times in seconds."""

    packets: int = 0
    damaged: int = 0
    frames: int = 0
    interlaced: int = 0
    first: Any = None
    first_s: Fraction | None = None
    last_s: Fraction | None = None
    end_s: Fraction = Fraction(0)
    first_of: dict[int, Fraction] = field(default_factory=dict)
    last_of: dict[int, Fraction] = field(default_factory=dict)

    def take(self, packet: "Packet") -> None:
        if packet.pts is None or not packet.time_base:
            return
        at_s = packet.pts * packet.time_base
        self.end_s = max(self.end_s, at_s + (packet.duration or 0) * packet.time_base)
        if packet.is_discard:
            return
        index = packet.stream.index
        before_s = self.last_of.get(index, at_s)
        self.first_of[index] = min(self.first_of.get(index, at_s), at_s)
        if packet.stream.type == "audio":
            _refuse_gap("sound", before_s, at_s, SILENCE_S)
        self.last_of[index] = at_s

    def show(self, frame: Any) -> None:
        self.frames += 1
        self.interlaced += bool(frame.interlaced_frame)
        if self.first is None:
            self.first = frame
        if frame.pts is not None and frame.time_base:
            at_s = frame.pts * frame.time_base
            if self.first_s is None or self.last_s is None:
                self.first_s = self.last_s = at_s
            _refuse_gap("frame", self.last_s, at_s, STILL_S)
            self.last_s = at_s


def _refuse_gap(what: str, before_s: Fraction, at_s: Fraction, most_s: int) -> None:
    if abs(at_s - before_s) > most_s:
        hours = float(abs(at_s - before_s)) / 3600
        raise UnsupportedFilm(
            f"after {float(before_s):.1f} s no {what} comes for {hours:.1f} hours, which fits into no MP4: its times "
            "are damaged, or it is to be cut there"
        )


def _refuse_broken(path: Path, film: "InputContainer", seen: _Seen) -> None:
    if seen.first is None:
        raise BrokenFilm("no frame of the film can be decoded" if seen.packets else "there is no frame in the film")
    said_s = (film.duration or 0) / 1e6
    length_s = float(seen.end_s) - min(film.start_time or 0, 0) / 1e6
    if film.format.name.startswith("mov"):  # Its index may name more than is to be shown, but not than there is.
        is_cut_off = walk_boxes(path)[0] > path.stat().st_size
    else:
        is_cut_off = length_s < said_s * (1 - CUT_OFF_SHARE) - CUT_OFF_S
    if is_cut_off:
        raise BrokenFilm(f"the film is cut off: it ends after {length_s:.1f} of {said_s:.1f} s")
    # Some packets are no frame by themselves: a field, or what others only refer to. Never are so more than half.
    lost = max(seen.damaged, seen.packets // 2 - seen.frames)
    if lost > MOST_LOST * seen.packets:
        raise BrokenFilm(f"{lost} of {seen.packets} frames cannot be decoded")


def _film_of(film: "InputContainer", picture: "VideoStream", seen: _Seen) -> Film:
    first = seen.first
    orientation = orientation_of(first)
    height, width = (first.width, first.height) if orientation.transposed else (first.height, first.width)
    start_s = Fraction(0)
    if film.start_time and film.start_time > 0 and not ANY_START.intersection(film.format.name.split(",")):
        start_s = Fraction(film.start_time, 1_000_000)
    notes = []
    if seen.damaged:
        notes.append(f"damaged: {seen.damaged} of {seen.packets} packets, whose frames are missing")
    missing_s = 0.0 if seen.first_s is None else float(seen.first_s - seen.first_of.get(picture.index, seen.first_s))
    if missing_s > HEAD_S:
        notes.append(f"the first {missing_s:.1f} s hold no whole frame and are missing")
    if first.color_trc in HDR:
        notes.append(f"its light is HDR ({HDR[first.color_trc]}) and was taken for ordinary video")
    return Film(
        height, width, seen.frames, _rate_of(picture, seen), orientation, start_s, bool(seen.interlaced), tuple(notes)
    )


def _rate_of(picture: "VideoStream", seen: _Seen) -> Fraction:
    """Return frames a second: the header's where it agrees with the frames."""
    said: Fraction | None = picture.average_rate or picture.guessed_rate
    if seen.first_s is None or seen.last_s is None or seen.last_s <= seen.first_s:
        return said or Fraction(25)
    counted = (seen.frames - 1) / (seen.last_s - seen.first_s)
    if said and abs(said - counted) <= ODD_RATE * counted:
        return said
    return max(counted.limit_denominator(10_000), SLOWEST)
