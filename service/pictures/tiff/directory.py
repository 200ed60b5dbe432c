"""Directories of a TIFF or BigTIFF, of either byte order, read without a number in the file being believed.

Nothing is allocated by what a file says, and every value that does not lie inside the file counts as not said. So the
service itself may read directories of untrusted files, which it must not leave to a library.

References:
    TIFF 6.0 (Aldus, 1992), section 2. The BigTIFF File Format (Adobe, 2004).
"""

import struct
from mmap import mmap
from typing import Any, Final, Literal

import numpy as np

from service.errors import BrokenPicture

STARTS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF or BigTIFF."""

NEW_SUBFILE_TYPE: Final = 254
OLD_SUBFILE_TYPE: Final = 255
WIDTH: Final = 256
HEIGHT: Final = 257
BITS: Final = 258
COMPRESSION: Final = 259
PHOTOMETRIC: Final = 262
FILL_ORDER: Final = 266
STRIP_OFFSETS: Final = 273
ORIENTATION: Final = 274
SAMPLES: Final = 277
ROWS_PER_STRIP: Final = 278
STRIP_BYTE_COUNTS: Final = 279
PLANAR_CONFIGURATION: Final = 284
T4_OPTIONS: Final = 292
PREDICTOR: Final = 317
COLOR_MAP: Final = 320
TILE_WIDTH: Final = 322
TILE_HEIGHT: Final = 323
TILE_OFFSETS: Final = 324
TILE_BYTE_COUNTS: Final = 325
SUB_DIRECTORIES: Final = 330
INK_SET: Final = 332
EXTRA_SAMPLES: Final = 338
SAMPLE_FORMAT: Final = 339
LOWEST_SAMPLE: Final = 340
HIGHEST_SAMPLE: Final = 341
JPEG_TABLES: Final = 347
YCBCR_COEFFICIENTS: Final = 529
YCBCR_SUBSAMPLING: Final = 530
REFERENCE_BLACK_WHITE: Final = 532
ICC_PROFILE: Final = 34675

Order = Literal["<", ">"]
"""Of bytes: the least significant first, or the most."""

BIG: Final = 43
"""The version that BigTIFF says it is."""

TYPES: Final = {
    1: "u1",
    2: "u1",
    3: "u2",
    4: "u4",
    5: "2u4",
    6: "i1",
    7: "u1",
    8: "i2",
    9: "i4",
    10: "2i4",
    11: "f4",
    12: "f8",
    13: "u4",
    16: "u8",
    17: "i8",
    18: "u8",
}
"""Types of values, by NumPy's names; rationals are pairs of integers."""

MOST_ENTRIES: Final = 4096
"""A directory with more is none, to libtiff as well; those of real files have some dozens."""

MOST_VALUES: Final = 64
"""So many are read of a tag that says something of each channel."""


