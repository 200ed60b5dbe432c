"""What a picture takes in memory, before it does."""

from typing import Final

from chroma.framing import network_size
from service.engine.colorizer import LARGE_PIXELS, Prepared
from service.engine.job import Job
from service.engine.outlet import Outlet
from service.pictures.answer_formats import BY_ROWS, IN_PARTS
from service.pictures.encode import most_bytes
from service.pictures.header import Header
from service.pictures.levels import Alpha

POSTERIOR_WEIGHT: Final = 12
"""With its posterior a pixel of the network's input takes as much memory as so many pixels of a picture: 78 bytes of
logits as the network gives them, twice for a moment, and half of it as they are kept."""
MOVED_WEIGHT: Final = 32
"""Likewise where another posterior is made of it: a few times that in all."""


def posterior_weight(header: Header, size: int, *, moves: bool = True) -> float:
    """Return what the posterior of a picture takes in memory, in megapixels.

    Args:
        header: of the picture.
        size: of the inference, px.
        moves: whether another posterior may be made of it.
    """
    width, height = header.upright_size
    rows, columns = network_size(height, width, size)
    return (MOVED_WEIGHT if moves else POSTERIOR_WEIGHT) * rows * columns / 1e6


def reserve(prepared: Prepared, alpha: Alpha, job: Job, outlet: Outlet, *, beside: int = 0) -> None:
    """Have the bytes counted that the answer may take, before it is made; of several each is counted when it is.

    A large picture that is written a few rows at a time goes through the outlet.

    Args:
        prepared: the picture.
        alpha: its opacity.
        job: what is made of it.
        outlet: told the bytes.
        beside: bytes of metadata that goes over.
    """
    if not job.is_packed:
        channels = 3 if alpha is None else 4
        pixels = prepared.L.shape[0] * prepared.L.shape[1]
        most = most_bytes(job.output_format, pixels, channels=channels, deep=prepared.is_deep, beside=beside)
        if pixels > LARGE_PIXELS and job.output_format in BY_ROWS:
            outlet.open(most, at_once=outlet.takes_parts and job.output_format in IN_PARTS)
        else:
            outlet.hold(most)
