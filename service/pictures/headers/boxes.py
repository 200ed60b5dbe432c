"""Boxes, of which files in the manner of QuickTime are made: AVIF, HEIC, JPEG 2000 and JPEG XL.

References:
    ISO/IEC 14496-12:2022, section 4.2.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from service.errors import CostlyPicture

MOST_BOXES: Final = 1 << 12
"""In one box, or in the file; phones' files have some hundred."""

HEAD_BYTES: Final = 8

LONG_HEAD_BYTES: Final = 16

FULL_HEAD_BYTES: Final = 4
"""Version and flags, with which the content of a full box begins."""


class Box(NamedTuple):
    """A box's type, and where its content lies in the file."""

    kind: bytes
    start: int
    end: int


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Yield the boxes of a part of a file; one that is damaged, or longer than the part, is the last.

    Raises:
        CostlyPicture: there are more than any writer makes.
    """
    end = len(data) if end is None else min(end, len(data))
    for _ in range(MOST_BOXES):
        if start + HEAD_BYTES > end:
            return
        size, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        head = HEAD_BYTES
        if size == 1:
            size, head = int.from_bytes(data[start + 8 : start + 16], "big"), LONG_HEAD_BYTES
        elif size == 0:
            size = end - start
        if size < head:
            return
        yield Box(kind, start + head, min(start + size, end))
        start += size
    raise CostlyPicture(f"The file holds more than {MOST_BOXES} boxes. Save it anew, and it is taken.")


def find(data: bytes, kind: bytes, start: int = 0, end: int | None = None, *, most: int | None = None) -> Box | None:
    """Return the first box of a type in a part of a file, if it is among the first so many."""
    return next((box for box in islice(boxes(data, start, end), most) if box.kind == kind), None)


def brands(data: bytes) -> set[bytes]:
    """Return what a file says it is, the major brand included; empty where it says nothing."""
    first = find(data[:64], b"ftyp")
    if first is None:
        return set()
    end = min(int.from_bytes(data[first.start - HEAD_BYTES : first.start - 4], "big"), 1 << 10)
    content = data[first.start : end]
    return {content[at : at + 4] for at in (0, *range(8, len(content) - 3, 4))}


class Reader:
    """Reads numbers one after the other; behind the end all of them are 0."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        """Start at a place."""
        self._data, self.place, self._end = data, start, min(end, len(data))

    def number(self, size: int) -> int:
        """Return the next big-endian number of so many bytes."""
        start = self.place
        self.place += size
        return int.from_bytes(self._data[start : min(self.place, self._end)], "big") if self.place <= self._end else 0

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        start = self.place
        self.place += size
        return self._data[start : min(self.place, self._end)]

    @property
    def left(self) -> int:
        """Bytes that are left."""
        return max(self._end - self.place, 0)
