"""A file on the disk that is read as `bytes` are: what a large upload is to whoever works on it.

It has no name, so that nothing of it is left however the service ends. It is mapped, so that of hundreds of megabytes
only what is looked at comes into memory, which the system takes back when it is short.
"""

import io
import mmap
import os
from collections.abc import Callable
from typing import BinaryIO, Final, Self, TypeAlias, cast

PIECE_BYTES: Final = 1 << 20
"""What is counted in at once."""


class Descriptor:
    """An open file, closed when nobody uses it any more.

    A number that is closed while a thread still writes to it could by then be another caller's file.

    Attributes:
        number: of it.
    """

    def __init__(self, number: int) -> None:
        """Take it over."""
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


class SpooledFile(mmap.mmap):
    """The bytes of a file on the disk.

    A slice is a copy; the whole is never in memory unless somebody asks for `bytes` of it. Whoever needs a stream
    takes `open_data`.
    """

    _descriptor: Descriptor | None
    _on_close: Callable[[], None] | None

    def __new__(cls, descriptor: Descriptor, on_close: Callable[[], None] = lambda: None) -> Self:
        """Map a file that nobody else changes any more.

        Args:
            descriptor: of it, open for reading; it is not empty.
            on_close: called once when it is closed.
        """
        self = super().__new__(cls, descriptor.number, 0, prot=mmap.PROT_READ)
        self._descriptor, self._on_close = descriptor, on_close
        return self

    def descriptor(self) -> int:
        """Return a new descriptor of the file, for reading; the caller closes it.

        Raises:
            ValueError: it is closed.
        """
        descriptor = self._descriptor
        if descriptor is None:
            raise ValueError("the file is closed")
        return os.dup(descriptor.number)

    def close(self) -> None:
        """Free its room; at once, or when whoever still reads has ended."""
        self._descriptor = None
        try:
            super().close()
        except BufferError:
            return
        self._tell()

    def __del__(self) -> None:
        self._tell()

    def _tell(self) -> None:
        told, self._on_close = self._on_close, None
        if told is not None:
            told()

    def startswith(self, prefix: bytes | tuple[bytes, ...], start: int = 0) -> bool:
        """As `bytes.startswith`."""
        prefixes = prefix if isinstance(prefix, tuple) else (prefix,)
        return any(self[start : start + len(each)] == each for each in prefixes)

    def endswith(self, suffix: bytes | tuple[bytes, ...]) -> bool:
        """As `bytes.endswith`."""
        suffixes = suffix if isinstance(suffix, tuple) else (suffix,)
        return any(self[max(len(self) - len(each), 0) :] == each for each in suffixes)

    def index(self, sub: bytes, start: int = 0) -> int:
        """As `bytes.index`.

        Raises:
            ValueError: it is not there.
        """
        place = self.find(sub, start)
        if place < 0:
            raise ValueError("subsection not found")
        return place

    def count(self, sub: bytes) -> int:
        """As `bytes.count`, for what does not overlap with itself."""
        more = len(sub) - 1
        return sum(self[place : place + PIECE_BYTES + more].count(sub) for place in range(0, len(self), PIECE_BYTES))

    def __contains__(self, sub: object) -> bool:
        """As that of `bytes`."""
        return self[:].__contains__(sub) if isinstance(sub, int) else self.find(cast(bytes, sub), 0) >= 0


FileData: TypeAlias = bytes | SpooledFile
"""A whole file, in memory or on the disk."""


def as_bytes(data: FileData) -> bytes:
    """Return the same for a function that reads it as `bytes`, and is no worse off with a `SpooledFile`."""
    return cast(bytes, data)


def open_data(data: FileData | memoryview) -> BinaryIO:
    """Return a stream over a whole file, which of one on the disk copies nothing."""
    return cast(BinaryIO, io.BufferedReader(_Reader(data))) if isinstance(data, SpooledFile) else io.BytesIO(data)


class _Reader(io.RawIOBase):
    """Reads a `SpooledFile`; a place of its own lets several read at once."""

    def __init__(self, data: SpooledFile) -> None:
        self._data, self._place = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: len(self._data)}[whence]
        if base + offset < 0:
            raise ValueError("a place in front of the file")
        self._place = base + offset
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        part = self._data[self._place : self._place + len(buffer)]
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)
