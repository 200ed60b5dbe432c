"""Pixels -> PNG, several times faster than libpng at the same size.

Photographs need little of what PNG can do: one filter (each level as its difference from the mean of those to the left
and above, which NumPy computes for many rows at once) and a quick deflate (Intel's, in `isal`). Strips of rows are
deflated each on its own, so threads can share them, memory beside the answer stays at a few strips, and the bytes do
not depend on either.

References:
    ISO/IEC 15948:2004 (PNG). RFC 1950 (zlib), RFC 1951 (deflate).
"""

import io
import struct
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from isal import isal_zlib
from jaxtyping import UInt8

from chroma.strips import map_strips
from service.pictures.levels import Rows

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

STRIP_BYTES: Final = 1 << 20
"""Bytes of pixels in a strip: few enough for memory, many enough that threads seldom meet; starting anew
costs less than 0.1 % of size."""

STRIPS: Final = 4
"""A smaller picture has as many, so that threads can share it, too..."""

LEAST_STRIP_BYTES: Final = 1 << 17
"""...but for the smallest ones: starting anew would cost more than the threads save."""

LEVEL: Final = 1
"""Of isal's 0 to 3. Higher ones take a tenth longer and save half a percent; 0 writes a quarter more bytes."""

HEAD_BYTES: Final = 8
"""Bytes of a strip that are deflated before the others, so that equal strips give equal bytes (see `_deflate`)."""

COLOR_TYPES: Final = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's number for gray, gray with alpha, RGB, and RGBA, by channels."""

_AVERAGE: Final = 3

_ZLIB_HEADER: Final = b"\x78\x01"


