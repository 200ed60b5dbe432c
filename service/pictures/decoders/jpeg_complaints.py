"""Pixels by OpenCV, and what libjpeg complains of meanwhile.

libjpeg fills up what it lacks, prints a line, and calls it a success; OpenCV passes on neither the line nor that there
was one. So the line is read where it is printed: the first of each picture, for later ones are not.
"""

import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import cv2
import numpy as np

from service.pictures.decoders.one_copy import read_once
from service.pictures.levels import Pixels

STDERR: Final = 2

MOST_BYTES: Final = 1 << 16
"""Of what is printed meanwhile, other threads' lines included, that is read."""

_COMPLAINT: Final = re.compile(
    rb"(Corrupt JPEG data: .*|Premature end of JPEG file|Inconsistent progression sequence .*"
    rb"|Invalid SOS parameters .*|Unknown Adobe color transform .*|Warning: unknown JFIF revision .*)\n"
)

_LISTENING: Final = threading.Lock()
"""A process has one place where libraries print. A worker, which decodes one picture at a time, never waits for it."""


def read_heard(data: bytes | memoryview, flags: int) -> tuple[Pixels | None, str]:
    """Decode a picture, lying as in the file.

    Args:
        data: the whole file.
        flags: of `cv2.imdecode`.

    Returns:
        Pixels, or None where OpenCV fails; and libjpeg's first complaint, empty where it has none.

    Raises:
        cv2.error: OpenCV fails in another way.
    """
    decoded, complaint = _heard(read_once, data, flags)
    # What is cut short is one thing from a file, another from memory.
    return (decoded, complaint) if decoded is not None and not complaint else _heard(_read_twice, data, flags)


def _read_twice(data: bytes | memoryview, flags: int) -> Pixels | None:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if decoded is None else np.asarray(decoded)


def _heard(
    read: Callable[[bytes | memoryview, int], Pixels | None], data: bytes | memoryview, flags: int
) -> tuple[Pixels | None, str]:
    printed = bytearray()
    with _LISTENING, _stderr_into(printed):
        decoded = read(data, flags)
    complaint = _COMPLAINT.search(printed)
    others = _COMPLAINT.sub(b"", printed)
    if others:  # Of other threads, which print there, too.
        with suppress(OSError):
            os.write(STDERR, others)
    return decoded, complaint[1].decode() if complaint else ""


@contextmanager
def _stderr_into(printed: bytearray) -> Iterator[None]:
    """Add to a buffer what is printed meanwhile, by C libraries as well."""
    with _open_file() as file:
        before = os.dup(STDERR)
        os.dup2(file, STDERR)
        try:
            yield
        finally:
            os.dup2(before, STDERR)
            os.close(before)
            printed += os.pread(file, MOST_BYTES, 0)


@contextmanager
def _open_file() -> Iterator[int]:
    """Open a file without a name, in memory where the system can: a worker may write no other."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as named:
            yield named.fileno()
        return
    descriptor = os.memfd_create("printed", os.MFD_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
