"""Pixels -> JPEG, strip by strip: threads can share them, and memory beside the answer stays at a few strips.

Each strip is compressed on its own, as JPEG's restart intervals are: behind a restart marker nothing depends on what
stood before. So the file is, byte for byte, the one that the encoder makes of the whole picture with that interval.

References:
    ITU-T T.81 (JPEG), sections B.2.1 (restart markers), B.2.2 (frame header) and B.2.4.4 (DRI).
"""

import struct
from collections.abc import Callable, Generator
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8

from chroma.strips import map_strips

BLOCK_PX: Final = 16
"""Side of what is coded together, where the colors have half the size."""

STRIP_PIXELS: Final = 1 << 20
"""Pixels of a strip; smaller pictures are compressed in one go."""

MOST_BLOCKS: Final = 65_535
"""In a restart interval."""

FRAME, TABLES_END, RESTART, INTERVAL, END = 0xC0, 0xDA, 0xD0, b"\xff\xdd\x00\x04", b"\xff\xd9"

RESTARTS: Final = 8
"""Restart markers have numbers that go round."""

Strip = Callable[[slice], UInt8[np.ndarray, "rows W 3"]]
"""Returns some rows, BGR."""


def encode_parts(
    rows: Strip, shape: tuple[int, int], *, quality: int, workers: int = 1
) -> Generator[bytes, None, None]:
    """Compress a JPEG in parts, as they are taken; colors have half the size.

    Args:
        rows: of the picture.
        shape: (H, W), px.
        quality: 0 to 100.
        workers: threads that compress strips, at least 1; they do not change the file.

    Yields:
        What together is the file; the first part holds a strip, too.

    Raises:
        RuntimeError: as `compress_whole`.
    """
    height, width = shape
    across = -(-width // BLOCK_PX)
    down = max(min(STRIP_PIXELS // (width * BLOCK_PX), MOST_BLOCKS // across), 1)

    def compress(top: int, bottom: int) -> bytes:
        return compress_whole(rows(slice(top, bottom)), quality)

    strips = map_strips(compress, height, BLOCK_PX * down, workers=workers)
    if height <= BLOCK_PX * down:
        yield from strips
        return
    for number, strip in enumerate(strips):
        start, scan = _find_scan(strip)
        content = memoryview(strip)[scan : -len(END)]
        if number:
            yield bytes([0xFF, RESTART + (number - 1) % RESTARTS]) + content
        else:
            interval = INTERVAL + struct.pack(">H", down * across)
            yield b"".join((_with_height(strip[:start], height), interval, strip[start:scan], content))
    yield END


def compress_whole(bgr: UInt8[np.ndarray, "H W 3"], quality: int) -> bytes:
    """Return a JPEG by OpenCV.

    Args:
        bgr: shape (H, W, 3).
        quality: 0 to 100.

    Raises:
        RuntimeError: it makes none.
    """
    done, data = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))
    if not done:
        raise RuntimeError(f"OpenCV could not encode a JPEG of shape {bgr.shape}")
    return data.tobytes()


def _find_scan(data: bytes) -> tuple[int, int]:
    """Return where the header of the scan begins, and where what it holds does."""
    place = 2
    while data[place + 1] != TABLES_END:
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return place, place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")


def _with_height(tables: bytes, height: int) -> bytes:
    """Return what stands before the scan of a strip as it stands before that of a picture of so many rows."""
    place = 2
    while tables[place + 1] != FRAME:
        place += 2 + int.from_bytes(tables[place + 2 : place + 4], "big")
    return tables[: place + 5] + struct.pack(">H", height) + tables[place + 7 :]