class Tiff:
    """A file and how its numbers are written.

    Attributes:
        data: the whole file.
        order: of bytes, `<` or `>`.
        word: type of an offset.
        count: type of the number of a directory's entries.
        entry: type of an entry.
        short: type of a number of two bytes.
        four: type of a number of four.
        first: where its first directory starts.
        first_at: where that is said.
    """

    def __init__(self, data: bytes | memoryview | mmap) -> None:
        """Read the first bytes.

        Raises:
            BrokenPicture: there are too few.
        """
        self.data = data
        self.order: Order = "<" if bytes(data[:2]) == b"II" else ">"
        big = BIG in bytes(data[2:4])
        self.word, self.count = (struct.Struct(self.order + form) for form in ("QQ" if big else "LH"))
        self.short, self.four = (struct.Struct(self.order + form) for form in "HL")
        short, word = f"{self.order}u2", f"{self.order}u{self.word.size}"
        self.entry = np.dtype([("tag", short), ("type", short), ("count", word), ("value", word)])
        self.first_at = 8 if big else 4
        self.first = self.integer(self.word, self.first_at)
        if not self.first:
            raise BrokenPicture("The TIFF ends before its first directory.")

    def integer(self, kind: struct.Struct, place: int) -> int:
        """Return the integer at a place; 0 where the file does not reach so far."""
        if place + kind.size > len(self.data):
            return 0
        value: int = kind.unpack_from(self.data, place)[0]
        return value

    def directory(self, place: int) -> "Directory":
        """Return the directory at a place.

        Raises:
            BrokenPicture: there is none.
        """
        return Directory(self, place)

    def array(self, kind: str, count: int, place: int) -> "np.ndarray[Any, np.dtype[Any]]":
        """Return numbers of a type; none where the file does not reach so far. Nothing is copied."""
        itemsize = np.dtype(kind).itemsize
        if not 0 < count <= (len(self.data) - place) // itemsize:
            return np.empty(0, np.uint8)
        dtype = kind if len(kind) == 2 else kind[1:]
        numbers = np.frombuffer(self.data, self.order + dtype, count * itemsize // np.dtype(dtype).itemsize, place)
        return numbers.reshape(count, 2) if len(kind) > 2 else numbers


class Directory:
    """One directory.

    Attributes:
        tiff: the file.
        place: where it starts.
    """

    def __init__(self, tiff: Tiff, place: int) -> None:
        """Find its entries.

        Raises:
            BrokenPicture: it has none, or more than the file.
        """
        self.tiff, self.place = tiff, place
        count = tiff.integer(tiff.count, place)
        self._start = place + tiff.count.size
        if not 0 < count <= min(MOST_ENTRIES, (len(tiff.data) - self._start) // tiff.entry.itemsize):
            raise BrokenPicture("A directory of the TIFF is empty, or longer than the file.")
        self._entries = np.frombuffer(tiff.data, tiff.entry, count, self._start)

    @property
    def next_at(self) -> int:
        """Where it is said where the next directory starts."""
        return self._start + self._entries.nbytes

    def __contains__(self, tag: int) -> bool:
        """Whether a tag is there."""
        return self._index(tag) is not None

    def _index(self, tag: int) -> int | None:
        """Return which entry is a tag's: of several the first, as it is to other readers."""
        found = np.flatnonzero(self._entries["tag"] == tag)
        return int(found[0]) if found.size else None

    def array(self, tag: int) -> "np.ndarray[Any, np.dtype[Any]]":
        """Return the values of a tag, rationals as pairs; none where it is not there or not inside the file."""
        index = self._index(tag)
        if index is None:
            return np.empty(0, np.uint8)
        entry = self._entries[index]
        kind, count, room = TYPES.get(int(entry["type"])), int(entry["count"]), self.tiff.word.size
        if kind is None:
            return np.empty(0, np.uint8)
        inside = self._start + (index + 1) * self.tiff.entry.itemsize - room
        fits = count * np.dtype(kind).itemsize <= room
        return self.tiff.array(kind, count, inside if fits else int(entry["value"]))

    def integers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return a tag's first integers, at most `MOST_VALUES`."""
        values = self.array(tag)[:MOST_VALUES]
        if values.dtype.kind not in "ui" or values.ndim > 1 or not values.size:
            return default
        return tuple(values.tolist())

    def integer(self, tag: int, default: int) -> int:
        """Return a tag's first integer."""
        return self.integers(tag, (default,))[0]

    def numbers(self, tag: int, default: tuple[float, ...] = ()) -> tuple[float, ...]:
        """Return a tag's first numbers of any type, at most `MOST_VALUES`; those over 0 count as 0."""
        values = self.array(tag)[:MOST_VALUES].astype(np.float64)
        if not values.size:
            return default
        if values.ndim > 1:
            values = np.divide(values[:, 0], values[:, 1], out=np.zeros(len(values)), where=values[:, 1] != 0)
        return tuple(values.tolist())

    def view(self, tag: int) -> memoryview:
        """Return a tag's bytes where they lie in the file, uncopied: there may be as many as the file has."""
        return self.array(tag).reshape(-1).view(np.uint8).data

    def content(self, tag: int, most: int) -> bytes:
        """Return a tag's bytes; none where there are more than so many."""
        stored = self.view(tag)
        return stored.tobytes() if stored.nbytes <= most else b""