def encode(pixels: Rows, *, workers: int = 1, chunks: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """Encode a PNG; the same pixels give the same bytes, however many threads work on them.

    Args:
        pixels: gray (H, W), or gray with alpha, RGB, or RGBA, (H, W, 2), (H, W, 3) or (H, W, 4); uint8 or uint16;
            taken a few rows at a time, by several threads.
        workers: threads that deflate strips, at least 1.
        chunks: type and content of what else stands in front of the pixels.

    Returns:
        The file.

    Raises:
        ValueError: as `encode_parts`.
    """
    out = io.BytesIO()  # hands out what it holds without a copy
    out.writelines(encode_parts(pixels, workers=workers, chunks=chunks))
    return out.getvalue()


def encode_parts(
    pixels: Rows, *, workers: int = 1, chunks: Sequence[tuple[bytes, bytes]] = ()
) -> Generator[bytes, None, None]:
    """Encode a PNG in parts, a strip of rows in each, as they are taken.

    Args:
        pixels: as `encode`.
        workers: as `encode`.
        chunks: as `encode`.

    Yields:
        What together is the file; the first part holds a strip, too.

    Raises:
        ValueError: pixels of another shape or dtype, without any pixel, or workers below 1.
    """
    dimensions = len(pixels.shape)
    channels = 1 if dimensions == 2 else pixels.shape[-1]
    if dimensions not in (2, 3) or channels not in COLOR_TYPES or 0 in pixels.shape:
        raise ValueError(f"a PNG has pixels of shape (H, W) or (H, W, 1 to 4), not {pixels.shape}")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"a PNG has pixels of uint8 or uint16, not {pixels.dtype}")
    height, width = pixels.shape[:2]
    row_bytes = width * channels * pixels.dtype.itemsize
    strip_bytes = min(STRIP_BYTES, max(height * row_bytes // STRIPS, LEAST_STRIP_BYTES))
    rows = max(strip_bytes // row_bytes, 1)
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, COLOR_TYPES[channels], 0, 0, 0)

    def deflate(start: int, stop: int) -> tuple[bytes, int, int]:
        filtered = _filter(pixels, start, stop, row_bytes).reshape(-1)
        packed = _chunk(b"IDAT", *_deflate(filtered, stop == height))
        return packed, isal_zlib.adler32(filtered), filtered.size

    yield from _join([(b"IHDR", head), *chunks], map_strips(deflate, height, rows, workers=workers))


def _filter(pixels: Rows, start: int, stop: int, row_bytes: int) -> UInt8[np.ndarray, "rows bytes"]:
    """Return the rows from start to stop as PNG stores them: the filter's number, then the differences."""
    first = max(start - 1, 0)
    strip = np.ascontiguousarray(pixels[first:stop])
    if strip.itemsize > 1:
        strip = strip.astype(">u2")
    levels = strip.view(np.uint8).reshape(stop - first, row_bytes)
    now = levels[start - first :]
    above = levels[:-1] if start else np.concatenate([np.zeros_like(now[:1]), now[:-1]])
    pixel = row_bytes // pixels.shape[1]
    before, above_it = now[:, :-pixel], above[:, pixel:]
    filtered = np.empty((stop - start, 1 + row_bytes), np.uint8)
    filtered[:, 0] = _AVERAGE
    # The mean of both, rounded down, without leaving 8 bits; nothing is before the first pixel.
    mean = np.empty_like(now)
    np.right_shift(above[:, :pixel], 1, out=mean[:, :pixel])
    rest = mean[:, pixel:]
    half = before ^ above_it
    half >>= 1
    np.bitwise_and(before, above_it, out=rest)
    rest += half
    np.subtract(now, mean, out=filtered[:, 1:])
    return filtered


def _deflate(filtered: UInt8[np.ndarray, "bytes"], is_last: bool) -> tuple[bytes, ...]:
    """Deflate a strip on its own, a few bytes longer than in one go; return what together is that.

    At levels 1 and 2 ISA-L (2.32.1 and before, `write_first_byte`) takes a bit of its state's address for the hash of
    the third byte: depending on where that lies in memory, one run in some strips is found or not, and the bytes
    differ. A head too short for that loop makes it start with the right hashes.
    """
    engine = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
    head = engine.compress(filtered[:HEAD_BYTES]), engine.flush(isal_zlib.Z_SYNC_FLUSH)
    end = isal_zlib.Z_FINISH if is_last else isal_zlib.Z_FULL_FLUSH
    return *head, engine.compress(filtered[HEAD_BYTES:]), engine.flush(end)


def zlib_stream(data: UInt8[np.ndarray, "bytes"]) -> bytes:
    """Deflate bytes into a stream of their own (RFC 1950), the same for the same bytes."""
    return b"".join((_ZLIB_HEADER, *_deflate(data, is_last=True), struct.pack(">I", isal_zlib.adler32(data))))


def _join(
    chunks: Iterable[tuple[bytes, bytes]], strips: Iterator[tuple[bytes, int, int]]
) -> Generator[bytes, None, None]:
    """Put the file together: every strip is a chunk, between one with zlib's header and one with its checksum."""
    checksum, head = 1, SIGNATURE
    head += b"".join(_chunk(kind, content) for kind, content in (*chunks, (b"IDAT", _ZLIB_HEADER)))
    for packed, adler, size in strips:
        yield head + packed
        head, checksum = b"", _combine_adler(checksum, adler, size)
    yield _chunk(b"IDAT", struct.pack(">I", checksum)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, *content: bytes) -> bytes:
    checksum = isal_zlib.crc32(kind)
    for part in content:
        checksum = isal_zlib.crc32(part, checksum)
    return b"".join((struct.pack(">I", sum(map(len, content))), kind, *content, struct.pack(">I", checksum)))


def _combine_adler(first: int, second: int, second_bytes: int) -> int:
    """Return the Adler-32 of two byte strings joined, from that of each (zlib's `adler32_combine`)."""
    modulus = 65521
    low, other = first & 0xFFFF, second & 0xFFFF
    total = low + other - 1
    high = (first >> 16) + (second >> 16) + second_bytes % modulus * (low - 1)
    return (high % modulus) << 16 | total % modulus
