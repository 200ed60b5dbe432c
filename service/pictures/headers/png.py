"""The header of a PNG: all of its chunks, those behind the pixels too.

References:
    Portable Network Graphics, third edition (W3C, 2025), sections 4.3, 5 and 11.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from service.errors import BrokenPicture, CostlyPicture, SeveralFrames
from service.pictures.header import MOST_PROFILE_BYTES, Header
from service.pictures.signals import Primaries, Signal, from_code_points, from_gamma

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

CHUNK_HEAD: Final = 8
"""Bytes in front of a chunk's content: length and type."""

CHUNK_FRAME: Final = 12
"""Bytes of a chunk beside its content: those, and the checksum."""

MOST_CHUNKS: Final = 1 << 16
"""A file may have so many whatever its size; one of empty ones would take a second to walk."""

CHUNK_BYTES: Final = 1 << 12
"""...and one more for so many bytes; libpng makes them twice as long."""

MODES: Final = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
"""By the color type."""

DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Bits a channel, by the color type."""

LONGEST_NOTE: Final = 4_000_000
"""Bytes of a chunk beside the pixels; libpng takes a file with one of more than 8,000,000 for damaged."""

OF_ANIMATIONS: Final = (b"acTL", b"fcTL", b"fdAT")
"""Chunks that are left out where there is one frame, or none: OpenCV takes a file for damaged over those that are."""

TO_BE_STRIPPED: Final = "to be stripped"
"""The kind of a PNG that has chunks which make decoders fail."""

KEPT: Final = (
    b"IHDR",
    b"iCCP",
    b"cICP",
    b"gAMA",
    b"cHRM",
    b"tRNS",
    b"acTL",
    b"sRGB",
)

SCALE: Final = 100_000
"""What gAMA and cHRM are multiplied by."""


def read(data: bytes) -> Header:
    """Read a PNG's header.

    Raises:
        BrokenPicture: damaged, or it ends before its pixels.
        CostlyPicture: it is cut into more chunks than any writer makes.
        SeveralFrames: it is animated.
        UnsupportedPicture: its colors are told in a way that is not known.
    """
    chunks: dict[bytes, bytes] = {}
    is_to_be_stripped = False
    for kind, start, end in _chunks(data):
        is_to_be_stripped |= _is_stripped(kind, start, end)
        if kind in KEPT and end - start <= MOST_PROFILE_BYTES:
            chunks.setdefault(kind, data[start:end])
    width, height, bits, color = _size(chunks.get(b"IHDR", b""))
    if int.from_bytes(chunks.get(b"acTL", b"")[:4], "big") > 1:
        raise SeveralFrames("Animations are not taken: send one picture.", limit=1)
    profile = None if b"cICP" in chunks else _profile(chunks.get(b"iCCP"))
    mode = MODES[color]
    if color == 0 and bits != 8:
        mode = "I;16" if bits == 16 else "1" if bits == 1 else mode
    return Header(
        format="PNG",
        width=width,
        height=height,
        mode=mode,
        orientation=1,
        wide=bits == 16 and color in (2, 4, 6),
        icc_profile=profile,
        bits=max(bits, 8),
        signal=None if profile else _signal(chunks),
        is_profile_packed=profile is not None,
        kind=TO_BE_STRIPPED if is_to_be_stripped else "",
        color_key=_color_key(chunks.get(b"tRNS", b""), bits) if color == 0 else None,
    )


def stripped(data: bytes) -> bytes:
    """Return a PNG without what decoders take a whole file for damaged over: long notes, and parts of animations."""
    kept, place = [data[: len(SIGNATURE)]], len(SIGNATURE)
    for kind, start, end in _chunks(data):
        place = end + CHUNK_FRAME - CHUNK_HEAD
        if not _is_stripped(kind, start, end):
            kept.append(data[start - CHUNK_HEAD : place])
    return b"".join([*kept, data[place:]])


def _is_stripped(kind: bytes, start: int, end: int) -> bool:
    return kind in OF_ANIMATIONS or (kind[:1].islower() and end - start > LONGEST_NOTE)


def unpack_profile(packed: bytes, longest: int) -> bytes | None:
    """Return the profile of an iCCP chunk; None for one that is damaged or longer than so many bytes."""
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed, longest)
    except zlib.error:
        return None
    return profile if unpacker.eof else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of each chunk's content.

    A chunk that says it is longer than the file is refused: OpenCV believes it, and takes gigabytes. OpenCV also reads
    on behind an end that comes before any pixels.
    """
    place, has_pixels = len(SIGNATURE), False
    most = MOST_CHUNKS + len(data) // CHUNK_BYTES
    for _ in range(most):
        left = len(data) - place - CHUNK_HEAD
        if left < 0:
            return
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if length > left:
            raise BrokenPicture("The PNG holds a chunk that is longer than the file.")
        has_pixels |= kind == b"IDAT"
        if kind == b"IEND":
            if not has_pixels:
                raise BrokenPicture("The PNG ends before any pixels.")
            return
        yield kind, place + CHUNK_HEAD, place + CHUNK_HEAD + length
        place += CHUNK_FRAME + length
    raise CostlyPicture(f"The PNG is cut into more than {most} chunks. Save it anew, and it is taken.")


def _size(content: bytes) -> tuple[int, int, int, int]:
    if len(content) != 13:
        raise BrokenPicture("The PNG does not say how large it is.")
    width, height, bits, color = struct.unpack_from(">LLBB", content)
    if not width or not height or bits not in DEPTHS.get(color, ()):
        raise BrokenPicture("The header of the PNG makes no sense.")
    return width, height, bits, color


def _color_key(content: bytes, bits: int) -> int | None:
    """Return the level that is transparent, of those that decoders give: fewer bits than 8 are spread over 8."""
    if len(content) < 2:
        return None
    key = int.from_bytes(content[:2], "big") & (1 << bits) - 1  # Bits above count for nothing (PNG 3, 11.3.1.1).
    return key * 255 // ((1 << bits) - 1) if bits < 8 else key


def _profile(content: bytes | None) -> bytes | None:
    """Return the profile, still packed; behind its name and the number of the method."""
    return content.partition(b"\0")[2][1:] or None if content else None


def _signal(chunks: dict[bytes, bytes]) -> Signal | None:
    """Return what the levels mean where no profile says it: cICP before sRGB before gAMA and cHRM."""
    points = chunks.get(b"cICP", b"")
    if len(points) >= 4:
        return from_code_points(points[0], points[1], "cICP chunk")
    if b"sRGB" in chunks:
        return None
    gamma = int.from_bytes(chunks.get(b"gAMA", b"")[:4], "big") / SCALE
    return from_gamma(gamma or None, _primaries(chunks.get(b"cHRM", b"")))


def _primaries(content: bytes) -> Primaries | None:
    if len(content) < 32:
        return None
    white_x, white_y, *others = (value / SCALE for value in struct.unpack_from(">8L", content))
    found: Primaries = (*others[:6], white_x, white_y)
    return found if all(0 <= value <= 1 for value in found) and all(found[1::2]) and _are_colors(found) else None


def _are_colors(primaries: Primaries) -> bool:
    """Whether three primaries make a triangle."""
    red_x, red_y, green_x, green_y, blue_x, blue_y, *_ = primaries
    area = (green_x - red_x) * (blue_y - red_y) - (blue_x - red_x) * (green_y - red_y)
    return abs(area) > 1e-4
