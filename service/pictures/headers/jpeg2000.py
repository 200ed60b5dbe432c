"""The header of a JPEG 2000, as a codestream or in JP2.

References:
    ISO/IEC 15444-1:2019, annex A.5.1 (SIZ) and annex I (JP2).
"""

import struct
from dataclasses import dataclass
from typing import Final

from service.errors import BrokenPicture, UnsupportedPicture
from service.pictures.header import MOST_PROFILE_BYTES, MULTIPLIED, Header
from service.pictures.headers.boxes import Reader, boxes, brands, find

CODESTREAM: Final = b"\xff\x4f\xff\x51"
"""Its start, and the segment of sizes."""

BOX: Final = b"\0\0\0\x0cjP  \r\n\x87\n"

BRANDS_BYTES: Final = 1 << 10

HIGHEST_BITS: Final = 16

GRAY, CMYK = 17, 12

UNREAD_SPACES: Final = {
    0: "bilevel",
    14: "CIELab",
    15: "bilevel",
    19: "CIEJab",
    20: "e-sRGB",
    21: "ROMM RGB",
    24: "e-sYCC",
}
"""By their number (ISO/IEC 15444-1, table I.10; 15444-2, table M.25)."""

OPACITY, MULTIPLIED_OPACITY = 1, 2

MOST_CHANNELS: Final = 16


@dataclass
class _Boxes:
    """What JP2 says beside the codestream.

    Attributes:
        space: number of the color space; None where a profile says it, or nobody.
        profile: embedded.
        columns: of the palette; 0 without one.
        column_bits: of the palette.
        opacity: kind of the channel that is opacity; 0 without one.
    """

    space: int | None = None
    profile: bytes | None = None
    columns: int = 0
    column_bits: int = 8
    opacity: int = 0


def read(data: bytes) -> Header:
    """Read a JPEG 2000's header.

    Raises:
        BrokenPicture: damaged.
        CostlyPicture: it holds more boxes than any writer makes.
        UnsupportedPicture: pixels of a kind that is not read.
    """
    said = _Boxes()
    start = 0
    if not data.startswith(CODESTREAM):
        if b"mjp2" in brands(data[len(BOX) : len(BOX) + BRANDS_BYTES]):
            raise UnsupportedPicture("The file is a film (Motion JPEG 2000), which is not read here.")
        code = find(data, b"jp2c")
        head = find(data, b"jp2h")
        if code is None or head is None:
            raise BrokenPicture("The JPEG 2000 ends before any pixels.")
        said = _read_boxes(data, head.start, head.end)
        start = code.start
    width, height, bits, channels = _sizes(data, start)
    if said.columns:
        bits, channels = said.column_bits, said.columns
    return _header(width, height, bits, channels, said)


def without_profile(data: bytes) -> bytes:
    """Return a JP2 whose profile nobody finds: decoders would apply it, in 8 bits."""
    head = find(data, b"jp2h")
    changed = bytearray(data)
    for box in boxes(data, head.start, head.end) if head else ():
        if box.kind == b"colr":
            changed[box.start - 4 : box.start] = b"free"
    return bytes(changed)


def _header(width: int, height: int, bits: int, channels: int, said: _Boxes) -> Header:
    if said.space in UNREAD_SPACES:
        raise UnsupportedPicture(f"JPEG 2000 files in {UNREAD_SPACES[said.space]} are not read here: save it in sRGB.")
    profile_space = said.profile[16:20] if said.profile else b""
    is_cmyk = said.space == CMYK or profile_space == b"CMYK"
    colors = 4 if is_cmyk else 1 if said.space == GRAY or profile_space == b"GRAY" or channels < 3 else 3
    if channels < colors or (is_cmyk and bits not in (8, 16)):
        raise UnsupportedPicture(f"JPEG 2000 files of {channels} channels in this color space are not read here.")
    has_alpha = bool(said.opacity) and channels > colors and not is_cmyk
    mode = "CMYK" if is_cmyk else {1: "L", 3: "RGB"}[colors]
    mode = {"L": "LA", "RGB": "RGBA"}[mode] if has_alpha else "I;16" if mode == "L" and bits > 8 else mode
    return Header(
        format="JPEG2000",
        width=width,
        height=height,
        mode=mode,
        orientation=1,
        wide=bits > 8 and mode != "I;16",
        icc_profile=said.profile,
        bits=bits,
        kind=MULTIPLIED if has_alpha and said.opacity == MULTIPLIED_OPACITY else "",
    )


def _sizes(data: bytes, start: int) -> tuple[int, int, int, int]:
    """Return width, height, bits and channels of a codestream."""
    content = data[start + len(CODESTREAM) : start + len(CODESTREAM) + 38 + 3 * MOST_CHANNELS]
    if not data.startswith(CODESTREAM, start) or len(content) < 38:
        raise BrokenPicture("The JPEG 2000 does not say how large it is.")
    right, bottom, left, top = struct.unpack_from(">4L", content, 4)
    (channels,) = struct.unpack_from(">H", content, 36)
    if right <= left or bottom <= top or not channels:
        raise BrokenPicture("The header of the JPEG 2000 makes no sense.")
    if channels > MOST_CHANNELS:
        raise UnsupportedPicture(f"JPEG 2000 files of {channels} channels are not read here.")
    each = [content[at : at + 3] for at in range(38, 38 + 3 * channels, 3)]
    if len(each[-1]) < 3:
        raise BrokenPicture("The JPEG 2000 does not say how deep it is.")
    bits = {one[0] for one in each}
    if len(bits) > 1 or any(one[0] & 0x80 for one in each):
        raise UnsupportedPicture("JPEG 2000 files whose channels differ in depth, or have a sign, are not read here.")
    if any(0 in one[1:] for one in each):
        raise BrokenPicture("The header of the JPEG 2000 makes no sense.")
    if any(one[1:] != b"\1\1" for one in each):
        raise UnsupportedPicture("JPEG 2000 files whose channels differ in size are not read here.")
    depth = bits.pop() + 1
    if depth > HIGHEST_BITS:
        raise UnsupportedPicture(f"JPEG 2000 files of {depth} bits a channel are not read here.")
    return right - left, bottom - top, depth, channels


def _read_boxes(data: bytes, start: int, end: int) -> _Boxes:
    said, seen = _Boxes(), set()
    for box in boxes(data, start, end):
        if box.kind != b"colr" and box.kind in seen:
            continue
        seen.add(box.kind)
        reader = Reader(data, box.start, box.end)
        if box.kind == b"colr" and said.space is None and said.profile is None:
            method = reader.number(1)
            reader.number(2)
            if method == 1:
                said.space = reader.number(4)
            elif method in (2, 3) and box.end - box.start <= MOST_PROFILE_BYTES:
                said.profile = data[reader.place : box.end]
        elif box.kind == b"pclr":
            reader.number(2)
            said.columns = reader.number(1)
            said.column_bits = (reader.number(1) & 0x7F) + 1
        elif box.kind == b"cdef":
            for _ in range(min(reader.number(2), MOST_CHANNELS)):
                reader.number(2)
                kind = reader.number(2)
                reader.number(2)
                said.opacity = kind if kind in (OPACITY, MULTIPLIED_OPACITY) else said.opacity
    return said
