"""What JPEG holds beside its pixels: segments in front of them.

References:
    ITU-T T.81 (JPEG), annex B; T.871 (JFIF). CIPA DC-008 (EXIF). ICC.1:2022, annex B.4. XMP specification part 3.
"""

import struct
from collections.abc import Iterator
from typing import Final

from service.pictures.metadata import exif, extended_xmp, iptc
from service.pictures.metadata.belongings import COMMENT, MOST_BYTES, Metadata, Text, dpi_of

MOST_SEGMENT: Final = 65_533
"""Longest content of a segment, bytes."""

MOST_XMP: Final = 65_502
"""Longest standard XMP packet, bytes."""

MOST_SEGMENTS: Final = 10_000

XMP_PREFIX: Final = b"http://ns.adobe.com/xap/1.0/\0"

ICC_PREFIX: Final = b"ICC_PROFILE\0"

JFIF_PREFIX: Final = b"JFIF\0"

APP0, APP1, APP2, APP13, COM = 0xE0, 0xE1, 0xE2, 0xED, 0xFE

START_OF_SCAN, END = 0xDA, 0xD9

ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without content."""


def segments(data: bytes | memoryview, most: int) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of each segment in front of the pixels that is whole, up to so many bytes."""
    place, size = 2, 0
    for _ in range(MOST_SEGMENTS):
        if place + 4 > len(data) or data[place] != 0xFF:
            return
        marker = data[place + 1]
        if marker in ALONE or marker == 0xFF:
            place += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in (START_OF_SCAN, END) or length < 2:
            return
        if marker >= APP0 and size + length <= most:
            size += length
            yield marker, bytes(data[place + 4 : place + 2 + length])
        place += 2 + length


def read(data: bytes | memoryview, most: int = MOST_BYTES) -> Metadata:
    """Return what a JPEG says, in so many bytes at most."""
    xmp = b""
    exifs: list[bytes] = []
    resources: list[bytes] = []
    extended: list[bytes] = []
    texts: list[Text] = []
    dpi = None
    for marker, content in segments(data, most):
        if marker == APP0 and content.startswith(JFIF_PREFIX) and len(content) >= 12:
            dpi = _density(content)
        elif marker == APP1 and content.startswith(exif.PREFIX):
            body = content[len(exif.PREFIX) :]
            # More than one of them is one that was too long.
            exifs += [body] if not exifs or not body.startswith((b"II*\0", b"MM\0*")) else []
        elif marker == APP1 and content.startswith(XMP_PREFIX):
            xmp = xmp or content[len(XMP_PREFIX) :].rstrip(b"\0")
        elif marker == APP1 and content.startswith(extended_xmp.PREFIX):
            extended.append(content[len(extended_xmp.PREFIX) :])
        elif marker == APP13 and content.startswith(iptc.RESOURCES_PREFIX):
            resources.append(content[len(iptc.RESOURCES_PREFIX) :])
        elif marker == COM and content.strip(b"\0"):
            texts.append(Text(COMMENT, _text(content.rstrip(b"\0"))))
    found_exif = b"".join(exifs)
    dpi = dpi or exif.resolution_in(found_exif)
    return Metadata(found_exif, xmp, tuple(extended), iptc.from_resources(b"".join(resources)), tuple(texts), dpi)


def _density(jfif: bytes) -> tuple[float, float] | None:
    unit, across, down = struct.unpack_from(">BHH", jfif, 7)
    factor = {1: 1.0, 2: 2.54}.get(unit)
    return dpi_of(across * factor, down * factor) if factor else None


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def write(data: bytes, metadata: Metadata, profile: bytes) -> bytes:
    """Return a JPEG with segments behind the one of JFIF, in which the resolution goes.

    Args:
        data: a JPEG without metadata.
        metadata: made true of it.
        profile: its color profile.
    """
    start, rest = data[:2], memoryview(data)[2:]
    if data[2:4] == b"\xff\xe0" and data[6:11] == JFIF_PREFIX:
        end = 2 + int.from_bytes(data[4:6], "big")
        jfif, rest = bytearray(rest[:end]), rest[end:]
        if metadata.dpi:
            struct.pack_into(">BHH", jfif, 11, 1, *(round(value) for value in metadata.dpi))
        start += bytes(jfif)
    return b"".join([start, *(_segment(marker, content) for marker, content in _contents(metadata, profile)), rest])


def _contents(metadata: Metadata, profile: bytes) -> Iterator[tuple[int, bytes]]:
    if short := exif.shorten(metadata.exif, MOST_SEGMENT - len(exif.PREFIX)):
        yield APP1, exif.PREFIX + short
    standard, rest = metadata.xmp, b""
    if len(standard) > MOST_XMP:
        standard, rest = extended_xmp.divide(standard, MOST_XMP)
    if standard:
        yield APP1, XMP_PREFIX + standard
    for part in extended_xmp.segments_of(rest) if rest else ():
        yield APP1, part
    yield APP2, ICC_PREFIX + b"\1\1" + profile
    resources = iptc.to_resources(metadata.iptc) if metadata.iptc else b""
    room = MOST_SEGMENT - len(iptc.RESOURCES_PREFIX)
    for place in range(0, len(resources), room):
        yield APP13, iptc.RESOURCES_PREFIX + resources[place : place + room]
    for text in metadata.texts:
        content = (text.text if text.keyword == COMMENT else f"{text.keyword}: {text.text}").encode(errors="replace")
        if len(content) <= MOST_SEGMENT:
            yield COM, content


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content
