"""The orientation that a picture's metadata names, of EXIF or, where that says none, of XMP.

References:
    CIPA DC-008 (EXIF 2.32), tag 0x0112. XMP Specification, part 2 (Adobe, 2016), section 3.1: tiff:Orientation.
"""

import re
import struct
from typing import Final

EXIF_PREFIX: Final = b"Exif\0\0"

ORIENTATION: Final = 0x0112

ORDERS: Final = {b"II*\0": "<", b"MM\0*": ">"}

FIELDS: Final = {1: "B", 3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 13: "L", 16: "Q"}
"""Integer types of a TIFF entry, with their codes for `struct`."""

ENTRY_BYTES: Final = 12

MOST_ENTRIES: Final = 1000

XMP_BYTES: Final = 1 << 18
"""How much of a packet is searched: what describes the file stands in front, thumbnails and histories behind."""

_IN_XMP: Final = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\s*[\"'<]")


def find_orientation(exif: bytes | None, xmp: bytes | None) -> int:
    """Return the orientation, 1 to 8; 1 where neither says any.

    Args:
        exif: a TIFF structure, with or without JPEG's prefix.
        xmp: a packet, or its beginning.
    """
    return _of_exif(exif or b"") or _of_xmp(xmp or b"") or 1


def _of_exif(exif: bytes) -> int | None:
    exif = exif.removeprefix(EXIF_PREFIX)
    order = ORDERS.get(exif[:4])
    if order is None or len(exif) < 8:
        return None
    (place,) = struct.unpack_from(order + "L", exif, 4)
    if place + 2 > len(exif):
        return None
    (count,) = struct.unpack_from(order + "H", exif, place)
    for entry in range(place + 2, place + 2 + ENTRY_BYTES * min(count, MOST_ENTRIES), ENTRY_BYTES):
        if entry + ENTRY_BYTES > len(exif):
            return None
        tag, kind, many = struct.unpack_from(order + "HHL", exif, entry)
        if tag == ORIENTATION and kind in FIELDS:
            return _first_value(exif, order, entry + 8, FIELDS[kind], many)
    return None


def _first_value(exif: bytes, order: str, place: int, field: str, many: int) -> int | None:
    """Return the first of an entry's values, which lie elsewhere where they do not fit in; None for no orientation."""
    size = struct.calcsize("=" + field)
    if many * size > 4:
        (place,) = struct.unpack_from(order + "L", exif, place)
    if place + size > len(exif):
        return None
    (value,) = struct.unpack_from(order + field, exif, place)
    return value if 1 <= value <= 8 else None


def _of_xmp(xmp: bytes) -> int | None:
    found = _IN_XMP.search(xmp[:XMP_BYTES])
    return int(found[1]) if found else None
