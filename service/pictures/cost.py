"""What decoding a file would cost beyond what a picture of its size may, told by the header alone.

A few pixels can hide behind tiles of gigabytes, strips that each read the whole file, or thousands of scans over the
same blocks. Ordinary files stay far below every limit here.

References:
    TIFF 6.0 (Aldus, 1992), sections 8 and 15, for the tags. ITU-T T.81 (1992), annex B, for the scans of a JPEG.
"""

from typing import Final

import numpy as np
from jaxtyping import Int64

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

USUAL_PIXEL_BYTES: Final = 8
"""A pixel counts as so many at least: four channels of 16 bits."""

SPARE_SCANS: Final = 16
"""A JPEG may have so many whatever its size; progressive ones have about ten."""

SCANNED_MEGAPIXELS: Final = 1000.0
"""...and a smaller one so many more that scans times megapixels stay below this."""

MOST_SCANS: Final = 200

START_OF_SCAN: Final = b"\xff\xda"


def why_costly_parts(
    size: tuple[int, int],
    tile: tuple[int, int] | None,
    starts: Int64[np.ndarray, "parts"],
    ends: Int64[np.ndarray, "parts"],
    file_bytes: int,
    pixel_bytes: float,
) -> str:
    """Return why a TIFF's strips or tiles cost more than a picture of its size may; empty where they do not.

    Args:
        size: width and height of the picture, px.
        tile: width and height of a tile, px; None for strips.
        starts: of each strip or tile in the file.
        ends: likewise.
        file_bytes: of the whole file.
        pixel_bytes: that a pixel takes once decompressed.
    """
    return _why_costly_tiles(size, tile) or _why_costly_strips(size, starts, ends, file_bytes, pixel_bytes)


def _why_costly_tiles(size: tuple[int, int], tile: tuple[int, int] | None) -> str:
    if tile is None:
        return ""
    (width, height), (wide, high) = size, tile
    pixels = width * height
    tiled = -(-width // wide) * -(-height // high) * wide * high
    if wide * high > max(2 * pixels, SPARE_TILE_PIXELS) or tiled > max(TILED_FACTOR * pixels, SPARE_TILED_PIXELS):
        return f"its tiles of {wide} x {high} px are too large for a picture of {width} x {height} px"
    return ""


def _why_costly_strips(
    size: tuple[int, int],
    starts: Int64[np.ndarray, "parts"],
    ends: Int64[np.ndarray, "parts"],
    file_bytes: int,
    pixel_bytes: float,
) -> str:
    # What lies behind the end of a truncated file is not read.
    read = int(np.maximum(np.minimum(ends, file_bytes) - starts, 0).sum())
    raw = round(size[0] * size[1] * max(pixel_bytes, USUAL_PIXEL_BYTES))
    if read > max(file_bytes, RAW_FACTOR * raw + SPARE_RAW_BYTES):
        return f"its strips lie over each other: {read} bytes would be read of a file of {file_bytes}"
    return ""


def why_costly_scans(megapixels: float, data: bytes) -> str:
    """Return why a JPEG of so many million pixels has more scans than it may; empty where it does not."""
    scans = data.count(START_OF_SCAN)
    allowed = max(SPARE_SCANS, min(MOST_SCANS, SCANNED_MEGAPIXELS / max(megapixels, 1e-6)))
    return f"it has {scans} scans; {allowed:.0f} are taken at its size" if scans > allowed else ""
