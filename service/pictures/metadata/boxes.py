"""What AVIF, HEIC, JPEG XL and JPEG 2000 hold beside their pixels: boxes.

How such a picture stands is said by its container, not by its EXIF: decoders turn it, and the tag is no order any more.

References:
    ISO/IEC 14496-12 (boxes), 23008-12 (HEIF), annex A: EXIF and XMP as items; 18181-2 (JPEG XL), section 9; 15444-1
    (JPEG 2000), annex I, and the UUIDs of EXIF, XMP and IPTC in it.
"""

import struct
from collections.abc import Iterator
from typing import Final

from service.pictures.metadata import exif, iptc
from service.pictures.metadata.belongings import INCHES_A_METER, MOST_BYTES, Metadata, dpi_of

MOST_BOXES: Final = 1_000

MOST_ITEMS: Final = 1_000
"""Of a HEIF file; tiles of large pictures are items, too."""

ONCE: Final = frozenset({b"meta", b"jp2h"})
"""Boxes of boxes that a file has one of; others behind it are nobody's."""

XMP_TYPE: Final = b"application/rdf+xml"

UUIDS: Final = {
    b"JpgTiffExif->JP2": "exif",
    bytes.fromhex("be7acfcb97a942e89c71999491e3afac"): "xmp",
    bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38"): "iptc",
}
"""Of boxes in JPEG 2000."""

JXL_START: Final = b"\0\0\0\x0cJXL \r\n\x87\n"

JP2_START: Final = b"\0\0\0\x0cjP  \r\n\x87\n"


def boxes(data: bytes | memoryview, place: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the content of each box between two places, as far as they are whole."""
    for _ in range(MOST_BOXES):
        if place + 8 > end:
            return
        size, kind = struct.unpack_from(">L4s", data, place)
        start = place + 8
        if size == 1 and place + 16 <= end:
            size, start = struct.unpack_from(">Q", data, start)[0], start + 8
        stop = end if size == 0 else place + size
        if not start <= stop <= end:
            return
        yield kind, start, stop
        place = stop


def read(data: bytes | memoryview, most: int = MOST_BYTES) -> Metadata:
    """Return what a file of boxes says, in so many bytes at most."""
    found: dict[str, bytes] = {}
    dpi = None

    seen = set[bytes]()

    def take(name: str, start: int, stop: int) -> None:
        if stop - start <= most // 3:
            found.setdefault(name, bytes(data[start:stop]))

    for kind, start, stop in boxes(data, 0, len(data)):
        if kind in ONCE and kind in seen:
            continue
        seen.add(kind)
        if kind == b"meta":
            for name, first, last in _items(data, start + 4, stop):
                take(name, first, last)
        elif kind == b"Exif":
            take("exif", start, stop)
        elif kind == b"xml ":
            take("xmp", start, stop)
        elif kind == b"uuid" and bytes(data[start : start + 16]) in UUIDS:
            take(UUIDS[bytes(data[start : start + 16])], start + 16, stop)
        elif kind == b"jp2h":
            dpi = _resolution(data, start, stop)
    block = _without_offset(found.get("exif", b""))
    dpi = dpi or exif.resolution_in(block)
    packet = found.get("xmp", b"").rstrip(b"\0")
    return Metadata(block, packet if b"RDF" in packet else b"", iptc=iptc.trimmed(found.get("iptc", b"")), dpi=dpi)


def _without_offset(item: bytes) -> bytes:
    """Return EXIF; in front of it HEIF and JPEG XL say where it begins."""
    if item[:4] in (b"II*\0", b"MM\0*"):
        return item
    return item[4 + int.from_bytes(item[:4], "big") :].removeprefix(exif.PREFIX)


def _items(data: bytes | memoryview, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Yield name, start and end of EXIF and XMP among the items of HEIF."""
    parts = {kind: (first, last) for kind, first, last in boxes(data, start, end)}
    if b"iinf" not in parts or b"iloc" not in parts:
        return
    names = dict(_names(data, *parts[b"iinf"]))
    base = parts.get(b"idat", (0, 0))[0]
    for number, in_box, place, size in _places(data, *parts[b"iloc"]):
        if number in names:
            first = place + (base if in_box else 0)
            yield names[number], first, first + size


def _names(data: bytes | memoryview, start: int, end: int) -> Iterator[tuple[int, str]]:
    """Yield number and name of those items that are EXIF or XMP (14496-12, 8.11.6)."""
    head = 6 if data[start] == 0 else 8
    for kind, first, last in boxes(data, start + head, end):
        if kind != b"infe" or data[first] < 2:
            continue
        wide = data[first] >= 3
        number = int.from_bytes(data[first + 4 : first + (8 if wide else 6)], "big")
        at = first + (10 if wide else 8)
        if bytes(data[at : at + 4]) == b"Exif":
            yield number, "exif"
        elif bytes(data[at : at + 4]) == b"mime" and XMP_TYPE in bytes(data[at:last]):
            yield number, "xmp"


def _places(data: bytes | memoryview, start: int, end: int) -> Iterator[tuple[int, bool, int, int]]:
    """Yield number, whether in `idat`, place and size of each item that is in one piece (14496-12, 8.11.3)."""
    version, sizes = data[start], struct.unpack_from(">BB", data, start + 4)
    offset_bytes, length_bytes, base_bytes = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4
    index_bytes = sizes[1] & 15 if version else 0
    number_bytes = 4 if version == 2 else 2
    place = start + 6

    def number(count: int) -> int:
        nonlocal place
        place += count
        if place > end:
            raise ValueError("an item lies outside")
        return int.from_bytes(data[place - count : place], "big")

    for _ in range(min(number(number_bytes), MOST_ITEMS)):
        item = number(number_bytes)
        in_box = bool(version) and number(2) & 15 == 1
        number(2)  # Of the file that holds the data: this one.
        base, extents = number(base_bytes), number(2)
        if extents != 1:
            place += extents * (index_bytes + offset_bytes + length_bytes)
            continue
        number(index_bytes)
        offset, length = number(offset_bytes), number(length_bytes)
        yield item, in_box, base + offset, length


def _resolution(data: bytes | memoryview, start: int, end: int) -> tuple[float, float] | None:
    """Return the resolution that JPEG 2000 states, of capture before that of display (15444-1, I.5.3.7)."""
    found = next((part for part in boxes(data, start, end) if part[0] == b"res "), None)
    if found is None:
        return None
    stated = {name: place for name, place, stop in boxes(data, *found[1:]) if stop - place >= 10}
    for name in (b"resc", b"resd"):
        if name in stated:
            down, below, across, beside, up, along = struct.unpack_from(">HHHHbb", data, stated[name])
            if below and beside:
                return dpi_of(across / beside * 10.0**along / INCHES_A_METER, down / below * 10.0**up / INCHES_A_METER)
    return None
