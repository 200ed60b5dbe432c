"""How much a film flickers: how far colors wander from frame to frame where the film itself stands still.

Frames are judged in Lab, reduced to `BLOCK_PX` by area mean, so that grain and the rounding to 8 bits do not count as
flicker. A block is static where its L moved by less than `STATIC_L` beyond what the whole frame's did: the light of old
film pumps, and that is no motion.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

BLOCK_PX: Final = 4
"""Side of the squares that are compared, px; the network's own grid is as coarse."""
STATIC_L: Final = 1.5
"""A block moved if its L changed by more than this against the rest of the frame, Lab units."""


class Change(NamedTuple):
    """What became of the color of one frame in the next.

    Attributes:
        mean: mean distance of ab between the frames over static blocks, Lab units; 0 where nothing is static.
        static: share of the blocks that are static, [0, 1].
    """

    mean: float
    static: float


def color_change(before: Float[np.ndarray, "H W 3"], after: Float[np.ndarray, "rows columns 3"]) -> Change:
    """Compare two frames that follow each other.

    Args:
        before: CIE Lab, shape (H, W, 3).
        after: the next frame, CIE Lab, shape (H, W, 3).

    Returns:
        How far colors moved where the picture did not.

    Raises:
        ValueError: the frames differ in shape.
    """
    if before.shape != after.shape:
        raise ValueError(f"two frames of one film have one shape, not {before.shape} and {after.shape}")
    step = _blocks(after) - _blocks(before)
    moved_L = step[..., 0] - np.median(step[..., 0])
    static = np.abs(moved_L) < STATIC_L
    distance = np.hypot(step[..., 1], step[..., 2])[static]
    return Change(float(distance.mean()) if distance.size else 0.0, float(static.mean()))


def flicker(frames: Iterable[Float[np.ndarray, "H W 3"]], *, cuts: Iterable[int] = ()) -> float:
    """Return the mean frame-to-frame change of ab over the static blocks of a film.

    Every block of every pair of frames counts the same. A film that stands still has 0; what is seen of it begins at
    about 1.

    Args:
        frames: CIE Lab, each of shape (H, W, 3); taken one by one, two are in memory.
        cuts: indices of the frames that begin another scene; the change into them is no flicker.

    Returns:
        Lab units a frame.

    Raises:
        ValueError: the frames differ in shape.
    """
    begins = frozenset(cuts)
    total, weight = 0.0, 0.0
    before: Float[np.ndarray, "H W 3"] | None = None
    for index, frame in enumerate(frames):
        if before is not None and index not in begins:
            change = color_change(before, frame)
            total, weight = total + change.mean * change.static, weight + change.static
        before = frame
    return total / weight if weight else 0.0


def _blocks(lab: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w 3"]:
    H, W = lab.shape[:2]
    shape = (max(W // BLOCK_PX, 1), max(H // BLOCK_PX, 1))
    return cv2.resize(np.asarray(lab, np.float32), shape, interpolation=cv2.INTER_AREA)
