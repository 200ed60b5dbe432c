"""Levels by Pillow: JPEG of inks, BMP, GIF."""

import io

import numpy as np
from PIL import Image

from service.pictures.decoders.jpeg_damage import refuse_damaged_unheard
from service.pictures.decoders.lost_end import lacks_end, whole_jpeg
from service.pictures.header import Header
from service.pictures.levels import Alpha, Pixels


def decode(data: bytes | memoryview, header: Header) -> tuple[Pixels, Alpha]:
    """Decode a JPEG, BMP or GIF; see `service.pictures.decoders`.

    Raises:
        Exception: nearly any, for pixels that are damaged.
    """
    if header.format == "JPEG":
        refuse_damaged_unheard(data)
        return (whole_jpeg(bytes(data), _inks) if lacks_end(bytes(data)) else _inks(data)), None
    with Image.open(io.BytesIO(data), formats=(header.format,)) as image:
        if image.mode in ("1", "L") and "transparency" not in image.info:
            return np.asarray(image.convert("L")), None
        if "A" in image.mode or "transparency" in image.info:
            rgba = np.asarray(image.convert("RGBA"))
            return rgba[..., :3], rgba[..., 3]
        return np.asarray(image.convert("RGB")), None


def _inks(data: bytes | memoryview) -> Pixels:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.asarray(image)
