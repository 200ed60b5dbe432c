"""JPEGs that are damaged in the middle, which decoders take for whole: they make up what they have no data for.

Not every complaint means that. libjpeg complains as well of bytes that belong to nothing and of restarts that are
numbered wrongly, and after its first complaint it says no more. What tells both apart: where no pixel is made up nobody
reads on behind the data of a scan or restart, so whatever is put there gives the same pixels. Damage may also leave too
many data, which then are far more than writers fill up with, and no rows of a taller picture.

A JPEG has no checksum: damage after which the data happen to suffice for all pixels is not noticed.

References:
    ITU-T T.81 (1992), B.1.1: markers, fill bytes and entropy-coded data.
"""

import re
from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np

from service.pictures.decoders.jpeg_complaints import read_heard
from service.pictures.decoders.lost_end import has_last_scans, lacks_end, with_end
from service.pictures.headers.jpeg import ARITHMETIC_FRAMES, BARE, EOI, FRAMES, SOS
from service.pictures.levels import Pixels

MADE_UP: Final = (
    "Corrupt JPEG data: premature end of data segment",
    "Corrupt JPEG data: bad Huffman code",
    "Corrupt JPEG data: bad arithmetic code",
    "Premature end of JPEG file",
)
"""Complaints after which libjpeg goes on with zeros of its own."""

INCONSISTENT: Final = "Inconsistent progression sequence"
"""The complaint of scans in another order than usual; or of some that are lost."""

FILLERS: Final = (b"\x55" * 16, b"\xfe" * 16)
"""What is put behind the data of scans and restarts; data that go on read other coefficients in each."""

MOST_LEFT_OVER: Final = 64
"""Bytes that may be left over behind a scan's or restart's data, whatever they are: hardware fills up its memory."""

MOST_ROWS: Final = 3
"""...and rows of blocks below the picture; hardware codes heights that are a multiple of 16 or 32."""

_LEFT_OVER: Final = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes")
_MARKER: Final = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_RESTART: Final = re.compile(rb"\xff+[\xd0-\xd7]")
_END_OF_SCAN: Final = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)

_Part = tuple[bool, bytes]
"""Whether it is the data of a scan, and the bytes: else a segment, its marker included."""


def refuse_damaged(data: bytes | memoryview, flags: int, pixels: Pixels, complaint: str) -> None:
    """Refuse a JPEG some of whose pixels are made up.

    Args:
        data: the file; it has an end mark.
        flags: of `cv2.imdecode` that it was decoded with.
        pixels: that came of it.
        complaint: of libjpeg's meanwhile; empty for none.

    Raises:
        ValueError: data are missing for some of its pixels.
    """
    if not complaint:
        return
    whole = bytes(data)
    is_lossy = complaint.startswith(MADE_UP) or (complaint.startswith(INCONSISTENT) and not has_last_scans(whole))
    if is_lossy or _is_in_part_invented(whole, flags, pixels):
        raise ValueError("a JPEG that lacks data for some of its pixels")


def refuse_damaged_unheard(data: bytes | memoryview) -> None:
    """Refuse a JPEG of 8 bits like that which another library has decoded, whose libjpeg says nothing.

    Args:
        data: the file.

    Raises:
        ValueError: data are missing for some of its pixels.
    """
    whole = bytes(data)
    whole = with_end(whole) if lacks_end(whole) else whole
    decoded, complaint = read_heard(whole, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    if decoded is None or complaint:  # Lossless ones cannot be reduced.
        pixels, complaint = read_heard(whole, cv2.IMREAD_ANYCOLOR)
        if pixels is not None:
            refuse_damaged(whole, cv2.IMREAD_ANYCOLOR, pixels, complaint)


def _is_in_part_invented(data: bytes, flags: int, pixels: Pixels) -> bool:
    """Whether a file that libjpeg complains of, but not of missing data, gives pixels that are not in it."""
    parts = list(_parts(data))

    def changes(filler: bytes) -> tuple[bool, str]:
        again, complaint = read_heard(_joined(parts, filler), flags)
        return again is None or complaint.startswith(MADE_UP) or not np.array_equal(again, pixels), complaint

    is_other, complaint = changes(b"")
    if is_other or not complaint:
        return is_other
    # An arithmetic coder may leave out zeros at the end, which everybody adds.
    if any(part[1] in ARITHMETIC_FRAMES for is_scan, part in parts if not is_scan):
        return False
    return _has_unread_pixels(parts, flags, complaint) or any(changes(filler)[0] for filler in FILLERS)


def _has_unread_pixels(parts: list[_Part], flags: int, complaint: str) -> bool:
    """Whether data of pixels are left over, since others in front of them are damaged; parts have no gaps."""
    found = _LEFT_OVER.match(complaint)
    left = int(found[1]) if found else 0
    if left <= MOST_LEFT_OVER or _is_padded(parts, left):
        return False
    return all(read_heard(_joined(_taller(parts, rows)), flags)[1] for rows in range(1, MOST_ROWS + 1))


def _is_padded(parts: list[_Part], left: int) -> bool:
    """Whether a scan or restart ends in one byte again and again; some that are left may be in libjpeg's hands."""
    left -= 8
    return any(
        each.endswith(each[-1:] * left) for is_scan, part in parts if is_scan for each in _RESTART.split(part) if each
    )


def _taller(parts: list[_Part], rows: int) -> list[_Part]:
    """Return the parts of a file whose frame has so many rows of blocks more: writers may code more than it says."""
    return [
        (is_scan, part if is_scan or part[1] not in FRAMES else _taller_frame(part, rows)) for is_scan, part in parts
    ]


def _taller_frame(frame: bytes, rows: int) -> bytes:
    """Return a frame with a larger height (T.81, B.2.2)."""
    height, components = int.from_bytes(frame[5:7], "big"), frame[9]
    down = max((sampling & 15 for sampling in frame[11 : 10 + 3 * components : 3]), default=1)
    block = 8 * (down if components > 1 else 1)
    taller = min((-(-height // block) + rows) * block, 0xFFFF)
    return frame[:5] + taller.to_bytes(2, "big") + frame[7:]


def _parts(data: bytes) -> Iterator[_Part]:
    """Yield the parts of a file, without what stands between segments."""
    yield False, data[:2]
    place = 2
    while found := _MARKER.search(data, place):
        start, place, marker = found.start(), found.end(), data[found.end() - 1]
        if marker == EOI:
            yield False, data[start:]
            return
        if marker in BARE:
            continue
        place += max(2, int.from_bytes(data[place : place + 2], "big"))
        yield False, data[start:place]
        if marker == SOS:
            end = _END_OF_SCAN.search(data, place)
            until = end.start() if end else len(data)
            yield True, data[place:until]
            place = until


def _joined(parts: list[_Part], filler: bytes = b"") -> bytes:
    """Return the file with something behind the data of each scan and restart, and restarts numbered in order."""
    return b"".join(_filled(part, filler) if is_scan else part for is_scan, part in parts)


def _filled(scan: bytes, filler: bytes) -> bytes:
    first, *others = _RESTART.split(scan)
    if filler:  # One more for a scan that lacks some, which is not read on in any other way.
        others.append(b"")
    restarts = (bytes((0xFF, 0xD0 + number % 8)) + each + filler for number, each in enumerate(others))
    return first + filler + b"".join(restarts)
