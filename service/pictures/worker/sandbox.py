"""What a worker may not do: exceed its memory and time, use the network, write files, start programs, touch processes.

The filter of system calls is for the day on which a decoder has a fault that lets a picture run code. It says no to
what decoding never needs, and is left out where the kernel or the processor is not known.

References:
    Linux manual pages: getrlimit(2), prctl(2), seccomp(2), core(5); include/uapi/linux/{audit,filter,seccomp}.h.
"""

import ctypes
import os
import platform
import resource
import signal
import struct
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Final

from service.machine import NICENESS

PR_SET_PDEATHSIG: Final = 1
PR_SET_SECCOMP: Final = 22
PR_SET_NO_NEW_PRIVS: Final = 38
SECCOMP_MODE_FILTER: Final = 2

CORE_BYTES: Final = 1
"""No core dump into a file for want of room, and none into a pipe either: the kernel takes 1 for a sign."""

REFUSED: Final = {
    # socket, connect, accept, bind, listen, socketpair, execve, kill, ptrace, mount, accept4, perf_event_open, setns,
    # unshare, process_vm_readv, process_vm_writev, bpf, execveat, userfaultfd, io_uring_setup, truncate, openat2,
    # open_by_handle_at, creat
    "x86_64": (
        0xC000003E,
        (41, 42, 43, 49, 50, 53, 59, 62, 101, 165, 288, 298, 308, 272, 310, 311, 321, 322, 323, 425, 76, 437, 304, 85),
        {2: 1, 257: 2},
    ),
    "aarch64": (
        0xC00000B7,
        (
            198,
            203,
            202,
            200,
            201,
            199,
            221,
            129,
            117,
            40,
            242,
            241,
            268,
            97,
            270,
            271,
            280,
            281,
            282,
            425,
            45,
            437,
            265,
        ),
        {56: 2},
    ),
}
"""By processor: its number in `audit.h`, the numbers of the system calls that are refused, and by the number of those
that open files (open, openat) which of their arguments are the flags."""

WRITING: Final = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
"""Flags of which none may be set: who could shorten a spooled file would end the service, which has it mapped."""

X32_CALLS: Final = 0x40000000
"""From here on x86-64 counts the same calls once more."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ARGUMENTS = 16  # where they are in seccomp_data, 8 bytes each, the lower half first
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def confine() -> None:
    """Give up what decoding never needs, for good; before the first picture."""
    os.nice(NICENESS)  # Below the fork server, which is below the service: whoever is decoded already goes first.
    with suppress(ValueError, OSError):  # Where the limit is 0 already, nobody may raise it to 1.
        resource.setrlimit(resource.RLIMIT_CORE, (CORE_BYTES, CORE_BYTES))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if platform.machine() in REFUSED:
        instructions = call_filter(*REFUSED[platform.machine()])
        program = _Program(len(instructions) // 8, instructions)
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0)


def call_filter(processor: int, refused: Collection[int], opens: Mapping[int, int]) -> bytes:
    """Return a BPF program for seccomp: `refused` calls, those of another processor, and to write files end in EPERM.

    Args:
        processor: number of the architecture.
        refused: numbers of system calls.
        opens: by the number of those that open files, which of their arguments are the flags.
    """
    checks = 4
    allow = checks + len(refused) + 3 * len(opens)
    refuse = allow + 1
    steps = [
        (_LOAD, 0, 0, 4),  # seccomp_data.arch
        (_EQUAL, 0, refuse - 2, processor),
        (_LOAD, 0, 0, 0),  # seccomp_data.nr
        (_AT_LEAST, refuse - 4, 0, X32_CALLS),
        *((_EQUAL, refuse - place - 1, 0, number) for place, number in enumerate(refused, checks)),
    ]
    for number, argument in opens.items():
        tests = len(steps) + 2
        steps += [
            (_EQUAL, 0, 2, number),
            (_LOAD, 0, 0, _ARGUMENTS + 8 * argument),
            (_ANY_BIT, refuse - tests - 1, allow - tests - 1, WRITING),
        ]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _EPERM)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def allow(*, cpu_s: float, memory_bytes: int) -> None:
    """Allow one picture; past the time the process ends by SIGPROF, past the memory allocations fail.

    Args:
        cpu_s: processor time, seconds.
        memory_bytes: beyond what the process has now.
    """
    with suppress(OSError):  # Without procfs there is no limit of memory.
        with open("/proc/self/statm", "rb") as statm:
            has = int(statm.read().split()[5]) * resource.getpagesize()
        _limit_data(has + memory_bytes)
    signal.setitimer(signal.ITIMER_PROF, cpu_s)


def allow_rest() -> None:
    """Allow what goes between pictures."""
    signal.setitimer(signal.ITIMER_PROF, 0)
    _limit_data(resource.RLIM_INFINITY)


def _limit_data(size: int) -> None:
    """Limit what may be allocated, at most to what whoever started the service allows."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limits = [each for each in (size, hard) if each != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits, default=resource.RLIM_INFINITY), hard))
