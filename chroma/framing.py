"""What the network sees of a picture: which size, and how L gets there."""

import cv2
import numpy as np
from jaxtyping import Float

from chroma.signature import HEAD_STRIDE, SIZE_MULTIPLE

LONGEST_FACTOR = 4
"""A side of the network's input is at most this many times the inference size."""


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


def resize_lightness(L: Float[np.ndarray, "H W 1"], shape: tuple[int, int]) -> Float[np.ndarray, "h w 1"]:
    """Resize L: area average along a side that shrinks, bilinear (half-pixel centers) along one that grows.

    Args:
        L: lightness in [0, 100], float32, shape (H, W, 1).
        shape: (height, width) wanted, px.

    Returns:
        Lightness in [0, 100], float32, shape (height, width, 1).
    """
    height, width = shape
    resized = L[..., 0]
    # One side at a time: OpenCV's area filter turns into a cruder one when either side grows.
    for new_height, new_width in ((height, resized.shape[1]), (height, width)):
        shrinks = new_height <= resized.shape[0] and new_width <= resized.shape[1]
        resized = cv2.resize(
            resized, (new_width, new_height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        ).reshape(new_height, new_width)
    return resized[..., None]


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
