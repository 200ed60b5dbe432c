"""Pixels straight out of a worker's memory, with one copy; a file between both costs a page fault for every 4 kB.

References:
    Linux manual page process_vm_readv(2). Whoever started a process may read its memory, unless forbidden.
"""

import ctypes
import errno
import math
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8

from service.pictures.levels import Pixels

FORBIDDEN: Final = frozenset({errno.EPERM, errno.ENOSYS})
"""What the kernel says where nobody may read another's memory: by a container's rules, or for good."""


class _Part(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("size", ctypes.c_size_t))


def read_memory(process: int, address: int, into: UInt8[np.ndarray, "bytes"]) -> None:
    """Copy what another process has in memory.

    Args:
        process: its id.
        address: where it begins there.
        into: filled whole; contiguous.

    Raises:
        PermissionError: nobody may do so here.
        OSError: the process has ended, or has nothing there.
    """
    done = 0
    while done < into.nbytes:
        ours, theirs = (_Part(start + done, into.nbytes - done) for start in (into.ctypes.data, address))
        copied = _call()(process, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
        if copied <= 0:
            number = ctypes.get_errno() or errno.EFAULT
            raise OSError(errno.EPERM if number in FORBIDDEN else number, os.strerror(number))
        done += copied


def drop_memory(address: int, nbytes: int) -> None:
    """Give whole pages of this process's memory back; they read as zeros from now on.

    Args:
        address: where the first byte is that nobody needs any more.
        nbytes: how many there are; pages that hold others, too, stay.
    """
    page = os.sysconf("SC_PAGE_SIZE")
    start, stop = -(-address // page) * page, (address + nbytes) // page * page
    if stop > start:
        _libc().madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class LevelsElsewhere:
    """Levels in another process's memory, one row behind the other: `service.pictures.levels.Rows`.

    Attributes:
        process: its id.
        address: where they begin there.
        shape: (H, W) or (H, W, 3).
        dtype: uint8 or uint16.
        on_drop: told how many bytes, from the first on, are not needed any more.
    """

    process: int
    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    on_drop: Callable[[int], None] = lambda _: None

    def __getitem__(self, rows: slice) -> Pixels:
        """Copy some rows; the copy can only be read.

        Raises:
            PermissionError: as `read_memory`.
            OSError: likewise.
        """
        start, stop, _ = rows.indices(self.shape[0])
        levels: Pixels = np.empty((stop - start, *self.shape[1:]), self.dtype)
        row_bytes = levels.strides[0]
        read_memory(self.process, self.address + start * row_bytes, levels.reshape(-1).view(np.uint8))
        levels.flags.writeable = False
        return levels

    def drop(self, rows: int) -> None:
        """Say that so many rows, from the first on, will not be asked for again."""
        self.on_drop(rows * math.prod(self.shape[1:]) * self.dtype.itemsize)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@cache
def _call() -> Any:
    call = _libc().process_vm_readv
    part = (ctypes.c_void_p, ctypes.c_ulong)
    call.argtypes = (ctypes.c_int, *part, *part, ctypes.c_ulong)
    call.restype = ctypes.c_ssize_t
    return call
