"""Bytes -> what the file says beside its pixels: bounded, and never a reason to lose a picture."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from service.pictures.metadata import bmp, exif, jpeg, png, tiff, webp, xmp
from service.pictures.metadata.belongings import MOST_BYTES, NOTHING, Metadata

READERS: Final[tuple[tuple[bytes, Callable[[bytes | memoryview], Metadata]], ...]] = (
    (b"\xff\xd8\xff", jpeg.read),
    (png.SIGNATURE, png.read),
    (b"RIFF", webp.read),
    (b"II", tiff.read),
    (b"MM", tiff.read),
    (b"BM", bmp.read),
)
"""Who reads a file, by its first bytes."""


def read_metadata(data: bytes | memoryview) -> Metadata:
    """Return a file's metadata, as it is; what is broken, or too much, is left out.

    Args:
        data: a picture file.
    """
    try:
        start = bytes(data[:8])
        found = next((read(data) for signature, read in READERS if start.startswith(signature)), NOTHING)
        return _with_orientation(found) if found.nbytes <= 2 * MOST_BYTES else NOTHING
    except Exception:  # Nearly anything comes out of broken metadata; the picture itself may be fine.
        return NOTHING


def _with_orientation(found: Metadata) -> Metadata:
    """Say how decoding turns the pixels: by EXIF, and where it says nothing by XMP."""
    if found.orientation > 1:
        return found
    stated = exif.orientation_of(found.exif)
    if stated is None:
        stated = xmp.orientation_of(found.xmp)
    return replace(found, orientation=stated or 1)


def stated_orientation(data: bytes | memoryview) -> int:
    """Return the orientation that a file states, 1 to 8 as in EXIF: in EXIF or TIFF's own tag, else in XMP; else 1.

    Args:
        data: a picture file.
    """
    return read_metadata(data).orientation
