"""Levels by Pillow: JPEG of inks, BMP, GIF, and TIFF of one channel or of 8 bits."""

import io

import numpy as np
from PIL import Image, TiffImagePlugin

from service.pictures import planes
from service.pictures.header import Header
from service.pictures.levels import Alpha, Pixels


def decode(data: bytes | memoryview, header: Header) -> tuple[Pixels, Alpha]:
    """Decode a JPEG, BMP, GIF or TIFF; see `service.pictures.decoders`.

    Raises:
        Exception: nearly any, for pixels that are damaged.
    """
    with Image.open(io.BytesIO(data), formats=(header.format,)) as image:
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            _join_single_plane(image)
        if image.mode.startswith("I;16"):
            levels = np.asarray(image).astype(np.uint16)
            return (~levels if header.inverted else levels), None
        if image.mode == "CMYK":
            return np.asarray(image), None
        if image.mode in ("1", "L") and "transparency" not in image.info:
            return np.asarray(image.convert("L")), None
        if "A" in image.mode or "transparency" in image.info:
            rgba = np.asarray(image.convert("RGBA"))
            return rgba[..., :3], rgba[..., 3]
        return np.asarray(image.convert("RGB")), None


def _join_single_plane(image: TiffImagePlugin.TiffImageFile) -> None:
    """Call the only channel of a TIFF interleaved, which comes to the same.

    Where it is said to lie apart, Pillow takes its layout for the first letter alone: `L` for `L;I`, a negative.
    """
    if image.tag_v2.get(planes.PLANAR_CONFIGURATION) == planes.APART and image.tag_v2.get(planes.SAMPLES, 1) == 1:
        image.tag_v2[planes.PLANAR_CONFIGURATION] = 1
        image._setup()
