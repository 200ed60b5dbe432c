"""OpenCV's decoders with the pixels once in memory.

Python's `cv2.imdecode` decodes into OpenCV's own memory, and copies that into an array of NumPy's; `cv2.imread` with a
second argument decodes into the array (OpenCV 4.11 and later). It wants a file's name, which a file in memory has, too.
"""

import os
from contextlib import suppress
from typing import Final

import cv2
import numpy as np

from service.pictures.levels import Pixels

LARGE_BYTES: Final = 1 << 20
"""Files from here on are worth it: the file itself is copied instead."""


def read_once(data: bytes | memoryview, flags: int) -> Pixels | None:
    """Decode a large JPEG or PNG as `cv2.imdecode` does, lying as in the file.

    A file that is cut short may give pixels where `cv2.imdecode` fails: whoever takes them looks for complaints.

    Args:
        data: the whole file.
        flags: of `cv2.imdecode`.

    Returns:
        Pixels; None where OpenCV fails, or this is no way to read it.

    Raises:
        cv2.error: OpenCV fails in another way.
    """
    if len(data) < LARGE_BYTES or not hasattr(os, "memfd_create"):
        return None
    with suppress(OSError):
        descriptor = os.memfd_create("picture", os.MFD_CLOEXEC)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            decoded = cv2.imread(f"/proc/self/fd/{descriptor}", None, flags | cv2.IMREAD_IGNORE_ORIENTATION)
            return None if decoded is None or not decoded.size else np.asarray(decoded)
        finally:
            os.close(descriptor)
    return None
