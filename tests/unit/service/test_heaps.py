"""service.machine: threads share heaps, so that memory does not stay where it was needed once."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, sys, threading
from service.machine import HEAPS, share_heaps
if sys.argv[2] == "shared":
    share_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.fopen.restype = ctypes.c_void_p
together = threading.Barrier(8)
def allocate():
    together.wait()
    for _ in range(1000):
        libc.malloc(2000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, ctypes.c_void_p(file))
libc.fclose(ctypes.c_void_p(file))
print(HEAPS)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_threads_share_heaps(tmp_path: Path) -> None:
    def count(way: str) -> tuple[int, int]:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / way), way]
        allowed = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return (tmp_path / way).read_text().count("<heap nr="), allowed

    alone, allowed = count("alone")
    shared, _ = count("shared")
    assert shared <= allowed < alone
