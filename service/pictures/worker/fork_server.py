"""A small process that has the decoders loaded, and becomes a worker as often as the service asks.

A worker made this way is there within milliseconds and shares what it does not change. Started as a program of its own
it has no thread, no key, and no model in memory, whatever the service has.
"""

import gc
import os
import signal
import socket
import sys
from typing import Final

from service.machine import NICENESS
from service.pictures.worker.decoding import warm_up, work

START: Final = b"start"
"""Asks for a worker; its socket comes along. The answer is its process id."""

REAP: Final = b"reap "
"""Asks how a worker ended, its process id behind it. The answer is its wait status."""

NUMBER_BYTES: Final = 8

FAILED: Final = 0
"""The answer to `START` where no process can be made."""

UNKNOWN: Final = (1 << 32) - 1
"""The answer to `REAP` where there is no such worker."""


def main(descriptor: int) -> None:
    """Serve until the service closes its socket, or ends.

    Args:
        descriptor: of a socket to the service.
    """
    # Whoever ends the service may signal all its processes: decoding goes on until the service has no more use for it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(NICENESS)
    control = socket.socket(fileno=descriptor)
    warm_up()
    gc.collect()
    gc.freeze()  # Else a collection would copy every page that workers share.
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 64, 1)
        if not message:
            return
        if message == START:
            number = _start(control, descriptors[0])
        else:
            try:
                number = os.waitpid(int(message.removeprefix(REAP)), 0)[1]
            except ChildProcessError:
                number = UNKNOWN
        control.send(number.to_bytes(NUMBER_BYTES, "little"))


def _start(control: socket.socket, descriptor: int) -> int:
    own = os.getpid()
    try:
        process = os.fork()
    except OSError:  # No memory for one more process, or no place.
        os.close(descriptor)
        return FAILED
    if process:
        os.close(descriptor)
        return process
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        control.close()
        work(socket.socket(fileno=descriptor), own)
    except OSError:
        pass  # The service has gone.
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)
