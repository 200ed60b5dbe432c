"""What service and worker tell each other: short messages over a socket, uploads as descriptors beside them.

Uploads lie in anonymous memory (memfd_create), so that they neither pass through the socket nor touch a disk; a file
that is on the disk goes as it is, open for reading, and `sandbox` keeps workers from opening it for more. Pixels are
read out of the worker's memory (`memory`) before it goes on, and come in anonymous memory where that is forbidden. What
comes from a worker is never unpickled, and believed only where the kernel vouches for it: whoever has taken one over
through a decoder's fault must not reach the service that way.
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
from typing import Any, Final, NamedTuple

import numpy as np

from service.pictures.decode import Picture
from service.pictures.header import Header
from service.pictures.levels import Pixels
from service.pictures.spooled import FileData, SpooledFile

MESSAGE_BYTES: Final = 1 << 13
"""Longest message in either direction."""

DTYPES: Final = {"uint8": np.uint8, "uint16": np.uint16}

TAKEN: Final = b"taken"
"""Says that the pixels were read, and need not be kept."""

FILES: Final = b"files"
"""Asks for the pixels in anonymous memory instead; they come as descriptors beside the same word."""

DROP: Final = b"drop"
"""Says that the first bytes of the pixels were read, how many stands behind it: their memory may go already."""

MOST_PLANES: Final = 2
"""Pixels and opacity."""

_TASK: Final = struct.Struct("=QQdQ")
_DROP_BYTES: Final = 8

# Not in the module fcntl of every Python; from linux/fcntl.h.
_ADD_SEALS: Final = 1033
_SEAL_SHRINK: Final = 2


class WireError(Exception):
    """The other side has gone, or says what it should not."""


@dataclass(frozen=True)
class Task:
    """One picture to decode.

    Attributes:
        data: the whole file; to a worker a view of it.
        header: from `probe` of the same bytes.
        cpu_s: processor time that decoding may take, seconds.
        memory_bytes: memory that it may take beyond what the worker has anyway.
    """

    data: FileData | memoryview
    header: Header
    cpu_s: float
    memory_bytes: int


def pack_task(task: Task) -> tuple[bytes, list[int]]:
    """Return a message, and the descriptors of file and header that go with it; the caller closes them.

    Raises:
        OSError: there is no memory for it.
        ValueError: the file was closed.
    """
    header = pickle.dumps(task.header)
    data = task.data
    files = [data.descriptor() if isinstance(data, SpooledFile) else _write("upload", memoryview(data))]
    try:
        files.append(_write("header", memoryview(header)))
    except BaseException:
        os.close(files[0])
        raise
    return _TASK.pack(len(data), len(header), task.cpu_s, task.memory_bytes), files


def unpack_task(message: bytes, descriptors: Sequence[int]) -> Task:
    """Return the task behind a message; its data stays where the service wrote it, the descriptors are closed."""
    data_bytes, header_bytes, cpu_s, memory_bytes = _TASK.unpack(message)
    file, header = descriptors
    data = memoryview(mmap.mmap(file, data_bytes, prot=mmap.PROT_READ))
    told = pickle.loads(os.pread(header, header_bytes, 0))
    for each in descriptors:
        os.close(each)
    return Task(data, told, cpu_s, memory_bytes)


class Fault(NamedTuple):
    """What is wrong with a picture.

    Attributes:
        name: of the problem.
        detail: what exactly.
    """

    name: str
    detail: str


@dataclass(frozen=True)
class Plane:
    """Pixels or opacity that a worker has in memory.

    Attributes:
        shape: (H, W) or (H, W, 3).
        dtype: one of `DTYPES`.
        address: where its bytes begin in the worker's memory, one behind the other.
    """

    shape: tuple[int, ...]
    dtype: str
    address: int

    @property
    def nbytes(self) -> int:
        """How many bytes it has."""
        return math.prod(self.shape) * np.dtype(DTYPES[self.dtype]).itemsize


def pack_picture(picture: Picture) -> bytes:
    """Return a message that says where pixels and opacity are; they must stay there until the service has them."""
    told = [
        {"shape": plane.shape, "dtype": plane.dtype.name, "address": plane.ctypes.data} for plane in _planes(picture)
    ]
    return json.dumps({"planes": told}).encode()


def pack_planes(picture: Picture) -> list[int]:
    """Return descriptors of anonymous memory with pixels and opacity; the caller closes them.

    Raises:
        OSError: there is no memory for it.
    """
    return [_write("pixels", plane.reshape(-1).view(np.uint8).data) for plane in _planes(picture)]


def _planes(picture: Picture) -> list[Pixels]:
    return [picture.pixels] if picture.alpha is None else [picture.pixels, picture.alpha]


def pack_error(name: str, detail: str) -> bytes:
    """Return a message that says what is wrong with the picture."""
    return json.dumps({"error": name, "detail": detail}).encode()


def unpack_answer(message: bytes, header: Header) -> list[Plane] | Fault:
    """Return what an answer says: where the picture is, or what is wrong with it.

    Args:
        message: from `pack_picture` or `pack_error`.
        header: of the picture that was asked about.

    Returns:
        Pixels of the header's upright size, gray (H, W) or RGB (H, W, 3), uint8 or uint16, and opacity (H, W) of the
        same dtype if there is any; or what is wrong.

    Raises:
        WireError: it is no answer to this question.
    """
    try:
        told: Any = json.loads(message)
        if "error" in told:
            return Fault(str(told["error"]), str(told["detail"]))
        planes = [
            Plane(tuple(int(side) for side in plane["shape"]), str(plane["dtype"]), int(plane["address"]))
            for plane in told["planes"]
        ]
        width, height = header.upright_size
        pixels, *others = planes
        if pixels.shape not in ((height, width), (height, width, 3)) or len(planes) > MOST_PLANES:
            raise ValueError("not the header's size")
        if any(plane.shape != (height, width) or plane.dtype != pixels.dtype for plane in others):
            raise ValueError("opacity that does not fit")
        if pixels.dtype not in DTYPES or not all(0 < plane.address < 1 << 63 for plane in planes):
            raise ValueError("pixels that cannot be")
    except Exception as error:  # Whatever a worker says that is none any more: nothing of it is believed.
        raise WireError(f"a worker gave no answer that makes sense: {error}") from error
    return planes


def pack_drop(nbytes: int) -> bytes:
    """Return a message that says that so many bytes of the pixels were read."""
    return DROP + nbytes.to_bytes(_DROP_BYTES, "little")


def unpack_drop(message: bytes) -> int:
    """Return how many bytes of the pixels were read, by a message that begins with `DROP`."""
    return int.from_bytes(message.removeprefix(DROP), "little")


def map_plane(plane: Plane, descriptor: int) -> Pixels:
    """Return pixels from `pack_planes`; they stay where the worker wrote them, and can only be read.

    Args:
        plane: that they should be.
        descriptor: of the memory; the caller's to close.

    Raises:
        WireError: they have another size.
        OSError: it is no anonymous memory, or there is no room to map it.
    """
    # Were it made shorter while it is read, the service would end.
    fcntl.fcntl(descriptor, _ADD_SEALS, _SEAL_SHRINK)
    if os.fstat(descriptor).st_size != plane.nbytes:
        raise WireError("a worker gave pixels of another size than it said")
    memory = mmap.mmap(descriptor, plane.nbytes, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ)
    return np.frombuffer(memory, DTYPES[plane.dtype]).reshape(plane.shape)


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
