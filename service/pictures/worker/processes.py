"""The fork server, seen from the service: started when it is needed, and again when it is lost."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from typing import Final

from service.errors import InternalError, OutOfMemory
from service.pictures.worker.fork_server import FAILED, NUMBER_BYTES, REAP, START, UNKNOWN

TRIES: Final = 2
"""A worker may end for another's fault; a picture that ends two is at fault itself."""


class Ended(Exception):
    """The worker has ended, or must; or the fork server, and every worker with it."""


class ForkServer:
    """The process that makes workers; started again when it is lost. It ends when this process does.

    Attributes:
        generation: how often it was lost; workers of an earlier one have ended with it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self.generation = 0

    def launch(self) -> None:
        """Start it, without waiting until it is ready."""
        with self._lock, suppress(OSError):  # It is tried again with the first picture.
            self._launch()

    def start_worker(self) -> tuple[int, socket.socket, int]:
        """Return a new worker's process id, the socket to it, and its generation.

        Raises:
            OutOfMemory: the machine has no room for one more process.
            InternalError: it does not start.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            for _ in range(TRIES):
                with suppress(Ended), self._lock:
                    process = self._ask(self._control or self._launch(), START, theirs)
                    if process == FAILED:
                        ours.close()
                        raise OutOfMemory("No more processes can be started here; try again later.")
                    return process, ours, self.generation
        ours.close()
        raise InternalError("No process to decode pictures can be started.")

    def reap(self, process: int, generation: int) -> int | None:
        """End a worker; return its wait status, None where nobody knows."""
        with suppress(Ended), self._lock:
            if self._control is not None and generation == self.generation:
                _kill(process)  # Until it is waited for, nobody else can have its id.
                status = self._ask(self._control, REAP + str(process).encode())
                return None if status == UNKNOWN else status
        return None

    def kill(self, process: int, generation: int) -> None:
        """End a worker."""
        with self._lock:
            if generation == self.generation:
                _kill(process)

    def close(self) -> None:
        """End it, and every worker."""
        with self._lock:
            self._end()

    def _ask(self, control: socket.socket, question: bytes, *sockets: socket.socket) -> int:
        try:
            socket.send_fds(control, [question], [each.fileno() for each in sockets])
            answer = control.recv(NUMBER_BYTES)
        except OSError:
            answer = b""
        if not answer:
            self._end()
            raise Ended
        return int.from_bytes(answer, "little")

    def _launch(self) -> socket.socket:
        if self._control is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "service.pictures.worker", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # Ctrl-C is for the service. A session of its own would undo its niceness.
                    env=_environment(),
                )
            self._control = ours
        return self._control

    def _end(self) -> None:
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.kill()  # Its workers end with it.
            self._process.wait()
            self.generation += 1
        self._control = self._process = None


def _kill(process: int) -> None:
    """End a process, if it has not ended."""
    with suppress(OSError):
        os.kill(process, signal.SIGKILL)


@cache
def fork_server() -> ForkServer:
    """Return the one of this process."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def _environment() -> dict[str, str]:
    """Return the environment of workers: no key, and one thread where libraries would start several.

    Pixels come in pages of 2 MB, where glibc (2.35) and the kernel have them: each page of 4 kB costs a fault.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PHOTOCHROM_")}
    return kept | {
        "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }
