"""Levels by pi-heif, an extra: HEIC."""

import io
from functools import cache
from typing import Any

import numpy as np

from service.pictures.header import Header
from service.pictures.levels import Alpha, Pixels


def decode(data: bytes | memoryview, header: Header) -> tuple[Pixels, Alpha]:
    """Decode a HEIC, turned and cropped as it says; see `service.pictures.decoders`.

    Raises:
        Exception: nearly any, for pixels that are damaged.
    """
    image = load().open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    levels = np.array(image)  # A copy: its own memory goes with the image.
    if levels.dtype == np.uint16:  # It shifts them up.
        levels = levels >> (16 - header.bits)
    if levels.ndim == 2:
        return levels, None
    has_alpha = levels.shape[2] in (2, 4)
    colors = levels[..., : levels.shape[2] - has_alpha]
    alpha = np.ascontiguousarray(levels[..., -1]) if has_alpha else None
    return np.ascontiguousarray(colors[..., 0] if header.is_gray else colors), alpha


@cache
def load() -> Any:
    """Return the library, which starts no threads for tiles: whoever decodes beside it is another process."""
    import pi_heif  # type: ignore[import-untyped]

    pi_heif.options.DECODE_THREADS = 0  # To libheif 1 is one more than there is.
    pi_heif.options.THUMBNAILS = False
    return pi_heif
