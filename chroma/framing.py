"""What the network sees of a picture: which size, and how L gets there."""

import math
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, Float32

from chroma.signature import HEAD_STRIDE, SIZE_MULTIPLE
from chroma.strips import each_strip

LONGEST_FACTOR = 4
"""A side of the network's input is at most this many times the inference size."""
SMALL_PIXELS = 1 << 21
"""Up to so many OpenCV's area filter is the faster one: it weighs each pixel by itself, but in one call."""
MEAN_ROWS = 16
"""Rows of the smaller picture that a thread makes at a time."""


@runtime_checkable
class LightnessRows(Protocol):
    """Lightness in [0, 100], shape (H, W, 1), that may be stored otherwise: an array, as far as its rows go."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, 1)."""

    def __getitem__(self, rows: slice, /) -> Float[np.ndarray, "rows W 1"]:
        """Return some rows, from the first to the one before the last."""


def network_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Return the network input's height and width for a picture.

    The aspect ratio is kept up to rounding, and the area is about size^2, so that cost does not depend on the
    picture; very long pictures are squeezed to at most `LONGEST_FACTOR` times the size.

    Args:
        height: of the picture, px, >= 1.
        width: of the picture, px, >= 1.
        size: inference size: square root of the area wanted, px.

    Returns:
        (height, width), px, multiples of 32, each in [32, 4 * size].

    Raises:
        ValueError: a picture side below 1 or a size below 32.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a picture has at least one pixel, not {height} x {width}")
    if size < SIZE_MULTIPLE:
        raise ValueError(f"size must be at least {SIZE_MULTIPLE} px, is {size}")
    longest = max(LONGEST_FACTOR * size // SIZE_MULTIPLE, 1)
    ratio = (height / width) ** 0.5
    blocks = (round(size * ratio / SIZE_MULTIPLE), round(size / ratio / SIZE_MULTIPLE))
    rows, columns = (min(max(count, 1), longest) * SIZE_MULTIPLE for count in blocks)
    return rows, columns


def size_within(height: int, width: int, side: int | None) -> tuple[int, int]:
    """Return the size of a picture that is made smaller until it fits.

    Args:
        height: of the picture, px.
        width: of the picture, px.
        side: of what it has to fit into, px; None leaves it as it is.

    Returns:
        Height and width, px, at least 1 each, in the picture's proportions.
    """
    factor = min(1.0, side / max(height, width)) if side else 1.0
    return max(round(height * factor), 1), max(round(width * factor), 1)


def resize_lightness(L: LightnessRows, shape: tuple[int, int], *, workers: int = 1) -> Float[np.ndarray, "h w 1"]:
    """Resize L: area average along a side that shrinks, bilinear (half-pixel centers) along one that grows.

    Args:
        L: lightness in [0, 100], float32, shape (H, W, 1); an array, or something whose rows come as arrays.
        shape: (height, width) wanted, px.
        workers: threads that share the rows of a large one.

    Returns:
        Lightness in [0, 100], float32, shape (height, width, 1).
    """
    height, width = shape
    # One side at a time: OpenCV's area filter turns into a cruder one when either side grows.
    if height < L.shape[0]:
        resized = _mean_rows(L, height, workers)
    else:
        resized = cv2.resize(L[:][..., 0], (L.shape[1], height), interpolation=cv2.INTER_LINEAR)
    filtering = cv2.INTER_AREA if width <= L.shape[1] else cv2.INTER_LINEAR
    return cv2.resize(resized, (width, height), interpolation=filtering).reshape(height, width, 1)


def _mean_rows(L: LightnessRows, height: int, workers: int) -> Float32[np.ndarray, "height W"]:
    """Return L brought to fewer rows by area mean, taking few at a time."""
    scale = L.shape[0] / height
    means = np.empty((height, L.shape[1]), np.float32)
    if L.shape[0] * L.shape[1] <= SMALL_PIXELS:
        return cv2.resize(np.asarray(L[:], np.float32), means.shape[::-1], means, interpolation=cv2.INTER_AREA)

    def fill(start: int, stop: int) -> None:
        for row in range(start, stop):
            top, bottom = row * scale, min((row + 1) * scale, L.shape[0])
            first, end = int(top), math.ceil(bottom)
            edges = np.clip(np.arange(first, end + 1), top, bottom)
            shares = (np.diff(edges) / (bottom - top)).astype(np.float32)
            np.add.reduce(np.asarray(L[first:end], np.float32)[..., 0] * shares[:, None], axis=0, out=means[row])

    each_strip(fill, height, MEAN_ROWS, workers=workers)
    return means


def head_lightness(lightness: Float[np.ndarray, "*N H W 1"]) -> Float[np.ndarray, "*N h w 1"]:
    """Return the mean L of what each pixel of the color heads sees: of 4 x 4 pixels of the network's input.

    Args:
        lightness: the network's input, L in [0, 100], shape (..., H, W, 1), sides multiples of 4.

    Returns:
        L in [0, 100], same dtype, shape (..., H / 4, W / 4, 1).
    """
    *others, height, width, _ = lightness.shape
    tiles = lightness.reshape(*others, height // HEAD_STRIDE, HEAD_STRIDE, width // HEAD_STRIDE, HEAD_STRIDE)
    return np.asarray(tiles.mean(axis=(-3, -1))[..., None], dtype=lightness.dtype)
