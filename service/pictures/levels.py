"""Pixels and opacity as arrays, and from 16 bits to 8."""

import numpy as np
from jaxtyping import Shaped, UInt8

Pixels = Shaped[np.ndarray, "H W *channels"]
"""Gray (H, W) or color (H, W, 3), uint8 or uint16."""

Alpha = Shaped[np.ndarray, "H W"] | None
"""Opacity (H, W), uint8 or uint16, of pictures that have it."""


def to_8_bits(levels: Shaped[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Return 16-bit levels rounded to 8 bits; uint16 of any shape in, uint8 of the same shape out."""
    return ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def to_rgb_u8(pixels: Pixels) -> UInt8[np.ndarray, "H W 3"]:
    """Return a picture's pixels as 8-bit RGB; gray (H, W) or color (H, W, 3), uint8 or uint16 in."""
    narrow = pixels if pixels.dtype == np.uint8 else to_8_bits(pixels)
    return np.dstack([narrow] * 3) if narrow.ndim == 2 else narrow


def to_depth(alpha: Alpha, *, deep: bool) -> Alpha:
    """Return opacity with the depth of the answer it goes with: 16 bits when the answer is deep, else 8."""
    if alpha is None or (alpha.dtype == np.uint16) == deep:
        return alpha
    return alpha.astype(np.uint16) * np.uint16(257) if deep else to_8_bits(alpha)
