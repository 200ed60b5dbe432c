"""Pixels and opacity as arrays, and from 16 bits to 8."""

from typing import Any, Final, Protocol

import numpy as np
from jaxtyping import Shaped, UInt8

Pixels = Shaped[np.ndarray, "H W *channels"]
"""Gray (H, W) or color (H, W, 3), uint8 or uint16."""

Alpha = Shaped[np.ndarray, "H W"] | None
"""Opacity (H, W), uint8 or uint16, of pictures that have it."""


class Rows(Protocol):
    """Levels that may lie elsewhere: gray (H, W) or color (H, W, 3), uint8 or uint16, as an array of them is."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, 3)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or uint16."""

    def __getitem__(self, rows: slice, /) -> Pixels:
        """Return some rows, from the first to the one before the last."""


SAMPLED_ROWS: Final = 32
"""Rows of a picture that are looked at first, spread over it."""


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


def spread(levels: Shaped[np.ndarray, "*shape"], bits: int) -> Shaped[np.ndarray, "*shape"]:
    """Return levels from 0 to 2^bits - 1 over all of 8 or, above 8 bits, 16 bits; what is above white counts as white.

    Args:
        levels: uint8 or uint16.
        bits: 1 to 16.

    Returns:
        uint8 up to 8 bits, uint16 above, of the same shape.
    """
    kind = np.uint8 if bits <= 8 else np.uint16
    if bits in (8, 16):
        return np.asarray(levels, kind)
    top, full = (1 << bits) - 1, np.iinfo(kind).max
    table = ((np.arange(top + 1, dtype=np.uint64) * full + top // 2) // top).astype(kind)
    return np.asarray(table[np.minimum(levels, top)])


def divided(pixels: Pixels, alpha: Shaped[np.ndarray, "H W"]) -> Pixels:
    """Return colors as they were before they were multiplied by opacity; black where nothing shows.

    Args:
        pixels: gray (H, W) or RGB (H, W, 3), multiplied by opacity, uint8 or uint16.
        alpha: opacity, dtype of the pixels.
    """
    top = np.uint32(np.iinfo(pixels.dtype.newbyteorder("=")).max)
    share = alpha.astype(np.uint32).reshape(alpha.shape + (1,) * (pixels.ndim - 2))
    whole = (pixels.astype(np.uint32) * top + share // 2) // np.maximum(share, 1)
    return np.asarray(np.minimum(np.where(share > 0, whole, 0), top).astype(pixels.dtype))


def holds_grays(rgb: Shaped[np.ndarray, "H W 3"]) -> bool:
    """Whether a color picture holds nothing but grays."""
    # Color shows within the first rows of most color pictures: look there before at all of it.
    for rows in (rgb[:16], rgb):
        red, green, blue = rows[..., 0], rows[..., 1], rows[..., 2]
        if not (np.array_equal(red, green) and np.array_equal(green, blue)):
            return False
    return True


def has_two_levels(levels: Shaped[np.ndarray, "H W *channels"]) -> bool:
    """Whether a picture is black and white alone, as scans of 1 bit are.

    Args:
        levels: of one channel, (H, W) or (H, W, 1); those of color, (H, W, 3), are more.
    """
    if levels.ndim == 3 and levels.shape[2] > 1:
        return False
    # A photograph shows more within some rows.
    if len(np.unique(levels[:: max(len(levels) // SAMPLED_ROWS, 1)])) > 2:
        return False
    return bool(((levels == levels.min()) | (levels == levels.max())).all())
