"""Pixels -> L, strip by strip, wherever the pixels are."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from chroma.lab import gray_to_lightness, rgb_to_lightness, rgb_u8_to_lightness
from chroma.strips import each_strip
from service.pictures.levels import Alpha, Rows

STRIP_PIXELS: Final = 1 << 16
"""Pixels whose L is computed at a time: temporaries stay in a core's cache."""


@dataclass(frozen=True, eq=False)
class Lightness:
    """What an answer takes over from a decoded picture: everything but its colors.

    Attributes:
        L: lightness in [0, 100], float32, shape (H, W, 1).
        alpha: opacity (H, W), uint8 or uint16, as it was in the file; or None.
        is_deep: whether the picture has 16 bits a channel.
    """

    L: Float[np.ndarray, "H W 1"]
    alpha: Alpha
    is_deep: bool


def lightness_of(pixels: Rows, *, workers: int = 1) -> Float[np.ndarray, "H W 1"]:
    """Return L in [0, 100], float32, shape (H, W, 1), of sRGB pixels.

    Args:
        pixels: gray (H, W) or RGB (H, W, 3), uint8 or uint16.
        workers: threads that compute strips.
    """
    height, width, *channels = pixels.shape
    L = np.empty((height, width, 1), np.float32)

    def fill(start: int, stop: int) -> None:
        strip = pixels[start:stop]
        if not channels:
            L[start:stop] = gray_to_lightness(strip)
        elif strip.dtype == np.uint8:
            L[start:stop] = rgb_u8_to_lightness(strip)
        else:
            L[start:stop] = rgb_to_lightness(strip.astype(np.float32) / np.float32(65535))

    each_strip(fill, height, max(STRIP_PIXELS // width, 1), workers=workers)
    return L
