"""Large uploads and answers on the disk, written as they come, so that hundreds of megabytes take no memory.

Files have no name: the room of one is free once nobody has it open, whoever ended and however. How many bytes there are
has a limit of its own, beside that of the bytes in memory.
"""

import logging
import os
import secrets
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from service.engine.codec_pool import CodecPool
from service.errors import OutOfDisk, OutOfMemory, Overloaded, SettingsError
from service.machine import is_in_memory
from service.pictures.spooled import Descriptor, FileData, SpooledFile
from service.settings import Settings

SPOOL_FROM_BYTES: Final = 16 << 20
"""Smaller files stay in memory: photographs do, and decoding them waits for no disk."""

WRITE_BYTES: Final = 1 << 20
"""What is written at once."""

Pair = tuple[Descriptor, Descriptor]
"""Of one file: to write, and to read."""

THREADS: Final = 4
"""So many writes at once; those of a disk that hangs keep nobody waiting but large pictures."""

LASTING: Final = Path("/var/tmp")
"""For temporary files, and by the Filesystem Hierarchy Standard (5.15) on a disk, unlike `/tmp` of some systems."""

log = logging.getLogger(__name__)


class Spool:
    """The directory, and how many bytes lie in it; to be used from one event loop, but for closing files.

    Attributes:
        directory: that takes the files.
        limit: most bytes.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        """Start without any file.

        Args:
            directory: of a disk.
            limit: most bytes.
        """
        self.directory, self.limit = directory, limit
        self._count = 0
        self._freed: deque[int] = deque()
        self._threads = CodecPool(THREADS)

    @classmethod
    def of(cls, settings: Settings) -> "Spool | None":
        """Return the operator's; None where all uploads stay in memory.

        Raises:
            SettingsError: nothing can be written to the directory that was named.
        """
        if not settings.max_spooled_bytes:
            return None
        try:
            directory = settings.spool_dir or default_directory()
            for descriptor in _create(directory):
                os.close(descriptor)
        except OSError as error:
            cure = (
                "set PHOTOCHROM_SPOOL_DIR to a directory that can be written to, or PHOTOCHROM_MAX_SPOOLED_BYTES=0 to "
                "keep uploads in memory"
            )
            if settings.spool_dir is None:
                log.warning(f"uploads stay in memory, since there is no directory for temporary files: {cure}")
                return None
            raise SettingsError(f"{settings.spool_dir} takes no uploads ({error.strerror}): {cure}") from error
        # As with memory, whoever is alone gets what it needs.
        return cls(directory, max(settings.max_spooled_bytes, settings.max_upload_bytes))

    @property
    def count(self) -> int:
        """Bytes that lie there."""
        with suppress(IndexError):  # Files may be closed by any thread, at any moment.
            while True:
                self._count -= self._freed.popleft()
        return self._count

    def check(self, new: int) -> None:
        """Refuse what there is no room for.

        Raises:
            Overloaded: there is none.
        """
        if self.count + new > self.limit:
            raise Overloaded(
                "Too many bytes are on the disk; try again later.",
                retry_after_s=1,
                limit=self.limit,
                unit="bytes",
            )

    def add(self, count: int) -> None:
        """Count bytes that are about to be written."""
        self._count += count

    def free(self, count: int) -> None:
        """Count bytes no more; any thread may."""
        self._freed.append(count)

    async def write(self, file: Pair | None, parts: Sequence[bytes]) -> Pair:
        """Write to a file.

        Args:
            file: from an earlier call; None for a new one.
            parts: of it.

        Returns:
            Descriptors of the file, to write and to read.

        Raises:
            OutOfDisk: it cannot be written.
        """
        try:
            return await self._threads.run(self._write, file, parts)
        except OSError as error:
            raise self._full(error) from error

    async def read(self, file: Pair, size: int, place: int) -> bytes:
        """Return so many bytes of a file, from a place on.

        Raises:
            OutOfDisk: it cannot be read.
        """
        try:
            return await self._threads.run(os.pread, file[1].number, size, place)
        except OSError as error:
            log.warning(f"{self.directory} cannot be read: {error.strerror}")
            raise OutOfDisk("The disk cannot be read; try again later.") from error

    def append(self, file: Pair | None, part: bytes) -> Pair:
        """Write to a file, as `write`, from a thread that may wait for a disk.

        Raises:
            OutOfDisk: it cannot be written.
        """
        try:
            return self._write(file, [part])
        except OSError as error:
            raise self._full(error) from error

    def patch(self, file: Pair, place: int, data: bytes) -> None:
        """Write other bytes in the place of some, from a thread that may wait for a disk.

        Raises:
            OutOfDisk: they cannot be written.
        """
        try:
            os.pwrite(file[0].number, data, place)
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> OutOfDisk:
        log.warning(f"{self.directory} takes no more: {error.strerror}")
        return OutOfDisk()

    def close(self) -> None:
        """Stop the threads."""
        self._threads.close()

    def _write(self, file: Pair | None, parts: Sequence[bytes]) -> Pair:
        if file is None:
            writing, reading = _create(self.directory)
            file = Descriptor(writing), Descriptor(reading)
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(file[0].number, rest) :]
        return file


class Incoming:
    """A file as it arrives: in memory while it is small, then on the disk."""

    def __init__(self, spool: Spool | None, unload: Callable[[int], None], announced: float = 0) -> None:
        """Begin with nothing.

        Args:
            spool: for what is large; None keeps it in memory.
            unload: told of bytes that are no more in memory.
            announced: size of the whole upload, bytes, where it is known.
        """
        self._spool, self._unload = spool, unload
        # What will be large goes to the disk from its first bytes on.
        self._most = WRITE_BYTES if announced > SPOOL_FROM_BYTES else SPOOL_FROM_BYTES
        self._parts: list[bytes] = []
        self._waiting = self._written = 0
        self._file: Pair | None = None

    async def add(self, part: bytes) -> None:
        """Take the next part.

        Raises:
            Overloaded: there is no room for it on the disk.
            OutOfDisk: it cannot be written.
        """
        self._parts.append(part)
        self._waiting += len(part)
        if self._spool and self._waiting > self._most:
            await self._flush(self._spool)

    async def finish(self) -> FileData:
        """Return the whole file.

        Raises:
            Overloaded: as `add`.
            OutOfDisk: as `add`.
            OutOfMemory: it cannot be mapped.
        """
        if self._spool and self._file:
            await self._flush(self._spool)
            try:
                data = SpooledFile(self._file[1], partial(self._spool.free, self._written))
            except OSError as error:  # No room for one more mapping.
                raise OutOfMemory() from error
            self._file, self._written = None, 0
            return data
        parts, self._parts = self._parts, []
        return b"".join(parts)

    def close(self) -> None:
        """Let go of what has come, unless it was finished."""
        if self._spool and self._written:
            self._spool.free(self._written)
        self._file, self._written, self._parts = None, 0, []

    async def _flush(self, spool: Spool) -> None:
        spool.check(self._waiting)
        spool.add(self._waiting)
        self._written += self._waiting
        self._file = await spool.write(self._file, self._parts)
        self._unload(self._waiting)
        self._parts, self._waiting, self._most = [], 0, WRITE_BYTES


def default_directory() -> Path:
    """Return where uploads go if nothing else was asked for.

    Raises:
        OSError: there is no directory for temporary files.
    """
    usual = Path(tempfile.gettempdir())
    return LASTING if is_in_memory(usual) and os.access(LASTING, os.W_OK | os.X_OK) else usual


def _create(directory: Path) -> tuple[int, int]:
    """Return descriptors to write and to read a new file that has no name.

    Raises:
        OSError: the directory takes none.
    """
    with suppress(OSError, AttributeError):  # Not every system, nor every file system, knows files without a name.
        writing = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o400)
        try:
            return writing, os.open(f"/proc/self/fd/{writing}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(writing)
    path = directory / f".photochrom-{secrets.token_hex(16)}.part"
    writing = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    try:
        return writing, os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.unlink(path)
