"""Zip shards: read by many threads at once with a small index, written whole or not at all."""

import contextlib
import hashlib
import os
import struct
import threading
import weakref
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

SUFFIX: Final = ".zip"

LOCAL_HEADER: Final = struct.Struct("<4sHHHHHIIIHH")
"""What stands before a member's name and data (APPNOTE.TXT 4.3.7)."""

ENCRYPTED: Final = 1
"""Bit of a member's flags."""

EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The date of every member: equal content gives equal shards."""

MOST_OPEN: Final = 256
"""Shards that are kept open; systems often allow a process 1024 files."""

_ENTRY: Final = np.dtype(
    [("name", "<u8"), ("offset", "<u8"), ("stored", "<u4"), ("size", "<u4"), ("crc", "<u4"), ("method", "<u2")]
)


class ShardReader:
    """Reads the members of one shard; any number of threads may do so at once.

    The standard library keeps some 600 bytes a member and one file position for all threads; this keeps 30 bytes a
    member and none.
    """

    def __init__(self, path: Path, *, keep_open: bool = True) -> None:
        """Read the directory of a shard.

        Args:
            path: the shard.
            keep_open: hold on to the file; else it is opened for each member.

        Raises:
            OSError: the file cannot be read.
            zipfile.BadZipFile: not an archive, or one with members of 4 GiB.
        """
        with zipfile.ZipFile(path) as archive:
            rows = [(_hash(info.filename), *_place(info)) for info in archive.infolist()]
        try:
            entries = np.array(rows, _ENTRY)
        except OverflowError as error:
            raise zipfile.BadZipFile(f"{path.name} has members of 4 GiB and more") from error
        self._path = path
        self._entries = entries[np.argsort(entries["name"], kind="stable")]
        self._descriptor = os.open(path, os.O_RDONLY) if keep_open else None
        if self._descriptor is not None:
            weakref.finalize(self, os.close, self._descriptor)

    def read(self, member: str) -> bytes:
        """Return the content of a member.

        Raises:
            KeyError: there is no such member.
            OSError: the file cannot be read.
            zipfile.BadZipFile: the member is damaged, encrypted, or compressed in a strange way.
        """
        wanted = _hash(member)
        place = int(np.searchsorted(self._entries["name"], np.uint64(wanted)))
        if place == len(self._entries) or int(self._entries["name"][place]) != wanted:
            raise KeyError(f"no {member} in {self._path.name}")
        _, offset, stored, size, crc, method = self._entries[place].tolist()
        if self._descriptor is not None:
            data = _read_member(self._descriptor, member, offset, stored)
        else:
            descriptor = os.open(self._path, os.O_RDONLY)
            try:
                data = _read_member(descriptor, member, offset, stored)
            finally:
                os.close(descriptor)
        if method == zipfile.ZIP_DEFLATED:
            try:
                # No more than the directory says: a small member may hold gigabytes.
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
            except zlib.error as error:
                raise zipfile.BadZipFile(f"{member} is damaged: {error}") from error
        elif method != zipfile.ZIP_STORED:
            raise zipfile.BadZipFile(f"{member} is neither stored nor deflated")
        if len(data) != size or zlib.crc32(data) != crc:
            raise zipfile.BadZipFile(f"{member} is damaged: its checksum differs")
        return data


def _read_member(descriptor: int, member: str, offset: int, stored: int) -> bytes:
    """Return a member as it is stored."""
    name = member.encode()
    # One read in nearly every case: the extra field before the data is short, where there is one.
    block = os.pread(descriptor, LOCAL_HEADER.size + len(name) + 64 + stored, offset)
    if len(block) < LOCAL_HEADER.size:
        raise zipfile.BadZipFile(f"{member} is cut off")
    magic, _, flags, *_, name_length, extra_length = LOCAL_HEADER.unpack_from(block)
    start = LOCAL_HEADER.size + name_length + extra_length
    if magic != b"PK\x03\x04" or name_length != len(name) or block[LOCAL_HEADER.size :][: len(name)] != name:
        raise zipfile.BadZipFile(f"{member} is not where the directory says")
    if flags & ENCRYPTED:
        raise zipfile.BadZipFile(f"{member} is encrypted")
    data = block[start : start + stored]
    return data if len(data) == stored else os.pread(descriptor, stored, offset + start)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def _place(info: zipfile.ZipInfo) -> tuple[int, int, int, int, int]:
    return info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type


class ShardWriter:
    """Writes a shard of stored members beside its place and moves it there when it is finished.

    Use as a context: leaving it normally finishes the shard, leaving it with an error removes what there is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        self._archive = zipfile.ZipFile(self._partial, "w", zipfile.ZIP_STORED)

    def add(self, name: str, data: bytes) -> None:
        """Add a member.

        Raises:
            OSError: it cannot be written.
        """
        info = zipfile.ZipInfo(name, EPOCH)
        info.external_attr = 0o644 << 16
        self._archive.writestr(info, data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            # What the end of a dropped shard has no room for is not missed.
            with contextlib.nullcontext() if kind is None else contextlib.suppress(OSError):
                self._archive.close()
            if kind is None:
                with self._partial.open("rb+") as file:
                    os.fsync(file.fileno())
                os.replace(self._partial, self._path)
        finally:
            self._partial.unlink(missing_ok=True)


class ShardPool:
    """Opens shards when they are first read; safe for several threads."""

    def __init__(self) -> None:
        self._readers: dict[Path, ShardReader] = {}
        self._lock = threading.Lock()

    def read(self, path: Path, member: str) -> bytes:
        """Return the content of a shard's member; see `ShardReader`."""
        reader = self._readers.get(path)
        if reader is None:
            with self._lock:
                reader = self._readers.get(path)
                if reader is None:
                    reader = ShardReader(path, keep_open=len(self._readers) < MOST_OPEN)
                    self._readers[path] = reader
        return reader.read(member)
