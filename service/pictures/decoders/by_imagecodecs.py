"""Levels by imagecodecs: deep and lossless JPEG, JPEG 2000, JPEG XL, AVIF."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import imagecodecs
import numpy as np
from jaxtyping import Shaped

from service.pictures.decoders.jpeg_damage import refuse_damaged_unheard
from service.pictures.decoders.lost_end import lacks_end, whole_jpeg
from service.pictures.header import Header
from service.pictures.headers import jpeg, jpeg2000
from service.pictures.levels import Alpha, Pixels

Levels = Shaped[np.ndarray, "H W *channels"]


def decode(data: bytes | memoryview, header: Header) -> tuple[Pixels, Alpha]:
    """Decode a JPEG, JPEG 2000, JPEG XL or AVIF; see `service.pictures.decoders`.

    Raises:
        ValueError: the pixels are others than the header says.
        Exception: nearly any other, for pixels that are damaged.
    """
    whole = bytes(data)
    if header.format == "JPEG2000" and header.icc_profile:
        whole = jpeg2000.without_profile(whole)
    levels = _jpeg(whole, header) if header.format == "JPEG" else _READERS[header.format](whole)
    if levels.dtype not in (np.uint8, np.uint16) or levels.ndim not in (2, 3):
        raise ValueError("pixels of another kind than the header says")
    if levels.ndim == 2:
        return levels, None
    channels = levels.shape[2]
    if header.mode == "CMYK":
        return np.ascontiguousarray(levels[..., :4]), None
    colors = 1 if header.is_gray else 3
    if channels < colors:
        raise ValueError("fewer channels than the header says")
    alpha = None
    if header.mode in ("LA", "RGBA"):
        if channels == colors:
            raise ValueError("the opacity that the header names is not there")
        alpha = np.ascontiguousarray(levels[..., colors])
    return np.ascontiguousarray(levels[..., 0] if colors == 1 else levels[..., :3]), alpha


def load() -> None:
    """Load the parts of the library that are used."""
    for name in (
        "jpeg8_decode",
        "jpeg2k_decode",
        "jpegxl_decode",
        "jpegxl_decode_jpeg",
        "avif_decode",
        "cms_transform",
    ):
        getattr(imagecodecs, name)


def as_jpeg(data: bytes | memoryview, header: Header) -> tuple[bytes, Header]:
    """Return the JPEG that a JPEG XL was made of, and its header, with the orientation of the JPEG XL.

    Raises:
        Exception: nearly any, for one that is damaged.
    """
    whole = bytes(imagecodecs.jpegxl_decode_jpeg(bytes(data), numthreads=1))
    return whole, replace(jpeg.read(whole), orientation=header.orientation)


def _jpeg(data: bytes, header: Header) -> Levels:
    # Lossless ones are RGB, to libjpeg-turbo as well, though a segment of JFIF makes it ask for YCbCr and give up.
    space = "RGB" if header.kind == jpeg.LOSSLESS and header.mode == "RGB" else None
    decode_jpeg = partial(imagecodecs.jpeg8_decode, colorspace=space, outcolorspace=space)
    # It fills up without a word what is missing.
    levels = whole_jpeg(data, decode_jpeg) if lacks_end(data) else decode_jpeg(data)
    if header.bits == 8:
        refuse_damaged_unheard(data)
    return levels


_READERS: Final[dict[str, Callable[[bytes], Levels]]] = {
    "JPEG2000": lambda data: imagecodecs.jpeg2k_decode(data, numthreads=1),
    "JPEGXL": lambda data: imagecodecs.jpegxl_decode(data, keeporientation=True, numthreads=1),
    "AVIF": lambda data: imagecodecs.avif_decode(data, index=0, numthreads=1),
}
