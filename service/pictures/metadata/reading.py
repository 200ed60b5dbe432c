"""Bytes -> what the file says beside its pixels: bounded, and never a reason to lose a picture."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from service.pictures.metadata import bmp, boxes, exif, extended_xmp, gif, jpeg, png, tiff, webp, xmp
from service.pictures.metadata.belongings import MOST_BYTES, NOTHING, PROBED_BYTES, Metadata

READERS: Final[dict[bytes, Callable[[bytes | memoryview, int], Metadata]]] = {
    b"\xff\xd8\xff": jpeg.read,
    png.SIGNATURE: png.read,
    b"RIFF": webp.read,
    b"BM": bmp.read,
    b"GIF8": gif.read,
}
"""Who reads a file, by its first bytes..."""

BOXED: Final = (boxes.JXL_START, boxes.JP2_START)
"""...and those of files of boxes, beside HEIF's."""

TIFF_STARTS: Final = (b"II", b"MM")


def read_metadata(data: bytes | memoryview, *, applied: int | None = None, directory: int = 0) -> Metadata:
    """Return a file's metadata, as it is; what is broken, or too much, is left out.

    Args:
        data: a picture file.
        applied: the orientation that decoding applies, where it is known: of `Header`.
        directory: where the picture's own directory is in a TIFF of several; 0 for the first.
    """
    try:
        found = _read(data, MOST_BYTES, directory)
        if found.extended:
            found = replace(found, xmp=extended_xmp.join(found.xmp, found.extended), extended=())
    except Exception:  # Nearly anything comes out of broken metadata; the picture itself may be fine.
        return NOTHING
    return replace(found, orientation=_turned(data, found, applied))


def _turned(data: bytes | memoryview, found: Metadata, applied: int | None) -> int:
    """Return by which orientation decoding turns the pixels."""
    if _is_boxed(data):  # Its container turned them, and what EXIF says beside it is settled with that.
        return exif.orientation_of(found.exif) or 1
    return stated_orientation(data) if applied is None else applied


def stated_orientation(data: bytes | memoryview) -> int:
    """Return the orientation that a file states, 1 to 8 as in EXIF: in EXIF or TIFF's own tag, else in XMP; else 1.

    Looks at `PROBED_BYTES` at most: this is asked of every file. Of a file of boxes, which decoders turn, it is 1.

    Args:
        data: a picture file.
    """
    try:
        if _is_boxed(data):
            return 1
        if bytes(data[:2]) in TIFF_STARTS:
            stated, packet = tiff.orientation_of(data)
        else:
            found = _read(data, PROBED_BYTES)
            stated, packet = exif.orientation_of(found.exif), found.xmp
        return stated or (xmp.orientation_of(packet) if len(packet) <= PROBED_BYTES else None) or 1
    except Exception:  # As above.
        return 1


def _is_boxed(data: bytes | memoryview) -> bool:
    start = bytes(data[:12])
    return start[4:8] == b"ftyp" or start in BOXED


def _read(data: bytes | memoryview, most: int, directory: int = 0) -> Metadata:
    start = bytes(data[:8])
    if _is_boxed(data):
        return boxes.read(data, most)
    if start[:2] in TIFF_STARTS:
        return tiff.read(data, directory)
    return next((read(data, most) for signature, read in READERS.items() if start.startswith(signature)), NOTHING)
