"""Pixels -> TIFF: deflated strips or tiles of differences, several times faster than libtiff.

Each strip is deflated on its own, so threads can share them, and the bytes do not depend on how many there are. The
directory stands at the end, behind the pixels; BigTIFF is written only where 4 GB are not enough.

References:
    TIFF 6.0 (Aldus, 1992), sections 14 (predictor), 15 (tiles), 18 (alpha). Photoshop TIFF notes (Adobe, 2002):
    deflate. BigTIFF (Adobe, 2004).
"""

import struct
from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import Shaped

from chroma.strips import map_strips
from service.pictures.levels import Rows
from service.pictures.metadata import tiff
from service.pictures.metadata.belongings import Metadata
from service.pictures.metadata.exif import LONG, LONG8, Directory, Entry
from service.pictures.png import zlib_stream
from service.pictures.sink import Memory, Sink

STRIP_BYTES: Final = 1 << 18
"""Bytes of pixels in a strip: few enough to be read one by one, many enough to be deflated well."""

TILED_PIXELS: Final = 50_000_000
"""Pictures of more pixels are written in tiles, of which a viewer reads the ones it shows."""

TILE_PX: Final = 256
"""Side of a tile."""

MOST_CLASSIC: Final = (1 << 32) - (1 << 20)
"""Bytes up to which 32-bit offsets do."""

NEW_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262

STRIPS, SAMPLES, ROWS, STRIP_SIZES, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317

TILE_WIDTH, TILE_HEIGHT, TILES, TILE_SIZES, EXTRA_SAMPLES = 322, 323, 324, 325, 338

DEFLATE, RGB, DIFFERENCES, UNASSOCIATED = 8, 2, 2, 2


def encode(
    pixels: Rows,
    metadata: Metadata,
    profile: bytes,
    *,
    workers: int = 1,
    tiled: bool | None = None,
    big: bool | None = None,
) -> bytes:
    """Encode a TIFF; the same pixels give the same bytes, however many threads work on them.

    Args:
        pixels: RGB or RGBA, (H, W, 3) or (H, W, 4); uint8 or uint16; taken a few rows at a time.
        metadata: made true of it.
        profile: its color profile.
        workers: threads that deflate, at least 1.
        tiled: in tiles; None where there are more than `TILED_PIXELS`.
        big: as BigTIFF; None where 4 GB are not enough.

    Returns:
        The file.
    """
    out = Memory()
    write(out, pixels, metadata, profile, workers=workers, tiled=tiled, big=big)
    return out.getvalue()


def write(
    out: Sink,
    pixels: Rows,
    metadata: Metadata,
    profile: bytes,
    *,
    workers: int = 1,
    tiled: bool | None = None,
    big: bool | None = None,
) -> None:
    """Write the file of `encode` while it is made; its first bytes say at last where the directory is.

    Args:
        out: takes it.
        pixels: as `encode`.
        metadata: as `encode`.
        profile: as `encode`.
        workers: as `encode`.
        tiled: as `encode`.
        big: as `encode`.
    """
    height, width, channels = pixels.shape
    if tiled is None:
        tiled = height * width > TILED_PIXELS
    if big is None:
        raw = height * width * channels * pixels.dtype.itemsize
        big = raw + raw // 500 + metadata.nbytes > MOST_CLASSIC
    start = tiff.start_of(metadata, big=big)
    order = tiff.order_of(start)
    places, sizes = list[int](), list[int]()
    out.put(start + bytes(len(start) % 2))
    end = len(start) + len(start) % 2
    rows = TILE_PX if tiled else max(STRIP_BYTES // (width * channels * pixels.dtype.itemsize), 1)
    stored = pixels.dtype.newbyteorder("<" if order == "<" else ">")

    def deflate(top: int, bottom: int) -> list[bytes]:
        return [zlib_stream(part) for part in _parts(pixels[top:bottom], stored, tiled=tiled)]

    for packed in map_strips(deflate, height, rows, workers=workers):
        for part in packed:
            places.append(end)
            sizes.append(len(part))
            out.put(part)
            end += len(part)
    place = end + end % 2
    described = _describe(pixels, order, rows, places, sizes, tiled=tiled, big=big)
    out.put(bytes(end % 2) + tiff.directory(described, metadata, profile, place, order, big=big))
    out.patch(8 if big else 4, struct.pack(order + ("Q" if big else "L"), place))


def _parts(rows: Shaped[np.ndarray, "h W C"], stored: np.dtype, *, tiled: bool) -> Iterator[np.ndarray]:
    """Yield what is deflated of some rows: bytes of each level's difference from the one on its left."""
    if not tiled:
        yield _differences(rows, stored)
        return
    for left in range(0, rows.shape[1], TILE_PX):
        tile = rows[:, left : left + TILE_PX]
        missing = TILE_PX - tile.shape[0], TILE_PX - tile.shape[1]
        # Repeated levels are no differences, and take no room.
        yield _differences(np.pad(tile, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge"), stored)


def _differences(levels: Shaped[np.ndarray, "h w C"], stored: np.dtype) -> np.ndarray:
    found = np.empty(levels.shape, stored)
    found[:, 0] = levels[:, 0]
    np.subtract(levels[:, 1:], levels[:, :-1], out=found[:, 1:], casting="equiv")
    return found.view(np.uint8).reshape(-1)


def _describe(
    pixels: Rows, order: str, rows: int, places: list[int], sizes: list[int], *, tiled: bool, big: bool
) -> Directory:
    """Return the tags that say how pixels are stored."""
    height, width, channels = pixels.shape
    kind, code = (LONG8, "Q") if big else (LONG, "L")
    found, said = (
        tiff.shorts([8 * pixels.dtype.itemsize] * channels, order),
        {
            COMPRESSION: DEFLATE,
            PHOTOMETRIC: RGB,
            SAMPLES: channels,
            PLANAR: 1,
            PREDICTOR: DIFFERENCES,
        },
    )
    entries = {tag: tiff.shorts([value], order) for tag, value in said.items()} | {BITS: found}
    numbers = {WIDTH: width, HEIGHT: height}
    numbers |= {TILE_WIDTH: TILE_PX, TILE_HEIGHT: TILE_PX} if tiled else {ROWS: min(rows, height)}
    entries |= {tag: tiff.number(value, order) for tag, value in numbers.items()}
    entries[NEW_SUBFILE] = Entry(LONG, 1, bytes(4))  # TIFF 6.0 takes no short here.
    if channels == 4:
        entries[EXTRA_SAMPLES] = tiff.shorts([UNASSOCIATED], order)
    for tag, values in ((TILES if tiled else STRIPS, places), (TILE_SIZES if tiled else STRIP_SIZES, sizes)):
        entries[tag] = Entry(kind, len(values), struct.pack(f"{order}{len(values)}{code}", *values))
    return Directory(entries)
