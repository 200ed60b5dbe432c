"""Photographs -> what int8 finds its ranges with: their lightness, as the service would hand it to the network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from chroma.framing import network_size, resize_lightness
from chroma.lab import rgb_u8_to_lightness
from training import DataError
from training.data.photographs import open_photographs
from training.data.pictures import decode_photograph
from training.run.validation import evenly

PICTURES: Final = 32
"""Photographs that ranges are found with. With 8 the pictures differ from float32's by no more."""


def read_lightness(photographs: Path, size: int, *, pictures: int = PICTURES) -> Iterator[np.ndarray]:
    """Read validation photographs, spread evenly over the split; what cannot be read is passed over.

    Args:
        photographs: a data folder in any layout of `training.data.layouts`.
        size: inference size, px.
        pictures: how many to read.

    Yields:
        CIE L in [0, 100], float32, (1, H, W, 1), sides multiples of 32.

    Raises:
        DataError: no such folder, or no photograph of its validation split can be read.
    """
    found = open_photographs(photographs)
    nothing = True
    for photo in evenly(found.split("val"), pictures):
        try:
            rgb_u8 = decode_photograph(found.read(photo))
        except DataError:
            continue
        nothing = False
        height, width = rgb_u8.shape[:2]
        yield resize_lightness(rgb_u8_to_lightness(rgb_u8), network_size(height, width, size))[None]
    if nothing:
        raise DataError(f"no validation photograph of {photographs} can be read")
