"""The worker: one picture after the other, until the service closes the socket."""

import os
import socket
import sys

import cv2

from service.errors import CostlyPicture, InternalError, OutOfMemory, RequestError
from service.pictures.decode import Picture, decode
from service.pictures.worker import wire
from service.pictures.worker.memory import drop_memory
from service.pictures.worker.sandbox import allow, allow_rest, confine


def work(link: socket.socket, parent: int) -> None:
    """Decode what comes over a socket.

    Args:
        link: to the service; its messages are those of `wire`.
        parent: process that it ends with.
    """
    # Decoders tell of every fault of every file: nobody's log shall be filled from outside.
    sys.stderr = os.fdopen(os.dup(2), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    confine()
    if os.getppid() != parent:  # It ended before this one could ask to end with it.
        return
    cv2.setNumThreads(1)  # Whoever decodes beside it is another process.
    while True:
        message, descriptors, _, _ = socket.recv_fds(link, wire.MESSAGE_BYTES, 2)
        if not message:
            return
        answer, picture = _answer(wire.unpack_task(message, descriptors))
        link.send(answer)
        if picture is not None:
            _hand_over(picture, link)
        del picture  # Who waits for the next one has no use for it.


def _hand_over(picture: Picture, link: socket.socket) -> None:
    while (message := link.recv(wire.MESSAGE_BYTES)).startswith(wire.DROP):
        drop_memory(picture.pixels.ctypes.data, wire.unpack_drop(message))
    if message == wire.FILES:
        files = wire.pack_planes(picture)
        socket.send_fds(link, [wire.FILES], files)
        for file in files:
            os.close(file)


def _answer(task: wire.Task) -> tuple[bytes, Picture | None]:
    allow(cpu_s=task.cpu_s, memory_bytes=task.memory_bytes)
    assert isinstance(task.data, memoryview)
    try:
        picture = decode(task.data, task.header)
    except (OutOfMemory, MemoryError):
        # Where memory is short all over, the kernel ends processes; an allocation fails for the limit alone.
        megabytes = task.memory_bytes >> 20
        return wire.pack_error(CostlyPicture.name, f"Decoding the picture takes more than {megabytes} MB."), None
    except RequestError as error:
        return wire.pack_error(error.name, error.detail), None
    except Exception:
        sys.excepthook(*sys.exc_info())
        return wire.pack_error(InternalError.name, "The picture could not be decoded; the log has the reason."), None
    finally:
        allow_rest()
    return wire.pack_picture(picture), picture


def warm_up() -> None:
    """Have everything loaded that the first picture needs."""
    import numpy as np

    from service.pictures.decode import load_decoders, prepare_codecs
    from service.pictures.probe import probe
    from service.pictures.tiff.parts import load_decoders as load_decoders_of_tiff

    prepare_codecs()
    load_decoders_of_tiff()
    for suffix in (".png", ".jpg", ".webp", ".tiff", ".bmp"):
        data = cv2.imencode(suffix, np.zeros((8, 8, 3), np.uint8))[1].tobytes()
        picture: Picture = decode(data, probe(data, max_megapixels=1))
        del picture
    load_decoders()
