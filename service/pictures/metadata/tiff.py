"""What TIFF holds beside its pixels: tags among those that say how the pixels are stored.

A TIFF is itself what EXIF is elsewhere. So an answer begins with the question's EXIF, and every place that a maker's
note may refer to stays where it was.

References:
    TIFF 6.0 (Aldus, 1992); TIFF/EP (ISO 12234-2); XMP specification part 3; Photoshop TIFF notes (Adobe, 2002).
"""

import struct
from typing import Final

import numpy as np

from service.pictures.metadata import exif, iptc
from service.pictures.metadata.belongings import MOST_BYTES, PROBED_BYTES, Metadata
from service.pictures.metadata.exif import (
    ASCII,
    EXIF_IFD,
    GPS_IFD,
    IMAGE_HISTORY,
    LONG,
    ORIENTATION,
    RATIONAL,
    RESOLUTION_UNIT,
    SHORT,
    UNDEFINED,
    X_RESOLUTION,
    Y_RESOLUTION,
    Directory,
    Entry,
    Structure,
)

XMP_TAG, IPTC_TAG, RESOURCES_TAG, PROFILE_TAG = 700, 33723, 34377, 34675

BYTE: Final = 1

DESCRIPTIVE_TAGS: Final = frozenset(
    {0x010D, 0x010E, 0x010F, 0x0110, X_RESOLUTION, Y_RESOLUTION, 0x011D, RESOLUTION_UNIT, 0x0131, 0x0132, 0x013B}
    | {0x013C, 0x4746, 0x4749, 0x8298, IMAGE_HISTORY}
    | set(range(0x9C9B, 0x9CA0))
    | {0x829A, 0x829D, 0x8822, 0x8827, 0x9003, 0x9201, 0x9202, 0x9204, 0x9205, 0x9207, 0x9209, 0x920A}
    | {0xC614, 0xC62F}
)
"""What is taken of a TIFF's own tags: name, caption, maker, model, resolution, page's name, software, date, artist,
host, rating, copyright, history, the Windows captions; what TIFF/EP and DNG say of the camera. The others describe how
its pixels are stored, or refer to places in the file that nobody else knows."""


REFERRING_TAGS: Final = frozenset({EXIF_IFD, GPS_IFD})
"""Those refer to directories that are taken, too."""

TAKEN_TAGS: Final = DESCRIPTIVE_TAGS | REFERRING_TAGS | {XMP_TAG, IPTC_TAG, RESOURCES_TAG}


def read(data: bytes | memoryview, directory: int = 0) -> Metadata:
    """Return what a TIFF says.

    Args:
        data: the file.
        directory: where the picture's own is; 0 for the first. What it does not say, the first one says of all.
    """
    found = Structure.of(data)
    if found is None:
        return Metadata()
    own = found.directory(directory, TAKEN_TAGS) if directory else {}
    left = MOST_BYTES - sum(len(entry.data) for entry in own.values())
    entries = found.directory(found.first, TAKEN_TAGS - own.keys(), most=left) | own
    kept = {tag: entry for tag, entry in entries.items() if tag in REFERRING_TAGS | DESCRIPTIVE_TAGS}
    block = exif.build(found.with_children(kept, (EXIF_IFD, GPS_IFD)), found.order)
    return Metadata(
        _classic(block),
        _bytes_of(entries.get(XMP_TAG)).rstrip(b"\0"),
        iptc=_datasets(entries),
        dpi=exif.resolution_of(found, entries),
    )


def orientation_of(data: bytes | memoryview) -> tuple[int | None, bytes]:
    """Return the orientation that a TIFF's own tag states, if it does, and its XMP packet."""
    found = Structure.of(data)
    entries = found.directory(found.first, (ORIENTATION, XMP_TAG), most=PROBED_BYTES) if found is not None else {}
    value = found.integer(entries.get(ORIENTATION)) if found is not None else None
    return value if value and 1 <= value <= 8 else None, _bytes_of(entries.get(XMP_TAG))


