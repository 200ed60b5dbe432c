"""What service and worker tell each other: short messages over a socket, files and pixels as descriptors beside them.

Files and pixels lie in anonymous memory (memfd_create), so that they neither pass through the socket nor touch a disk.
What comes from a worker is never unpickled, and believed only where the kernel vouches for it: whoever has taken one
over through a decoder's fault must not reach the service that way.
"""

import fcntl
import json
import math
import mmap
import os
import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from service.pictures.decode import Picture
from service.pictures.header import Header
from service.pictures.levels import Alpha, Pixels

MESSAGE_BYTES: Final = 1 << 13
"""Longest message in either direction."""

DTYPES: Final = {"uint8": np.uint8, "uint16": np.uint16}

_TASK: Final = struct.Struct("=QQdQ")

# Not in the module fcntl of every Python; from linux/fcntl.h.
_ADD_SEALS: Final = 1033
_SEAL_SHRINK: Final = 2


class WireError(Exception):
    """The other side has gone, or says what it should not."""


@dataclass(frozen=True)
class Task:
    """One picture to decode.

    Attributes:
        data: the whole file.
        header: from `probe` of the same bytes.
        cpu_s: processor time that decoding may take, seconds.
        memory_bytes: memory that it may take beyond what the worker has anyway.
    """

    data: bytes | memoryview
    header: Header
    cpu_s: float
    memory_bytes: int


def pack_task(task: Task) -> tuple[bytes, int]:
    """Return a message, and the descriptor of what goes with it; the caller closes it.

    Raises:
        OSError: there is no memory for it.
    """
    header = pickle.dumps(task.header)
    descriptor = _write("upload", memoryview(task.data), memoryview(header))
    return _TASK.pack(len(task.data), len(header), task.cpu_s, task.memory_bytes), descriptor


def unpack_task(message: bytes, descriptor: int) -> Task:
    """Return the task behind a message; its data stays where the service wrote it, its descriptor is closed."""
    data_bytes, header_bytes, cpu_s, memory_bytes = _TASK.unpack(message)
    memory = memoryview(mmap.mmap(descriptor, data_bytes + header_bytes, prot=mmap.PROT_READ))
    os.close(descriptor)
    return Task(memory[:data_bytes], pickle.loads(memory[data_bytes:]), cpu_s, memory_bytes)


def pack_picture(picture: Picture) -> tuple[bytes, list[int]]:
    """Return a message, and the descriptors of pixels and opacity; the caller closes them."""
    planes = [picture.pixels] if picture.alpha is None else [picture.pixels, picture.alpha]
    told = [{"shape": plane.shape, "dtype": plane.dtype.name} for plane in planes]
    files = [_write("pixels", plane.reshape(-1).view(np.uint8).data) for plane in planes]
    return json.dumps({"planes": told}).encode(), files


def pack_error(name: str, detail: str) -> bytes:
    """Return a message that says what is wrong with the picture."""
    return json.dumps({"error": name, "detail": detail}).encode()


def unpack_answer(message: bytes, descriptors: Sequence[int], header: Header) -> Picture | tuple[str, str]:
    """Return the picture behind an answer, or the name and the detail of what is wrong with it.

    The pixels stay where the worker wrote them, and can only be read; the descriptors are the caller's to close.

    Args:
        message: from `pack_picture` or `pack_error`.
        descriptors: that came with it.
        header: of the picture that was asked about.

    Returns:
        A picture of the header's upright size, gray (H, W) or RGB (H, W, 3), uint8 or uint16, opacity (H, W) of the
        same dtype; or a problem's name, and what is wrong.

    Raises:
        WireError: it is no answer to this question.
    """
    try:
        told: Any = json.loads(message)
        if "error" in told:
            return str(told["error"]), str(told["detail"])
        width, height = header.upright_size
        pixels, *others = (_read(plane, at) for plane, at in zip(told["planes"], descriptors, strict=True))
        alpha: Alpha = others[0] if others else None
        if pixels.shape not in ((height, width), (height, width, 3)) or len(others) > 1:
            raise ValueError("not the header's size")
        if alpha is not None and (alpha.shape != (height, width) or alpha.dtype != pixels.dtype):
            raise ValueError("opacity that does not fit")
    except Exception as error:  # Whatever a worker says that is none any more: nothing of it is believed.
        raise WireError(f"a worker gave no answer that makes sense: {error}") from error
    return Picture(pixels, alpha)


def _write(name: str, *parts: memoryview) -> int:
    """Return the descriptor of anonymous memory that holds the parts; a mapping would cost a fault for every page."""
    descriptor = os.memfd_create(f"photochrom-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for rest in parts:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _read(plane: dict[str, Any], descriptor: int) -> Pixels:
    shape, dtype = tuple(int(side) for side in plane["shape"]), DTYPES[plane["dtype"]]
    size = math.prod(shape) * np.dtype(dtype).itemsize
    # Were it made shorter while it is read, the service would end.
    fcntl.fcntl(descriptor, _ADD_SEALS, _SEAL_SHRINK)
    if os.fstat(descriptor).st_size != size:
        raise ValueError("its pixels have another size")
    memory = mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ)
    return np.frombuffer(memory, dtype).reshape(shape)
