"""What this process may use of its machine: cores and memory, by the limits of its control group; who gives way."""

import ctypes
import gc
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

M_ARENA_MAX: Final = -8
"""In glibc's malloc.h."""

HEAPS: Final = 2

NICENESS: Final = 5
"""What works on pictures gives way by to what answers callers: about a third of the share where all cores are taken."""


def usable_cores(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many cores this process may use: the affinity mask, and the CPU quota of its control group.

    ONNX Runtime and OpenCV look at the host's cores; one thread more than allotted halves the speed.

    Args:
        proc: where procfs is mounted.
        cgroup: where the control groups are mounted.

    Returns:
        At least 1.
    """
    cores = float(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else float(os.cpu_count() or 1)
    return max(1, int(min(cores, _cpu_quota(proc, cgroup))))


def _cpu_quota(proc: Path, cgroup: Path) -> float:
    """Return the lowest CPU quota from this process's control group up to the root, in cores; inf for none."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return float("inf")
    lowest = float("inf")
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = cgroup if not controllers else cgroup / "cpu"
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            lowest = min(lowest, _quota_of_group(folder))
            if folder == mount:
                break
    return lowest


def _quota_of_group(folder: Path) -> float:
    try:
        if (folder / "cpu.max").exists():  # cgroup v2
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text()
        return float("inf") if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return float("inf")


def processor_features(proc: Path = Path("/proc")) -> frozenset[str]:
    """Return the instruction sets that the processor says it has, in the kernel's words; empty where nobody says.

    Args:
        proc: where procfs is mounted.
    """
    try:
        lines = (proc / "cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    told = (line.partition(":") for line in lines)
    return frozenset(next((names for key, _, names in told if key.strip() in ("flags", "Features")), "").split())


def available_memory_bytes(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return how much memory this process may still take: the machine's, or its control group's when that is less.

    Args:
        proc: where procfs is mounted.
        cgroup: where the control groups (version 2) are mounted.

    Returns:
        Bytes; None when the machine does not say.
    """
    try:
        lines = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines() if ":" in line)
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    with suppress(OSError, ValueError):  # No such group, or "max".
        limit, used = (int((cgroup / name).read_text()) for name in ("memory.max", "memory.current"))
        cached = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        free = min(free, limit - used + int(cached.get("inactive_file", 0)))  # Files in the cache give way.
    return max(0, free)


def is_in_memory(directory: Path, proc: Path = Path("/proc")) -> bool:
    """Return whether what is written to a directory stays in memory; False where the system does not say.

    Args:
        directory: that is there.
        proc: where procfs is mounted.
    """
    try:
        device = os.stat(directory).st_dev
        lines = (proc / "self" / "mountinfo").read_text().splitlines()
    except OSError:
        return False
    # Its fields end with " - ", type, source and options: proc(5).
    kinds = {line.split()[2]: line.partition(" - ")[2].split()[0] for line in lines}
    return kinds.get(f"{os.major(device)}:{os.minor(device)}") in ("tmpfs", "ramfs")


def give_way() -> None:
    """Lower the priority of the calling thread, and of all that it starts from now on.

    Under load every core is busy; whoever is refused or asks for health must not wait for one. On Linux a thread has a
    niceness of its own. Elsewhere nothing happens.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)


def share_heaps() -> None:
    """Have all threads allocate from two heaps: of one for each thread, each would keep what it once needed (glibc)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, HEAPS)


def trim_memory() -> None:
    """Return what this process does not need to the system; glibc keeps what is freed otherwise."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
