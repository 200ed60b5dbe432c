"""Pixels -> L, strip by strip, wherever the pixels are; and L in few bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Shaped

from chroma.lab import L_STEPS, gray_to_lightness, rgb_to_lightness, rgb_to_lightness_u16, rgb_u8_to_lightness
from chroma.strips import each_strip
from service.pictures.levels import Alpha, Rows

STRIP_PIXELS: Final = 1 << 17
"""Pixels whose L is computed at a time: temporaries take little, and threads seldom wait for one another."""

DROPPED_PIXELS: Final = 1 << 22
"""Pixels after which their memory is given back."""


@dataclass(frozen=True, eq=False)
class StoredLightness:
    """Full-size L as 8 or 16 bits a pixel: what a gray picture has anyway, and rounded for a color one.

    Attributes:
        levels: sRGB gray, or, when `is_lightness`, L in steps of 100 / `L_STEPS`; uint8 or uint16, shape (H, W).
        is_lightness: which of the two.
    """

    levels: Shaped[np.ndarray, "H W"]
    is_lightness: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, 1)."""
        return (*self.levels.shape, 1)

    @property
    def size(self) -> int:
        """Pixels."""
        return self.levels.size

    @property
    def nbytes(self) -> int:
        """Bytes of all levels."""
        return self.levels.nbytes

    def __getitem__(self, rows: slice) -> Float32[np.ndarray, "rows W 1"]:
        """Return L in [0, 100] of some rows, from the first to the one before the last."""
        return self._of(self.levels[rows])

    def part(self, rows: slice, columns: slice) -> Float32[np.ndarray, "h w 1"]:
        """Return L in [0, 100] of some rows and columns."""
        return self._of(self.levels[rows, columns])

    def _of(self, levels: Shaped[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w 1"]:
        if self.is_lightness:
            return levels[..., None] * np.float32(100 / L_STEPS)
        return gray_to_lightness(levels)


@dataclass(frozen=True, eq=False)
class Lightness:
    """What an answer takes over from a decoded picture: everything but its colors.

    Attributes:
        L: full-size.
        alpha: opacity (H, W), uint8 or uint16, as it was in the file; or None.
        is_deep: whether the picture has 16 bits a channel.
    """

    L: StoredLightness
    alpha: Alpha
    is_deep: bool

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.L.nbytes + (0 if self.alpha is None else self.alpha.nbytes)


def store_lightness(pixels: Rows, *, workers: int = 1, drop: Callable[[int], None] | None = None) -> StoredLightness:
    """Return the L of sRGB pixels, stored.

    Args:
        pixels: gray (H, W) or RGB (H, W, 3), uint8 or uint16.
        workers: threads that compute strips.
        drop: told now and then how many rows, from the first on, are done.
    """
    height, width, *channels = pixels.shape
    levels = np.empty((height, width), np.uint16 if channels else pixels.dtype)

    def fill(top: int, start: int, stop: int) -> None:
        strip = pixels[top + start : top + stop]
        into = levels[top + start : top + stop]
        if channels:
            rgb_to_lightness_u16(strip, into)
        else:
            into[:] = strip

    rows = max(STRIP_PIXELS // width, 1)
    band = height if drop is None else max(DROPPED_PIXELS // width, 1) // rows * rows or rows
    for top in range(0, height, band):
        bottom = min(top + band, height)
        each_strip(partial(fill, top), bottom - top, rows, workers=workers)
        if drop is not None and bottom < height:
            drop(bottom)
    return StoredLightness(levels, is_lightness=bool(channels))


def lightness_of(pixels: Rows, *, workers: int = 1) -> Float[np.ndarray, "H W 1"]:
    """Return L in [0, 100], float32, shape (H, W, 1), of sRGB pixels.

    Args:
        pixels: gray (H, W) or RGB (H, W, 3), uint8 or uint16.
        workers: threads that compute strips.
    """
    height, width, *_ = pixels.shape
    L = np.empty((height, width, 1), np.float32)

    def fill(start: int, stop: int) -> None:
        L[start:stop] = _lightness_of(pixels[start:stop])

    each_strip(fill, height, max(STRIP_PIXELS // width, 1), workers=workers)
    return L


def _lightness_of(strip: Shaped[np.ndarray, "h w *channels"]) -> Float32[np.ndarray, "h w 1"]:
    if strip.ndim == 2:
        return gray_to_lightness(strip)
    if strip.dtype == np.uint8:
        return rgb_u8_to_lightness(strip)
    return rgb_to_lightness(strip.astype(np.float32) / np.float32(65535))
