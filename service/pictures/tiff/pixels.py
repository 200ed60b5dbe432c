"""Pixels of a TIFF, strip by strip or tile by tile into one array; in a worker only."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from service.errors import BrokenPicture, UnsupportedPicture
from service.pictures.levels import Alpha, Pixels
from service.pictures.tiff import directory as tags
from service.pictures.tiff import dng
from service.pictures.tiff.colors import Convert, converter, range_of
from service.pictures.tiff.directory import Directory, Tiff
from service.pictures.tiff.layout import LINEAR_RAW, Layout, read_layout
from service.pictures.tiff.parts import Samples, decode_part, read_extras

CHUNK_PIXELS: Final = 1 << 18
"""So many are converted at a time, lest a large strip is in memory in several types of number."""

MOST_SCANNED_BITS: Final = 16
"""What has more was computed, often for a smaller range than that of its type."""

BITS_OF_ONE_GRAY: Final = 8
"""Levels that take up less than one of 2^8 parts of their range cannot be told apart."""

ROWS_COMPARED: Final = 256
"""So many rows tell how smooth a picture is."""


def read_pixels(data: bytes | memoryview, place: int) -> tuple[Pixels, Alpha]:
    """Return the pixels of one picture of a TIFF, as they are stored: its orientation is not applied.

    Args:
        data: the whole file.
        place: of the picture's directory.

    Returns:
        Gray (H, W), RGB (H, W, 3) or, of CMYK, inks (H, W, 4), uint8 or uint16; and opacity (H, W) or None.

    Raises:
        BrokenPicture: its parts are missing, or reach beyond the file.
        UnsupportedPicture: its levels have another range than they should have.
        ValueError: a part holds something else; decoders raise others.
    """
    tiff = Tiff(data)
    found = tiff.directory(place)
    layout = read_layout(found)
    planes = [0]
    if layout.is_apart:
        planes = [*range(layout.colors), *([] if layout.alpha is None else [layout.alpha])]
    # Planes that are not looked at are not decoded, so that opacity always follows the colors.
    compact = replace(layout, alpha=layout.colors) if layout.is_apart and layout.alpha is not None else layout
    convert = dng.developer(compact, tiff, found) if layout.photometric == LINEAR_RAW else converter(compact, found)
    canvas, is_guess = _Canvas(layout, convert), False
    if layout.photometric != LINEAR_RAW:
        is_guess = not range_of(layout, found).is_said
    seen = _Range(layout, is_guess=is_guess)
    for top, left, samples in _parts(layout, found, planes):
        canvas.paint(samples, top, left)
        seen.look(samples)
    seen.check(layout.width * layout.height * (len(planes) if layout.is_apart else layout.samples))
    pixels, alpha = canvas.finished()
    if is_guess and layout.kind == "i":
        pixels = _as_meant(pixels)
    rows, columns = dng.crop(found, layout) if layout.photometric == LINEAR_RAW else (slice(None), slice(None))
    return pixels[rows, columns], None if alpha is None else alpha[rows, columns]


class _Range:
    """Which levels there are, where it is not sure what black and white are."""

    def __init__(self, layout: Layout, *, is_guess: bool) -> None:
        self._layout = layout
        self._is_guess = is_guess or (layout.kind == "u" and layout.bits > MOST_SCANNED_BITS)
        self._bright, self._lowest, self._highest = 0, math.inf, -math.inf

    def look(self, samples: Samples) -> None:
        """Take note of a part's levels."""
        if not self._is_guess:
            return
        if self._layout.kind == "f":
            self._bright += int(np.count_nonzero(samples > 1))
        else:
            colors = samples[..., : self._layout.colors]
            self._lowest = min(self._lowest, int(colors.min()))
            self._highest = max(self._highest, int(colors.max()))

    def check(self, samples: int) -> None:
        """Refuse levels that nothing says the range of, and that another one was meant for.

        Args:
            samples: how many there are.
        """
        if 2 * self._bright > samples:
            raise UnsupportedPicture(
                "The TIFF holds floating-point levels of an unknown range, most of them above 1: save it with levels "
                "from 0 to 1, or with SMinSampleValue and SMaxSampleValue."
            )
        if 0 < self._highest - self._lowest < 2 ** (self._layout.bits - BITS_OF_ONE_GRAY):
            raise UnsupportedPicture(
                f"The TIFF holds levels from {self._lowest} to {self._highest} in {self._layout.bits} bits, which "
                "would be a single gray: save it with 8 or 16 bits of which all are used."
            )


