"""What decoding a file would cost beyond what a picture of its size may, told by the header alone.

A few pixels can hide behind tiles of gigabytes, strips that each read the whole file, or thousands of scans over the
same blocks. Ordinary files stay far below every limit here.

References:
    TIFF 6.0 (Aldus, 1992), sections 8 and 15, for the tags. ITU-T T.81 (1992), annex B, for the scans of a JPEG.
"""

from typing import Final

from PIL import Image

TILE_WIDTH: Final = 322

TILE_LENGTH: Final = 323

STRIP_BYTE_COUNTS: Final = 279

STRIP_OFFSETS: Final = 273

TILE_BYTE_COUNTS: Final = 325

TILE_OFFSETS: Final = 324

SPARE_TILE_PIXELS: Final = 1 << 22
"""A tile may have so many pixels whatever the picture's size: 2048 x 2048."""

SPARE_TILED_PIXELS: Final = 1 << 25
"""All tiles of a picture together may."""

TILED_FACTOR: Final = 4
"""...and so many times the picture's pixels, for pictures that are narrow in one direction."""

RAW_FACTOR: Final = 2
"""Strips that share bytes may together hold so many times the bytes of the pixels; compression may enlarge noise."""

SPARE_RAW_BYTES: Final = 1 << 20
"""...and so many bytes more."""

SPARE_SCANS: Final = 16
"""A JPEG may have so many whatever its size; progressive ones have about ten."""

SCANNED_MEGAPIXELS: Final = 1000.0
"""...and a smaller one so many more that scans times megapixels stay below this."""

MOST_SCANS: Final = 200

START_OF_SCAN: Final = b"\xff\xda"


def why_costly(image: Image.Image, data: bytes) -> str:
    """Return why decoding a picture costs more than one of its size may; empty where it does not.

    Args:
        image: opened by Pillow, not decoded.
        data: the whole file.
    """
    if image.format == "TIFF":
        return _why_costly_tiles(image) or _why_costly_strips(image, len(data))
    return ""


def _why_costly_tiles(image: Image.Image) -> str:
    pixels = image.width * image.height
    wide, high = (_whole(image, tag) for tag in (TILE_WIDTH, TILE_LENGTH))
    if not wide or not high:
        return ""
    tiled = -(-image.width // wide) * -(-image.height // high) * wide * high
    if wide * high > max(2 * pixels, SPARE_TILE_PIXELS) or tiled > max(TILED_FACTOR * pixels, SPARE_TILED_PIXELS):
        return f"its tiles of {wide} x {high} px are too large for a picture of {image.width} x {image.height} px"
    return ""


def _why_costly_strips(image: Image.Image, size: int) -> str:
    tags = image.tag_v2  # type: ignore[attr-defined]
    read = 0
    for offsets, counts in ((STRIP_OFFSETS, STRIP_BYTE_COUNTS), (TILE_OFFSETS, TILE_BYTE_COUNTS)):
        pairs = zip(_numbers(tags.get(offsets)), _numbers(tags.get(counts)), strict=False)
        # What lies behind the end of a truncated file is not read.
        read += sum(max(min(count, size - offset), 0) for offset, count in pairs)
    raw = image.width * image.height * 8  # four channels of 16 bits
    if read > max(size, RAW_FACTOR * raw + SPARE_RAW_BYTES):
        return f"its strips lie over each other: {read} bytes would be read of a file of {size}"
    return ""


def why_costly_scans(megapixels: float, data: bytes) -> str:
    """Return why a JPEG of so many million pixels has more scans than it may; empty where it does not."""
    scans = data.count(START_OF_SCAN)
    allowed = max(SPARE_SCANS, min(MOST_SCANS, SCANNED_MEGAPIXELS / max(megapixels, 1e-6)))
    return f"it has {scans} scans; {allowed:.0f} are taken at its size" if scans > allowed else ""


def _whole(image: Image.Image, tag: int) -> int:
    value = image.tag_v2.get(tag, 0)  # type: ignore[attr-defined]
    return value if isinstance(value, int) else 0


def _numbers(value: object) -> tuple[int, ...]:
    values = value if isinstance(value, tuple) else (value,)
    return tuple(each for each in values if isinstance(each, int))