def _classic(block: bytes) -> bytes:
    """Return a structure that holds the directories of a BigTIFF, unless some of them are BigTIFF's own kind."""
    found = Structure.of(block)
    wide = found is not None and any(entry.kind in (16, 17, 18) for entry in found.directory(found.first).values())
    if found is None or not wide:
        return block
    tree = found.tree()
    tree.entries = {tag: entry for tag, entry in tree.entries.items() if entry.kind not in (16, 17, 18)}
    return exif.build(tree, found.order)


def _bytes_of(entry: Entry | None) -> bytes:
    return b"" if entry is None or entry.kind == RATIONAL else entry.data


def _datasets(entries: dict[int, Entry]) -> bytes:
    """Return IPTC-IIM, from its own tag, which some programs write as longs of the other order, or from Photoshop's."""
    data = _bytes_of(entries.get(IPTC_TAG))
    if data and data[0] != iptc.MARKER and len(data) % 4 == 0:
        data = np.frombuffer(data, np.uint32).byteswap().tobytes()
    return iptc.trimmed(data) or iptc.from_resources(_bytes_of(entries.get(RESOURCES_TAG)))


def start_of(metadata: Metadata, *, big: bool) -> bytes:
    """Return what a TIFF begins with; the four bytes from the fourth on (BigTIFF: eight from the eighth) are still to
    become the place of the directory.
    """  # noqa: D205 - the sentence is that long
    if big:
        return b"II+\0" + struct.pack("<HHQ", 8, 0, 0)
    return metadata.exif if Structure.of(metadata.exif) else b"II*\0" + bytes(4)


def directory(stored: Directory, metadata: Metadata, profile: bytes, place: int, order: str, *, big: bool) -> bytes:
    """Return the directory of a TIFF that begins with `start_of`.

    Args:
        stored: how the pixels are stored.
        metadata: made true of the answer.
        profile: its color profile.
        place: where the directory comes to lie.
        order: of bytes.
        big: whether it is a BigTIFF.
    """
    found = Structure.of(metadata.exif)
    stored.entries[PROFILE_TAG] = Entry(UNDEFINED, len(profile), profile)
    for tag, kind, data in ((XMP_TAG, BYTE, metadata.xmp), (IPTC_TAG, UNDEFINED, metadata.iptc)):
        if data:
            stored.entries[tag] = Entry(kind, len(data), data)
    own = found.directory(found.first) if found is not None else {}
    if metadata.dpi and not {X_RESOLUTION, Y_RESOLUTION} & own.keys():
        stored.entries |= exif.resolution_entries(metadata.dpi, order)
    if metadata.texts and IMAGE_HISTORY not in own:
        text = metadata.texts[-1].text.encode("ascii", "replace") + b"\0"
        stored.entries[IMAGE_HISTORY] = Entry(ASCII, len(text), text)
    placed: dict[int, bytes] = {}
    if found is not None:
        taken = DESCRIPTIVE_TAGS | {ORIENTATION}
        if big:
            tree = found.tree()
            stored.entries |= {tag: entry for tag, entry in tree.entries.items() if tag in taken}
            stored.children |= tree.children
        else:
            wanted = (taken | {EXIF_IFD, GPS_IFD}) & own.keys()
            placed = found.placed(wanted - stored.entries.keys())
    return exif.lay(stored, place, order, big=big, placed=placed)


def order_of(start: bytes) -> str:
    """Return the byte order of a TIFF by its first bytes."""
    return "<" if start[:2] == b"II" else ">"


def number(value: int, order: str) -> Entry:
    """Return an entry of one whole number, as the short that old readers expect where it is one."""
    return shorts([value], order) if value <= 0xFFFF else Entry(LONG, 1, struct.pack(order + "L", value))


def shorts(values: list[int], order: str) -> Entry:
    """Return an entry of small numbers."""
    return Entry(SHORT, len(values), struct.pack(f"{order}{len(values)}H", *values))
