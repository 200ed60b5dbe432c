"""IPTC-IIM: the older captions, as datasets of records, and the resources of Photoshop that hold them.

References:
    IPTC-NAA Information Interchange Model version 4.2 (2014). Photoshop file formats (Adobe, 2019).
"""

import struct
from collections.abc import Iterator
from typing import Final

from service.pictures.metadata import xmp
from service.pictures.metadata.xml_tree import Name

RESOURCE: Final = b"8BIM"

IPTC_RESOURCE: Final = 0x0404

RESOURCES_PREFIX: Final = b"Photoshop 3.0\0"

MARKER: Final = 0x1C
"""In front of every dataset."""

UTF_8: Final = b"\x1b%G"
"""Dataset 1:90 when texts are UTF-8; else they are taken for UTF-8 where they are, and for Latin-1 where not."""

CHARACTER_SET: Final = (1, 90)

MOST_DATASETS: Final = 10_000

MOST_RESOURCES: Final = 2_000

CAPTIONS: Final[dict[int, Name]] = {
    5: (xmp.DC, "title"),
    25: (xmp.DC, "subject"),
    55: (xmp.PHOTOSHOP, "DateCreated"),
    80: (xmp.DC, "creator"),
    90: (xmp.PHOTOSHOP, "City"),
    95: (xmp.PHOTOSHOP, "State"),
    101: (xmp.PHOTOSHOP, "Country"),
    105: (xmp.PHOTOSHOP, "Headline"),
    110: (xmp.PHOTOSHOP, "Credit"),
    115: (xmp.PHOTOSHOP, "Source"),
    116: (xmp.DC, "rights"),
    120: (xmp.DC, "description"),
}
"""Datasets of record 2 that XMP has properties for (IPTC Photo Metadata Standard)."""

DATE_CREATED: Final = 55


def from_resources(data: bytes) -> bytes:
    """Return the datasets in a block of Photoshop's resources; nothing where there are none."""
    place = 0
    for _ in range(MOST_RESOURCES):
        if data[place : place + 4] != RESOURCE or place + 7 > len(data):
            return b""
        number, name_length = struct.unpack_from(">HB", data, place + 4)
        start = place + 6 + (name_length + 2) // 2 * 2 + 4
        size = int.from_bytes(data[start - 4 : start], "big")
        if number == IPTC_RESOURCE:
            return trimmed(data[start : start + size])
        place = start + size + size % 2
    return b""


def to_resources(iptc: bytes) -> bytes:
    """Return datasets as a block of Photoshop's resources."""
    return RESOURCE + struct.pack(">HHL", IPTC_RESOURCE, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)


def trimmed(data: bytes) -> bytes:
    """Return datasets without what stands behind them; nothing where there are none."""
    return data[: max((end for *_, end in datasets(data)), default=0)]


def datasets(data: bytes) -> Iterator[tuple[int, int, bytes, int]]:
    """Yield record, number, content and end of each dataset, as far as they are whole."""
    place = 0
    for _ in range(MOST_DATASETS):
        if place + 5 > len(data) or data[place] != MARKER:
            return
        record, number, size = struct.unpack_from(">BBH", data, place + 1)
        start = place + 5
        if size & 0x8000:  # The length of the length.
            start += size & 0x7FFF
            size = int.from_bytes(data[place + 5 : start], "big") if start - place <= 9 else len(data)
        if start + size > len(data):
            return
        place = start + size
        yield record, number, data[start:place], place


def captions_of(iptc: bytes) -> dict[Name, list[str]]:
    """Return what datasets say that XMP has properties for."""
    found: dict[Name, list[str]] = {}
    is_utf_8 = False
    for record, number, content, _ in datasets(iptc):
        if (record, number) == CHARACTER_SET:
            is_utf_8 = content == UTF_8
        if record == 2 and number in CAPTIONS and content:
            text = _text(content, is_utf_8=is_utf_8)
            if number == DATE_CREATED and len(text) == 8 and text.isdecimal():
                text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
            found.setdefault(CAPTIONS[number], []).append(text)
    return found


def _text(content: bytes, *, is_utf_8: bool) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("utf-8" if is_utf_8 else "latin-1", "replace")
