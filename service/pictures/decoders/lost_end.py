"""JPEGs that lack nothing but their end mark: whole pictures, which decoders take for cut short.

Decoders look ahead, so without an end they stop before the last pixels; with one that is put behind them they read
whatever there is and fill up the rest with gray, cut short or not. What tells both apart: behind a whole picture nobody
reads on, so whatever follows it gives the same pixels.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from service.pictures.levels import Pixels

END: Final = b"\xff\xd9"

FILLERS: Final = (b"\x00" * 64 + END, b"\x55" * 64 + END, b"\xfe" * 64 + END)
"""What is put behind the data; entropy-coded data that go on read other coefficients in each."""

SOS: Final = b"\xff\xda"

COEFFICIENTS: Final = 64

ALL: Final = (1 << COEFFICIENTS) - 1


def whole_jpeg(data: bytes, decode: Callable[[bytes], Pixels | None]) -> Pixels:
    """Decode a JPEG that lacks its end mark.

    Args:
        data: the file.
        decode: gives pixels, or None where it fails.

    Raises:
        ValueError: it lacks more than that.
    """
    data = _without_half_end(data)
    if data.endswith(END) or not has_last_scans(data):
        raise ValueError("a JPEG that is damaged, or cut between its scans")
    first = decode(data + FILLERS[0])
    if first is None:
        raise ValueError("a JPEG that is damaged")
    for filler in FILLERS[1:]:
        other = decode(data + filler)
        if other is None or not np.array_equal(first, other):
            raise ValueError("a JPEG that is cut short")
    return first


def lacks_end(data: bytes) -> bool:
    """Whether a JPEG has no end mark behind its last scan. Behind the mark there may be anything."""
    return data.rfind(END) <= data.rfind(SOS)


def with_end(data: bytes) -> bytes:
    """Return a JPEG that lacks its end mark, with one."""
    return _without_half_end(data) + END


def _without_half_end(data: bytes) -> bytes:
    return data[:-1] if data.endswith(b"\xff") else data


def has_last_scans(data: bytes) -> bool:
    """Whether every component has all of its coefficients in full precision, by the heads of the scans."""
    seen: dict[int, int] = {}
    for components, first, last, is_final in _scans(data):
        for component in components:
            done = ((1 << last - first + 1) - 1) << first if is_final and first <= last < COEFFICIENTS else 0
            if first > last == 0:  # Lossless: the number of its predictor.
                done = ALL
            seen[component] = seen.get(component, 0) | done
    return bool(seen) and all(done == ALL for done in seen.values())


def _scans(data: bytes) -> Iterator[tuple[bytes, int, int, bool]]:
    """Yield each scan's components, first and last coefficient, and whether it has their lowest bit (T.81, B.2.3)."""
    place = data.find(SOS)
    while place != -1:
        head = data[place + 4 : place + 16]
        count = head[0] if head else 0
        if 1 <= count <= 4 and len(head) >= 4 + 2 * count:
            first, last, precision = struct.unpack_from("3B", head, 1 + 2 * count)
            yield head[1 : 1 + 2 * count : 2], first, last, precision & 15 == 0
        place = data.find(SOS, place + 2)
