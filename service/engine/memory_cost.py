"""What a picture takes in memory, before it does."""

from collections.abc import Callable
from typing import Final

from chroma.framing import network_size
from service.engine.colorizer import Prepared
from service.engine.job import Job
from service.pictures.encode import most_bytes
from service.pictures.header import Header
from service.pictures.levels import Alpha

POSTERIOR_WEIGHT: Final = 32
"""Where the posterior leaves the network, a pixel of the network's input takes as much memory as so many pixels of a
picture: 78 bytes of logits, and a few times that while they are decoded."""


def posterior_weight(header: Header, size: int) -> float:
    """Return what the posterior of a picture, at an inference size in px, takes in memory, in megapixels."""
    width, height = header.upright_size
    rows, columns = network_size(height, width, size)
    return POSTERIOR_WEIGHT * rows * columns / 1e6


def reserve(prepared: Prepared, alpha: Alpha, job: Job, hold: Callable[[int], None], *, beside: int = 0) -> None:
    """Have the bytes counted that the answer may take, before it is made; of several each is counted when it is.

    Args:
        prepared: the picture.
        alpha: its opacity.
        job: what is made of it.
        hold: told the bytes.
        beside: bytes of metadata that goes over.
    """
    if not job.is_packed:
        channels = 3 if alpha is None else 4
        pixels = prepared.L.shape[0] * prepared.L.shape[1]
        hold(most_bytes(job.output_format, pixels, channels=channels, deep=prepared.is_deep, beside=beside))