def _as_meant(pixels: Pixels) -> Pixels:
    """Return levels that a file calls signed as they were meant: some programs write unsigned ones and call them so.

    Read the other way, neighbors that lie around a middle gray are a whole range apart.
    """
    other = pixels ^ pixels.dtype.type(np.iinfo(pixels.dtype).max // 2 + 1)
    return other if _roughness(other) < _roughness(pixels) else pixels


def _roughness(pixels: Pixels) -> float:
    rows = pixels[:: max(1, len(pixels) // ROWS_COMPARED)].astype(np.int32)
    return float(np.abs(np.diff(rows, axis=1)).sum())


def _parts(layout: Layout, found: Directory, planes: list[int]) -> Iterator[tuple[int, int, Samples]]:
    """Yield each strip or tile as its top, its left and its samples."""
    data, extras = memoryview(found.tiff.data), read_extras(found)
    starts, ends = bounds(layout, found)
    for index in range(layout.across * layout.down):
        top, left = index // layout.across * layout.part_height, index % layout.across * layout.part_width
        size = min(layout.part_height, layout.height - top), min(layout.part_width, layout.width - left)
        pieces = []
        for plane in planes:
            at = index + plane * layout.across * layout.down
            start, end = int(starts[at]), int(ends[at])
            if not start < end <= len(data):
                raise BrokenPicture("Pixels of the TIFF are said to lie behind its end.")
            pieces.append(decode_part(layout, extras, data[start:end], size, plane))
        yield top, left, pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=2)


def bounds(layout: Layout, found: Directory) -> tuple[np.ndarray, np.ndarray]:
    """Return where each strip or tile starts and ends, of all channels.

    Without compression a strip is as long as its pixels are, whatever the file says; where it does not say, other
    strips reach up to the next one.

    Raises:
        BrokenPicture: some are missing, or lie one upon the other.
    """
    starts = _places(found, layout.parts, tags.TILE_OFFSETS, tags.STRIP_OFFSETS)
    if len(starts) < layout.parts:
        raise BrokenPicture("The TIFF does not say where all of its pixels are.")
    sizes = _places(found, layout.parts, tags.TILE_BYTE_COUNTS, tags.STRIP_BYTE_COUNTS)
    if layout.compression == 1 and layout.subsampling == (1, 1):
        channels = 1 if layout.is_apart else layout.samples
        rows = np.full(layout.parts, layout.part_height)
        if not layout.is_tiled:
            rows[layout.down - 1 :: layout.down] = layout.height - (layout.down - 1) * layout.part_height
        ends = starts + rows * -(-layout.part_width * channels * layout.bits // 8)
        if len(sizes) == layout.parts and _overlap(starts, ends, starts + sizes):
            raise BrokenPicture("The TIFF says that its strips or tiles are shorter than they must be.")
        return starts, ends
    if len(sizes) < layout.parts or not sizes.all():
        edges = np.append(np.unique(starts), len(found.tiff.data))
        return starts, edges[np.searchsorted(edges, starts, side="right").clip(max=len(edges) - 1)]
    return starts, starts + sizes


def _overlap(starts: np.ndarray, ends: np.ndarray, said: np.ndarray) -> bool:
    """Whether any part reaches into another one, and by its own size would not; equal ones may share a place."""
    distinct = np.append(np.unique(starts), np.iinfo(np.int64).max)
    following = distinct[np.searchsorted(distinct, starts, side="right")]
    return bool(((ends > following) & (said <= following)).any())


def _places(found: Directory, most: int, *alternatives: int) -> np.ndarray:
    """Return the first numbers of one of several tags, as integers that can be added without coming round to 0."""
    for tag in alternatives:
        if (values := found.array(tag)[:most]).dtype.kind in "ui" and values.ndim == 1 and values.size:
            return np.asarray(np.minimum(values, np.uint64(1 << 62)).astype(np.int64))
    return np.empty(0, np.int64)


class _Canvas:
    """The whole picture, made when the first part of it shows its depth."""

    def __init__(self, layout: Layout, convert: Convert) -> None:
        self._size, self._convert = (layout.height, layout.width), convert
        self._pixels: Pixels | None = None
        self._alpha: Alpha = None

    def paint(self, samples: Samples, top: int, left: int) -> None:
        """Convert a part, and put it in its place."""
        rows, columns = samples.shape[:2]
        step = max(1, CHUNK_PIXELS // columns)
        for start in range(0, rows, step):
            pixels, alpha = self._convert(samples[start : start + step])
            if self._pixels is None:
                self._pixels = np.empty(self._size + pixels.shape[2:], pixels.dtype.newbyteorder("="))
                self._alpha = None if alpha is None else np.empty(self._size, self._pixels.dtype)
            place = slice(top + start, top + start + len(pixels)), slice(left, left + columns)
            self._pixels[place] = pixels
            if self._alpha is not None:
                self._alpha[place] = alpha

    def finished(self) -> tuple[Pixels, Alpha]:
        """Return the picture; a part has been painted at least."""
        assert self._pixels is not None
        return self._pixels, self._alpha
